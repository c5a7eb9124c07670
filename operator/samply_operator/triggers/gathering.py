"""The facts for a decision, from what is known of the cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from samply_operator.model import names
from samply_operator.model.pipeline import Pipeline
from samply_operator.model.profile import SamplyProfile, Spec
from samply_operator.model.trigger import SamplyTrigger
from samply_operator.recorder.engine import Engine
from samply_operator.rules import times
from samply_operator.rules.discovery import containers
from samply_operator.rules.recording import admit
from samply_operator.rules.triggers import limits
from samply_operator.rules.triggers.facts import Facts, Made, Observed, Place

UNCOUNTED = frozenset({"Failed", "Cancelled"})


def gather(
    engine: Engine,
    trigger: SamplyTrigger,
    reserved: Mapping[str, Made],
    now: float,
    observed: Observed | None = None,
) -> Facts:
    """`reserved`: by name, what this process created; it counts also after its deletion."""
    places = list_places(engine, trigger)
    seen = {profile.name: profile for profile in engine.world.groups.list_of_trigger(*trigger.key)}
    gone = (_refresh(engine, made) for name, made in reserved.items() if name not in seen)
    window = limits.find_effective(trigger.spec).window_secs
    duration = trigger.spec.template.duration_seconds or engine.context.settings.recording.duration_secs
    return Facts(
        trigger,
        now,
        places,
        (*map(_describe, seen.values()), *gone),
        {place.key: _sum_sampled(engine, trigger.namespace, place, now - window) for place in places},
        duration,
        observed,
    )


def list_places(engine: Engine, trigger: SamplyTrigger) -> tuple[Place, ...]:
    """What the trigger selects now."""
    return tuple(_list_places(engine, trigger))


def list_pods(engine: Engine, namespace: str) -> frozenset[str]:
    """Names of the pods of all its pipelines, whether they run or not, or are about to be created again."""
    pipelines = [each for each in list(engine.world.pipelines.values()) if each.namespace == namespace]
    sets = [each for each in list(engine.world.sets.values()) if each.namespace == namespace]
    existing = {pod.name for pipeline in pipelines for pod in pipeline.pods.values()}
    return frozenset(existing | {f"{each.name}-{ordinal}" for each in sets for ordinal in each.ordinals})


def _refresh(engine: Engine, made: Made) -> Made:
    """Its object is gone, so there is nothing to delete; its recording may still be ending."""
    is_active = made.uid in engine.runs
    return replace(made, uid=made.uid if is_active else "", is_active=is_active)


def _describe(profile: SamplyProfile) -> Made:
    return Made(
        profile.name,
        profile.uid,
        profile.labels.get(names.REQUEST, ""),
        profile.spec.pipeline,
        profile.spec.ordinal,
        times.parse_time(profile.created_at),
        is_active=not profile.has_ended,
        has_failed=profile.phase in UNCOUNTED,
        is_pinned=names.PIN in profile.annotations,
    )


def _list_places(engine: Engine, trigger: SamplyTrigger) -> Iterator[Place]:
    wanted, pipelines = trigger.spec.pipelines, engine.world.pipelines
    if wanted.names:
        for name in wanted.names:
            pipeline = pipelines.get((trigger.namespace, name))
            if pipeline is None:
                message = f"There is no pipeline {name!r} in namespace {trigger.namespace}."
                yield Place(name, 0, ("UnknownPipeline", message))
            else:
                yield from _list_ordinals(engine, trigger, pipeline)
        return
    for pipeline in list(pipelines.values()):
        if pipeline.namespace == trigger.namespace and (wanted.all or _is_selected(pipeline, wanted.match_labels)):
            yield from _list_ordinals(engine, trigger, pipeline)


def _is_selected(pipeline: Pipeline, labels: Mapping[str, str] | None) -> bool:
    """By the labels of any of its pods."""
    wanted = (labels or {}).items()
    return any(wanted <= pod.labels.items() for pod in pipeline.pods.values()) if wanted else False


def _list_ordinals(engine: Engine, trigger: SamplyTrigger, pipeline: Pipeline) -> Iterator[Place]:
    wanted = trigger.spec.pipelines.ordinals
    known = {*pipeline.ordinals, *pipeline.pods} or {0}
    for ordinal in sorted(known.intersection(wanted) if wanted else known):
        yield _describe_place(engine, trigger, pipeline, ordinal)


def _describe_place(engine: Engine, trigger: SamplyTrigger, pipeline: Pipeline, ordinal: int) -> Place:
    off = admit.find_switch(pipeline, ordinal, engine.context.settings)
    if off is not None:
        return Place(pipeline.name, ordinal, (off.reason, off.message))
    pod = pipeline.pods.get(ordinal)
    if pod is None or not pod.is_running:
        return Place(pipeline.name, ordinal, ("PodNotRunning", f"{pipeline.name}/{ordinal}: its pod does not run."))
    chosen = containers.choose(pod, trigger.spec.template.container, engine.context.settings.targets).container
    return Place(
        pipeline.name,
        ordinal,
        _find_recording(engine, pipeline, ordinal),
        chosen.id if chosen else "",
        times.parse_time(chosen.started_at) if chosen else 0.0,
        pod.name,
        pipeline.ids,
    )


def _find_recording(engine: Engine, pipeline: Pipeline, ordinal: int) -> tuple[str, str] | None:
    """What records this place already, or waits for it."""
    run = engine.runs.find(pipeline.namespace, pipeline.name, ordinal)
    name = run.entry.name if run else ""
    for profile in engine.world.groups.list_of_pipeline(pipeline.namespace, pipeline.name):
        if not name and profile.spec.ordinal == ordinal and not (profile.has_ended or profile.spec.preflight_only):
            name = profile.name
    return ("AlreadyRecording", f"{pipeline.name}/{ordinal}: {name} has not ended.") if name else None


def _sum_sampled(engine: Engine, namespace: str, place: Place, since: float) -> float:
    """Seconds, as asked for, of all recordings that were created since then."""
    default = engine.context.settings.recording.duration_secs
    return sum(
        profile.spec.duration_secs or default
        for profile in engine.world.groups.list_of_pipeline(namespace, place.pipeline)
        if _counts(profile.spec, place, profile.phase) and times.parse_time(profile.created_at) > since
    )


def _counts(spec: Spec, place: Place, phase: str | None) -> bool:
    return spec.ordinal == place.ordinal and not spec.preflight_only and phase not in UNCOUNTED
