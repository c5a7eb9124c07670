"""The response to a GET, as a table: what is stored, what is recording, what is known, and what cannot be known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.model.manifest import Manifest, StoredFile
from samply_operator.rules.serving import serve
from samply_operator.rules.serving.retry_after import LONGEST_SECS, compute_retry_after


def make_manifest(name: str, *, is_good: bool) -> Manifest:
    return Manifest(
        id=name,
        namespace="n",
        name=name,
        pipeline="p",
        ordinal=0,
        outcome="Succeeded" if is_good else "Failed",
        requested_at="",
        finished_at="",
        file=StoredFile(1, "00") if is_good else None,
    )


GOOD = make_manifest("good", is_good=True)
FAILED = make_manifest("failed", is_good=False)
RUNS = serve.Running("r", "Recording", "", ends_at=110.0, duration_secs=30)

AWAY = serve.ServingState(ordinal=0, is_certain=False)
UNKNOWN = serve.ServingState(ordinal=0, is_certain=True)
KNOWN = serve.ServingState(ordinal=0, is_certain=True, is_known=True, ordinals=(0, 1), is_running=True)
STOPPED = serve.ServingState(ordinal=0, is_certain=True, is_known=True)


def store(facts: serve.ServingState, last: Manifest, good: Manifest | None = None) -> serve.ServingState:
    return replace(facts, last_attempt=last, last_good=good, stored_ordinals=(facts.ordinal,))


ROWS = {
    "good": (store(KNOWN, GOOD, GOOD), serve.Serve(GOOD), serve.Serve(GOOD)),
    "good, one runs": (
        replace(store(KNOWN, GOOD, GOOD), running=RUNS),
        serve.Serve(GOOD),
        serve.InProgress(RUNS, 10),
    ),
    "good, pipeline gone": (store(UNKNOWN, GOOD, GOOD), serve.Serve(GOOD), serve.Serve(GOOD)),
    "good, pipeline stopped": (store(STOPPED, GOOD, GOOD), serve.Serve(GOOD), serve.Serve(GOOD)),
    "good, operator away": (store(AWAY, GOOD, GOOD), serve.Serve(GOOD), serve.Undetermined()),
    "failed after good": (store(KNOWN, FAILED, GOOD), serve.Serve(GOOD, FAILED), serve.LastFailed(FAILED, GOOD)),
    "failed, none good": (store(KNOWN, FAILED), serve.LastFailed(FAILED), serve.LastFailed(FAILED)),
    "failed, none good, away": (store(AWAY, FAILED), serve.LastFailed(FAILED), serve.Undetermined()),
    "failed, none good, pipeline gone": (
        store(UNKNOWN, FAILED),
        serve.LastFailed(FAILED),
        serve.LastFailed(FAILED),
    ),
    "failed, one runs": (
        replace(store(KNOWN, FAILED), running=RUNS),
        serve.LastFailed(FAILED),
        serve.InProgress(RUNS, 10),
    ),
    "first one runs": (replace(KNOWN, running=RUNS), serve.NoneYet(RUNS, 10), serve.InProgress(RUNS, 10)),
    "first one runs, not synced": (
        replace(AWAY, running=RUNS),
        serve.NoneYet(RUNS, 10),
        serve.InProgress(RUNS, 10),
    ),
    "none ever": (KNOWN, serve.NoneYet(), serve.NoneYet()),
    "none ever, pod down": (replace(KNOWN, is_running=False), serve.NotDeployed(True), serve.NotDeployed(True)),
    "none ever, scaled to nothing": (STOPPED, serve.NotDeployed(), serve.NotDeployed()),
    "unknown": (UNKNOWN, serve.Unknown(), serve.Unknown()),
    "nothing stored, away": (AWAY, serve.Undetermined(), serve.Undetermined()),
    "other ordinal stored, away": (
        replace(AWAY, stored_ordinals=(3,)),
        serve.Undetermined(),
        serve.Undetermined(),
    ),
    "no such ordinal": (
        replace(KNOWN, ordinal=7, is_running=False, stored_ordinals=(3,)),
        serve.NoSuchOrdinal((0, 1, 3)),
        serve.NoSuchOrdinal((0, 1, 3)),
    ),
    "no such ordinal of a gone pipeline": (
        replace(UNKNOWN, ordinal=7, stored_ordinals=(3,)),
        serve.NoSuchOrdinal((3,)),
        serve.NoSuchOrdinal((3,)),
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_without_latest(row: str) -> None:
    facts, expected, _ = ROWS[row]
    assert serve.decide(facts, latest=False, now=100.0) == expected


@pytest.mark.parametrize("row", ROWS)
def test_with_latest(row: str) -> None:
    facts, _, expected = ROWS[row]
    assert serve.decide(facts, latest=True, now=100.0) == expected


FACTS = st.builds(
    serve.ServingState,
    ordinal=st.integers(0, 3),
    is_certain=st.booleans(),
    is_known=st.booleans(),
    ordinals=st.sampled_from([(), (0,), (0, 1)]),
    is_running=st.booleans(),
    running=st.sampled_from([None, RUNS]),
    last_good=st.sampled_from([None, GOOD]),
    last_attempt=st.sampled_from([None, GOOD, FAILED]),
    stored_ordinals=st.sampled_from([(), (0,), (2,)]),
)


@given(FACTS, st.booleans())
def test_an_absent_operator_never_makes_a_404(facts: serve.ServingState, latest: bool) -> None:
    decision = serve.decide(replace(facts, is_certain=False), latest=latest, now=0)
    assert not isinstance(decision, (serve.Unknown, serve.NoSuchOrdinal, serve.NotDeployed))


@given(FACTS)
def test_a_good_profile_is_always_to_be_had_without_latest(facts: serve.ServingState) -> None:
    decision = serve.decide(replace(facts, last_good=GOOD), latest=False, now=0)
    assert isinstance(decision, serve.Serve)
    assert decision.manifest == GOOD


@given(FACTS)
def test_latest_never_serves_while_one_runs_or_after_a_failure(facts: serve.ServingState) -> None:
    decision = serve.decide(facts, latest=True, now=0)
    if facts.running or facts.last_attempt == FAILED:
        assert not isinstance(decision, serve.Serve)


@pytest.mark.parametrize(
    ("candidates", "readable", "asked", "expected"),
    [
        ((), None, None, None),
        (("a",), None, None, "a"),
        (("a",), (), None, None),
        (("a", "b"), ("b", "c"), None, "b"),
        (("b", "a"), None, None, serve.Ambiguous(("a", "b"))),
        (("a", "b", "c"), ("a", "b"), None, serve.Ambiguous(("a", "b"))),
        (("a", "b"), None, "b", "b"),
        (("a", "b"), ("a",), "b", None),
        (("a",), None, "x", None),
    ],
)
def test_which_namespace_a_name_means(
    candidates: tuple[str, ...], readable: tuple[str, ...] | None, asked: str | None, expected: object
) -> None:
    assert serve.decide_namespace(candidates, readable=readable, asked=asked) == expected


@pytest.mark.parametrize(
    ("ends_at", "duration_secs", "expected"),
    [
        (130.0, 30, 30),
        (100.1, 30, 1),
        (100.0, 30, 1),
        (50.0, 30, 1),
        (None, 30, 30),
        (None, 0, 1),
        (1e9, 30, LONGEST_SECS),
    ],
)
def test_retry_after(ends_at: float | None, duration_secs: int, expected: int) -> None:
    assert compute_retry_after(ends_at=ends_at, duration_secs=duration_secs, now=100.0) == expected
