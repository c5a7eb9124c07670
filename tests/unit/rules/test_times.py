"""Times and durations as people and machines write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.errors import InvalidSpec
from samply_operator.rules import times
from samply_operator.settings import MAX_DURATION_SECS


@pytest.mark.parametrize(
    ("text", "secs"),
    [
        ("30", 30),
        ("30s", 30),
        ("2m", 120),
        ("1m30s", 90),
        ("1m30", 90),
        ("1h", 3600),
        ("60m", 3600),
        ("0h1m0s", 60),
        ("1", 1),
        ("3600", 3600),
        ("007", 7),
        (" 30s ", 30),
        ("30s\n", 30),
    ],
)
def test_a_duration_is_read(text: str, secs: int) -> None:
    """Whole seconds, minutes, hours; blanks around it don't matter."""
    assert times.parse_duration(text) == secs


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("   ", id="blanks"),
        pytest.param("abc", id="letters"),
        pytest.param("s", id="unit alone"),
        pytest.param("hms", id="units alone"),
        pytest.param("0", id="0"),
        pytest.param("0s", id="0s"),
        pytest.param("-5", id="negative"),
        pytest.param("+5", id="sign"),
        pytest.param("1.5s", id="fraction"),
        pytest.param("1e2", id="exponent"),
        pytest.param("3601", id="just too long"),
        pytest.param("1h1s", id="just too long in parts"),
        pytest.param("99999s", id="much too long"),
        pytest.param("9" * 10_000, id="endless"),
        pytest.param("30 s", id="blank inside"),
        pytest.param("30s 30s", id="twice"),
        pytest.param("30sec", id="unknown unit"),
        pytest.param("30S", id="capital"),
        pytest.param("1s1m", id="wrong order"),
        pytest.param("٣٠", id="Arabic digits"),
        pytest.param("３０s", id="full-width digits"),
        pytest.param("²", id="superscript"),
        pytest.param("30s\x00", id="nul"),
        pytest.param("30s; rm -rf /", id="shell"),
        pytest.param("true", id="true"),
    ],
)
def test_what_is_no_duration_is_refused_with_what_is_accepted(text: str) -> None:
    """The message shows what was given, cut to length, and the remedy what may be given."""
    with pytest.raises(InvalidSpec) as caught:
        times.parse_duration(text)
    assert repr(text[:40]) in caught.value.message
    assert len(caught.value.message) < 200
    assert times.ACCEPTED in caught.value.remedy


@given(st.integers(min_value=1, max_value=MAX_DURATION_SECS))
def test_every_length_in_range_can_be_written_in_each_way(secs: int) -> None:
    """As seconds, and as hours, minutes and seconds."""
    assert times.parse_duration(f"{secs}") == times.parse_duration(f"{secs}s") == secs
    assert times.parse_duration(f"{secs // 3600}h{secs % 3600 // 60}m{secs % 60}s") == secs


@given(st.text(max_size=30))
def test_any_text_is_a_duration_in_range_or_refused(text: str) -> None:
    """Never another exception, never a length out of range."""
    try:
        secs = times.parse_duration(text)
    except InvalidSpec:
        return
    assert 1 <= secs <= MAX_DURATION_SECS


@given(st.integers(min_value=0, max_value=4_000_000_000_000))
def test_a_time_comes_back_to_the_millisecond(millis: int) -> None:
    """What is written into a manifest is what is read from it."""
    assert round(times.parse_time(times.format_time(millis / 1000)) * 1000) == millis


@pytest.mark.parametrize(
    ("text", "unix"),
    [
        ("", 0.0),
        ("1970-01-01T00:00:00Z", 0.0),
        ("1970-01-01T00:00:00.500Z", 0.5),
        ("2027-01-15T08:00:00Z", 1_800_000_000.0),
        ("2027-01-15T09:00:00+01:00", 1_800_000_000.0),
    ],
)
def test_a_time_is_read(text: str, unix: float) -> None:
    """RFC 3339, with a zone; an empty one is the beginning of time."""
    assert times.parse_time(text) == unix


@pytest.mark.parametrize("text", ["now", "2027-13-01T00:00:00Z", "1800000000", "Z", "-"])
def test_what_is_no_time_is_a_value_error(text: str) -> None:
    """Callers that read foreign text catch just this."""
    with pytest.raises(ValueError):
        times.parse_time(text)


def test_times_are_written_as_kubernetes_wants_them() -> None:
    """UTC with a Z: milliseconds for people, microseconds for MicroTime."""
    assert times.format_time(1_800_000_000.25) == "2027-01-15T08:00:00.250Z"
    assert times.format_time_micro(1_800_000_000.25) == "2027-01-15T08:00:00.250000Z"
