"""All stacks of the threads that are looked at, one behind the other, with a group for each root. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from samply_operator.profiles.analysis import calltree, tally
from samply_operator.profiles.analysis.calltree import FunctionIndex, Stacks
from samply_operator.profiles.analysis.selection import Measure, Ranges, Roots
from samply_operator.profiles.analysis.tally import SampleColumns, TimeRange
from samply_operator.profiles.attribution.choosing import Choice
from samply_operator.profiles.attribution.labels import Attribution, Label
from samply_operator.profiles.format import trees, vectors
from samply_operator.profiles.format.lazy_numpy import np
from samply_operator.profiles.format.profile import Profile, Thread
from samply_operator.profiles.format.trees import Tree

if TYPE_CHECKING:
    from samply_operator.profiles.format.vectors import Floats, Ints, Longs


class Forest:
    """`add` each profile as a column, then `merge`."""

    def __init__(self, columns: int, by: Roots, measure: Measure) -> None:
        self.index = FunctionIndex()
        self.groups: list[str] = []
        self.has_cpu = False
        self._by: Roots = by
        self._measure: Measure = measure
        self._numbers: dict[str, int] = {}
        self._size = 0
        # 32 bits: the columns of a large profile are most of the memory that this takes.
        self._parent: list[Ints] = []
        self._func: list[Ints] = []
        self._group: list[Ints] = []
        self._selves: list[list[Floats]] = [[] for _ in range(columns)]

    def add(self, profile: Profile, column: int, threads: Ranges | None, time_range: TimeRange | None) -> None:
        """`threads`: those that count, None for all. Raises NoMarkers by operator where there are none."""
        chosen = [each for each in profile.threads if threads is None or is_in(each.index, threads)]
        match self._by:
            case "operator" | "group":
                self._add_labelled(profile, chosen, column, time_range, Choice(by=self._by))
            case "library":
                for _, stacks, values in self._sum_threads(profile, chosen, time_range):
                    valued = np.flatnonzero(values)
                    group = self._find_libs()[vectors.view(stacks.func)[valued]]
                    self._put_split(stacks, valued, group, values[valued], column)
            case _:
                for thread, stacks, values in self._sum_threads(profile, chosen, time_range):
                    self._put(stacks, values, self._number(name_thread(thread)) if self._by == "thread" else 0, column)

    def merge(self, width: int) -> Tree:
        """All laid over each other. `width`: more than there are functions."""
        nothing = np.zeros(0, dtype=np.int32)
        return trees.build(
            np.concatenate([nothing, *self._parent]),
            np.concatenate([nothing, *self._func]),
            np.concatenate([nothing, *self._group]),
            [np.concatenate([np.zeros(0), *column]) for column in self._selves],
            width,
        )

    def _sum_threads(
        self, profile: Profile, chosen: list[Thread], time_range: TimeRange | None
    ) -> Iterator[tuple[Thread, Stacks, Floats]]:
        """The sums of each thread; of those that share their tables together, unless they are told apart."""
        origin = _find_origin(profile, time_range)
        forests = calltree.Forests(profile, self.index, calltree.take_functions)
        pending: tuple[Thread, Stacks, Floats] | None = None
        for thread in chosen:
            stacks = forests.of(thread)
            columns = tally.read(thread, profile.meta, time_range, origin_ms=origin)
            values = self._weigh(columns, columns.stacks, len(stacks.parent))
            if pending and (pending[0].table_key != thread.table_key or self._by == "thread"):
                yield pending
                pending = None
            pending = (thread, stacks, values if pending is None else pending[2] + values)
        if pending:
            yield pending

    def _add_labelled(
        self, profile: Profile, chosen: list[Thread], column: int, time_range: TimeRange | None, choice: Choice
    ) -> None:
        """Each sample is of the innermost label that it is attributed to."""
        attribution = choice.build(profile)
        origin = _find_origin(profile, time_range)
        forests = calltree.Forests(profile, self.index, calltree.take_stacks)
        for thread in chosen:
            stacks = forests.of(thread)
            samples = tally.read(thread, profile.meta, time_range, origin_ms=origin).drop_stackless()
            if attribution is None or not len(samples.stacks):
                continue
            bucket = attribution.attribute(thread, stacks, self.index, samples.stacks, samples.read_times())
            group = self._number_labels(attribution)[bucket]
            width = max(1, len(self.groups))
            keys, rows = np.unique(samples.stacks.astype(np.int64) * width + group, return_inverse=True)
            self._put_split(stacks, keys // width, keys % width, self._weigh(samples, rows, len(keys)), column)

    def _number_labels(self, attribution: Attribution) -> Longs:
        """The group of each bucket."""
        buckets = attribution.buckets
        return np.array(
            [self._number(name_label(buckets.labels[bucket[-1]])) for bucket in buckets.buckets], dtype=np.int64
        )

    def _weigh(self, columns: SampleColumns, rows: Ints | Longs, size: int) -> Floats:
        sums = columns.sum_by(rows, size)
        self.has_cpu = self.has_cpu or sums.cpu_us is not None
        if self._measure == "samples":
            return sums.weight
        return np.zeros(size) if sums.cpu_us is None else sums.cpu_us

    def _find_libs(self) -> Longs:
        """The group of each function."""
        return np.array([self._number(function.lib) for function in self.index.functions] or [0], dtype=np.int64)

    def _number(self, name: str) -> int:
        number = self._numbers.setdefault(name, len(self.groups))
        if number == len(self.groups):
            self.groups.append(name)
        return number

    def _put(self, stacks: Stacks, values: Floats, group: int, column: int) -> None:
        """One thread's stacks, without those that nothing lies in."""
        parent, func = vectors.view(stacks.parent), vectors.view(stacks.func)
        touched = vectors.find_touched(parent, [values])
        if touched is not None:
            parent, func, values = vectors.renumber(parent, touched), func[touched], values[touched]
        self._append(parent, func, np.full(len(parent), group, dtype=np.int32), values, column)

    def _put_split(self, stacks: Stacks, nodes: Longs, group: Longs, values: Floats, column: int) -> None:
        """The same with a group for each value; `nodes` and groups together are in order."""
        width = max(1, len(self.groups))
        parent = vectors.view(stacks.parent)
        keys = nodes * width + group
        found, grouped = trees.split(parent, keys, width)
        places = found * width + grouped
        spread = np.zeros(len(found))
        spread[np.searchsorted(places, keys)] = values
        above = parent[found].astype(np.int64)
        up = np.where(above < 0, -1, np.searchsorted(places, above * width + grouped))
        self._append(up, vectors.view(stacks.func)[found], grouped, spread, column)

    def _append(self, parent: Ints | Longs, func: Ints, group: Ints | Longs, values: Floats, column: int) -> None:
        self._parent.append(np.where(parent < 0, -1, parent + self._size).astype(np.int32, copy=False))
        self._func.append(func)
        self._group.append(group.astype(np.int32, copy=False))
        for number, held in enumerate(self._selves):
            held.append(values if number == column else np.zeros(len(parent)))
        self._size += len(parent)


def _find_origin(profile: Profile, time_range: TimeRange | None) -> float:
    span = tally.find_span(profile.threads) if time_range is not None else None
    return span[0] if span else 0.0


def is_in(index: int, ranges: Ranges) -> bool:
    return any(first <= index <= last for first, last in ranges)


def name_thread(thread: Thread) -> str:
    return f"{thread.name or 'thread'} ({thread.tid})"


def name_label(label: Label) -> str:
    return f"{label.name} {label.node}".strip()
