"""Which nodes of a call tree count for their function's total."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given, strategies

from samply_operator.profiles.analysis import calltree

WIDTH = 7


@strategies.composite
def forests(draw: strategies.DrawFn) -> tuple[array[int], array[int]]:
    size = draw(strategies.integers(0, 60))
    parent = array("i", [draw(strategies.integers(-1, node - 1)) for node in range(size)])
    func = array("i", [draw(strategies.integers(0, WIDTH - 2)) for _ in range(size)])
    return parent, func


def is_called_by_itself(node: int, parent: array[int], func: array[int]) -> bool:
    above = parent[node]
    while above != -1 and func[above] != func[node]:
        above = parent[above]
    return above != -1


@given(forest=forests())
def test_outermost_are_those_that_no_ancestor_repeats(forest: tuple[array[int], array[int]]) -> None:
    parent, func = forest
    expected = bytes(not is_called_by_itself(node, parent, func) for node in range(len(parent)))
    assert bytes(calltree.find_outermost(parent, func, WIDTH)) == expected


@given(forest=forests(), tail=strategies.integers(600, 700))
def test_the_quick_way_finds_the_same(forest: tuple[array[int], array[int]], tail: int) -> None:
    """Many nodes of a function that never recurses make the rest too few for a walk of everything."""
    parent, func = forest
    expected = bytes(not is_called_by_itself(node, parent, func) for node in range(len(parent))) + b"\x01" * tail
    parent.extend([-1] * tail)
    func.extend([WIDTH - 1] * tail)
    assert bytes(calltree.find_outermost(parent, func, WIDTH + 1)) == expected


@pytest.mark.parametrize(
    ("path", "recursive"),
    [
        ([0, 1, 2], []),
        ([0, 1, 1], [1]),
        ([0, 1, 2, 1, 3], [1, 2]),
        ([0, 1, 2, 3, 1, 4, 5], [1, 2, 3]),
    ],
)
def test_recursive_functions_are_those_on_a_cycle(path: list[int], recursive: list[int]) -> None:
    parent = array("i", range(-1, len(path) - 1))
    found = calltree.find_recursive(parent, array("i", path), WIDTH)
    assert [number for number, is_recursive in enumerate(found) if is_recursive] == recursive
