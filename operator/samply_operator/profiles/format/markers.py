"""Markers that the recorded program wrote into its own profile: intervals with a category, a name and a text. Pure.

Feldera's engine writes them (crate `feldera-samply`): type `FelderaMarker`, the text as a string index in `data.name`,
times in ms on the clock of the samples. Markers of other types, such as samply's own `mmap`, are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from samply_operator.profiles.errors import build_broken
from samply_operator.profiles.format import json_text, vectors
from samply_operator.profiles.format.tables import RawMarkers

if TYPE_CHECKING:
    from samply_operator.profiles.format.vectors import Floats

TYPE = "FelderaMarker"
INTERVAL = 1
"""The phase of a marker that has a start and an end."""

Item = TypeVar("Item")


class _Data(msgspec.Struct, gc=False):
    type: str = ""
    name: Any = None


@dataclass(frozen=True, slots=True)
class Markers:
    """Columns of one length, in the order of the file. Times are in ms. `broken`: how many more have no start, no end,
    or end before they begin.
    """

    start_ms: Floats
    end_ms: Floats
    category: list[str]
    name: list[str]
    text: list[str]
    broken: int = 0


def read(raw: RawMarkers | None, where: str, categories: Sequence[str], strings: Sequence[str]) -> Markers:
    """One thread's markers. Raises BrokenProfile where columns differ in length or an index leads nowhere."""
    if raw is None or TYPE.encode() not in bytes(raw.data):
        return Markers(vectors.join_floats(()), vectors.join_floats(()), [], [], [])
    data = _decode(raw.data, list[_Data | None], f"{where}.data", raw.length)
    start, end = (
        vectors.as_floats(_decode(column, list[float | None], f"{where}.{name}", raw.length))
        for column, name in ((raw.start_time, "startTime"), (raw.end_time, "endTime"))
    )
    phase = _decode(raw.phase, list[int], f"{where}.phase", raw.length)
    ours = vectors.as_longs([row for row, each in enumerate(data) if each is not None and each.type == TYPE])
    rows = vectors.find_intervals(start, end, vectors.as_longs(phase) == INTERVAL, ours)
    name = _decode(raw.name, list[int], f"{where}.name", raw.length)
    category = _decode(raw.category, list[int], f"{where}.category", raw.length)
    picked = rows.tolist()
    return Markers(
        start_ms=start[rows],
        end_ms=end[rows],
        category=_look_up(categories, [category[row] for row in picked], f"{where}.category"),
        name=_look_up(strings, [name[row] for row in picked], f"{where}.name"),
        text=_read_texts([data[row] for row in picked], strings, f"{where}.data"),
        broken=len(ours) - len(rows),
    )


def _decode(raw: msgspec.Raw, shape: type[list[Item]], where: str, length: int) -> list[Item]:
    try:
        items = json_text.decode(raw, shape) if len(raw) else []
    except (msgspec.DecodeError, RecursionError) as error:
        raise build_broken(where, str(error)) from error
    if len(items) != length:
        raise build_broken(where, f"{len(items)} rows where the table has {length}")
    return items


def _look_up(items: Sequence[str], rows: list[int], where: str) -> list[str]:
    if rows and not (min(rows) >= 0 and max(rows) < len(items)):
        raise build_broken(where, f"an index is outside the table of {len(items)} rows")
    return [items[row] for row in rows]


def _read_texts(data: list[_Data | None], strings: Sequence[str], where: str) -> list[str]:
    """Older writers have the text itself, newer ones its index."""
    values = [None if each is None else each.name for each in data]
    indexes = [value for value in values if isinstance(value, int)]
    if len(indexes) == len(values):
        return _look_up(strings, indexes, where)
    return [
        value if isinstance(value, str) else _look_up(strings, [value], where)[0] if isinstance(value, int) else ""
        for value in values
    ]
