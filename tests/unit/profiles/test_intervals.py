"""The innermost interval at a time, compared with a simple implementation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies

from samply_operator.profiles.format import ancestors, intervals

TIMES = strategies.integers(0, 20).map(float)
INTERVALS = strategies.lists(strategies.tuples(TIMES, TIMES).map(sorted), max_size=20)


def find_plainly(held: list[list[float]], time: float) -> int:
    """The last of those that hold it, in the order of `intervals.sort`."""
    return max((row for row, (start, end) in enumerate(held) if start <= time < end), default=-1)


@given(held=INTERVALS, times=strategies.lists(TIMES, max_size=20))
def test_the_one_that_began_last_among_those_that_are_open(held: list[list[float]], times: list[float]) -> None:
    starts, ends = (np.array([each[side] for each in held], dtype=float) for side in (0, 1))
    order = intervals.sort(starts, ends)
    found = intervals.find_innermost(starts[order], ends[order], np.array(times, dtype=float))
    in_order = [held[row] for row in order.tolist()]
    assert found.tolist() == [find_plainly(in_order, time) for time in times]


def test_of_two_that_begin_together_the_shorter_is_inside() -> None:
    starts, ends = np.array([1.0, 1.0]), np.array([3.0, 9.0])
    assert intervals.sort(starts, ends).tolist() == [1, 0]


def test_a_hundred_thousand_nested_ones_take_no_longer_than_others() -> None:
    """Linear, not one step per level for each time."""
    depth = 100_000
    starts = np.arange(depth, dtype=float)
    ends = 10.0 * depth - starts
    times = ends - 0.5
    assert intervals.find_innermost(starts, ends, times).tolist() == list(range(depth))


TREES = strategies.lists(strategies.tuples(strategies.integers(0, 10**6), strategies.integers(-1, 5)), max_size=40)


@given(nodes=TREES)
def test_nodes_inherit_from_their_ancestors(nodes: list[tuple[int, int]]) -> None:
    parent = [-1 if not row else above % (row + 1) - 1 for row, (above, _) in enumerate(nodes)]
    own = [value for _, value in nodes]
    nearest: list[int] = []
    united: list[int] = []
    for row, above in enumerate(parent):
        nearest.append(own[row] if own[row] >= 0 or above < 0 else nearest[above])
        united.append((1 << own[row] if own[row] >= 0 else 0) | (united[above] if above >= 0 else 0))
    columns = np.array(parent, dtype=np.int32), np.array(own, dtype=np.int32)
    assert ancestors.find_nearest(*columns).tolist() == nearest
    assert ancestors.unite_upwards(*columns).tolist() == united


@pytest.mark.parametrize("times", [[], [1.0]])
def test_without_intervals_nothing_holds(times: list[float]) -> None:
    assert intervals.find_innermost(np.array([]), np.array([]), np.array(times)).tolist() == [-1] * len(times)
