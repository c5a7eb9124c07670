"""One call tree merged from threads and whole profiles, with a column of sums for each profile. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from samply_operator.profiles.analysis import breakdown, threads, weighing
from samply_operator.profiles.analysis.calltree import Forest, FunctionIndex
from samply_operator.profiles.analysis.ranges import Adding, Markers
from samply_operator.profiles.analysis.selection import Measure
from samply_operator.profiles.analysis.weighing import WeighedThread
from samply_operator.profiles.attribution.choosing import BY_FUNCTION, Choice
from samply_operator.profiles.attribution.labels import Attribution
from samply_operator.profiles.attribution.operators import MarkerFacts
from samply_operator.profiles.format.profile import Profile

ThreadFrames = Literal["none", "thread", "process"]
THREAD = "thread"
"""The library of frames that are threads."""


@dataclass(slots=True)
class FlameTree:
    """Nodes, parents first; `selves[column][node]` is what was spent in the node itself, `totals` after `close`.
    `attributions`: of each column, None by function."""

    index: FunctionIndex
    parent: array[int]
    func: array[int]
    selves: list[array[float]]
    totals: list[array[float]] = field(default_factory=list)
    attributions: list[Attribution | None] = field(default_factory=list)
    _nodes: dict[tuple[int, int], int] = field(default_factory=dict)
    _sums: dict[int, float] = field(default_factory=dict)

    def add(self, weighed: WeighedThread, column: int, values: dict[int, float], *, above: Sequence[int] = ()) -> None:
        """Lay a thread over the tree, under the functions `above` (for example one per thread)."""
        root = -1
        for func in above:
            root = self._node(root, func)
        here = {-1: root}
        for node, value in values.items():
            self.selves[column][self._reach(weighed.forest, node, here)] += value

    def _reach(self, forest: Forest, node: int, here: dict[int, int]) -> int:
        """Where a forest's node lies in this tree; `here` holds those that are known."""
        way = []
        while node not in here:
            way.append(node)
            node = forest.parent[node]
        at = here[node]
        for each in reversed(way):
            at = here[each] = self._node(at, forest.func[each])
        return at

    def close(self) -> None:
        """Compute the totals; nothing may be added afterwards."""
        self.totals = [array("d", column) for column in self.selves]
        for node in range(len(self.parent) - 1, -1, -1):
            above = self.parent[node]
            if above != -1:
                for column in self.totals:
                    column[above] += column[node]

    def select(self, columns: Sequence[int]) -> None:
        """Keep only these, in this order."""
        self.selves = [self.selves[column] for column in columns]

    def sum(self, column: int) -> float:
        if column not in self._sums:
            self._sums[column] = sum(self.selves[column])
        return self._sums[column]

    def children(self) -> dict[int, list[int]]:
        """The children of each node (-1: the roots), in the order in which they turned up."""
        below: dict[int, list[int]] = {}
        for node, above in enumerate(self.parent):
            below.setdefault(above, []).append(node)
        return below

    def _node(self, parent: int, func: int) -> int:
        node = self._nodes.get((parent, func))
        if node is None:
            node = self._nodes[parent, func] = len(self.parent)
            self.parent.append(parent)
            self.func.append(func)
            for column in self.selves:
                column.append(0.0)
        return node


def build(
    profiles: Iterable[Profile], *, measure: Measure, by_thread: bool = False, choice: Choice = BY_FUNCTION
) -> FlameTree:
    """One column per profile. At the bottom are threads (`by_thread`), or operators or groups over all threads."""
    held = list(profiles)
    for profile in held:
        weighing.check(profile, measure)
    tree = FlameTree(FunctionIndex(), array("i"), array("i"), [array("d") for _ in held])
    for column, profile in enumerate(held):
        titles = threads.title(profile)
        tree.attributions.append(choice.build(profile))
        for weighed in weighing.weigh_by(profile, tree.index, tree.attributions[-1]):
            values = weighed.pick(measure)
            above = weighed.above
            if by_thread and weighed.label is None:
                above = (tree.index.number(titles[weighed.thread.index], THREAD),)
            if values:
                tree.add(weighed, column, values, above=above)
    tree.index.show_builds()
    tree.close()
    return tree


@dataclass(frozen=True, slots=True)
class _Laid:
    """What is laid over the tree of one profile: its threads, and what stands below each of them."""

    threads: list[tuple[WeighedThread, tuple[int, ...]]]
    notes: tuple[str, ...]
    facts: MarkerFacts | None


def build_ranges(
    sides: Sequence[Adding], *, with_threads: ThreadFrames = "none", choice: Choice = BY_FUNCTION
) -> tuple[FlameTree, list[Markers]]:
    """Two columns for each range of time: what its samples weigh, and its CPU time; `select` those that are wanted,
    then `close`. At the bottom are threads, or processes and threads above them; those of one name are one, whichever
    profiles they are in. Raises ProfileError if nothing of a range can be added."""
    tree = FlameTree(FunctionIndex(), array("i"), array("i"), [array("d") for _ in range(2 * len(sides))])
    found = [Markers() for _ in sides]
    for number, (side, markers) in enumerate(zip(sides, found, strict=True)):
        for laid, part in side.each(lambda profile: _lay(profile, tree.index, with_threads, choice)):
            _add(tree, laid, 2 * number, part.factor)
            markers.add(laid.notes, laid.facts)
            del laid  # before the next profile is read
    return tree, found


def _add(tree: FlameTree, laid: _Laid, column: int, factor: float) -> None:
    for weighed, above in laid.threads:
        tree.add(weighed, column, _scale(weighed.weight, factor), above=above)
        tree.add(weighed, column + 1, weighed.cpu_us, above=above)


def _lay(profile: Profile, index: FunctionIndex, with_threads: ThreadFrames, choice: Choice) -> _Laid:
    """All of it is read before anything is added: a damaged profile is in no sum."""
    attribution = choice.build(profile)
    processes = threads.name_processes(profile)

    def find_above(weighed: WeighedThread) -> tuple[int, ...]:
        thread = weighed.thread
        own = index.number(thread.name or thread.tid, THREAD)
        frames = {"none": (), "thread": (own,), "process": (index.number(processes[thread.pid], THREAD), own)}
        return (*frames[with_threads], *weighed.above)

    weighed = [(each, find_above(each)) for each in weighing.weigh_by(profile, index, attribution)]
    return _Laid(weighed, *breakdown.describe_markers(attribution))


def _scale(values: dict[int, float], factor: float) -> dict[int, float]:
    return values if factor == 1.0 else {node: value * factor for node, value in values.items()}
