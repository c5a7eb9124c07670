"""The object's status in each phase; transition times change only with the status of a condition."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from samply_operator.model.manifest import Attachment, Quality, StoredFile
from samply_operator.model.profile import ENDED, Failure
from samply_operator.rules.recording import status
from support.samples import NOW, UID, make_entry, make_manifest

ENTRY = make_entry(
    started_at="2027-01-15T08:00:00.000Z", ends_at="2027-01-15T08:00:30.000Z", samply_version="0.13.1", mode="InPlace"
)
FAILURE = Failure("PerfNotPermitted", "no", "do this", "samply said")
STAMP = "2027-01-15T08:00:00Z"
LATER = NOW + 60
LATER_STAMP = "2027-01-15T08:01:00Z"


def conditions(rendered: status.Status) -> dict[str, str]:
    return {c["type"]: c["status"] for c in rendered["conditions"]}


RENDERED = {
    "Pending": status.render_pending({}, "Waiting", "2 recordings run", NOW),
    "Recording": status.render_recording({}, ENTRY, NOW),
    "Collecting": status.render_collecting({}, ENTRY, NOW),
    "Succeeded": status.render_stored({}, make_manifest(), NOW),
    "Failed": status.render_failed({}, FAILURE, NOW),
    "Cancelled": status.render_cancelled({}, "Cancelled.", NOW),
}


@pytest.mark.parametrize(
    ("phase", "expected"),
    [
        ("Pending", {"Finished": "False", "Recording": "False"}),
        ("Recording", {"Finished": "False", "Recording": "True"}),
        ("Collecting", {"Finished": "False", "Recording": "False"}),
        ("Succeeded", {"Finished": "True", "Succeeded": "True", "Recording": "False", "Stored": "True"}),
        ("Failed", {"Finished": "True", "Succeeded": "False", "Recording": "False", "Stored": "False"}),
        ("Cancelled", {"Finished": "True", "Succeeded": "False", "Recording": "False", "Stored": "False"}),
    ],
)
def test_each_phase_has_its_conditions(phase: str, expected: dict[str, str]) -> None:
    """`Finished` is true at every end, so that `kubectl wait` never hangs."""
    rendered = RENDERED[phase]
    assert rendered["phase"] == phase
    assert conditions(rendered) == expected
    assert (expected["Finished"] == "True") is (phase in ENDED)


@pytest.mark.parametrize("phase", RENDERED)
def test_every_condition_is_whole(phase: str) -> None:
    """As the Kubernetes API conventions want it: a reason in CamelCase, a time without fractions."""
    for condition in RENDERED[phase]["conditions"]:
        assert set(condition) == {"type", "status", "reason", "message", "lastTransitionTime"}
        assert condition["lastTransitionTime"] == STAMP
        assert condition["reason"].isidentifier()
        assert condition["reason"][0].isupper()


@pytest.mark.parametrize("phase", RENDERED)
def test_every_status_is_json(phase: str) -> None:
    """It goes to the API server as it is."""
    assert msgspec.json.decode(msgspec.json.encode(RENDERED[phase])) == RENDERED[phase]


def test_transition_times_move_only_on_change() -> None:
    """Recording changes from False to True and back; Finished changes once, at the end."""
    steps = [
        status.render_pending({}, "Waiting", "", NOW),
        status.render_recording({}, ENTRY, NOW),
    ]
    old = steps[0]
    new = status.render_recording(old, ENTRY, LATER)
    moved = {c["type"]: c["lastTransitionTime"] for c in new["conditions"]}
    assert moved == {"Finished": STAMP, "Recording": LATER_STAMP}
    newest = status.render_stored(new, make_manifest(), LATER + 60)
    moved = {c["type"]: c["lastTransitionTime"] for c in newest["conditions"]}
    assert moved["Finished"] == moved["Recording"] == moved["Stored"] == "2027-01-15T08:02:00Z"


def test_the_same_status_again_moves_nothing() -> None:
    """A repeated report after a restart is not a change."""
    first = status.render_failed({}, FAILURE, NOW)
    again = status.render_failed(first, FAILURE, LATER)
    assert again["conditions"] == first["conditions"]


def test_reason_and_message_follow_without_moving_the_time() -> None:
    """Pending for another reason is still pending."""
    first = status.render_pending({}, "Waiting", "2 run", NOW)
    second = status.render_pending(first, "Waiting", "3 run", LATER)
    assert {c["message"] for c in second["conditions"]} == {"3 run"}
    assert {c["lastTransitionTime"] for c in second["conditions"]} == {STAMP}


def test_conditions_of_others_stay_and_keep_their_place() -> None:
    """Merge patches replace lists, so the whole list is written each time."""
    foreign = {"type": "Audited", "status": "True", "reason": "X", "message": "", "lastTransitionTime": "t"}
    rendered = status.render_recording({"conditions": [foreign]}, ENTRY, NOW)
    assert rendered["conditions"][0] == foreign
    assert [c["type"] for c in rendered["conditions"]] == ["Audited", "Finished", "Recording"]


def test_rendering_leaves_the_old_status_as_it_was() -> None:
    """It is shared with the world as last seen."""
    old: dict[str, Any] = status.render_pending({}, "Waiting", "", NOW)
    before = msgspec.json.encode(old)
    status.render_stored(old, make_manifest(), LATER)
    assert msgspec.json.encode(old) == before


def test_a_recording_says_its_target_its_times_and_who_asked() -> None:
    """The requester is unknown with kubectl."""
    rendered = status.render_known(ENTRY)
    assert rendered["target"] == {
        "pod": ENTRY.pod, "podUid": ENTRY.pod_uid, "container": "pipeline", "containerId": ENTRY.container_id,
        "node": "node-1", "pid": 7, "mode": "InPlace", "samplyVersion": "0.13.1",
    }  # fmt: skip
    assert (rendered["startedAt"], rendered["endsAt"]) == (ENTRY.started_at, ENTRY.ends_at)
    assert rendered["requestedBy"] == "unknown"
    asked = make_entry(requested_by="system:serviceaccount:x:y")
    assert status.render_known(asked)["requestedBy"] == asked.requested_by


def test_the_status_has_all_that_the_journal_has_in_every_phase() -> None:
    """Also by a process that found it there: the columns of `kubectl get` have no holes."""
    entry = make_entry(
        preflight={"verdict": "Go"}, started_at="2027-01-15T08:00:00.000Z", ends_at="2027-01-15T08:00:30.000Z"
    )
    assert status.render_known(entry).keys() >= {"target", "startedAt", "endsAt", "requestedBy", "preflight"}
    assert status.render_known(make_entry(started_at="", pod="", preflight={})).keys() <= {"requestedBy", "target"}


def test_a_stored_profile_is_described_in_full() -> None:
    """Size, hash and quality; unknown facts are left out; an older failure is removed."""
    quality = Quality(
        samples=4000,
        threads=3,
        coverage=0.98,
        cpu_secs=4.1,
        lost_events=0,
        unresolved_percent=1.5,
        symbolicated=True,
        unresolved_by_library={"libc.so.6": 3.0},
    )
    rendered = status.render_stored({}, make_manifest(quality=quality), NOW)
    assert rendered["profile"] == {
        "id": UID, "sizeBytes": 1234, "rawBytes": 9999, "sha256": "ab" * 32, "samples": 4000, "threads": 3,
        "coverage": 0.98, "cpuSeconds": 4.1, "lostEvents": 0, "unresolvedPercent": 1.5,
        "unresolvedByLibrary": {"libc.so.6": 3.0}, "symbolicated": True,
    }  # fmt: skip
    assert rendered["failure"] is None
    assert rendered["warnings"] == ["a warning"]
    assert rendered["conditions"][0]["reason"] == "Stored"


def test_attachments_are_listed_with_their_size_or_with_what_they_lack() -> None:
    attached = (Attachment("Stats", "s.gz", StoredFile(7, "00"), STAMP), Attachment("HeapProfile", problem="none here"))
    assert status.render_stored({}, make_manifest(attachments=attached), NOW)["attachments"] == [
        {"kind": "Stats", "name": "s.gz", "sizeBytes": 7, "takenAt": STAMP},
        {"kind": "HeapProfile", "problem": "none here"},
    ]
    assert "attachments" not in status.render_stored({}, make_manifest(), NOW)


def test_what_is_not_known_of_a_profile_is_left_out() -> None:
    """A zero is a fact, None isn't."""
    assert status.render_quality(Quality(samples=0)) == {"samples": 0}


def test_a_verdict_is_the_reason_of_the_success() -> None:
    """`kubectl get` distinguishes an idle pipeline from a busy one."""
    rendered = status.render_stored({}, make_manifest(quality=Quality(samples=1, verdict="Idle")), NOW)
    assert {c["reason"] for c in rendered["conditions"]} == {"Idle"}
    assert rendered["profile"]["verdict"] == "Idle"


def test_a_stored_profile_without_a_file_is_a_defect() -> None:
    """It is never reported as a success."""
    with pytest.raises(ValueError, match="has a file"):
        status.render_stored({}, make_manifest(file=None), NOW)


def test_a_failure_is_reported_in_full() -> None:
    """Reason, message, cure and samply's own words."""
    rendered = RENDERED["Failed"]
    assert rendered["failure"] == {
        "reason": "PerfNotPermitted", "message": "no", "remedy": "do this", "log": "samply said"
    }  # fmt: skip
    assert rendered["finishedAt"] == "2027-01-15T08:00:00.250Z"


def test_long_messages_are_cut() -> None:
    """The API server refuses more than 32 KiB in a condition; people read less."""
    rendered = status.render_failed({}, Failure("X", "m" * 5000), NOW)
    assert len(rendered["message"]) == 1024
    assert {len(c["message"]) for c in rendered["conditions"]} == {1024}


def test_a_preflight_that_passed_is_a_success_with_nothing_stored() -> None:
    """Its warnings are its answer."""
    rendered = status.render_preflight_passed({}, ENTRY, ("careful",), NOW)
    assert rendered["phase"] == "Succeeded"
    assert conditions(rendered) == {"Finished": "True", "Succeeded": "True", "Recording": "False", "Stored": "False"}
    assert rendered["warnings"] == ["careful"]
    assert "profile" not in rendered
