"""The status of a SamplyProfile in each phase: pure, and complete (merge patches replace lists).

Conditions follow the Kubernetes API conventions: `lastTransitionTime` changes only with the status. `Finished` becomes
true after every result, so that `kubectl wait --for=condition=Finished` never hangs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from samply_operator.model.manifest import JournalEntry, Manifest, Quality
from samply_operator.model.profile import Failure, Phase
from samply_operator.plural import count
from samply_operator.rules import times
from samply_operator.rules.recording.preflight import Finding

ConditionStatus = Literal["True", "False", "Unknown"]
Status = dict[str, Any]

_SECONDS = 19  # length of 2026-01-31T09:30:00, as metav1.Time has no fractions


def _seconds(now: float) -> str:
    return times.format_time(now)[:_SECONDS] + "Z"


def set_condition(
    conditions: Sequence[Mapping[str, Any]],
    type_: str,
    status: ConditionStatus,
    reason: str,
    message: str,
    now: float,
) -> list[dict[str, Any]]:
    """The list with this condition in its old place, or at the end."""
    old = next((c for c in conditions if c["type"] == type_), None)
    moved = old is None or old["status"] != status
    new = {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message[:1024],
        "lastTransitionTime": _seconds(now) if moved or old is None else old["lastTransitionTime"],
    }
    if old is None:
        return [*map(dict, conditions), new]
    return [new if c["type"] == type_ else dict(c) for c in conditions]


_CONDITIONS: dict[Phase, tuple[tuple[str, ConditionStatus], ...]] = {
    "Pending": (("Finished", "False"), ("Recording", "False")),
    "Recording": (("Finished", "False"), ("Recording", "True")),
    "Collecting": (("Finished", "False"), ("Recording", "False")),
    "Succeeded": (("Finished", "True"), ("Succeeded", "True"), ("Recording", "False"), ("Stored", "True")),
    "Failed": (("Finished", "True"), ("Succeeded", "False"), ("Recording", "False"), ("Stored", "False")),
    "Cancelled": (("Finished", "True"), ("Succeeded", "False"), ("Recording", "False"), ("Stored", "False")),
}


def _render(old: Mapping[str, Any], phase: Phase, reason: str, message: str, now: float) -> Status:
    conditions: Sequence[Mapping[str, Any]] = old.get("conditions") or []
    for type_, status in _CONDITIONS[phase]:
        conditions = set_condition(conditions, type_, status, reason, message, now)
    return {"phase": phase, "message": message[:1024], "conditions": list(conditions)}


def render_pending(old: Mapping[str, Any], reason: str, message: str, now: float) -> Status:
    return _render(old, "Pending", reason, message, now)


def render_target(entry: JournalEntry) -> dict[str, Any]:
    """The known facts about the target."""
    known = {
        "pod": entry.pod,
        "podUid": entry.pod_uid,
        "container": entry.container,
        "containerId": entry.container_id,
        "node": entry.node,
        "pid": entry.pid,
        "mode": entry.mode,
        "samplyVersion": entry.samply_version,
    }
    return {key: value for key, value in known.items() if value}


def render_known(entry: JournalEntry) -> Status:
    """The facts of the journal in any phase, so that a restarted process reports them too."""
    known: Status = {"requestedBy": entry.requested_by or "unknown"}
    if target := render_target(entry):
        known["target"] = target
    if entry.started_at:
        known |= {"startedAt": entry.started_at, "endsAt": entry.ends_at}
    return known | ({"preflight": entry.preflight} if entry.preflight else {})


def render_attempt(manifest: Manifest) -> Status:
    """The same from a stored attempt, which outlives the journal."""
    target = manifest.target
    known: Status = {"requestedBy": manifest.requested_by or "unknown"}
    if target.pod:
        fields = {
            "pod": target.pod,
            "podUid": target.pod_uid,
            "container": target.container,
            "containerId": target.container_id,
            "node": target.node,
            "pid": target.pid,
            "mode": target.mode,
            "samplyVersion": target.samply_version,
        }
        known["target"] = {key: value for key, value in fields.items() if value}
    return known | ({"startedAt": manifest.started_at} if manifest.started_at else {})


def render_recording(old: Mapping[str, Any], entry: JournalEntry, now: float) -> Status:
    return _render(old, "Recording", "Sampling", f"samply records process {entry.pid} of {entry.pod}.", now)


def render_collecting(old: Mapping[str, Any], entry: JournalEntry, now: float) -> Status:
    return _render(old, "Collecting", "Sampled", f"The profile is being copied from {entry.pod}.", now)


def render_quality(quality: Quality) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "samples": quality.samples,
        "threads": quality.threads,
        "coverage": quality.coverage,
        "cpuSeconds": quality.cpu_secs,
        "lostEvents": quality.lost_events,
        "throttledSeconds": quality.throttled_secs,
        "throttledFinishingSeconds": quality.throttled_finishing_secs,
        "unresolvedPercent": quality.unresolved_percent,
        "unresolvedByLibrary": quality.unresolved_by_library,
        "symbolicated": quality.symbolicated,
        "verdict": quality.verdict or None,
    }
    return {key: value for key, value in fields.items() if value is not None}


def show_samples(quality: Quality) -> str:
    return "samples not counted" if quality.samples is None else count(quality.samples, "sample")


def render_stored(old: Mapping[str, Any], manifest: Manifest, now: float) -> Status:
    """After success."""
    file = manifest.file
    if file is None:
        raise ValueError("a stored profile has a file")
    message = (
        f"{show_samples(manifest.quality)}, {file.size_bytes} bytes; "
        f"GET /v0/pipelines/{manifest.pipeline}/samply_profile?ordinal={manifest.ordinal}"
    )
    status = _render(old, "Succeeded", manifest.quality.verdict or "Stored", message, now)
    status |= {"startedAt": manifest.started_at, "finishedAt": manifest.finished_at, "failure": None}
    return status | render_file(manifest) | {"warnings": list(manifest.warnings)}


def render_file(manifest: Manifest) -> Status:
    """The stored file and its quality; for a profile without samples only the numbers."""
    file, quality = manifest.file, render_quality(manifest.quality)
    if file is None:
        return {"profile": quality} if quality else {}
    return {
        "profile": {
            "id": manifest.id,
            "sizeBytes": file.size_bytes,
            "rawBytes": file.raw_bytes,
            "sha256": file.sha256,
            **quality,
        }
    } | render_attachments(manifest)


def render_attachments(manifest: Manifest) -> Status:
    """What Feldera's answers became; nothing where none were wanted."""
    found = [
        {
            "kind": each.kind,
            "name": each.name,
            "sizeBytes": each.file.size_bytes if each.file else None,
            "takenAt": each.taken_at,
            "problem": each.problem,
        }
        for each in manifest.attachments
    ]
    known = [{key: value for key, value in each.items() if value not in ("", None)} for each in found]
    return {"attachments": known} if known else {}


def render_failed(old: Mapping[str, Any], failure: Failure, now: float) -> Status:
    status = _render(old, "Failed", failure.reason, failure.message, now)
    status["failure"] = {
        "reason": failure.reason,
        "message": failure.message,
        "remedy": failure.remedy,
        "log": failure.log,
    }
    return status | {"finishedAt": times.format_time(now)}


def render_cancelled(old: Mapping[str, Any], message: str, now: float) -> Status:
    return _render(old, "Cancelled", "Cancelled", message, now) | {"finishedAt": times.format_time(now)}


def render_preflight(word: str, findings: Sequence[Finding], facts: Mapping[str, str]) -> Status:
    """The value of `preflight`: facts and findings with remedies."""
    return {
        "verdict": word,
        "facts": dict(facts),
        "findings": [
            {
                "check": finding.check,
                "severity": finding.severity,
                "reason": finding.reason,
                "message": finding.message,
                "remedy": finding.remedy,
                "measured": finding.measured,
                "needed": finding.needed,
            }
            for finding in findings
        ],
    }


def render_preflight_passed(old: Mapping[str, Any], entry: JournalEntry, warnings: Sequence[str], now: float) -> Status:
    status = _render(old, "Succeeded", "PreflightPassed", "A recording would work; nothing was recorded.", now)
    status["conditions"] = set_condition(status["conditions"], "Stored", "False", "PreflightOnly", "As asked.", now)
    return status | {"warnings": list(warnings), "finishedAt": times.format_time(now)}
