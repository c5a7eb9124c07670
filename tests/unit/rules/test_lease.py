"""Who may hold a target's Lease: one recording for each target, even with two operators."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from samply_operator.model import names
from samply_operator.rules import times
from samply_operator.rules.recording import lease
from samply_operator.rules.recording.lease import Lease, Leave, Refuse, Take, Wait
from samply_operator.settings import Recording
from support.samples import NOW, OTHER_UID, UID, make_entry

OURS, THEIRS = "feldera/samply-operator", "other/samply-operator"
LIMITS = Recording(attach_deadline_secs=30, finish_deadline_secs=300)


def held(by: str = THEIRS, *, profile_id: str = OTHER_UID, renewed: float = -5, duration: float = 60) -> Lease:
    return Lease(by, profile_id, NOW + renewed, duration, "7")


@pytest.mark.parametrize(
    ("found", "unchanged_secs", "decision"),
    [
        pytest.param(held(OURS), 0, Take(), id="our own, of an earlier process"),
        pytest.param(held(""), 0, Take(), id="released"),
        pytest.param(held(), 0, Refuse(THEIRS, "l"), id="another operator records the target"),
        pytest.param(held(), 10**6, Refuse(THEIRS, "l"), id="it is silent, but its samply may still run"),
        pytest.param(held(renewed=-61), 0, Wait(THEIRS), id="it looks abandoned"),
        pytest.param(held(renewed=-61), 29, Wait(THEIRS), id="still"),
        pytest.param(held(renewed=-61), 30, Take(), id="it is abandoned"),
        pytest.param(held(profile_id=UID), 0, Leave(THEIRS), id="another operator records this object"),
        pytest.param(held(profile_id=UID, renewed=-61), 29, Leave(THEIRS), id="it may come back"),
        pytest.param(held(profile_id=UID, renewed=-61), 30, Take(), id="it won't"),
        pytest.param(held(renewed=10**6), 10**6, Refuse(THEIRS, "l"), id="its clock is far ahead"),
        pytest.param(held(renewed=-(10**6)), 0, Wait(THEIRS), id="its clock is far behind, and it may be alive"),
        pytest.param(held(renewed=-(10**6)), 9.9, Wait(THEIRS), id="it renews: never unchanged for long"),
    ],
)
def test_decisions_about_a_lease(found: Lease, unchanged_secs: float, decision: lease.Decision) -> None:
    """A foreign one is taken only if its holder is silent by our clock and its recording has ended by its own."""
    assert (
        lease.decide(found, name="l", holder=OURS, profile_id=UID, unchanged_secs=unchanged_secs, now=NOW) == decision
    )


def test_a_refusal_names_the_holder_and_the_lease() -> None:
    """So that the mistake can be found."""
    failure = Refuse(THEIRS, "samply-x").failure
    assert failure.reason == "AlreadyRecording"
    assert THEIRS in failure.message
    assert "samply-x" in failure.message
    assert THEIRS in Wait(THEIRS).message


@pytest.mark.parametrize(
    ("entry", "secs"),
    [
        pytest.param({"duration_secs": 30}, 30 + 30 + 300, id="not begun"),
        pytest.param({"duration_secs": 30, "ends_at": times.format_time(NOW + 7.5)}, 308, id="under way"),
        pytest.param({"duration_secs": 30, "ends_at": times.format_time(NOW - 290)}, 30, id="never less than silence"),
    ],
)
def test_it_lasts_until_samply_is_surely_gone(entry: dict[str, Any], secs: int) -> None:
    """Even if no operator ever comes back."""
    assert lease.compute_duration(make_entry(**entry), LIMITS, NOW) == secs


def test_what_is_written_is_read_back() -> None:
    """It is owned by the pod, and deleted with it."""
    entry = make_entry(lease=lease.build_name("uid", "pipeline"))
    raw = lease.render(entry, OURS, 360, NOW, version="3")
    assert lease.parse(raw) == Lease(OURS, UID, NOW, 360, "3")
    assert raw["metadata"]["name"] == "samply-uid-pipeline"
    assert raw["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": entry.pod, "uid": entry.pod_uid}
    ]
    assert raw["metadata"]["annotations"] == {names.HELD_FOR: UID}
    again = lease.render(entry, OURS, 360, NOW + 10, acquired_at=raw["spec"]["acquireTime"])
    assert again["spec"]["acquireTime"] == raw["spec"]["acquireTime"]
    assert again["spec"]["renewTime"] > raw["spec"]["renewTime"]
    assert "resourceVersion" not in again["metadata"]


@pytest.mark.parametrize("raw", [{}, {"metadata": None, "spec": None}, {"spec": {"renewTime": "yesterday"}}])
def test_an_invalid_lease_counts_as_expired(raw: dict[str, Any]) -> None:
    """It never causes an error."""
    assert lease.parse(raw) == Lease("", "", 0.0, 0.0, "")


@pytest.mark.parametrize(
    ("changes", "is_to_be_taken"),
    [
        pytest.param({"step": "Admitted"}, True, id="unknown whether it was requested"),
        pytest.param({"step": "Admitted", "stop": "keep"}, True, id="it would record"),
        pytest.param({"step": "Admitted", "stop": "discard"}, False, id="cancelled: nothing will start"),
        pytest.param({"step": "Admitted", "outcome": "Failed"}, False, id="ended: nothing will start"),
        pytest.param({"step": "Admitted", "lease": ""}, False, id="a preflight"),
        pytest.param({"step": "Launching"}, False, id="samply may be there: it is never given up"),
        pytest.param({"step": "Recording"}, False, id="samply is there"),
    ],
)
def test_after_a_kill_a_recording_that_has_not_begun_needs_its_lease_first(
    changes: dict[str, Any], is_to_be_taken: bool
) -> None:
    entry = msgspec.structs.replace(make_entry(), **{"lease": "samply-x", **changes})
    assert lease.is_to_be_taken(entry) == is_to_be_taken
