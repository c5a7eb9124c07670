"""The response to `ordinal=all`, as a table of the responses for each ordinal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from samply_operator.errors import NoSamplyProfile, PipelineNotDeployed, ProfilingInProgress, SamplyOperatorError
from samply_operator.rules.serving import serve, serve_all

from .test_serve import AWAY, FAILED, GOOD, KNOWN, RUNS, STOPPED, UNKNOWN, store

FRESH = store(KNOWN, GOOD, GOOD)
BEHIND = store(KNOWN, FAILED, GOOD)
BROKEN = store(KNOWN, FAILED)
BUSY = replace(FRESH, running=RUNS)
LATER = replace(FRESH, running=replace(RUNS, ends_at=150.0))
STORED = replace(store(AWAY, GOOD, GOOD), is_certain=False)


def place(*facts: serve.ServingState) -> list[serve.ServingState]:
    return [replace(each, ordinal=ordinal) for ordinal, each in enumerate(facts)]


ROWS = {
    "all there": ((FRESH, FRESH), serve_all.ServeAll((GOOD, GOOD)), serve_all.ServeAll((GOOD, GOOD))),
    "one is missing": ((FRESH, KNOWN), serve_all.ServeAll((GOOD,), (1,)), serve_all.ServeAll((GOOD,), (1,))),
    "two run": ((BUSY, LATER, KNOWN), serve_all.ServeAll((GOOD, GOOD), (2,)), serve.InProgress(LATER.running, 50)),
    "one failed after a good one": (
        (FRESH, BEHIND),
        serve_all.ServeAll((GOOD, GOOD), (), (FAILED,)),
        serve.LastFailed(FAILED, GOOD),
    ),
    "one only failed": ((FRESH, BROKEN), serve_all.ServeAll((GOOD,), (1,)), serve.LastFailed(FAILED)),
    "all only failed": ((BROKEN, BROKEN), serve.LastFailed(FAILED), serve.LastFailed(FAILED)),
    "never taken": ((KNOWN, KNOWN), serve.NoneYet(), serve.NoneYet()),
    "unknown": ((UNKNOWN,), serve.Unknown(), serve.Unknown()),
    "no pods": ((STOPPED,), serve.NotDeployed(), serve.NotDeployed()),
    "away": ((STORED, STORED), serve_all.ServeAll((GOOD, GOOD)), serve.Undetermined()),
    "away, nothing stored": ((AWAY,), serve.Undetermined(), serve.Undetermined()),
}


@pytest.mark.parametrize("row", ROWS)
def test_the_table(row: str) -> None:
    """Once for clients that take what is available, once for those that prefer to wait."""
    facts, at_once, latest = ROWS[row]
    assert serve_all.decide_all(place(*facts), latest=False, now=100.0) == at_once
    assert serve_all.decide_all(place(*facts), latest=True, now=100.0) == latest


@pytest.mark.parametrize(
    ("seen", "stored", "expected"),
    [((0, 1), (0, 1, 2), (0, 1)), ((1, 0), (), (0, 1)), ((), (3, 2), (2, 3)), ((), (), (0,))],
    ids=["scaled down", "nothing stored", "gone", "nothing"],
)
def test_which_ordinals_are_meant(seen: tuple[int, ...], stored: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Those of now; an old profile of one that was scaled away isn't mixed with the new ones."""
    assert serve_all.choose_ordinals(seen, stored) == expected


BUSY_ERROR = ProfilingInProgress("busy")
GONE_ERROR = PipelineNotDeployed("gone")
NONE_ERROR = NoSamplyProfile("none")


@pytest.mark.parametrize(
    ("refusals", "expected"),
    [
        ([BUSY_ERROR], BUSY_ERROR),
        ([BUSY_ERROR, GONE_ERROR], GONE_ERROR),
        ([GONE_ERROR, NONE_ERROR], GONE_ERROR),
    ],
    ids=["all busy", "one gone", "the first"],
)
def test_which_refusal_stands_for_all(refusals: list[SamplyOperatorError], expected: SamplyOperatorError) -> None:
    """409 only where patience alone helps."""
    assert serve_all.pick_refusal(refusals) is expected
