"""Query parameters: what is accepted is exactly what is documented."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.api import params
from samply_operator.errors import InvalidParam, UnknownPipeline


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", params.ProfileQuery()),
        ("ordinal=3&latest=true", params.ProfileQuery(3, latest=True)),
        ("latest=false", params.ProfileQuery()),
        ("ordinal=2147483647", params.ProfileQuery(2**31 - 1)),
        ("namespace=a-b", params.ProfileQuery(namespace="a-b")),
        ("ord%69nal=1", params.ProfileQuery(1)),
        ("ordinal=all", params.ProfileQuery(params.ALL)),
        ("x=1&x=2&latest=true", params.ProfileQuery(latest=True)),
        ("&&=&a", params.ProfileQuery()),
    ],
)
def test_what_is_accepted(text: str, expected: params.ProfileQuery) -> None:
    assert params.parse_profile_query(text) == expected


@pytest.mark.parametrize(("text", "secs"), [("", None), ("duration_secs=1", 1), ("duration_secs=3600", 3600)])
def test_duration(text: str, secs: int | None) -> None:
    assert params.parse_start_query(text).duration_secs == secs


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("", None),
        ("attachments=Stats", ("Stats",)),
        ("attachments=HeapProfile,Stats,HeapProfile", ("Stats", "HeapProfile")),
    ],
)
def test_attachments(text: str, kinds: tuple[str, ...] | None) -> None:
    """Each once: the object's list is a set."""
    assert params.parse_start_query(text).attachments == kinds


def find_refused(parse: Callable[[str], object], text: str) -> object:
    try:
        parse(text)
    except InvalidParam as error:
        return error.details["parameter"]
    return None


ID = "0b5c2f6e-7a51-4c1e-9d3b-2f1f5a1c9e10"
EARLY, LATE = "2026-01-31T08:00:00Z", "2026-01-31T09:00:00Z"


@pytest.mark.parametrize(
    ("parse", "text", "parameter", "said"),
    [
        (params.parse_history_query, "search=", "search", "expected 1 to 200 characters, none of them a control"),
        (params.parse_history_query, f"since={LATE}&until={EARLY}", "until", "a time later than 'since'"),
        (params.parse_history_query, f"since={LATE}&until={LATE}", "until", "a time later than 'since'"),
        (params.parse_merged_query, f"since={LATE}&until={EARLY}", "until", "a time later than 'since'"),
        (params.parse_merged_query, "ids=x", "ids", "separated by commas"),
        (params.parse_tree_query, "path=x", "path", "separated by dots"),
        (params.parse_diff_query, f"before_since={EARLY}", "after", "instead of it after_since or after_until"),
        (params.parse_diff_query, f"after={ID}", "before", "instead of it before_since or before_until"),
        (params.parse_start_query, "attachments=stats", "attachments", "separated by commas"),
        (params.parse_preflight_query, "attachments=stats", "attachments", "separated by commas"),
        (params.parse_preflight_query, "ordinal=²", "ordinal", "a whole number"),
    ],
)
def test_what_is_refused_is_named_with_what_is_expected(
    parse: Callable[[str], object], text: str, parameter: str, said: str
) -> None:
    with pytest.raises(InvalidParam) as caught:
        parse(text)
    assert caught.value.details["parameter"] == parameter
    assert said in caught.value.message


@given(st.text(max_size=30))
def test_any_query_is_accepted_or_refused_by_name(text: str) -> None:
    for parse in (params.parse_profile_query, params.parse_start_query, params.parse_history_query):
        assert find_refused(parse, text) in (None, "ordinal", "latest", "namespace", "duration_secs", "limit", "after")


@given(st.text(max_size=20))
def test_only_whole_numbers_pass_for_an_ordinal(text: str) -> None:
    try:
        query = params.parse_profile_query(f"ordinal={text}&")
    except InvalidParam:
        return
    assert query.ordinal == params.ALL or 0 <= query.ordinal <= params.MAX_ORDINAL


def test_a_long_value_is_cut_in_the_answer() -> None:
    with pytest.raises(InvalidParam) as caught:
        params.parse_profile_query("latest=" + "x" * 5000)
    assert len(str(caught.value.details["value"])) == 100


@pytest.mark.parametrize("name", ["orders", "A_b-c.9", "a" * 100, "a..", "0"])
def test_names_that_can_be_a_pipelines(name: str) -> None:
    assert params.parse_pipeline({"pipeline_name": name}) == name


@pytest.mark.parametrize("name", ["a/b", "a b", "\0", "é", "a\n", "a" * 101, "..", ".a", "%", "a\\b", "<script>"])
def test_names_that_cannot_be_a_pipelines_are_unknown(name: str) -> None:
    with pytest.raises(UnknownPipeline) as caught:
        params.parse_pipeline({"pipeline_name": name})
    assert len(str(caught.value)) < 300
