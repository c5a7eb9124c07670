"""Requests over the socket: what is answered at once, what is waited for, and which of two requests proceeds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from samply_operator.errors import (
    AmbiguousPipeline,
    ExecFailed,
    InvalidParam,
    KubeError,
    KubeInvalid,
    KubeNotFound,
    KubeUnavailable,
    ObjectRefused,
    PipelineNotDeployed,
    PipelineUnreachable,
    ProfilingInProgress,
    ProfilingNotEnabled,
    SamplyOperatorError,
    UnknownPipeline,
)
from samply_operator.kube import objects
from samply_operator.model.profile import Spec
from samply_operator.recorder.calls.requests import Started
from samply_operator.settings import Recording, Settings
from support.fake_cluster import FakeCluster, Json
from support.operator_process import NAMESPACE, OperatorProcess, add_pipeline, add_pod, ask

from .test_trouble import fail


async def start(
    operator: OperatorProcess,
    name: str = "a",
    ordinal: int = 0,
    duration_secs: int | None = 1,
    namespace: str | None = None,
    wait_secs: float = 20.0,
) -> Started:
    pipeline = operator.requests.find_pipeline(name, namespace)
    spec = Spec(pipeline.name, ordinal, duration_secs)
    return await operator.requests.start(pipeline, spec, wait_secs, "Kubernetes/alice")


async def test_a_request_is_answered_as_soon_as_it_records(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """Not at its end; its object says what was asked."""
    add_pipeline(cluster)
    started = await start(operator, duration_secs=600)
    assert started.run is not None
    assert started.run.entry.started_at
    assert started.failure is None
    raw = cluster.objects[objects.samply_profiles(NAMESPACE, started.name)]
    assert raw["spec"] == {"pipeline": "a", "ordinal": 0, "durationSeconds": 600}
    assert raw["metadata"]["uid"] == started.id


async def test_an_older_crd_does_not_drop_attachments_in_silence(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It knows all other fields."""
    add_pipeline(cluster)
    create = FakeCluster.create

    async def create_by_older_crd(
        self: FakeCluster, path: str, body: Json, *, is_strict: bool = False, **_: Any
    ) -> Json:
        if "attachments" not in body.get("spec", {}):
            return await create(self, path, body)
        if is_strict:
            raise KubeInvalid(f'POST {path}: 400 strict decoding error: unknown field "spec.attachments"')
        return await create(self, path, body | {"spec": {**body["spec"], "attachments": None}})

    monkeypatch.setattr(FakeCluster, "create", create_by_older_crd)
    pipeline = operator.requests.find_pipeline("a", None)
    with pytest.raises(ObjectRefused, match=r"unknown field \"spec\.attachments\"") as caught:
        await operator.requests.start(pipeline, Spec("a", 0, 1, attachments=("Stats",)), 20, "Kubernetes/alice")
    assert "apply the one of the same version" in caught.value.remedy
    assert list(operator.list_profiles()) == []
    assert (await start(operator)).failure is None


async def test_a_request_that_preflight_refuses_is_answered_with_the_reason(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """At once: it isn't left to a later look."""
    (container,) = add_pipeline(cluster)
    container.facts["state"] = "x"
    container.facts["max_rate"] = "1"
    started = await start(operator)
    assert started.failure is not None
    assert started.failure.reason == "RateTooHigh"


async def test_a_request_is_answered_when_its_time_is_over(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """Whatever it is at then."""
    add_pipeline(cluster, attach_secs=1.0)
    started = await start(operator, wait_secs=0.3)
    assert started.failure is None
    assert started.run is None or not started.run.entry.started_at
    await operator.reach_phase(started.name, "Succeeded", "Failed")


@pytest.mark.parametrize("kind", [KubeUnavailable, KubeNotFound, ExecFailed])
async def test_an_unreachable_pod_is_reported_and_nothing_continues(
    operator: OperatorProcess, cluster: FakeCluster, kind: type[KubeError]
) -> None:
    """A caller that retries at once must not find a recording that it knows nothing of."""
    add_pipeline(cluster)
    cluster.fault = fail(lambda verb, _: verb == "exec", kind("dial tcp: connection refused"))
    with pytest.raises(PipelineUnreachable) as caught:
        await start(operator, wait_secs=0.5)
    assert caught.value.details == {
        "pipeline_name": "a",
        "request": "exec",
        "error": "dial tcp: connection refused",
    }
    assert "check the node" in caught.value.remedy
    assert operator.list_profiles() == []
    assert not operator.engine.runs
    cluster.fault = lambda verb, what: None
    started = await start(operator)
    assert started.run is not None
    assert started.run.entry.started_at


async def test_where_it_cannot_be_withdrawn_it_continues(operator: OperatorProcess, cluster: FakeCluster) -> None:
    add_pipeline(cluster)
    cluster.fault = fail(lambda verb, _: verb in {"exec", "delete"}, KubeUnavailable("away"))
    started = await start(operator, wait_secs=0.5)
    assert (started.failure, len(operator.list_profiles())) == (None, 1)
    cluster.fault = lambda verb, what: None
    await operator.reach_phase(started.name, "Succeeded")


async def test_of_concurrent_requests_one_continues(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """The others get the time left; one object is created."""
    add_pipeline(cluster)
    answers = await asyncio.gather(*(start(operator) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(answer, Started) for answer in answers) == 1
    assert sum(isinstance(answer, ProfilingInProgress) for answer in answers) == 4
    assert len(operator.list_profiles()) == 1


async def test_a_request_while_one_records_names_it_and_the_time_left(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """However that one was asked for."""
    add_pipeline(cluster)
    raw = ask(cluster, durationSeconds=600)
    await operator.reach_phase("p-1", "Recording")
    with pytest.raises(ProfilingInProgress) as caught:
        await start(operator)
    assert caught.value.details["profile"] == raw["metadata"]["uid"]
    left = caught.value.details["retry_after_secs"]
    assert isinstance(left, int)
    assert 500 < left <= 600


async def test_a_request_for_another_ordinal_continues(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """They are different targets."""
    add_pipeline(cluster, ordinals=2)
    ask(cluster, durationSeconds=600)
    await operator.reach_phase("p-1", "Recording")
    assert (await start(operator, ordinal=1)).failure is None


async def test_after_one_has_ended_the_next_request_continues(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """Also after one that failed to be created."""
    add_pipeline(cluster)
    cluster.fault = lambda verb, what: KubeUnavailable("away") if verb == "create" else None
    with pytest.raises(KubeUnavailable):
        await start(operator)
    cluster.fault = lambda verb, what: None
    started = await start(operator)
    await operator.reach_phase(started.name, "Succeeded")
    await operator.reach_rest()
    assert (await start(operator)).failure is None


@pytest.mark.parametrize(
    ("name", "ordinal", "namespace", "kind", "details"),
    [
        pytest.param("b", 0, None, UnknownPipeline, {"pipeline_name": "b"}, id="unknown name"),
        pytest.param("a", 0, "other", UnknownPipeline, {"pipeline_name": "a"}, id="unknown namespace"),
        pytest.param(
            "a", 7, None, InvalidParam,
            {"parameter": "ordinal", "value": "7", "expected": "one of 0, 1", "ordinals": [0, 1]},
            id="unknown ordinal",
        ),
        pytest.param(
            "a", 1, None, PipelineNotDeployed,
            {"pipeline_name": "a", "status": "Pending", "desired_status": "Running"}, id="a pod that doesn't run",
        ),
    ],
)  # fmt: skip
async def test_what_cannot_be_meant_is_refused_at_once(
    operator: OperatorProcess,
    cluster: FakeCluster,
    name: str,
    ordinal: int,
    namespace: str | None,
    kind: type[SamplyOperatorError],
    details: dict[str, str],
) -> None:
    """No object is made for it."""
    add_pipeline(cluster, ordinals=2)
    pod = cluster.objects[objects.pods(NAMESPACE, "pipeline-a-1")]
    pod["status"] = {"phase": "Pending"}
    cluster.put(objects.pods(NAMESPACE, "pipeline-a-1"), pod)
    with pytest.raises(kind) as caught:
        await start(operator, name, ordinal, namespace=namespace)
    assert caught.value.details == details
    assert operator.list_profiles() == []


@pytest.mark.parametrize(
    ("replicas", "status", "desired"), [(0, "Stopped", "Stopped"), (1, "Stopped", "Running")], ids=["stopped", "no pod"]
)
async def test_a_pipeline_without_a_pod_is_known_but_not_deployed(
    operator: OperatorProcess, cluster: FakeCluster, replicas: int, status: str, desired: str
) -> None:
    """Clients repeat that by themselves."""
    add_pipeline(cluster, ordinals=0)
    raw = cluster.objects[objects.stateful_sets(NAMESPACE, "pipeline-a")]
    raw["spec"]["replicas"] = replicas
    cluster.put(objects.stateful_sets(NAMESPACE, "pipeline-a"), raw)
    with pytest.raises(PipelineNotDeployed) as caught:
        await start(operator)
    assert (caught.value.details["status"], caught.value.details["desired_status"]) == (status, desired)


async def test_the_same_name_in_two_namespaces_needs_one(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """The error lists them; with the namespace it is clear."""
    add_pipeline(cluster)
    raw = cluster.objects[objects.pods(NAMESPACE, "pipeline-a-0")]
    operator.engine.world.see_pod(objects.parse_pod(raw | {"metadata": raw["metadata"] | {"namespace": "other"}}))
    with pytest.raises(AmbiguousPipeline) as caught:
        await start(operator)
    assert caught.value.details == {"pipeline_name": "a", "namespaces": ["other", NAMESPACE]}
    assert (await start(operator, namespace=NAMESPACE)).failure is None


async def test_a_pod_that_was_replaced_can_be_profiled_though_its_predecessor_is_recorded(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """Once the recorder has seen that the old one is gone."""
    add_pipeline(cluster, no_file=True)
    first = await start(operator, duration_secs=600)
    old = cluster.containers[NAMESPACE, "pipeline-a-0"]
    add_pod(cluster, "pipeline-a", 0)
    old.target.kill()
    old.target.wait()
    await operator.reach_phase(first.name, "Failed")
    await operator.reach(lambda: not operator.engine.runs)
    assert (await start(operator)).failure is None


class TestSwitchedOff:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(recording=Recording(enabled=False))

    async def test_profiling_that_is_switched_off_is_said_so(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """With the setting to change."""
        add_pipeline(cluster)
        with pytest.raises(ProfilingNotEnabled) as caught:
            await start(operator)
        assert caught.value.details["reason"] == "ProfilingNotEnabled"
        assert "config.recording.enabled" in caught.value.remedy
