"""SamplyProfile objects: apply, wait, stop, delete; each refusal with its reason, message and remedy."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import pytest

from cluster import pipelines, profiles
from cluster.pipelines import Pipeline
from cluster.release import Install, Service
from samply_operator.model import names
from support import kubectl

pytestmark = pytest.mark.cluster

COLUMNS = [
    "NAME", "PIPELINE", "ORDINAL", "PHASE", "DURATION", "SAMPLES", "COVERAGE", "VERDICT", "SIZE", "REASON",
    "CHANGE", "AGE",
]  # fmt: skip


def read_line(pipeline: Pipeline, name: str) -> dict[str, str]:
    """What `kubectl get sprof NAME` prints, by column: cells are where their titles are."""
    header, line = kubectl.succeed("-n", pipeline.namespace, "get", "sprof", name).splitlines()
    starts = [match.start() for match in re.finditer(r"\S+", header)]
    ends = [*starts[1:], None]
    cells = [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]
    return dict(zip(header.split(), cells, strict=True))


def secs_between(first: str, second: str) -> float:
    return (datetime.fromisoformat(second) - datetime.fromisoformat(first)).total_seconds()


def test_a_profile_is_applied_awaited_and_listed(pipeline: Pipeline) -> None:
    """`kubectl apply` and `kubectl wait` are enough; object, printed line and Events report the result."""
    name = profiles.make(pipeline, ordinal=1)
    profiles.wait(pipeline, name, "Recording", timeout=20)
    assert (line := read_line(pipeline, name))["PHASE"] == "Recording", line
    profile = profiles.wait_succeeded(pipeline, name)
    status, stored = profile["status"], profile["status"]["profile"]
    assert profiles.conditions(status) == {
        "Finished": "True",
        "Succeeded": "True",
        "Recording": "False",
        "Stored": "True",
    }
    pod = pipeline.get_pod(1)
    assert (status["target"]["pod"], status["target"]["podUid"]) == (pipeline.pod(1), pod["metadata"]["uid"])
    assert status["target"]["containerId"] == pod["status"]["containerStatuses"][0]["containerID"]
    assert status["requestedBy"] == "unknown"
    assert 3 <= secs_between(status["startedAt"], status["finishedAt"]) < 30
    assert stored["symbolicated"], stored
    assert "verdict" not in stored, stored
    assert stored["coverage"] > 0.75, stored
    line = read_line(pipeline, name)
    assert list(line) == COLUMNS
    assert (line["PIPELINE"], line["ORDINAL"], line["PHASE"], line["DURATION"]) == ("demo", "1", "Succeeded", "3")
    assert (line["SAMPLES"], line["SIZE"]) == (str(stored["samples"]), str(stored["sizeBytes"]))
    assert line["REASON"] == ""
    profiles.wait_event(pipeline.namespace, name, "Stored")
    text = kubectl.succeed("-n", pipeline.namespace, "describe", "sprof", name)
    events = text.partition("\nEvents:")[2]
    assert re.search(rf"Normal\s+Recording\s.*samply records {pipeline.pod(1)} for 3 s", events), text
    assert re.search(r"Normal\s+Stored\s.*samples, coverage \d+%, \d+ bytes are stored", events), text
    # The pod is the session's: other tests' profiles left their Events on it too.
    kubectl.poll(
        lambda: [e for e in profiles.find_events(pipeline.namespace, pipeline.pod(1), "Stored") if e.startswith(name)],
        timeout=15,
        what=f"an Event Stored of {name} on its pod",
    )


@pytest.mark.parametrize(
    ("spec", "reason", "says"),
    [
        ({"pipeline": "nowhere"}, "UnknownPipeline", "There is no pipeline 'nowhere' in namespace"),
        ({"ordinal": 7}, "UnknownOrdinal", "Pipeline 'demo' has no ordinal 7; it has: 0, 1."),
        ({"container": "other"}, "UnknownContainer", "has no container 'other'; it has: pipeline."),
    ],
    ids=["pipeline", "ordinal", "container"],
)
def test_unknown_pipelines_and_ordinals(spec: dict[str, Any], reason: str, says: str, pipeline: Pipeline) -> None:
    """An unknown pipeline, ordinal or container fails at once and lists those that exist; line and Event say so."""
    name = profiles.make(pipeline, **spec)
    failure = profiles.wait_failed(pipeline, name, reason, timeout=10)
    assert says in failure["message"]
    line = read_line(pipeline, name)
    assert (line["PHASE"], line["REASON"]) == ("Failed", reason)
    assert failure["message"] in profiles.wait_event(pipeline.namespace, name, reason)


def test_one_recording_per_target(pipeline: Pipeline, service: Service) -> None:
    """A second recording of the same target is refused, and the first one isn't harmed; another ordinal is free."""
    first = profiles.make(pipeline, durationSeconds=6)
    profiles.wait(pipeline, first, "Recording", timeout=20)
    second, other = profiles.make(pipeline), profiles.make(pipeline, ordinal=1)
    failure = profiles.wait_failed(pipeline, second, "AlreadyRecording", timeout=10)
    assert f"{first} already records container pipeline of {pipeline.pod(0)}" in failure["message"]
    profiles.wait_succeeded(pipeline, other)
    stored = profiles.wait_succeeded(pipeline, first)
    assert stored["status"]["profile"]["coverage"] > 0.75
    # A refusal is no attempt: it doesn't stand between a caller and the profile.
    assert service.profile(pipeline.name, "?latest=true").headers["etag"].strip('"') == profile_sha(stored)


def profile_sha(profile: profiles.Object) -> str:
    found: str = profile["status"]["profile"]["sha256"]
    return found


def test_two_at_the_same_instant(pipeline: Pipeline) -> None:
    """Of several objects for one target that are made by one command exactly one records."""
    items = [
        {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"generateName": "same-", "labels": {"test": "same"}},
            "spec": {"pipeline": pipeline.name, "durationSeconds": 3},
        }
        for _ in range(4)
    ]
    body = {"apiVersion": "v1", "kind": "List", "items": items}
    kubectl.succeed("-n", pipeline.namespace, "create", "-f", "-", body=body)
    where = ("-n", pipeline.namespace, "sprof", "-l", "test=same")
    kubectl.succeed("wait", *where, "--for=condition=Finished", "--timeout=60s")
    found = kubectl.get(*where)["items"]
    reasons = sorted(item["status"].get("failure", {}).get("reason", "") for item in found)
    assert reasons == ["", "AlreadyRecording", "AlreadyRecording", "AlreadyRecording"]


def test_the_spec_is_immutable(pipeline: Pipeline) -> None:
    """A spec can't be edited during its recording: the API server says to create a new object."""
    name = profiles.make(pipeline)
    done = kubectl.run(
        *("-n", pipeline.namespace, "patch", "sprof", name, "--type=merge", "-p", '{"spec": {"durationSeconds": 9}}')
    )
    assert "spec can't be changed: make a new SamplyProfile" in done.stderr
    assert profiles.wait_succeeded(pipeline, name)["spec"]["durationSeconds"] == 3


def test_a_preflight_records_nothing(pipeline: Pipeline, service: Service) -> None:
    """preflightOnly says that it would work, stores nothing, and is no attempt."""
    before = service.list_stored(pipeline.name)
    name = profiles.make(pipeline, preflightOnly=True)
    profile = profiles.wait(pipeline, name, timeout=20)
    status = profile["status"]
    assert (status["phase"], status["message"]) == ("Succeeded", "A recording would work; nothing was recorded.")
    assert profiles.conditions(status)["Stored"] == "False"
    assert "profile" not in status
    assert service.list_stored(pipeline.name) == before
    assert service.stored(pipeline.name, profiles.uid_of(profile)).status == 404


def test_a_preflight_finds_what_is_missing(install: Install) -> None:
    """A pipeline without samply: the preflight fails with the cure, and no attempt is remembered."""
    bare = pipelines.start(install.namespace, "bare-preflight", image=pipelines.BARE_IMAGE, replicas=1)
    bare.wait_ready()
    failure = profiles.wait_failed(bare, profiles.make(bare, preflightOnly=True), "SamplyNotFound", timeout=20)
    assert "Install samply" in failure["remedy"]
    with install.open() as service:
        assert service.profile(bare.name).problem()[:2] == (400, "NoSamplyProfile")
    bare.wait_untouched()
    bare.delete()


def test_stopped_early_and_kept(pipeline: Pipeline, service: Service) -> None:
    """The stop annotation ends a recording now: what was sampled so far is a good profile of its real length."""
    name = profiles.make(pipeline, durationSeconds=60)
    began = profiles.wait(pipeline, name, "Recording", timeout=20)["status"]["startedAt"]
    kubectl.succeed("-n", pipeline.namespace, "annotate", "sprof", name, f"{names.STOP}=keep")
    profile = profiles.wait_succeeded(pipeline, name, timeout=30)
    stored = profile["status"]["profile"]
    assert secs_between(began, profile["status"]["finishedAt"]) < 30
    assert stored["cpuSeconds"] < 20
    served = service.stored(pipeline.name, profiles.uid_of(profile), "/profile")
    assert (served.status, len(served.body)) == (200, stored["sizeBytes"])


def test_deleted_while_it_records(pipeline: Pipeline, service: Service) -> None:
    """Deleting the object cancels: no process, no file, no stopped target within seconds; no profile, no attempt."""
    before = service.list_stored(pipeline.name)
    name = profiles.make(pipeline, durationSeconds=60)
    profile = profiles.wait(pipeline, name, "Recording", timeout=20)
    pipeline.wait_samply()
    profiles.delete(pipeline, name)
    pipeline.wait_untouched(timeout=10)
    assert service.stored(pipeline.name, profiles.uid_of(profile)).status == 404
    kubectl.poll(
        lambda: service.profile(pipeline.name, "?latest=true").status != 204, timeout=5, what="it counts as ended"
    )
    assert service.list_stored(pipeline.name) == before


def test_deleted_before_it_records(pipeline: Pipeline) -> None:
    """Deleted in the very moment it was made: whatever was under way is undone."""
    for _ in range(3):
        profiles.delete(pipeline, profiles.make(pipeline, ordinal=1, durationSeconds=60))
    name = profiles.make(pipeline, ordinal=1)
    kubectl.poll(
        lambda: profiles.get(pipeline, name).get("status", {}).get("phase"), timeout=20, what=f"{name} was looked at"
    )
    profile = profiles.wait(pipeline, name)
    reason = profile["status"].get("failure", {}).get("reason")
    assert (profiles.phase_of(profile), reason) in {("Succeeded", None), ("Failed", "AlreadyRecording")}, profiles.show(
        profile
    )
    pipeline.wait_untouched(1, timeout=10)


def test_deleted_after_its_end(pipeline: Pipeline, service: Service) -> None:
    """Deleting an ended object drops its file; the profile before it is the last one again."""
    older = profiles.wait_succeeded(pipeline, profiles.make(pipeline))
    newer = profiles.wait_succeeded(pipeline, profiles.make(pipeline))
    uid = profiles.uid_of(newer)
    assert service.profile(pipeline.name).headers["etag"] == f'"{profile_sha(newer)}"'
    profiles.delete(pipeline, profiles.name_of(newer))
    kubectl.poll(
        lambda: service.stored(pipeline.name, uid, "/profile").status == 404, timeout=10, what="the file is gone"
    )
    assert service.profile(pipeline.name).headers["etag"] == f'"{profile_sha(older)}"'


def test_a_status_that_somebody_else_wrote_is_not_trusted(pipeline: Pipeline, service: Service) -> None:
    """A user who may write status can't forge a stored profile: only the volume determines what is served."""
    name = profiles.make(pipeline, pipeline="nowhere")
    profiles.wait_failed(pipeline, name, "UnknownPipeline")
    forged = {"status": {"phase": "Succeeded", "profile": {"id": "x", "sha256": "0" * 64, "sizeBytes": 1}}}
    kubectl.run(
        *("-n", pipeline.namespace, "patch", "sprof", name, "--type=merge", "--subresource=status"),
        *("-p", json.dumps(forged)),
    )
    uid = profiles.uid_of(profiles.get(pipeline, name))
    assert service.stored(pipeline.name, uid).status == 404
