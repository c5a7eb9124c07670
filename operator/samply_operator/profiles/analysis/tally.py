"""Adds up one thread's samples: how many, and how much CPU time. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from samply_operator.profiles.errors import build_broken
from samply_operator.profiles.format import vectors
from samply_operator.profiles.format.profile import Meta, Thread

if TYPE_CHECKING:
    from samply_operator.profiles.format.vectors import Floats, Ints, Longs


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Milliseconds since the profile's first sample, start included, end not."""

    start_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True)
class Sums:
    """One number for each row, without samples that have no stack. `counts`: how many samples, whatever they weigh;
    `weight`: in samples, or what the thread's weight type says; `cpu_us`: None where none was recorded. Microseconds
    are whole numbers in samply's files: their sums are exact.
    """

    samples: int
    counts: Floats
    weight: Floats
    cpu_us: Floats | None


@dataclass(frozen=True, slots=True)
class SampleColumns:
    """One thread's samples. `stacks`: -1 is none; `weight` None: each counts 1; `cpu_us` None: none was recorded."""

    thread: Thread
    stacks: Ints
    weight: Floats | None
    cpu_us: Floats | None
    rows: Longs | None = None
    """Indexes of the samples in the thread; None: all."""

    def pick(self, rows: Longs) -> SampleColumns:
        return SampleColumns(
            self.thread,
            self.stacks[rows],
            None if self.weight is None else self.weight[rows],
            None if self.cpu_us is None else self.cpu_us[rows],
            rows,
        )

    def drop_stackless(self) -> SampleColumns:
        rows = vectors.find_at_least(self.stacks, 0)
        whole = self.rows
        return replace(self.pick(rows), rows=rows if whole is None else whole[rows])

    def sum_by(self, rows: Ints | Longs, size: int) -> Sums:
        """The sums by what `rows` says of each sample; -1 counts for nothing."""
        counts = vectors.sum_by_row(rows, size)
        return Sums(
            samples=len(rows),
            counts=counts,
            weight=counts if self.weight is None else vectors.sum_by_row(rows, size, self.weight),
            cpu_us=None if self.cpu_us is None else vectors.sum_by_row(rows, size, self.cpu_us),
        )

    def read_times(self) -> Floats:
        """In ms, as the file has them; empty where it has none."""
        times = read_times(self.thread)
        return times if self.rows is None or not len(times) else times[self.rows]


@dataclass(frozen=True, slots=True)
class Tally:
    """The same for rows that have samples. `cpu_us` is empty where none was recorded."""

    weight: dict[int, float]
    cpu_us: dict[int, float]


def add_up(thread: Thread, meta: Meta, row_of_stack: array[int], size: int) -> Tally:
    """The nonzero sums of one thread by row."""
    sums = sum_up(thread, meta, row_of_stack, size)
    rows = vectors.find_positive(sums.counts)
    return Tally(
        vectors.pick(sums.weight, rows),
        {} if sums.cpu_us is None else vectors.pick(sums.cpu_us, rows),
    )


def sum_up(
    thread: Thread,
    meta: Meta,
    row_of_stack: array[int] | None,
    size: int,
    time_range: TimeRange | None = None,
    *,
    origin_ms: float = 0.0,
) -> Sums:
    """The sums of one thread by what `row_of_stack` makes of its stacks: call tree nodes, functions; `size` rows.

    None: rows are the stacks themselves. Else it has one entry more than there are stacks, -1, for samples without one.
    `origin_ms` is the time of the profile's first sample (see `find_span`).
    """
    columns = read(thread, meta, time_range, origin_ms=origin_ms)
    rows = columns.stacks if row_of_stack is None else vectors.view(row_of_stack)[columns.stacks]
    return columns.sum_by(rows, size)


def read(thread: Thread, meta: Meta, time_range: TimeRange | None = None, *, origin_ms: float = 0.0) -> SampleColumns:
    """The samples of one thread, of a part of the time only where one is asked for."""
    samples = thread.samples
    stacks = read_stacks(thread)
    weight = None if has_unit_weights(thread) else samples.weight.floats()
    cpu = None
    if has_cpu(thread, meta):
        cpu = vectors.scale(_read_cpu(thread), meta.cpu_unit_us)
    columns = SampleColumns(thread, stacks, weight, cpu)
    if time_range is None:
        return columns
    start, end = origin_ms + time_range.start_ms, origin_ms + time_range.end_ms
    return columns.pick(vectors.find_between(read_times(thread), start, end, len(stacks)))


def count(thread: Thread, row_of_stack: array[int], size: int) -> tuple[dict[int, int], int]:
    """How many samples each row has, whatever their weights are, and how many samples have no stack."""
    stacks = read_stacks(thread)
    counts = vectors.sum_by_row(vectors.view(row_of_stack)[stacks], size)
    seen = vectors.pick(counts, vectors.find_positive(counts))
    return {row: int(number) for row, number in seen.items()}, vectors.count_negative(stacks)


def read_stacks(thread: Thread) -> Ints:
    """The stack of each sample, -1 for none. Raises BrokenProfile where one isn't in the stack table."""
    column = thread.samples.stack
    stacks = column.ints()
    if stacks and not vectors.are_within(stacks, -1, thread.stack_count):
        raise build_broken(column.where, f"an index is outside the table of {thread.stack_count} rows")
    return vectors.view(stacks)


def _read_cpu(thread: Thread) -> Longs | Floats:
    return thread.samples.cpu.numbers()


def sum_cpu_ms(thread: Thread, meta: Meta) -> float | None:
    """CPU time of one thread, None where none was recorded."""
    if not has_cpu(thread, meta):
        return None
    return vectors.sum_all(_read_cpu(thread)) * meta.cpu_unit_us / 1000


def has_cpu(thread: Thread, meta: Meta) -> bool:
    """Whether CPU times were recorded, and in a unit that is known."""
    return bool(meta.cpu_unit_us) and thread.samples.cpu.has_numbers


def has_cpu_with_stack(thread: Thread) -> bool:
    """Whether any sample with a stack used CPU time."""
    return bool(thread.samples.length) and bool((_read_cpu(thread)[read_stacks(thread) >= 0] > 0).any())


def has_stacks(thread: Thread) -> bool:
    return bool(thread.samples.length) and thread.samples.stack.has_numbers


def read_widths(thread: Thread, meta: Meta, measure: str) -> Floats:
    """What each sample weighs, or its CPU time in microseconds."""
    if measure == "cpu":
        return vectors.scale(_read_cpu(thread), meta.cpu_unit_us)
    if has_unit_weights(thread):
        return vectors.fill(1.0, thread.samples.length)
    return thread.samples.weight.floats()


def spread(thread: Thread, meta: Meta, first_ms: float, bucket_ms: float, buckets: int) -> Floats:
    """CPU time in ms by time, in buckets from `first_ms` on; where none was recorded, an interval for each sample."""
    rows = vectors.find_buckets(read_times(thread), first_ms, bucket_ms, buckets)
    if not has_cpu(thread, meta):
        return vectors.sum_by_row(rows, buckets) * meta.interval_ms
    spent = vectors.scale(_read_cpu(thread), meta.cpu_unit_us / 1000)
    return vectors.sum_by_row(rows, buckets, spent[: len(rows)])


def has_unit_weights(thread: Thread) -> bool:
    """Every sample counts 1: the usual case, which C code can count."""
    column = thread.samples.weight
    return column.is_absent or (column.length > 0 and column.is_all(b"1"))


def read_times(thread: Thread) -> Floats:
    """The time of each sample in ms since the profile's `startTime`; empty where none was recorded."""
    samples = thread.samples
    if samples.time.is_absent:
        return vectors.join_floats(())
    times = samples.time.floats()
    return times.cumsum() if samples.has_time_deltas else times


def count_within(thread: Thread, window: TimeRange, clock_start_ms: float) -> int:
    """The samples with a stack in a part of the time on the node's clock."""
    times = read_times(thread)
    stacks = read_stacks(thread)[: len(times)]
    rows = vectors.find_between(times + clock_start_ms, window.start_ms, window.end_ms, len(stacks))
    return len(rows) - vectors.count_negative(stacks[rows])


def find_span(threads: Iterable[Thread]) -> tuple[float, float] | None:
    """The times of the first and the last sample of all threads; None if there are none."""
    first, last = float("inf"), float("-inf")
    for thread in threads:
        times = read_times(thread)
        if len(times):
            first, last = min(first, float(times.min())), max(last, float(times.max()))
    return (first, last) if first <= last else None
