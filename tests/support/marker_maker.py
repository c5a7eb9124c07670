"""Adds markers to generated profiles, as Feldera's engine writes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

CATEGORIES = ("Other", "Operator", "Exchange", "Spine")


@dataclass(frozen=True, slots=True)
class Marker:
    """One interval, in ms on the clock of the samples."""

    start: float | None
    end: float | None
    text: str
    category: str = "Operator"
    name: str = "eval"
    type: str = "FelderaMarker"


def evaluate(start: float, end: float, node: str, cpu_us: int | None = None) -> Marker:
    """An evaluation of a node, such as `Map nn2`. It used all of the time, unless said otherwise."""
    used = round(1000 * (end - start)) if cpu_us is None else cpu_us
    return Marker(start, end, f"{node} used {round(1000 * (end - start))}μs real time, {used}μs CPU time")


def add(document: dict[str, Any], thread: int, markers: Iterable[Marker]) -> None:
    """In the thread's own table of strings, each text as a string of its own, as the engine does it."""
    document["meta"]["categories"] = [{"name": name, "color": "grey"} for name in CATEGORIES]
    table: dict[str, Any] = {"length": 0, "category": [], "data": [], "startTime": [], "endTime": []}
    table |= {"name": [], "phase": []}
    strings = document["threads"][thread]["stringArray"]
    for marker in markers:
        strings += [marker.text, marker.name]
        table["length"] += 1
        table["category"].append(CATEGORIES.index(marker.category))
        table["data"].append({"type": marker.type, "name": len(strings) - 2})
        table["startTime"].append(marker.start)
        table["endTime"].append(marker.end)
        table["name"].append(len(strings) - 1)
        table["phase"].append(1)
    document["threads"][thread]["markers"] = table
