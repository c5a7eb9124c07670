"""Valid default values for tests: pods, StatefulSets, SamplyProfiles, journal entries and manifests.

Each takes changes as keywords, so that a test names only what it is about.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from samply_operator.model.manifest import JournalEntry, Manifest, Quality, StoredFile
from samply_operator.model.pipeline import Container, Pod, StatefulSet
from samply_operator.model.profile import SamplyProfile, Spec, Status
from samply_operator.model.trigger import SamplyTrigger, TriggerSpec, TriggerStatus

LABELS = {"app.kubernetes.io/name": "feldera-pipeline"}
UID = "11111111-2222-4333-8444-555555555555"
OTHER_UID = "99999999-2222-4333-8444-555555555555"
REQUEST = "0a1b2c3d-4e5f-4a6b-8c7d-0123456789ab"
NOW = 1_800_000_000.25
"""2027-01-15T08:00:00.250Z"""


def make_pod(name: str = "pipeline-a-0", **changes: Any) -> Pod:
    pod = Pod(
        namespace="prod",
        name=name,
        uid=f"uid-of-{name}",
        phase="Running",
        node="node-1",
        owner=name.rpartition("-")[0],
        containers=(Container("pipeline", f"containerd://{name}", is_running=True),),
        labels=LABELS,
    )
    return replace(pod, **changes)


def make_set(name: str = "pipeline-a", **changes: Any) -> StatefulSet:
    found = StatefulSet("prod", name, f"uid-of-{name}", replicas=1, template_labels=LABELS, labels=LABELS)
    return replace(found, **changes)


def make_profile(**changes: Any) -> SamplyProfile:
    """`status` as it is in JSON; `phase` goes into it."""
    told = changes.pop("status", {}) | ({"phase": changes.pop("phase")} if "phase" in changes else {})
    profile = SamplyProfile(
        "prod",
        "p-1",
        UID,
        changes.pop("spec", Spec("a")),
        created_at="2027-01-15T07:59:59Z",
        status=msgspec.convert(told, Status),
    )
    return replace(profile, **changes)


def make_trigger(**changes: Any) -> SamplyTrigger:
    """Every five minutes, pipeline a; `when` and other fields of the spec as in JSON."""
    fields = {name: changes.pop(name) for name in list(changes) if name not in OBJECT_FIELDS}
    spec = {"pipelines": {"names": ["a"]}, "when": {"schedule": {"every": "5m"}}} | fields
    trigger = SamplyTrigger(
        "prod",
        "t-1",
        "uid-of-t-1",
        "2027-01-15T07:00:00Z",
        msgspec.convert(spec, TriggerSpec),
        status=msgspec.convert(changes.pop("status", {}), TriggerStatus),
    )
    return replace(trigger, **changes)


OBJECT_FIELDS = {"namespace", "name", "uid", "created_at", "generation", "status", "labels", "fault"}


def make_entry(**changes: Any) -> JournalEntry:
    entry = JournalEntry(
        id=UID,
        namespace="prod",
        name="p-1",
        pipeline="a",
        ordinal=0,
        step="Recording",
        pod="pipeline-a-0",
        pod_uid="uid-of-pipeline-a-0",
        container="pipeline",
        container_id="containerd://pipeline-a-0",
        folder="/tmp/.samply-operator-x",
        duration_secs=30,
        rate_hz=1000,
        requested_at="2027-01-15T07:59:59.000Z",
        admitted_at="2027-01-15T08:00:00.000Z",
        node="node-1",
        pid=7,
    )
    return msgspec.structs.replace(entry, **changes)


def make_manifest(**changes: Any) -> Manifest:
    manifest = Manifest(
        id=UID,
        namespace="prod",
        name="p-1",
        pipeline="a",
        ordinal=0,
        outcome="Succeeded",
        requested_at="2027-01-15T07:59:59.000Z",
        started_at="2027-01-15T08:00:00.000Z",
        finished_at="2027-01-15T08:00:31.000Z",
        file=StoredFile(size_bytes=1234, sha256="ab" * 32, crc32=1, raw_bytes=9999),
        quality=Quality(samples=4000, coverage=0.98),
        warnings=("a warning",),
    )
    return msgspec.structs.replace(manifest, **changes)
