"""Any query or condition gets a response, or a refusal that names the parameter; never an internal error."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict

from samply_operator import errors
from samply_operator.api import params
from samply_operator.api.content import conditional
from samply_operator.api.openapi import document

PARSERS: list[Callable[[str], Any]] = [
    params.parse_profile_query,
    params.parse_start_query,
    params.parse_preflight_query,
    params.parse_history_query,
    params.parse_format_query,
    params.parse_summary_query,
    params.parse_diff_query,
    params.parse_link,
    lambda text: params.parse_link_query(text, 3600),
]
KEYS = sorted(
    {
        parameter["name"]
        for operations in document.build()["paths"].values()
        for operation in operations.values()
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query"
    }
)
VALUES = st.one_of(
    st.text(max_size=20),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(("all", "true", "false", "", "0", "٣", "0x1", "1e3", " 1", "00", "\x00", "a\nb", "-0", "NaN")),
)
PAIRS = st.lists(st.tuples(st.one_of(st.sampled_from(KEYS), st.text(max_size=8)), VALUES), max_size=6)
each_parser = pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__name__)


def read(parse: Callable[[str], Any], text: str) -> None:
    """Parsed, or refused in the shape that clients know; anything else that is raised fails the test."""
    details: dict[str, object] = {}
    try:
        parse(text)
    except errors.InvalidParam as error:
        details = error.details
    assert not details or set(details) == {"parameter", "value", "expected"}
    assert not details or details["parameter"] in KEYS
    assert len(str(details.get("value", ""))) <= 100


@each_parser
@given(PAIRS)
@settings(max_examples=100, deadline=None)
def test_keys_and_values_of_all_kinds(parse: Callable[[str], Any], pairs: list[tuple[str, str]]) -> None:
    read(parse, urlencode(pairs))


@each_parser
@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_text_of_all_kinds(parse: Callable[[str], Any], text: str) -> None:
    """Not even key and value."""
    read(parse, text)
    read(parse, quote(text, safe="=&%;+"))


@given(st.permutations(["ordinal=2", "latest=true", "namespace=feldera", "x=1", "x=2"]))
def test_the_order_of_keys_never_matters(parts: list[str]) -> None:
    assert params.parse_profile_query("&".join(parts)) == params.ProfileQuery(2, latest=True, namespace="feldera")


@given(st.sampled_from(("ordinal", "latest", "namespace")), st.sampled_from(("0", "true", "a")))
def test_a_known_key_twice_is_always_refused(key: str, value: str) -> None:
    """Also where both say the same."""
    with pytest.raises(errors.InvalidParam):
        params.parse_profile_query(f"{key}={value}&{key}={value}")


HEADER = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40)
ENDS = st.one_of(st.just(""), st.integers(0, 300))
RANGES = st.one_of(HEADER, st.builds("bytes={}-{}".format, ENDS, ENDS))
TAG, MODIFIED = "a" * 64, datetime(2026, 1, 31, 9, 30, tzinfo=UTC)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "Range": RANGES,
            "If-Range": st.one_of(HEADER, st.just(f'"{TAG}"')),
            "If-None-Match": st.one_of(HEADER, st.just("*")),
            "If-Match": st.one_of(HEADER, st.just(f'"{TAG}"')),
            "If-Modified-Since": HEADER,
            "If-Unmodified-Since": HEADER,
        },
    ),
    st.integers(0, 250),
)
@settings(max_examples=500, deadline=None)
def test_a_part_is_always_a_part_of_the_file(headers: dict[str, str], size_bytes: int) -> None:
    """Never empty, never past the end; and never with an If-Range that isn't exactly this file's."""
    plan = conditional.decide(CIMultiDict(headers), tag=TAG, modified=MODIFIED, size_bytes=size_bytes)
    if isinstance(plan, conditional.Part):
        assert 0 <= plan.start < plan.stop <= size_bytes
        if "If-Range" in headers:
            assert headers["If-Range"].strip() == f'"{TAG}"' or "2026" in headers["If-Range"]
