"""Adds up one thread's samples: how many, and how much CPU time. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, repeat

from samply_operator.profiles.errors import build_broken
from samply_operator.profiles.profile import Meta, Thread


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Milliseconds since the profile's first sample, start included, end not."""

    start_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True)
class Tally:
    """By row, without samples that have no stack: `weight` in samples (or what the thread's weight type says), and
    `cpu_us`, empty where none was recorded. Microseconds are whole numbers in samply's files: their sums are exact.
    """

    samples: int
    weight: dict[int, float]
    cpu_us: dict[int, float]


def add_up(
    thread: Thread,
    meta: Meta,
    row_of_stack: Sequence[int],
    time_range: TimeRange | None = None,
    *,
    origin_ms: float = 0.0,
) -> Tally:
    """The sums of one thread by what `row_of_stack` makes of its stacks: call tree nodes, functions.

    It has one entry more than there are stacks, -1, for samples without one. `origin_ms` is the time of the profile's
    first sample (see `find_span`).
    """
    if time_range is not None:
        return _add_up_range(thread, meta, row_of_stack, time_range, origin_ms)
    samples = thread.samples
    weights: dict[int, float]
    if has_unit_weights(thread):
        weights = {row: float(number) for row, number in count(thread, row_of_stack).items()}
    else:
        weights = _sum_by(_rows(thread, row_of_stack), chain.from_iterable(samples.weight.float_pieces()))
    cpu: dict[int, float] = {}
    if not samples.cpu.is_absent and meta.cpu_unit_us:
        cpu = _sum_by(_rows(thread, row_of_stack), chain.from_iterable(samples.cpu.int_pieces(null=0)))
        for row in cpu if meta.cpu_unit_us != 1 else ():
            cpu[row] *= meta.cpu_unit_us
    weights.pop(-1, None)
    cpu.pop(-1, None)
    return Tally(samples.length, weights, cpu)


def count(thread: Thread, row_of_stack: Sequence[int]) -> Counter[int]:
    """How many samples each row has (-1: samples without a stack), whatever their weights are."""
    counts: Counter[int] = Counter()
    for piece in checked_stacks(thread):
        counts.update(map(row_of_stack.__getitem__, piece))
    return counts


def checked_stacks(thread: Thread) -> Iterator[list[int]]:
    """The stack of each sample, -1 for none. Raises BrokenProfile where one isn't in the stack table."""
    size = thread.stack_count
    for piece in thread.samples.stack.int_pieces():
        if piece and (min(piece) < -1 or max(piece) >= size):
            raise build_broken(thread.samples.stack.where, f"an index is outside the table of {size} rows")
        yield piece


def sum_cpu_ms(thread: Thread, meta: Meta) -> float | None:
    """CPU time of one thread, None where none was recorded."""
    if thread.samples.cpu.is_absent or not meta.cpu_unit_us:
        return None
    return sum(map(sum, thread.samples.cpu.int_pieces(null=0))) * meta.cpu_unit_us / 1000


def has_unit_weights(thread: Thread) -> bool:
    """Every sample counts 1: the usual case, and the one that C code can count."""
    column = thread.samples.weight
    return column.is_absent or (column.length > 0 and column.is_all(b"1"))


def _add_up_range(
    thread: Thread, meta: Meta, row_of_stack: Sequence[int], time_range: TimeRange, origin_ms: float
) -> Tally:
    samples = thread.samples
    weight: Iterable[float] = repeat(1.0)
    if not samples.weight.is_absent:
        weight = chain.from_iterable(samples.weight.float_pieces())
    cpu: Iterable[float] = repeat(0.0)
    has_cpu = not samples.cpu.is_absent and meta.cpu_unit_us > 0
    if has_cpu:
        cpu = chain.from_iterable(samples.cpu.int_pieces(null=0))
    weights: dict[int, float] = defaultdict(float)
    cpu_us: dict[int, float] = defaultdict(float)
    number = 0
    start, end = origin_ms + time_range.start_ms, origin_ms + time_range.end_ms
    for row, time, heavy, used in zip(_rows(thread, row_of_stack), times(thread), weight, cpu, strict=False):
        if start <= time < end:
            number += 1
            weights[row] += heavy
            cpu_us[row] += used * meta.cpu_unit_us
    weights.pop(-1, None)
    cpu_us.pop(-1, None)
    return Tally(number, dict(weights), dict(cpu_us) if has_cpu else {})


def times(thread: Thread) -> Iterator[float]:
    """The time of each sample in ms since the profile's `startTime`."""
    numbers = chain.from_iterable(thread.samples.time.float_pieces())
    return accumulate(numbers) if thread.samples.has_time_deltas else numbers


def find_span(threads: Iterable[Thread]) -> tuple[float, float] | None:
    """The times of the first and the last sample of all threads; None if there are none."""
    first, last = float("inf"), float("-inf")
    for thread in threads:
        if thread.samples.length == 0 or thread.samples.time.is_absent:
            continue
        column = thread.samples.time
        total = 0.0
        lowest: float | None = None
        highest = float("-inf")
        for piece in column.float_pieces():
            if not piece:
                continue
            if thread.samples.has_time_deltas:
                lowest = piece[0] if lowest is None else lowest
                total += sum(piece)
                highest = total
            else:
                earliest, latest = min(piece), max(piece)
                lowest = earliest if lowest is None else min(lowest, earliest)
                highest = max(highest, latest)
        if lowest is not None:
            first, last = min(first, lowest), max(last, highest)
    return (first, last) if first <= last else None


def _rows(thread: Thread, row_of_stack: Sequence[int]) -> Iterator[int]:
    return map(row_of_stack.__getitem__, chain.from_iterable(checked_stacks(thread)))


def _sum_by(keys: Iterable[int], values: Iterable[float]) -> dict[int, float]:
    sums: dict[int, float] = defaultdict(int)
    for key, value in zip(keys, values, strict=True):
        sums[key] += value
    return sums
