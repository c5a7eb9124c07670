"""One recording per target, even with two operators by mistake: who may hold a target's Lease.

Each operator renews the Leases of its recordings. Another operator's Lease is taken over only when its holder is silent
(by our own clock, since its last observed change, as in leader election) and its recording must be over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from samply_operator.model import names
from samply_operator.model.manifest import JournalEntry
from samply_operator.model.profile import Failure
from samply_operator.rules import times
from samply_operator.rules.recording import failures
from samply_operator.settings import Recording

API_VERSION = "coordination.k8s.io/v1"
RENEW_SECS = 10.0
SILENT_SECS = 3 * RENEW_SECS
"""A holder that has not renewed its Lease for this long is gone."""


@dataclass(frozen=True, slots=True)
class Lease:
    """As observed. `version` changes with each renewal."""

    holder: str
    profile_id: str
    renewed_at: float
    duration_secs: float
    version: str


@dataclass(frozen=True, slots=True)
class Take:
    """The Lease is ours or free."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Another operator records this object and writes its status."""

    holder: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Its holder seems to be gone; certainty takes a while."""

    holder: str

    @property
    def message(self) -> str:
        return f"The target is held by {self.holder}, which seems to be gone; its Lease will be taken over soon."


@dataclass(frozen=True, slots=True)
class Refuse:
    holder: str
    lease: str

    @property
    def failure(self) -> Failure:
        return failures.build_failure(
            "AlreadyRecording",
            f"Another operator, {self.holder}, records this target (Lease {self.lease}). Two operators that watch the "
            "same namespace are most likely a mistake.",
        )


Decision = Take | Leave | Wait | Refuse


def decide(
    lease: Lease, *, name: str, holder: str, profile_id: str, unchanged_secs: float, now: float
) -> Take | Leave | Wait | Refuse:
    """`unchanged_secs`: seconds since the last observed change."""
    if lease.holder in {"", holder}:
        return Take()
    is_silent = unchanged_secs >= SILENT_SECS
    is_over = lease.renewed_at + lease.duration_secs <= now
    if is_silent and is_over:
        return Take()
    if lease.profile_id == profile_id:
        return Leave(lease.holder)
    return Wait(lease.holder) if is_over else Refuse(lease.holder, name)


def is_to_be_taken(entry: JournalEntry) -> bool:
    """True if a process that finds this entry in its journal must acquire the Lease before it continues: samply was not
    started, and the writer may have been killed before it checked the holder."""
    return bool(entry.lease) and entry.step == "Admitted" and not entry.outcome and entry.stop != "discard"


def build_name(pod_uid: str, container: str) -> str:
    """The name of the only Lease for this container of this pod."""
    return f"samply-{pod_uid}-{container}"


def compute_duration(entry: JournalEntry, settings: Recording, now: float) -> int:
    """Seconds until samply must have ended in the pod, even if no operator returns."""
    if entry.ends_at:
        left = times.parse_time(entry.ends_at) - now
    else:
        left = settings.attach_deadline_secs + entry.duration_secs
    return math.ceil(max(SILENT_SECS, left + settings.finish_deadline_secs))


def parse(raw: Mapping[str, Any]) -> Lease:
    """Others may have written it: an unreadable time counts as long ago."""
    meta, spec = raw.get("metadata") or {}, raw.get("spec") or {}
    try:
        renewed_at = times.parse_time(spec.get("renewTime") or "")
    except ValueError:
        renewed_at = 0.0
    return Lease(
        holder=str(spec.get("holderIdentity") or ""),
        profile_id=str((meta.get("annotations") or {}).get(names.HELD_FOR) or ""),
        renewed_at=renewed_at,
        duration_secs=float(spec.get("leaseDurationSeconds") or 0),
        version=str(meta.get("resourceVersion") or ""),
    )


def render(
    entry: JournalEntry, holder: str, duration_secs: int, now: float, *, version: str = "", acquired_at: str = ""
) -> dict[str, Any]:
    """The complete object. The pod owns it, so it is deleted with the pod."""
    at = times.format_time_micro(now)
    meta: dict[str, Any] = {
        "name": entry.lease,
        "namespace": entry.namespace,
        "labels": {"app.kubernetes.io/managed-by": "samply-operator"},
        "annotations": {names.HELD_FOR: entry.id},
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": entry.pod, "uid": entry.pod_uid}],
    }
    if version:
        meta["resourceVersion"] = version
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": duration_secs,
        "acquireTime": acquired_at or at,
        "renewTime": at,
    }
    return {"apiVersion": API_VERSION, "kind": "Lease", "metadata": meta, "spec": spec}
