"""The operator's state as messages of the unix socket. No decisions."""

from __future__ import annotations

import msgspec

from samply_operator.control.messages import (
    OrdinalState,
    PipelineState,
    PreflightReply,
    RecordingState,
    Snapshot,
    StartReply,
    Update,
)
from samply_operator.discovery.changes import Feed
from samply_operator.discovery.world import World
from samply_operator.model import names
from samply_operator.model.pipeline import Pipeline
from samply_operator.model.profile import PreflightStatus, SamplyProfile, TargetStatus
from samply_operator.recorder.calls.requests import Started
from samply_operator.recorder.engine import Engine
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
        pipeline_ids=pipeline.ids,
    )


def describe_run(run: Run, world: World) -> RecordingState:
    """By the name that its pipeline has now."""
    entry = run.entry
    return RecordingState(
        id=entry.id,
        namespace=entry.namespace,
        name=entry.name,
        pipeline=world.find_name(entry.pipeline_id) or entry.pipeline,
        ordinal=entry.ordinal,
        phase=run.phase,
        requested_at=entry.requested_at,
        preflight_only=entry.preflight_only,
        ends_at=times.parse_time(entry.ends_at) if entry.ends_at else None,
        duration_secs=entry.duration_secs,
        pipeline_id=entry.pipeline_id,
        is_triggered=entry.trigger is not None,
    )


def is_waiting(profile: SamplyProfile, engine: Engine) -> bool:
    """Asked for and not yet admitted."""
    return not profile.has_begun and profile.uid not in engine.runs and not profile.is_deleted


def describe_waiting(profile: SamplyProfile, world: World) -> RecordingState:
    spec = world.resolve(profile).spec
    pipeline = world.pipelines.get((profile.namespace, spec.pipeline))
    return RecordingState(
        id=profile.uid,
        namespace=profile.namespace,
        name=profile.name,
        pipeline=spec.pipeline,
        ordinal=profile.spec.ordinal,
        phase="Pending",
        requested_at=profile.created_at,
        preflight_only=profile.spec.preflight_only,
        duration_secs=profile.spec.duration_secs or 0,
        pipeline_id=pipeline.ids[0] if pipeline and len(pipeline.ids) == 1 else "",
        is_triggered=bool(profile.trigger),
    )


def describe_recording(profile_id: str, engine: Engine) -> RecordingState | None:
    """One that runs or waits; None: it has ended, or is gone."""
    run, profile = engine.runs.get(profile_id), engine.world.unended.get(profile_id)
    if run is not None:
        return None if run.entry.outcome else describe_run(run, engine.world)
    return describe_waiting(profile, engine.world) if profile is not None and is_waiting(profile, engine) else None


def is_pinned(profile: SamplyProfile | None) -> bool:
    return profile is not None and names.PIN in profile.annotations


def build_update(engine: Engine, feed: Feed) -> Update:
    """What changed since the last one; `feed` is empty afterwards."""
    keys, ids = feed.take()
    pipelines = {key: engine.world.pipelines.get(key) for key in keys}
    recordings = {profile_id: describe_recording(profile_id, engine) for profile_id in ids}
    return Update(
        pipelines=tuple(describe_pipeline(found) for found in pipelines.values() if found is not None),
        gone_pipelines=tuple(key for key, found in pipelines.items() if found is None),
        recordings=tuple(found for found in recordings.values() if found is not None),
        gone_recordings=tuple(profile_id for profile_id, found in recordings.items() if found is None),
        pinned=tuple(profile_id for profile_id in ids if is_pinned(engine.world.find_profile(profile_id))),
        store_generation=engine.changes.store_generation,
        sent_at=engine.context.now(),
        is_synced=engine.world.is_synced,
        enabled=engine.context.settings.recording.enabled,
        names=feed.take_names(),
    )


def build_snapshot(engine: Engine) -> Snapshot:
    return Snapshot(
        pipelines=tuple(map(describe_pipeline, engine.world.pipelines.values())),
        recordings=(
            *(describe_run(run, engine.world) for run in engine.runs.values() if not run.entry.outcome),
            *(describe_waiting(p, engine.world) for p in engine.world.unended.values() if is_waiting(p, engine)),
        ),
        pinned=tuple(profile.uid for profile in engine.world.profiles.values() if is_pinned(profile)),
        store_generation=engine.changes.store_generation,
        sent_at=engine.context.now(),
        is_synced=engine.world.is_synced,
        enabled=engine.context.settings.recording.enabled,
        names=engine.changes.names,
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
    """The preflight that ended, from its object."""
    target, found = profile.status.target or TargetStatus(), profile.status.preflight or PreflightStatus()
    failure = profile.status.failure
    return PreflightReply(
        id=profile.uid,
        namespace=profile.namespace,
        name=profile.name,
        ordinal=profile.spec.ordinal,
        verdict="Refuse" if failure else "GoWithWarning" if found.findings else "Go",
        pod=target.pod,
        container=target.container,
        mode=target.mode,
        findings=tuple(msgspec.convert(found.findings, list[Finding])),
        failure=failure,
        facts=found.facts,
    )
