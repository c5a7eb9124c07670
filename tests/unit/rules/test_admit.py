"""Whether an object may be recorded now: each decision, and which one takes precedence."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from samply_operator.model import names
from samply_operator.model.pipeline import Container, Pipeline, Target
from samply_operator.model.profile import Spec
from samply_operator.rules.recording import admit
from samply_operator.settings import Recording, Settings, Targets
from support.samples import NOW, OTHER_UID, UID, make_pod, make_profile

SETTINGS = Settings()
SPEC = Spec("a")
POD = make_pod()
PIPELINE = Pipeline("prod", "a", (0, 1), {0: POD})
TARGET = Target("prod", POD.name, POD.uid, "pipeline", "containerd://pipeline-a-0", "node-1")


def decide(
    pipeline: Pipeline | None = PIPELINE,
    spec: Spec = SPEC,
    active: tuple[admit.Active, ...] = (),
    settings: Settings = SETTINGS,
    waiting: tuple[admit.Waiting, ...] = (),
) -> admit.Decision:
    pipelines = {("prod", pipeline.name): pipeline} if pipeline else {}
    return admit.decide(make_profile(spec=spec), pipelines, active, settings, waiting)


def with_pod(**changes: object) -> Pipeline:
    return replace(PIPELINE, pods={0: make_pod(**changes)})


def other(pod_uid: str = "x", container: str = "pipeline", profile_id: str = OTHER_UID) -> admit.Active:
    return admit.Active(profile_id, "p-0", pod_uid, container)


def test_a_pod_that_runs_and_is_free_is_admitted_with_all_its_ids() -> None:
    """The ids distinguish this container from any successor."""
    assert decide() == admit.Admit(TARGET)


OWN, OTHERS = (f"0198aaaa-0000-7000-8000-00000000000{number}" for number in (1, 2))


@pytest.mark.parametrize(
    ("namespace", "ids", "doubt"),
    [
        pytest.param("prod", (OWN,), "", id="another name in its namespace"),
        pytest.param("theirs", (OTHERS,), "", id="another pipeline"),
        pytest.param("theirs", (), "", id="a pipeline without an id"),
        pytest.param("theirs", (OTHERS, OWN), admit.AMBIGUOUS, id="the same id"),
    ],
)
def test_an_id_that_is_in_two_namespaces_is_doubted(namespace: str, ids: tuple[str, ...], doubt: str) -> None:
    """A label is not a proof of whose pipeline it is."""
    own = replace(with_pod(labels={names.FELDERA_ID: OWN}), ids=(OWN,))
    known = {("prod", "a"): own, (namespace, "b"): Pipeline(namespace, "b", (0,), ids=ids)}
    decision = admit.decide(make_profile(spec=SPEC), known, (), SETTINGS)
    assert decision == admit.Admit(replace(TARGET, pipeline_id=OWN, pipeline_doubt=doubt))


OFF = Settings(recording=Recording(enabled=False))
SET_OFF = replace(PIPELINE, switched_off_by="pipeline-a")
POD_OFF = with_pod(annotations={names.ENABLED: "false"})
WAITING = (Container("pipeline", state_reason="CrashLoopBackOff"),)


@pytest.mark.parametrize(
    ("pipeline", "spec", "settings", "reason", "said"),
    [
        pytest.param(PIPELINE, Spec("a"), OFF, "ProfilingNotEnabled", "switched off", id="switched off"),
        pytest.param(SET_OFF, Spec("a"), SETTINGS, "SwitchedOff", "StatefulSet pipeline-a", id="off by the set"),
        pytest.param(POD_OFF, Spec("a"), SETTINGS, "SwitchedOff", "of Pod pipeline-a-0", id="off by the pod"),
        pytest.param(None, Spec("b"), SETTINGS, "UnknownPipeline", "'b' in namespace prod", id="unknown pipeline"),
        pytest.param(PIPELINE, Spec("a", 7), SETTINGS, "UnknownOrdinal", "has: 0, 1", id="unknown ordinal"),
        pytest.param(PIPELINE, Spec("a", 1), SETTINGS, "PodNotRunning", "has no pod", id="ordinal without a pod"),
        pytest.param(Pipeline("prod", "a", ()), Spec("a"), SETTINGS, "PodNotRunning", "scaled to 0", id="scaled to 0"),
        pytest.param(
            with_pod(phase="Pending"), Spec("a"), SETTINGS, "PodNotRunning", "is Pending", id="pod is pending"
        ),
        pytest.param(
            with_pod(is_deleted=True), Spec("a"), SETTINGS, "PodNotRunning", "being deleted", id="pod being deleted"
        ),
        pytest.param(
            with_pod(containers=WAITING), Spec("a"), SETTINGS, "PodNotRunning", "CrashLoopBackOff", id="crash loop"
        ),
        pytest.param(
            PIPELINE, Spec("a", container="x"), SETTINGS, "UnknownContainer", "no container 'x'; it has: pipeline",
            id="unknown container",
        ),
        pytest.param(
            PIPELINE, Spec("a"), Settings(targets=Targets(container="y")), "UnknownContainer", "no container 'y'",
            id="the configured container isn't there",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_recorded_is_refused_with_a_reason(
    pipeline: Pipeline | None, spec: Spec, settings: Settings, reason: str, said: str
) -> None:
    """The message says what is wrong, the remedy what to do."""
    decision = decide(pipeline, spec, settings=settings)
    assert isinstance(decision, admit.Refuse)
    assert decision.failure.reason == reason
    assert said in decision.failure.message
    assert decision.failure.remedy


def test_another_pod_that_is_switched_off_is_no_obstacle() -> None:
    pods = {0: POD, 1: make_pod(name="pipeline-a-1", annotations={names.ENABLED: "false"})}
    assert isinstance(decide(replace(PIPELINE, pods=pods)), admit.Admit)


def test_a_sidecar_that_crashes_is_no_obstacle() -> None:
    """Only the container to profile counts."""
    pods = with_pod(containers=(*POD.containers, Container("sidecar", state_reason="CrashLoopBackOff")))
    assert isinstance(decide(pods), admit.Admit)


def test_a_target_that_is_recorded_already_is_refused_and_the_other_one_named() -> None:
    """One recording per target."""
    decision = decide(active=(other(POD.uid),))
    assert isinstance(decision, admit.Refuse)
    assert decision.failure.reason == "AlreadyRecording"
    assert "p-0" in decision.failure.message


@pytest.mark.parametrize(
    "active",
    [other(POD.uid, "sidecar"), other("uid of a pod of the same name"), other(POD.uid, profile_id=UID)],
    ids=["other container", "other pod", "this very object"],
)
def test_recordings_of_other_targets_are_no_obstacle(active: admit.Active) -> None:
    """A target is a container of one pod, identified by its uid."""
    assert decide(active=(active,)) == admit.Admit(TARGET)


@pytest.mark.parametrize(("limit", "is_admitted"), [(2, False), (3, True)])
def test_beyond_the_limit_a_recording_waits(limit: int, is_admitted: bool) -> None:
    """It isn't refused: it starts when another one ends."""
    settings = Settings(recording=Recording(max_concurrent=limit))
    decision = decide(active=(other("x"), other("y")), settings=settings)
    assert isinstance(decision, admit.Admit if is_admitted else admit.Wait)


def wait(created_at: str, node: str = "node-2", *, is_for_node: bool = False) -> admit.Waiting:
    return admit.Waiting(OTHER_UID, created_at, node, is_for_node)


OLDER, YOUNGER = "2020-01-01T00:00:00Z", "2039-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("waiting", "is_admitted"),
    [
        pytest.param((), True, id="no other one waits"),
        pytest.param((wait(OLDER),), False, id="an older one waits"),
        pytest.param((wait(YOUNGER),), True, id="a younger one waits"),
        pytest.param((wait(OLDER, is_for_node=True),), True, id="an older one waits for another node"),
        pytest.param((replace(wait(OLDER), id=UID, created_at=make_profile().created_at),), True, id="itself"),
    ],
)
def test_of_those_that_wait_the_oldest_is_first(waiting: tuple[admit.Waiting, ...], is_admitted: bool) -> None:
    """With one place left."""
    settings = Settings(recording=Recording(max_concurrent=2))
    decision = decide(active=(other("x"),), settings=settings, waiting=waiting)
    assert isinstance(decision, admit.Admit if is_admitted else admit.Wait)


@pytest.mark.parametrize(
    ("nodes", "waiting", "is_admitted"),
    [
        pytest.param(("node-1", "node-1"), (), False, id="its node is full"),
        pytest.param(("node-1", "node-2"), (), True, id="another one is"),
        pytest.param(("node-1",), (wait(OLDER, "node-1", is_for_node=True),), False, id="an older one waits for it"),
        pytest.param(("node-1",), (wait(YOUNGER, "node-1", is_for_node=True),), True, id="a younger one does"),
    ],
)
def test_a_node_has_a_limit_of_its_own(
    nodes: tuple[str, ...], waiting: tuple[admit.Waiting, ...], is_admitted: bool
) -> None:
    """samply locks memory there."""
    settings = Settings(recording=Recording(max_per_node=2))
    active = tuple(replace(other(f"uid-{n}"), node=node) for n, node in enumerate(nodes))
    decision = decide(active=active, settings=settings, waiting=waiting)
    assert isinstance(decision, admit.Admit if is_admitted else admit.Wait)
    if isinstance(decision, admit.Wait):
        assert "node-1" in decision.message
        assert decision.waiting.is_for_node


def test_at_the_limit_a_busy_target_is_refused_at_once() -> None:
    """Waiting wouldn't help it."""
    settings = Settings(recording=Recording(max_concurrent=1))
    assert isinstance(decide(active=(other(POD.uid),), settings=settings), admit.Refuse)


ONLY = Spec("a", preflight_only=True)
ONE, ONE_PER_NODE = Settings(recording=Recording(max_concurrent=1)), Settings(recording=Recording(max_per_node=1))
RECORDS = admit.Active(OTHER_UID, "p-0", POD.uid, "pipeline", "node-1")
ELSEWHERE = replace(RECORDS, pod_uid="x")


@pytest.mark.parametrize(
    ("spec", "active", "settings", "kind"),
    [
        pytest.param(SPEC, replace(RECORDS, is_preflight=True), SETTINGS, admit.Admit, id="a preflight of its target"),
        pytest.param(SPEC, replace(ELSEWHERE, is_preflight=True), ONE, admit.Admit, id="one within the limit"),
        pytest.param(SPEC, replace(ELSEWHERE, is_preflight=True), ONE_PER_NODE, admit.Admit, id="one on its node"),
        pytest.param(ONLY, replace(RECORDS, is_preflight=True), SETTINGS, admit.Admit, id="two preflights at once"),
        pytest.param(ONLY, RECORDS, SETTINGS, admit.Refuse, id="a preflight of what is recorded"),
        pytest.param(ONLY, ELSEWHERE, ONE, admit.Wait, id="a preflight at the limit"),
        pytest.param(ONLY, replace(ELSEWHERE, is_preflight=True), ONE, admit.Wait, id="more preflights than the limit"),
    ],
)
def test_a_preflight_keeps_no_recording_from_its_target(
    spec: Spec, active: admit.Active, settings: Settings, kind: type
) -> None:
    """It records nothing. It is limited itself all the same."""
    assert isinstance(decide(spec=spec, active=(active,), settings=settings), kind)


def test_a_preflight_that_waits_keeps_no_recording_waiting() -> None:
    older = replace(wait(OLDER, "node-1"), is_preflight=True)
    assert isinstance(decide(settings=ONE, waiting=(older,)), admit.Admit)
    assert isinstance(decide(spec=ONLY, settings=ONE, waiting=(older,)), admit.Wait)
    decision = decide(spec=ONLY, active=(ELSEWHERE,), settings=ONE)
    assert isinstance(decision, admit.Wait)
    assert decision.waiting.is_preflight


TOLD = {"target": {"podUid": "told", "container": "c"}}


@pytest.mark.parametrize(
    ("pipeline", "status", "name"),
    [
        pytest.param(PIPELINE, {}, f"samply-{POD.uid}-pipeline", id="where we would record it"),
        pytest.param(PIPELINE, TOLD, "samply-told-c", id="where it says that it is recorded"),
        pytest.param(None, TOLD, "samply-told-c", id="of a pipeline that we don't know"),
        pytest.param(None, {}, None, id="nowhere"),
        pytest.param(with_pod(phase="Pending"), {"target": {}}, None, id="a pod that doesn't run"),
    ],
)
def test_the_lease_of_another_operator_is_sought_where_it_may_be(
    pipeline: Pipeline | None, status: dict[str, object], name: str | None
) -> None:
    pipelines = {("prod", "a"): pipeline} if pipeline else {}
    assert admit.find_lease(make_profile(status=status), pipelines, SETTINGS) == name


def test_the_first_journal_entry_has_the_specs_values_before_the_settings() -> None:
    """What was asked, else what the installation says."""
    settings = Settings(recording=Recording(duration_secs=7, rate_hz=99))
    asked = make_profile(spec=Spec("a", 0, duration_secs=12, preflight_only=True))
    entry = admit.build_entry(asked, TARGET, settings, NOW)
    assert (entry.duration_secs, entry.rate_hz, entry.preflight_only) == (12, 99, True)
    assert (entry.id, entry.namespace, entry.name, entry.pipeline) == (UID, "prod", "p-1", "a")
    assert (entry.step, entry.admitted_at) == ("Admitted", "2027-01-15T08:00:00.250Z")
    assert {field: getattr(entry, field) for field in ("pod", "pod_uid", "container", "container_id", "node")} == {
        "pod": POD.name, "pod_uid": POD.uid, "container": "pipeline",
        "container_id": TARGET.container_id, "node": "node-1",
    }  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(entry), type=type(entry)) == entry


# ---------------------------------------------------------------------------------------------------------- triggers

LABELLED = {names.MADE_BY: "t-1"}


def decide_triggered(active: tuple[admit.Active, ...] = (), waiting: tuple[admit.Waiting, ...] = ()) -> admit.Decision:
    settings = Settings(recording=Recording(max_concurrent=3, max_triggered=1))
    profile = make_profile(labels=LABELLED)
    return admit.decide(profile, {("prod", "a"): PIPELINE}, active, settings, waiting)


def test_a_trigger_has_a_share_of_all_recordings() -> None:
    triggered = replace(other(profile_id="x"), is_triggered=True)
    assert isinstance(decide_triggered((triggered,)), admit.Wait)
    assert isinstance(decide_triggered((other(profile_id="x"),)), admit.Admit)


def test_what_waits_for_a_triggers_share_blocks_no_other() -> None:
    waiting = decide_triggered((replace(other(profile_id="x"), is_triggered=True),))
    assert isinstance(waiting, admit.Wait)
    assert isinstance(decide(waiting=(waiting.waiting,)), admit.Admit)


def test_manual_requests_go_before_older_ones_of_triggers() -> None:
    younger = admit.Waiting("z", "2099-01-01T00:00:00Z", "node-1", is_for_node=False)
    assert younger.age < replace(younger, id="a", created_at="2020-01-01T00:00:00Z", is_triggered=True).age
    full = tuple(replace(other(pod_uid=f"u-{n}", profile_id=f"x-{n}")) for n in range(2))
    assert isinstance(decide_triggered(full, (younger,)), admit.Wait)


def test_the_journal_has_the_trigger_and_its_cause() -> None:
    profile = make_profile(labels=LABELLED, annotations={names.CAUSE: "x" * 9999})
    trigger = admit.build_entry(profile, TARGET, SETTINGS, NOW).trigger
    assert trigger is not None
    assert (trigger.name, len(trigger.cause)) == ("t-1", admit.CAUSE_LIMIT)
