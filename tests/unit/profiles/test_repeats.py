"""Evaluations that a file holds more than once: which of them are left out."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from samply_operator.profiles.attribution import repeats
from samply_operator.profiles.attribution.evaluations import Evaluations
from samply_operator.profiles.format import markers
from samply_operator.profiles.format.columns import Column


def make(starts: Sequence[int]) -> Evaluations:
    """One evaluation of 1 ms at each of these times."""
    start = np.array(starts, dtype=np.float64)
    columns = np.zeros(len(start), dtype=np.int32), np.full(len(start), 900)
    return Evaluations(start, start + 1, *columns, unparsed=0)


MANY = range(0, 2 * repeats.SAMPLED, 2)
ODD = range(1, 2 * repeats.SAMPLED, 2)


@pytest.mark.parametrize(
    ("threads", "kept"),
    [
        ([], []),
        ([[]], [[]]),
        ([[], [1, 2], []], [[], [1, 2], []]),
        ([[1], [1]], [[1], []]),
        ([[1, 2], [1, 2], [1, 2]], [[1, 2], [], []]),
        ([[1, 2, 3], [3, 4, 5], [6]], [[1, 2, 3], [3, 4, 5], [6]]),
        ([[1, 2], [3, 4], [1, 4]], [[1, 2], [3, 4], []]),
        ([[1, 2], [1, 2, 3, 4]], [[1, 2], [3, 4]]),
        ([[1, 1, 2], [1, 1]], [[1, 2], []]),
    ],
)
def test_a_copy_stays_on_the_first_thread(threads: list[list[int]], kept: list[list[int]]) -> None:
    found, left_out = repeats.drop(
        {10 + row: make(each) for row, each in enumerate(threads)}, range(10, 10 + len(threads))
    )
    assert [found[10 + row].start_ms.tolist() for row in range(len(threads))] == kept
    assert left_out == sum(map(len, threads)) - sum(map(len, kept))


@pytest.mark.parametrize("size", [repeats.SAMPLED - 1, repeats.SAMPLED, repeats.SAMPLED + 1, 2 * repeats.SAMPLED])
def test_many_are_looked_at_by_a_sample(size: int) -> None:
    """A thread with a few of them is looked at in full, wherever it stands."""
    own, other = list(MANY)[: size // 2], list(ODD)[: size - size // 2]
    found, left_out = repeats.drop(
        dict(enumerate(map(make, ([], own, [own[-1]], other, own, [-5, own[7], own[3]], [-9])))), range(7)
    )
    assert [found[thread].count() for thread in range(7)] == [0, len(own), 0, len(other), 0, 1, 1]
    assert left_out == len(own) + 3


def test_many_threads_take_little_time() -> None:
    """Linear in their number: ten thousand with the same few."""
    found, left_out = repeats.drop(dict.fromkeys(range(10_000), make(range(10))), range(10_000))
    assert (sum(each.count() for each in found.values()), left_out) == (10, 99_990)


@pytest.mark.parametrize(
    "text", ["[0]", "[7]", "[1,1,1]", "[ 1 , 1 ]", "[1, 1]", "[12345678901,12345678901]", "[-3,-3]", "[1,2]", "[]"]
)
def test_a_column_of_the_same_numbers_is_read_as_any_other(text: str) -> None:
    numbers = [int(each) for each in text.strip("[]").split(",") if each]
    phase = markers.read_longs(Column(msgspec.Raw(text.encode()), "phase", len(numbers)))
    assert phase.tolist() == numbers
