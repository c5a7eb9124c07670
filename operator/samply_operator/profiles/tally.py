"""Adds up one thread's samples by stack: how often, and how much CPU time. The only place that walks sample columns."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
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
    """By stack (-1: no stack): `weight` in samples (or what the thread's weight type says), `cpu_ms` if recorded."""

    samples: int
    weight: dict[int, float]
    cpu_ms: dict[int, float]


def add_up(thread: Thread, meta: Meta, time_range: TimeRange | None = None, *, origin_ms: float = 0.0) -> Tally:
    """The sums of one thread. `origin_ms` is the time of the profile's first sample (see `find_span`)."""
    if time_range is not None:
        return _add_up_range(thread, meta, time_range, origin_ms)
    samples = thread.samples
    weights: dict[int, float]
    if has_unit_weights(thread):
        weights = dict(count(thread))
    else:
        weights = _sum_by(_stacks(thread), chain.from_iterable(samples.weight.float_pieces()))
        _check(weights, thread)
    cpu: dict[int, float] = {}
    if not samples.cpu.is_absent and meta.cpu_unit_ms:
        sums = _sum_by(_stacks(thread), chain.from_iterable(samples.cpu.int_pieces(null=0)))
        cpu = {stack: value * meta.cpu_unit_ms for stack, value in sums.items()}
    return Tally(samples.length, weights, cpu)


def count(thread: Thread) -> dict[int, int]:
    """How often each stack was seen (-1: samples without a stack), whatever their weights are."""
    counts: Counter[int] = Counter()
    for piece in thread.samples.stack.int_pieces():
        counts.update(piece)
    _check(counts, thread)
    return dict(counts)


def sum_cpu_ms(thread: Thread, meta: Meta) -> float | None:
    """CPU time of one thread, None where none was recorded."""
    if thread.samples.cpu.is_absent or not meta.cpu_unit_ms:
        return None
    return sum(map(sum, thread.samples.cpu.int_pieces(null=0))) * meta.cpu_unit_ms


def has_unit_weights(thread: Thread) -> bool:
    """Every sample counts 1: the usual case, and the one that C code can count."""
    column = thread.samples.weight
    return column.is_absent or all(set(piece) <= {1.0} for piece in column.float_pieces())


def _add_up_range(thread: Thread, meta: Meta, time_range: TimeRange, origin_ms: float) -> Tally:
    samples = thread.samples
    weight: Iterable[float] = repeat(1.0)
    if not samples.weight.is_absent:
        weight = chain.from_iterable(samples.weight.float_pieces())
    cpu: Iterable[float] = repeat(0.0)
    if not samples.cpu.is_absent:
        cpu = chain.from_iterable(samples.cpu.int_pieces(null=0))
    weights: dict[int, float] = defaultdict(float)
    cpu_ms: dict[int, float] = defaultdict(float)
    count = 0
    start, end = origin_ms + time_range.start_ms, origin_ms + time_range.end_ms
    for stack, time, heavy, used in zip(_stacks(thread), times(thread), weight, cpu, strict=False):
        if start <= time < end:
            count += 1
            weights[stack] += heavy
            cpu_ms[stack] += used * meta.cpu_unit_ms
    _check(weights, thread)
    return Tally(count, dict(weights), dict(cpu_ms) if not samples.cpu.is_absent and meta.cpu_unit_ms else {})


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


def _stacks(thread: Thread) -> Iterator[int]:
    return chain.from_iterable(thread.samples.stack.int_pieces())


def _sum_by(keys: Iterable[int], values: Iterable[float]) -> dict[int, float]:
    sums: dict[int, float] = defaultdict(int)
    for key, value in zip(keys, values, strict=True):
        sums[key] += value
    return dict(sums)


def _check(weights: Mapping[int, float], thread: Thread) -> None:
    size = thread.stack_count
    if weights and (min(weights) < -1 or max(weights) >= size):
        raise build_broken(thread.samples.stack.where, f"an index is outside the table of {size} rows")
