"""Intervals in time, and points in them, on whole columns. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from samply_operator.profiles.format.lazy_numpy import np

if TYPE_CHECKING:
    from samply_operator.profiles.format.vectors import Floats, Longs


def sort(starts: Floats, ends: Floats) -> Longs:
    """The order by start; of those that start together, the shortest comes last."""
    return np.lexsort((-ends, starts))


def find_innermost(starts: Floats, ends: Floats, times: Floats) -> Longs:
    """For each time the interval that began last among those that hold it (start included, end not); -1 for none.

    Intervals are in the order of `sort`; they may nest and overlap. The times are in any order.
    """
    if not len(starts):
        return np.full(len(times), -1)
    last = np.searchsorted(starts, times, side="right") - 1
    found = np.where((last >= 0) & (ends[last] > times), last, -1)
    # Where the one that began last is over already, only one that went on beyond the next one's start can be open.
    long = np.flatnonzero(ends[:-1] > starts[1:])
    rest = np.flatnonzero((found < 0) & (last >= 0))
    if len(long) and len(rest):
        rest = rest[np.argsort(times[rest], kind="stable")]
        places = np.array(_sweep(starts[long].tolist(), ends[long].tolist(), times[rest].tolist()))
        found[rest] = np.where(places >= 0, long[places], -1)
    return found


def _sweep(starts: Sequence[float], ends: Sequence[float], times: Sequence[float]) -> list[int]:
    """The same for sorted times, one by one: linear in any depth of nesting."""
    found, still_open, following = [], list[int](), 0
    for time in times:
        while following < len(starts) and starts[following] <= time:
            still_open.append(following)
            following += 1
        while still_open and ends[still_open[-1]] <= time:
            still_open.pop()
        found.append(still_open[-1] if still_open else -1)
    return found
