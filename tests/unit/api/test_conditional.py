"""Conditional and range requests, as specified in RFC 9110."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from samply_operator.api.content import conditional
from samply_operator.api.content.conditional import NotModified, Part, Plan, PreconditionFailed, Unsatisfiable, Whole

TAG = "abc"
TIME = datetime(2026, 1, 31, 9, 0, 0, tzinfo=UTC)
AT, BEFORE, AFTER = (f"Sat, 31 Jan 2026 {clock} GMT" for clock in ("09:00:00", "08:59:59", "09:00:01"))


def decide(size: int = 10, method: str = "GET", **headers: str | list[str]) -> Plan:
    """A list is several lines of one header."""
    named: CIMultiDict[str] = CIMultiDict()
    for name, values in headers.items():
        for value in [values] if isinstance(values, str) else values:
            named.add(name.replace("_", "-"), value)
    return conditional.decide(named, tag=TAG, modified=TIME, size_bytes=size, method=method)


def test_ranges_apply_only_to_get() -> None:
    assert decide(Range="bytes=0-3") == Part(0, 4)
    for wanted in ("bytes=0-3", "bytes=99-"):
        assert decide(method="HEAD", Range=wanted) == Whole()


def test_tags_on_several_lines_are_one_list() -> None:
    others = ['"x"', 'W/"y", "z"']
    assert decide(If_None_Match=[*others, '"abc"']) == NotModified()
    assert decide(If_None_Match=others) == Whole()
    assert decide(If_Match=[*others, '"abc"']) == Whole()
    assert decide(If_Match=others) == PreconditionFailed()


def test_an_invalid_list_on_several_lines_is_ignored() -> None:
    assert decide(Range=["bytes=0-3", "bytes=0-3"]) == Whole()
    assert decide(If_Modified_Since=[AFTER, AFTER]) == Whole()
    assert decide(If_Unmodified_Since=[BEFORE, BEFORE]) == Whole()
    assert decide(Range="bytes=0-3", If_Range=['"abc"', '"abc"']) == Whole()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, Whole()),
        ({"If_None_Match": '"abc"'}, NotModified()),
        ({"If_None_Match": 'W/"abc"'}, NotModified()),
        ({"If_None_Match": '"x", "abc"'}, NotModified()),
        ({"If_None_Match": "*"}, NotModified()),
        ({"If_None_Match": '"x"'}, Whole()),
        ({"If_None_Match": "abc"}, Whole()),
        ({"If_None_Match": '"x"', "If_Modified_Since": AFTER}, Whole()),
        ({"If_Modified_Since": AT}, NotModified()),
        ({"If_Modified_Since": BEFORE}, Whole()),
        ({"If_Modified_Since": "nonsense"}, Whole()),
        ({"If_Match": '"abc"'}, Whole()),
        ({"If_Match": 'W/"abc"'}, PreconditionFailed()),
        ({"If_Match": '"x"'}, PreconditionFailed()),
        ({"If_Match": '"x"', "If_None_Match": '"abc"'}, PreconditionFailed()),
        ({"If_Match": '"abc"', "If_Unmodified_Since": BEFORE}, Whole()),
        ({"If_Unmodified_Since": BEFORE}, PreconditionFailed()),
        ({"If_Unmodified_Since": AT}, Whole()),
        ({"If_None_Match": '"abc"', "Range": "bytes=0-1"}, NotModified()),
    ],
    ids=str,
)
def test_conditions(headers: dict[str, str], expected: Plan) -> None:
    assert decide(**headers) == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ('"abc"', Part(2, 10)),
        ('W/"abc"', Whole()),
        ('"x"', Whole()),
        (AT, Part(2, 10)),
        (AFTER, Whole()),
        (BEFORE, Whole()),
        ("nonsense", Whole()),
        ("", Whole()),
    ],
)
def test_if_range_prevents_mixing_two_files(condition: str, expected: Plan) -> None:
    assert decide(Range="bytes=2-", If_Range=condition) == expected


@pytest.mark.parametrize(
    ("text", "size", "expected"),
    [
        ("bytes=0-", 10, Part(0, 10)),
        ("bytes=0-0", 10, Part(0, 1)),
        ("BYTES = 2-3", 10, Part(2, 4)),
        ("bytes=9-99", 10, Part(9, 10)),
        ("bytes=-3", 10, Part(7, 10)),
        ("bytes=-99", 10, Part(0, 10)),
        ("bytes=10-", 10, Unsatisfiable()),
        ("bytes=-0", 10, Unsatisfiable()),
        ("bytes=0-", 0, Unsatisfiable()),
        ("bytes=-1", 0, Unsatisfiable()),
        ("bytes=-", 10, Whole()),
        ("bytes=3-2", 10, Whole()),
        ("bytes=0-1,2-3", 10, Whole()),
        ("bytes=٣-", 10, Whole()),
        ("bytes=9999999999999999999999-", 10, Whole()),
        ("items=0-1", 10, Whole()),
    ],
)
def test_ranges(text: str, size: int, expected: Plan) -> None:
    assert decide(size, Range=text) == expected


@given(st.text(max_size=40), st.integers(0, 100))
def test_any_range_is_inside_the_file(text: str, size: int) -> None:
    plan = decide(size, Range=f"bytes={text}")
    if isinstance(plan, Part):
        assert 0 <= plan.start < plan.stop <= size


@given(st.text(max_size=40))
def test_any_condition_is_survived(text: str) -> None:
    decide(Range="bytes=0-", If_Range=text, If_None_Match=text, If_Unmodified_Since=text)
