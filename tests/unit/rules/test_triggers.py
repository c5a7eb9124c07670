"""The annotation trigger: its value, its claim, its patches, the names of its objects."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.errors import InvalidSpec
from samply_operator.model import names
from samply_operator.rules.discovery import triggers
from support.json_patch import TestFailed, apply
from support.samples import REQUEST


@pytest.mark.parametrize(("value", "secs"), [("30s", 30), ("2m", 120), (" 45 ", 45), ("1m30s\n", 90)])
def test_a_claim_keeps_the_triggers_value_and_means_the_same(value: str, secs: int) -> None:
    """What was asked survives a kill in between."""
    text = triggers.render_claim(REQUEST, value)
    assert triggers.parse_claim(text) == triggers.Claim(REQUEST, secs, text)


@pytest.mark.parametrize("value", ["", "abc", "0s", "-5", "99999s", "1d", "30s/30s", "x" * 5000])
def test_a_claim_with_a_wrong_value_is_refused(value: str) -> None:
    """As the trigger itself would be."""
    with pytest.raises(InvalidSpec):
        triggers.parse_claim(triggers.render_claim(REQUEST, value))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "30s",
        "/30s",
        f"{REQUEST}30s",
        f"{REQUEST.upper()}/30s",
        f"x{REQUEST}/30s",
        "../../etc/30s",
        f"{REQUEST[:-1]}/30s",
    ],
)
def test_a_claim_that_somebody_wrote_by_hand_is_refused(text: str) -> None:
    """Its uuid becomes part of an object's name: only the operator's own form counts."""
    with pytest.raises(InvalidSpec, match="reserved for the operator"):
        triggers.parse_claim(text)


def carrier(**annotations: str) -> dict[str, Any]:
    known = {"trigger": names.TRIGGER, "claim": names.CLAIM, "refused": names.REFUSED, "other": "a/b"}
    return {"metadata": {"name": "x", "annotations": {known[key]: value for key, value in annotations.items()}}}


def test_the_claim_patch_turns_the_trigger_into_a_claim_and_touches_nothing_else() -> None:
    """In one step, so that no kill can leave neither or both."""
    result = apply(carrier(trigger="30s", other="kept"), triggers.build_claim_patch("30s", REQUEST))
    assert result == carrier(claim=f"{REQUEST}/30s", other="kept")


@pytest.mark.parametrize(
    "now_there",
    [carrier(), carrier(trigger="60s"), carrier(claim=f"{REQUEST}/30s")],
    ids=["gone", "changed", "taken by another operator"],
)
def test_the_claim_patch_fails_as_a_whole_when_the_trigger_is_no_longer(now_there: dict[str, Any]) -> None:
    """Of two operators one wins, and the other one does nothing."""
    before = copy.deepcopy(now_there)
    with pytest.raises(TestFailed):
        apply(now_there, triggers.build_claim_patch("30s", REQUEST))
    assert now_there == before


@pytest.mark.parametrize("annotation", [names.TRIGGER, names.CLAIM])
def test_the_refusal_patch_takes_the_annotation_away_and_says_why(annotation: str) -> None:
    """So that the same command works again after a correction."""
    raw = {"metadata": {"annotations": {annotation: "abc", names.REFUSED: "older"}}}
    result = apply(raw, triggers.build_refusal_patch(annotation, "abc", "why"))
    assert result == {"metadata": {"annotations": {names.REFUSED: "why"}}}


@pytest.mark.parametrize("had_refusal", [False, True])
def test_the_release_patch_takes_the_claim_and_an_older_refusal_away(had_refusal: bool) -> None:
    """A new trigger that was set meanwhile is kept."""
    claim = triggers.parse_claim(f"{REQUEST}/30s")
    older = {"refused": "older"} if had_refusal else {}
    raw = carrier(claim=claim.text, trigger="60s", **older)
    assert apply(raw, triggers.build_release_patch(claim, had_refusal=had_refusal)) == carrier(trigger="60s")


def test_the_release_patch_leaves_another_claim_alone() -> None:
    """Its objects may not be made yet."""
    claim = triggers.parse_claim(f"{REQUEST}/30s")
    with pytest.raises(TestFailed):
        apply(carrier(claim=f"{REQUEST}/31s"), triggers.build_release_patch(claim, had_refusal=False))


def test_an_objects_name_follows_from_claim_and_ordinal_alone() -> None:
    """The same claim gives the same name after any restart: the second attempt to make it is a conflict."""
    assert triggers.build_name(REQUEST, 3) == "profile-0a1b2c3d4e5f4a6b-3"


@given(st.uuids(), st.integers(min_value=0, max_value=2**31))
def test_every_name_is_one_that_kubernetes_takes(request_id: object, ordinal: int) -> None:
    """A DNS label of at most 63 characters."""
    name = triggers.build_name(str(request_id), ordinal)
    assert len(name) <= 63
    assert name.replace("-", "").isalnum()
    assert name == name.lower()
