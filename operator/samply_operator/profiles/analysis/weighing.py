"""What a converted profile counts: samples, or CPU time in microseconds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from samply_operator.profiles.analysis import calltree, tally
from samply_operator.profiles.analysis.calltree import Forest, FunctionIndex
from samply_operator.profiles.format.profile import Profile, Thread

Measure = Literal["samples", "cpu"]
MEASURES: tuple[Measure, ...] = ("samples", "cpu")


@dataclass(frozen=True, slots=True)
class WeighedThread:
    """One thread's sums by node of its forest. `cpu_us` is empty where the profile has no CPU time."""

    thread: Thread
    forest: Forest
    weight: dict[int, float]
    cpu_us: dict[int, int]

    def pick(self, measure: Measure) -> dict[int, float]:
        return self.weight if measure == "samples" else {node: float(value) for node, value in self.cpu_us.items()}


def weigh(profile: Profile, index: FunctionIndex, threads: Iterable[Thread] | None = None) -> Iterator[WeighedThread]:
    """Every thread's sums, one after the other, so that one at a time is in memory."""
    forests = calltree.Forests(profile, index, calltree.build_forest)
    for thread in profile.threads if threads is None else threads:
        forest = forests.of(thread)
        sums = tally.add_up(thread, profile.meta, forest.node_of_stack, len(forest.parent))
        cpu_us = {node: round(value) for node, value in sums.cpu_us.items()}
        yield WeighedThread(thread, forest, sums.weight, cpu_us)


def walk_up(forest: Forest, node: int) -> list[int]:
    """The functions from the root down to a node."""
    path = []
    while node != -1:
        path.append(forest.func[node])
        node = forest.parent[node]
    path.reverse()
    return path


def format_number(value: float) -> str:
    """Without a fraction where there is none."""
    return str(int(value)) if value == int(value) else repr(value)
