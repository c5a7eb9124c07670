"""The final status of an object by its stored manifest, and when an object expires."""

from __future__ import annotations

from typing import Any

import pytest

from samply_operator.model import names
from samply_operator.model.profile import Failure
from samply_operator.rules import times
from samply_operator.rules.recording import final_status
from support.samples import NOW, make_manifest, make_profile

DAY = 86_400.0


def test_a_good_manifest_is_reported_as_stored() -> None:
    """Whatever the object said before."""
    rendered = final_status.choose_render(make_manifest(), NOW)({"phase": "Pending"})
    assert rendered["phase"] == "Succeeded"


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(Failure("PodDeleted", "gone"), "PodDeleted"), (None, "InternalError")],
    ids=["told", "its reason was lost"],
)
def test_a_failed_manifest_is_reported_as_failed(failure: Failure | None, reason: str) -> None:
    """With its reason, or that it was lost."""
    manifest = make_manifest(outcome="Failed", file=None, failure=failure)
    rendered = final_status.choose_render(manifest, NOW)({})
    assert (rendered["phase"], rendered["failure"]["reason"]) == ("Failed", reason)


def ended(age_secs: float = 2 * DAY, **changes: Any) -> dict[str, Any]:
    return {"phase": "Failed", "finishedAt": times.format_time(NOW - age_secs)} | changes


@pytest.mark.parametrize(
    ("status", "annotations", "is_expired"),
    [
        pytest.param(ended(), {}, True, id="failed long ago"),
        pytest.param(ended(phase="Cancelled"), {}, True, id="cancelled long ago"),
        pytest.param(ended(phase="Succeeded"), {}, True, id="a preflight long ago"),
        pytest.param(ended(DAY - 1), {}, False, id="not yet"),
        pytest.param(ended(-DAY), {}, False, id="in the future: a clock that was wrong"),
        pytest.param(ended(phase="Succeeded", profile={"id": "x"}), {}, False, id="owns a stored profile"),
        pytest.param(
            ended(phase="Succeeded", profile={"id": "x", "removedAt": times.format_time(NOW - 2 * DAY)}),
            {},
            True,
            id="its profile was removed long ago",
        ),
        pytest.param(
            ended(9 * DAY, phase="Succeeded", profile={"id": "x", "removedAt": times.format_time(NOW - DAY + 1)}),
            {},
            False,
            id="its profile was removed lately",
        ),
        pytest.param(ended(), {names.PIN: ""}, False, id="pinned"),
        pytest.param(ended(phase="Recording"), {}, False, id="not ended"),
        pytest.param({}, {}, False, id="no status"),
        pytest.param({"phase": "Failed"}, {}, False, id="no time of its end"),
        pytest.param(ended(finishedAt="yesterday"), {}, False, id="an invalid time"),
        pytest.param(ended(finishedAt=None), {}, False, id="null"),
    ],
)
def test_an_object_expires(status: dict[str, Any], annotations: dict[str, str], is_expired: bool) -> None:
    """Only when it has ended, owns nothing, isn't pinned, and its time is over."""
    profile = make_profile(status=status, phase=status.get("phase"), annotations=annotations)
    assert final_status.is_expired(profile, NOW, DAY) is is_expired
