"""The operator's state, as the messages of the unix socket tell it. No decisions."""

from __future__ import annotations

import msgspec

from samply_operator.control.messages import (
    OrdinalState,
    PipelineState,
    PreflightReply,
    RecordingState,
    Snapshot,
    StartReply,
)
from samply_operator.model.pipeline import Pipeline
from samply_operator.model.profile import SamplyProfile
from samply_operator.recorder.engine import Engine
from samply_operator.recorder.requests import Started, read_failure
from samply_operator.recorder.run import Run
from samply_operator.rules import times
from samply_operator.rules.recording.preflight import Finding


def describe_pipeline(pipeline: Pipeline) -> PipelineState:
    ordinals = sorted({*pipeline.ordinals, *pipeline.pods})
    return PipelineState(
        namespace=pipeline.namespace,
        name=pipeline.name,
        ordinals=tuple(
            OrdinalState(
                ordinal=ordinal,
                pod=pod.name if (pod := pipeline.pods.get(ordinal)) else "",
                is_running=bool(pod and pod.is_running),
                is_desired=ordinal in pipeline.ordinals,
                node=pod.node if pod else "",
            )
            for ordinal in ordinals
        ),
    )


def describe_run(run: Run) -> RecordingState:
    entry = run.entry
    return RecordingState(
        id=entry.id,
        namespace=entry.namespace,
        name=entry.name,
        pipeline=entry.pipeline,
        ordinal=entry.ordinal,
        phase=run.phase,
        requested_at=entry.requested_at,
        preflight_only=entry.preflight_only,
        ends_at=times.parse_time(entry.ends_at) if entry.ends_at else None,
        duration_secs=entry.duration_secs,
    )


def is_waiting(profile: SamplyProfile, engine: Engine) -> bool:
    """Asked for and not yet admitted."""
    return profile.phase in {None, "Pending"} and profile.uid not in engine.runs and not profile.is_deleted


def describe_waiting(profile: SamplyProfile) -> RecordingState:
    return RecordingState(
        id=profile.uid,
        namespace=profile.namespace,
        name=profile.name,
        pipeline=profile.spec.pipeline,
        ordinal=profile.spec.ordinal,
        phase="Pending",
        requested_at=profile.created_at,
        preflight_only=profile.spec.preflight_only,
        duration_secs=profile.spec.duration_secs or 0,
    )


def build_snapshot(engine: Engine) -> Snapshot:
    return Snapshot(
        pipelines=tuple(map(describe_pipeline, engine.world.pipelines.values())),
        recordings=(
            *(describe_run(run) for run in engine.runs.values() if not run.entry.outcome),
            *(describe_waiting(p) for p in engine.world.profiles.values() if is_waiting(p, engine)),
        ),
        store_generation=engine.store_generation,
        sent_at=engine.context.now(),
        is_synced=engine.world.is_synced,
        enabled=engine.context.settings.recording.enabled,
    )


def describe_started(started: Started, now: float) -> StartReply:
    run = started.run
    left = times.parse_time(run.entry.ends_at) - now if run and run.entry.ends_at else 1.0
    reply = StartReply(
        id=started.id,
        namespace=started.namespace,
        name=started.name,
        state="Pending",
        retry_after_secs=max(1, int(left + 0.999)),
        failure=started.failure,
    )
    if started.failure is not None:
        return msgspec.structs.replace(reply, state="Failed")
    if run is not None and run.entry.started_at:
        return msgspec.structs.replace(reply, state="Recording")
    return reply


def describe_preflight(profile: SamplyProfile) -> PreflightReply:
    """Of a preflight that ended, as its object tells it."""
    raw = profile.raw.get("status") or {}
    target, found = raw.get("target") or {}, raw.get("preflight") or {}
    failure = read_failure(raw)
    return PreflightReply(
        id=profile.uid,
        namespace=profile.namespace,
        name=profile.name,
        ordinal=profile.spec.ordinal,
        verdict="Refuse" if failure else "GoWithWarning" if found.get("findings") else "Go",
        pod=str(target.get("pod", "")),
        container=str(target.get("container", "")),
        mode=str(target.get("mode", "")),
        findings=tuple(msgspec.convert(found.get("findings") or [], list[Finding])),
        failure=failure,
        facts=msgspec.convert(found.get("facts") or {}, dict[str, str]),
    )
