"""Vectorized arithmetic on columns gives the same results as plain loops."""

from __future__ import annotations

import json
import subprocess
import sys
from array import array

import msgspec
import numpy as np
import pytest
from hypothesis import given, strategies

from samply_operator.profiles.errors import BrokenProfile
from samply_operator.profiles.format import vectors
from samply_operator.profiles.format.columns import Column


def build_column(text: bytes, length: int) -> Column:
    return Column(msgspec.Raw(text), "a.column", length)


@given(strategies.lists(strategies.none() | strategies.integers(-1, (1 << 31) - 1)))
def test_numbers_are_those_of_the_text(values: list[int | None]) -> None:
    column = build_column(json.dumps(values).encode(), len(values))
    assert column.ints().tolist() == [-1 if value is None else value for value in values]


@pytest.mark.parametrize("text", [b"[ 1 ,\n2 ]", b"[1,2]", b"[1,2\t]"])
def test_space_between_numbers_is_nothing(text: bytes) -> None:
    assert build_column(text, 2).ints().tolist() == [1, 2]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (b'[1,"2"]', "there is text instead of a number"),
        (b"[1,[2]]", "there is a list instead of a number"),
        (b"[1,2.5]", "a number is a fraction"),
        (b"[1,1e99]", "out of range"),
        (b"[1,true]", "there is a boolean instead of a number"),
        (b"[1,2147483648]", "out of range"),
        (b"[1,9223372036854775808]", "out of range"),
        (b"[1,-99999999999999999999999]", "out of range"),
        (b"[1]", "1 rows where the table has 2"),
        (b"[1,2,3]", "3 rows where the table has 2"),
        (b"[]", "0 rows where the table has 2"),
    ],
)
def test_invalid_number_columns_are_reported(text: bytes, what: str) -> None:
    with pytest.raises(BrokenProfile, match=what):
        build_column(text, 2).ints()


def test_a_length_that_is_not_true_takes_no_memory() -> None:
    with pytest.raises(BrokenProfile, match="2 rows where the table has 1000000000000"):
        build_column(b"[1,2]", 10**12).ints()


@strategies.composite
def trees(draw: strategies.DrawFn) -> array[int]:
    size = draw(strategies.integers(0, 80))
    return array("i", [draw(strategies.integers(-1, node - 1)) for node in range(size)])


def sum_plainly(parent: array[int], values: list[float]) -> list[float]:
    sums = list(values)
    for node in range(len(parent) - 1, -1, -1):
        if parent[node] >= 0:
            sums[parent[node]] += sums[node]
    return sums


@pytest.mark.parametrize(("block", "levels"), [(1 << 16, 2048), (7, 2048), (7, 2)])
@given(data=strategies.data())
def test_subtrees_sum_up_whatever_the_size_of_a_block(block: int, levels: int, data: strategies.DataObject) -> None:
    parent = data.draw(trees())
    values = data.draw(strategies.lists(strategies.integers(0, 9), min_size=len(parent), max_size=len(parent)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "BLOCK", block)
        patch.setattr(vectors, "MAX_LEVELS", levels)
        column = np.array(values, dtype=np.float64)
        vectors.sum_subtrees(vectors.view(parent), [column])
    assert column.tolist() == sum_plainly(parent, [float(value) for value in values])


@given(data=strategies.data())
def test_the_part_that_has_values_sums_up_to_the_same(data: strategies.DataObject) -> None:
    parent = data.draw(trees())
    values = data.draw(strategies.lists(strategies.sampled_from([0, 0, 0, 1]), min_size=len(parent)))[: len(parent)]
    column = np.array(values, dtype=np.float64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vectors, "FEW", 0)
        touched = vectors.find_touched(vectors.view(parent), [column])
    assert touched is not None
    part = column[touched]
    vectors.sum_subtrees(vectors.renumber(vectors.view(parent), touched), [part])
    expected = sum_plainly(parent, [float(value) for value in values])
    assert dict(zip(touched.tolist(), part.tolist(), strict=True)) == {
        node: value for node, value in enumerate(expected) if value
    }


def test_a_chain_as_deep_as_the_table_takes_no_time() -> None:
    """A stack table that is one stack of a million frames, as only an attacker would write it."""
    size = 1_000_000
    parent = array("i", range(-1, size - 1))
    column = np.zeros(size)
    column[-1] = 1.0
    vectors.sum_subtrees(vectors.view(parent), [column])
    assert column.sum() == size


def test_a_service_does_not_load_numpy() -> None:
    """It asks a child for what needs it."""
    script = (
        "import sys, samply_operator.profiles.worker.bounded; print([name for name in sys.modules if 'numpy.' in name])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
