"""Admission: one recording per target, a limit in total and per node, oldest first.

Those of SamplyTriggers wait behind all others, and have a limit of their own.

A preflight records nothing: it does not block a recording of its target and does not count within the limits. The
number of concurrent preflights is limited too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from samply_operator.model import names
from samply_operator.model.manifest import JournalEntry, TriggeredBy
from samply_operator.model.pipeline import Pipeline, Pod, Target
from samply_operator.model.profile import Failure, SamplyProfile, Spec
from samply_operator.rules import times
from samply_operator.rules.discovery import containers, locate, naming
from samply_operator.rules.recording import attachments, failures, lease
from samply_operator.settings import Settings

CAUSE_LIMIT, LINK_LIMIT, WHEN_LIMIT = 500, 2000, 40
"""Anybody who may write a SamplyProfile may write its annotations."""
AMBIGUOUS = "Pods in more than one namespace say that they are of this pipeline of Feldera's."


@dataclass(frozen=True, slots=True)
class Active:
    """A recording in progress, as needed for admission."""

    id: str
    name: str
    pod_uid: str
    container: str
    node: str = ""
    is_preflight: bool = False
    is_triggered: bool = False
    """By a SamplyTrigger."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued recording; older ones go first, and those of SamplyTriggers last."""

    id: str
    created_at: str
    node: str
    is_for_node: bool
    """Only its node is full: it does not block recordings on other nodes."""
    is_preflight: bool = False
    is_triggered: bool = False

    @property
    def age(self) -> tuple[bool, str, str]:
        return self.is_triggered, self.created_at, self.id


@dataclass(frozen=True, slots=True)
class Admit:
    target: Target


@dataclass(frozen=True, slots=True)
class Wait:
    message: str
    waiting: Waiting


@dataclass(frozen=True, slots=True)
class Refuse:
    failure: Failure


Decision = Admit | Wait | Refuse


def decide(
    profile: SamplyProfile,
    pipelines: Mapping[tuple[str, str], Pipeline],
    active: Iterable[Active],
    settings: Settings,
    waiting: Iterable[Waiting] = (),
) -> Decision:
    """The decision on a SamplyProfile that has not started. `waiting`: those already queued."""
    spec = profile.spec
    pipeline = pipelines.get((profile.namespace, spec.pipeline))
    off = find_switch(pipeline, spec.ordinal, settings)
    if off is not None:
        return Refuse(off)
    if pipeline is None:
        return _refuse("UnknownPipeline", f"There is no pipeline {spec.pipeline!r} in namespace {profile.namespace}.")
    found = find_target(pipeline, spec, settings)
    if isinstance(found, Failure):
        return Refuse(found)
    others = [a for a in active if a.id != profile.uid and (spec.preflight_only or not a.is_preflight)]
    for other in others:
        if not other.is_preflight and (other.pod_uid, other.container) == (found.pod_uid, found.container):
            return _refuse(
                "AlreadyRecording", f"{other.name} already records container {found.container} of {found.pod}."
            )
    mine = (bool(profile.trigger), profile.created_at, profile.uid)
    older = [w for w in waiting if w.age < mine and (spec.preflight_only or not w.is_preflight)]
    return _check_limits(profile, found, others, older, settings) or Admit(_doubt_id(found, pipelines.values()))


def find_switch(pipeline: Pipeline | None, ordinal: int, settings: Settings) -> Failure | None:
    """Why profiling is switched off for this pipeline or everywhere; None: it is not."""
    if not settings.recording.enabled:
        return failures.build_failure("ProfilingNotEnabled", "Profiling is switched off for this installation.")
    if pipeline is None:
        return None
    pod = pipeline.pods.get(ordinal)
    by = f"StatefulSet {pipeline.switched_off_by}" if pipeline.switched_off_by else ""
    if not by and pod is not None and locate.is_switched_off(pod.annotations):
        by = f"Pod {pod.name}"
    if not by:
        return None
    return failures.build_failure(
        "SwitchedOff", f"Profiling is switched off for pipeline {pipeline.name!r}, by an annotation of {by}."
    )


def _check_limits(
    profile: SamplyProfile, target: Target, others: list[Active], older: list[Waiting], settings: Settings
) -> Wait | None:
    limits = settings.recording
    ahead = sum(not w.is_for_node for w in older)
    if len(others) + ahead >= limits.max_concurrent:
        waiting = _build_waiting(profile, target, is_for_node=False)
        return Wait(describe_wait(ahead, limits.max_concurrent), waiting)
    if profile.trigger:
        ahead = sum(w.is_triggered for w in older)
        if sum(a.is_triggered for a in others) + ahead >= limits.max_triggered:
            waiting = _build_waiting(profile, target, is_for_node=True)
            return Wait(describe_wait(ahead, limits.max_triggered, " for triggers"), waiting)
    running = sum(a.node == target.node for a in others)
    ahead = sum(w.node == target.node for w in older)
    if target.node and running + ahead >= limits.max_per_node:
        waiting = _build_waiting(profile, target, is_for_node=True)
        return Wait(describe_wait(ahead, limits.max_per_node, f" on node {target.node}"), waiting)
    return None


PLACES = (
    "it is the next one",
    "fewer than 10 are before it",
    "fewer than 100 are before it",
    "100 or more are before it",
)
"""Places in the queue. The place of an object changes at most three times, and each change is one write."""


def describe_wait(ahead: int, limit: int, where: str = "") -> str:
    """`ahead`: how many go first."""
    place = PLACES[min(len(str(ahead)), len(PLACES) - 1) if ahead else 0]
    return f"Queued: {limit} recordings may run at once{where}, and {place}."


def says_as_much(reported: str, message: str) -> bool:
    """Whether an object that reports `reported` needs no update to `message`: the place is not better, or the text is
    the same."""
    ranks = [next((rank for rank, place in enumerate(PLACES) if place in text), None) for text in (reported, message)]
    if ranks[0] is None or ranks[1] is None:
        return reported == message
    return ranks[0] <= ranks[1]


def _build_waiting(profile: SamplyProfile, target: Target, *, is_for_node: bool) -> Waiting:
    return Waiting(
        profile.uid,
        profile.created_at,
        target.node,
        is_for_node,
        is_preflight=profile.spec.preflight_only,
        is_triggered=bool(profile.trigger),
    )


def find_lease(profile: SamplyProfile, pipelines: Mapping[tuple[str, str], Pipeline], settings: Settings) -> str | None:
    """The name of the Lease that another operator holds if it records this object; None: unknown.

    While it is being recorded, its status has the target; before that, it is the target that we would choose."""
    target = profile.status.target
    if target is not None and target.pod_uid and target.container:
        return lease.build_name(target.pod_uid, target.container)
    pipeline = pipelines.get((profile.namespace, profile.spec.pipeline))
    found = find_target(pipeline, profile.spec, settings) if pipeline else None
    return lease.build_name(found.pod_uid, found.container) if isinstance(found, Target) else None


def find_target(pipeline: Pipeline, spec: Spec, settings: Settings) -> Target | Failure:
    """The running container of the ordinal, or the reason why there is none."""
    pod = pipeline.pods.get(spec.ordinal)
    if pod is None:
        return _missing(pipeline, spec.ordinal)
    choice = containers.choose(pod, spec.container, settings.targets)
    container = choice.container
    if container is None:
        listed = ", ".join(c.name for c in pod.containers)
        wanted = spec.container or settings.targets.container
        return failures.build_failure(
            "UnknownContainer", f"Pod {pod.name} has no container {wanted!r}; it has: {listed}."
        )
    if not pod.is_running or not container.is_running:
        return failures.build_failure("PodNotRunning", _describe_state(pod, container.state_reason))
    return Target(
        namespace=pod.namespace,
        pod=pod.name,
        pod_uid=pod.uid,
        container=container.name,
        container_id=container.id,
        node=pod.node,
        pipeline_id=naming.find_id(pod.labels, pod.owner),
        doubt=choice.doubt,
    )


def _doubt_id(target: Target, pipelines: Iterable[Pipeline]) -> Target:
    """Who may create pods in one namespace may give them the id of a pipeline that is in another one."""
    own, namespace = target.pipeline_id, target.namespace
    if own and any(each.namespace != namespace and own in each.ids for each in pipelines):
        return replace(target, pipeline_doubt=AMBIGUOUS)
    return target


def _missing(pipeline: Pipeline, ordinal: int) -> Failure:
    listed = ", ".join(str(o) for o in sorted({*pipeline.ordinals, *pipeline.pods})) or "none"
    if ordinal in pipeline.ordinals:
        return failures.build_failure(
            "PodNotRunning", f"Ordinal {ordinal} of pipeline {pipeline.name!r} currently has no pod."
        )
    if not pipeline.ordinals and not pipeline.pods:
        return failures.build_failure("PodNotRunning", f"Pipeline {pipeline.name!r} is scaled to 0: it has no pods.")
    return failures.build_failure(
        "UnknownOrdinal", f"Pipeline {pipeline.name!r} has no ordinal {ordinal}; it has: {listed}."
    )


def _describe_state(pod: Pod, reason: str) -> str:
    state = "being deleted" if pod.is_deleted else pod.phase
    return f"Pod {pod.name} is {state}{f' ({reason})' if reason else ''}, not running."


def _refuse(reason: str, message: str) -> Refuse:
    return Refuse(failures.build_failure(reason, message))


def build_entry(profile: SamplyProfile, target: Target, settings: Settings, now: float) -> JournalEntry:
    """The journal's first entry of an admitted recording; preflight chooses its folder in the pod later."""
    spec, defaults = profile.spec, settings.recording
    return JournalEntry(
        id=profile.uid,
        namespace=profile.namespace,
        name=profile.name,
        pipeline=spec.pipeline,
        ordinal=spec.ordinal,
        step="Admitted",
        pod=target.pod,
        pod_uid=target.pod_uid,
        container=target.container,
        container_id=target.container_id,
        node=target.node,
        pid=0,
        mode="",
        folder="",
        duration_secs=spec.duration_secs or defaults.duration_secs,
        rate_hz=spec.rate_hz or defaults.rate_hz,
        requested_at=profile.created_at,
        admitted_at=times.format_time(now),
        preflight_only=spec.preflight_only,
        lease="" if spec.preflight_only else lease.build_name(target.pod_uid, target.container),
        wanted_mode=spec.mode or defaults.mode,
        process=spec.process or "",
        pipeline_id=target.pipeline_id,
        pipeline_doubt=target.pipeline_doubt,
        doubt=target.doubt,
        trigger=build_trigger(profile),
        attachments=attachments.choose(profile, target, settings),
    )


def build_trigger(profile: SamplyProfile) -> TriggeredBy | None:
    """The trigger that created it, and why; None: none did."""
    if not profile.trigger:
        return None
    cause, link, when = (profile.annotations.get(name, "") for name in (names.CAUSE, names.ALERT, names.WHEN))
    return TriggeredBy(profile.trigger, cause[:CAUSE_LIMIT], link[:LINK_LIMIT], when[:WHEN_LIMIT])
