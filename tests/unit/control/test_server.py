"""The operator's side of the socket, with the api's own client: the stream of states, and the calls."""

from __future__ import annotations

import asyncio
import base64
import math
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from samply_operator import logs
from samply_operator.control import server as server_
from samply_operator.control.auth.authorizer import Authorizer
from samply_operator.control.auth.credentials import CredentialSource
from samply_operator.control.auth.jwks import KeySet
from samply_operator.control.auth.local_auth import LocalAuthenticator
from samply_operator.control.client import OperatorClient
from samply_operator.control.live import Live
from samply_operator.control.messages import (
    PipelineState,
    RecordingState,
    StartAllRequest,
    StartRequest,
    SupportBundleRequest,
)
from samply_operator.control.server import ControlServer
from samply_operator.errors import (
    InvalidParam,
    KubeError,
    KubeForbidden,
    NotRecording,
    PipelineNotDeployed,
    PipelineUnreachable,
    ProfilingInProgress,
    UnknownPipeline,
    UnknownProfile,
)
from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.rules.access import credentials
from samply_operator.settings import ApiKeys, Auth, Recording, Settings
from samply_operator.store.space import Backlog
from samply_operator.store.volume import Volume
from samply_operator.triggers.alerts import Alerts
from support.fake_cluster import FakeCluster
from support.fake_operator import KEY, LOGIN, bearer
from support.operator_process import NAMESPACE, OperatorProcess, add_pipeline, ask


@pytest.fixture
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s") / "c.sock"


async def build_server(operator: OperatorProcess, path: Path) -> ControlServer:
    """The holder of KEY may do everything."""
    data = {"test": base64.b64encode(credentials.build_entry(KEY, credentials.VERBS, ["*"])).decode()}
    operator.cluster.put(objects.secrets(NAMESPACE, "keys"), {"kind": "Secret", "metadata": {}, "data": data})
    client = operator.context.client
    source = CredentialSource(client, NAMESPACE, key_secret="keys", now=time.time)
    await source.read()
    auth = Auth(api_keys=ApiKeys(enabled=True))
    authorizer = Authorizer(
        auth, client, LocalAuthenticator(auth, KeySet(auth.oidc), lambda: source.current), NAMESPACE
    )
    alerts = Alerts(operator.engine, operator.triggers)
    return ControlServer(operator.engine, operator.requests, str(path), source, authorizer, alerts=alerts)


@pytest.fixture
async def server(operator: OperatorProcess, path: Path) -> AsyncIterator[ControlServer]:
    server = await build_server(operator, path)
    await server.start()
    yield server
    await server.close()


@pytest.fixture
async def client(server: ControlServer, path: Path) -> AsyncIterator[OperatorClient]:
    async with OperatorClient(str(path)) as client:
        await reach(lambda: client.live)
        yield client


async def reach(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.01)


@dataclass(frozen=True)
class Seen:
    pipelines: tuple[PipelineState, ...]
    recordings: tuple[RecordingState, ...]
    store_generation: int
    is_synced: bool
    enabled: bool
    sent_at: float


def see(client: OperatorClient) -> Seen:
    live = client.live
    assert live is not None
    return Seen(
        tuple(live.pipelines.values()),
        tuple(live.by_id.values()),
        live.store_generation,
        live.is_synced,
        live.enabled,
        live.sent_at,
    )


async def test_the_first_snapshot_is_the_whole_state(client: OperatorClient) -> None:
    """Even when there is nothing yet."""
    snapshot = see(client)
    assert (snapshot.pipelines, snapshot.recordings) == ((), ())
    assert (snapshot.is_synced, snapshot.enabled) == (True, True)


async def test_changes_arrive_without_being_asked_for(
    operator: OperatorProcess, cluster: FakeCluster, client: OperatorClient
) -> None:
    """A pipeline, its recording with its end, the stored profile."""
    add_pipeline(cluster, ordinals=2)
    await reach(lambda: see(client).pipelines and see(client).pipelines[0].is_running)
    (pipeline,) = see(client).pipelines
    assert (pipeline.namespace, pipeline.name) == (NAMESPACE, "a")
    assert [(o.ordinal, o.pod, o.is_running, o.is_desired) for o in pipeline.ordinals] == [
        (0, "pipeline-a-0", True, True), (1, "pipeline-a-1", True, True)
    ]  # fmt: skip
    generation = see(client).store_generation
    raw = ask(cluster, durationSeconds=2)
    await reach(lambda: see(client).recordings and see(client).recordings[0].phase == "Recording")
    (recording,) = see(client).recordings
    assert (recording.id, recording.pipeline, recording.ordinal) == (raw["metadata"]["uid"], "a", 0)
    assert recording.ends_at is not None
    assert 0 < recording.ends_at - see(client).sent_at <= 2
    await reach(lambda: not see(client).recordings)
    assert see(client).store_generation > generation


async def test_a_scaled_down_pipeline_shows_the_ordinals_that_should_be_and_those_that_are(
    cluster: FakeCluster, client: OperatorClient
) -> None:
    """Both, separately."""
    add_pipeline(cluster, ordinals=2)
    raw = cluster.objects[objects.stateful_sets(NAMESPACE, "pipeline-a")]
    raw["spec"]["replicas"] = 1
    cluster.put(objects.stateful_sets(NAMESPACE, "pipeline-a"), raw)
    cluster.remove(objects.pods(NAMESPACE, "pipeline-a-0"))
    await reach(lambda: see(client).pipelines and not see(client).pipelines[0].ordinals[0].is_running)
    (pipeline,) = see(client).pipelines
    assert [(o.ordinal, o.is_running, o.is_desired) for o in pipeline.ordinals] == [(0, False, True), (1, True, False)]


async def test_the_stream_speaks_even_when_nothing_changes(
    operator: OperatorProcess, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that silence means that the operator is away."""
    monkeypatch.setattr(server_, "BEAT_SECS", 0.05)
    server = await build_server(operator, path)
    await server.start()
    seen: list[Live | None] = []
    async with OperatorClient(str(path), on_change=seen.append):
        await reach(lambda: len(seen) >= 3)
        await server.close()
        await reach(lambda: seen[-1] is None)


async def test_a_start_is_answered_with_the_new_profile(
    operator: OperatorProcess, cluster: FakeCluster, client: OperatorClient
) -> None:
    """And with the time left, in whole seconds."""
    add_pipeline(cluster)
    reply = await client.start(LOGIN, StartRequest("a", 0, 600, None, wait_secs=20))
    assert (reply.namespace, reply.state, reply.failure) == (NAMESPACE, "Recording", None)
    assert 590 <= reply.retry_after_secs <= 600
    assert operator.find_status(reply.name) is not None
    with pytest.raises(ProfilingInProgress) as caught:
        await client.start(LOGIN, StartRequest("a", 0, 600, None, wait_secs=20))
    assert caught.value.details["profile"] == reply.id


async def test_what_was_asked_is_in_the_object(
    operator: OperatorProcess, cluster: FakeCluster, client: OperatorClient
) -> None:
    add_pipeline(cluster, ordinals=2)
    wanted = StartAllRequest("a", 600, None, wait_secs=20, rate_hz=99, mode="InPlace", attachments=("Stats",))
    await client.start_all(LOGIN, wanted)
    specs = [msgspec.json.decode(msgspec.json.encode(raw["spec"])) for raw in operator.list_profiles()]
    assert sorted(spec.pop("ordinal", 0) for spec in specs) == [0, 1]
    assert specs == 2 * [
        {"pipeline": "a", "durationSeconds": 600, "rateHz": 99, "mode": "InPlace", "attachments": ["Stats"]}
    ]


async def test_a_start_that_fails_at_once_says_why(cluster: FakeCluster, client: OperatorClient) -> None:
    """Reason and cure, as the object will."""
    (container,) = add_pipeline(cluster)
    container.facts["max_rate"] = "1"
    reply = await client.start(LOGIN, StartRequest("a", wait_secs=20))
    assert reply.state == "Failed"
    assert reply.failure is not None
    assert (reply.failure.reason, bool(reply.failure.remedy)) == ("RateTooHigh", True)


async def test_a_start_whose_time_is_over_is_pending(cluster: FakeCluster, client: OperatorClient) -> None:
    """The recording continues."""
    add_pipeline(cluster, attach_secs=2.0)
    reply = await client.start(LOGIN, StartRequest("a", wait_secs=0.2))
    assert (reply.state, reply.retry_after_secs >= 1) == ("Pending", True)


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        pytest.param(StartRequest("b"), UnknownPipeline, id="unknown pipeline"),
        pytest.param(StartRequest("a", 9), InvalidParam, id="unknown ordinal"),
        pytest.param(StartRequest("z"), PipelineNotDeployed, id="not deployed"),
    ],
)
async def test_an_error_crosses_the_socket_as_itself(
    cluster: FakeCluster, client: OperatorClient, request_: StartRequest, kind: type[Exception]
) -> None:
    """Same class, message and details."""
    add_pipeline(cluster)
    add_pipeline(cluster, "z", ordinals=0)
    with pytest.raises(kind):
        await client.start(LOGIN, request_)


async def test_all_ordinals_are_started_as_one_request(
    operator: OperatorProcess, cluster: FakeCluster, client: OperatorClient
) -> None:
    """Refusals are reported next to the started ones."""
    add_pipeline(cluster, ordinals=3)
    first = await client.start(LOGIN, StartRequest("a", 1, 600, None, wait_secs=20))
    reply = await client.start_all(LOGIN, StartAllRequest("a", 600, None, wait_secs=20))
    assert [(r.ordinal, r.state) for r in reply.started] == [(0, "Recording"), (2, "Recording")]
    assert [(r.ordinal, r.error.error_code) for r in reply.refused] == [(1, "SamplyProfilingInProgress")]
    assert reply.refused[0].error.details["profile"] == first.id
    raw = {raw["metadata"]["uid"]: raw for raw in operator.list_profiles()}
    requests = {raw[started.id]["metadata"]["labels"][names.REQUEST] for started in reply.started}
    assert len(requests) == 1
    assert raw[first.id]["metadata"]["labels"][names.REQUEST] not in requests
    with pytest.raises(UnknownPipeline):
        await client.start_all(LOGIN, StartAllRequest("b"))


async def test_all_ordinals_of_none_is_a_refusal(cluster: FakeCluster, client: OperatorClient) -> None:
    """A pipeline without pods."""
    add_pipeline(cluster, "z", ordinals=0)
    reply = await client.start_all(LOGIN, StartAllRequest("z"))
    assert (reply.started, [r.error.error_code for r in reply.refused]) == ((), ["PipelineInteractionNotDeployed"])


async def test_a_start_whose_operator_ends_meanwhile_is_answered_by_the_next_one(
    cluster: FakeCluster, tmp_path: Path, path: Path
) -> None:
    """With the id of the one object that was made, and the name of the caller."""
    add_pipeline(cluster, attach_secs=1.0)
    settings = Settings(recording=Recording(min_free_bytes=1, min_coverage=0))
    async with OperatorClient(str(path)) as client:
        async with OperatorProcess(cluster, tmp_path / "data", settings) as first:
            server = await build_server(first, path)
            await server.start()
            start = asyncio.create_task(client.start(LOGIN, StartRequest("a", 0, 600, wait_secs=20)))
            await first.reach(first.list_profiles)
            await server.close()
        async with OperatorProcess(cluster, tmp_path / "data", settings) as second:
            server = await build_server(second, path)
            await server.start()
            reply = await start
            await server.close()
            (made,) = second.list_profiles()
            assert (reply.id, reply.state) == (made["metadata"]["uid"], "Recording")
            await second.reach(lambda: "test" in second.find_status(reply.name).get("requestedBy", ""))


async def test_stop_and_delete_cross_the_socket(
    operator: OperatorProcess, cluster: FakeCluster, client: OperatorClient
) -> None:
    """One that runs is stopped, then what is stored is removed; then it is unknown."""
    add_pipeline(cluster)
    started = await client.start(LOGIN, StartRequest("a", 0, 600, None, wait_secs=20))
    assert (await client.stop(LOGIN, started.id)).state == "Stopping"
    await operator.reach_phase(started.name, "Succeeded")
    await operator.reach_rest()
    with pytest.raises(NotRecording):
        await client.stop(LOGIN, started.id)
    assert (await client.delete(LOGIN, started.id)).state == "Removed"
    with pytest.raises(UnknownProfile):
        await client.delete(LOGIN, started.id)


async def test_a_pin_is_in_the_object_and_in_the_state(
    operator: OperatorProcess, cluster: FakeCluster, client: OperatorClient
) -> None:
    """With the name of the caller."""
    add_pipeline(cluster)
    started = await client.start(LOGIN, StartRequest("a", 0, 1, None, wait_secs=20))
    await operator.reach_phase(started.name, "Succeeded")

    def is_shown() -> bool:
        return client.live is not None and started.id in client.live.pinned

    def read_note() -> str | None:
        [raw] = operator.list_profiles()
        note: str | None = raw["metadata"].get("annotations", {}).get(names.PIN)
        return note

    assert (await client.pin(LOGIN, started.id)).state == "Pinned"
    await reach(is_shown)
    assert read_note()
    assert (await client.unpin(LOGIN, started.id)).state == "Unpinned"
    await reach(lambda: not is_shown())
    assert read_note() is None
    with pytest.raises(UnknownProfile):
        await client.pin(LOGIN, "00000000-0000-4000-8000-000000000001")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"", 400, id="empty"),
        pytest.param(b"{", 400, id="half"),
        pytest.param(b"[]", 400, id="a list"),
        pytest.param(b'{"pipeline": 1}', 400, id="wrong type"),
        pytest.param(b"{}", 400, id="without a pipeline"),
        pytest.param(b'{"pipeline": "a", "requestedBy": "root"}', 400, id="unknown key"),
        pytest.param(b'{"pipeline": "\xff"}', 400, id="no UTF-8"),
        pytest.param(b" " * (server_.MAX_BODY_BYTES + 1), 413, id="too large"),
    ],
)
async def test_a_call_that_cannot_be_read_is_refused(
    server: ControlServer, path: Path, body: bytes, status: int
) -> None:
    """The server stays up."""
    connector = aiohttp.UnixConnector(str(path))
    async with aiohttp.ClientSession("http://operator", connector=connector, headers=bearer(KEY)) as session:
        async with session.post("/v1/start", data=body) as response:
            assert response.status == status
            if status == 400:
                assert (await response.json())["errorCode"] == "InvalidParam"
        async with session.get("/v1/nonsense") as response:
            assert response.status == 404
        async with session.post("/v1/start", data=b'{"pipeline": "b"}') as response:
            assert (await response.json())["errorCode"] == "UnknownPipelineName"


async def test_a_client_that_disconnects_does_no_harm(
    operator: OperatorProcess, server: ControlServer, path: Path, client: OperatorClient
) -> None:
    """The other clients still get updates."""
    for _ in range(3):
        async with OperatorClient(str(path)) as other:
            await reach(lambda other=other: other.live)
    before = see(client).sent_at
    operator.engine.changes.notify()
    await reach(lambda: see(client).sent_at > before)


async def test_a_socket_that_a_killed_process_left_is_replaced(operator: OperatorProcess, path: Path) -> None:
    """Open to its owner and group alone; removed at the end."""
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    server = await build_server(operator, path)
    await server.start()
    assert find_mode(path) == 0o660
    async with OperatorClient(str(path)) as client:
        await reach(lambda: client.live)
    await server.close()
    assert find_mode(path) is None


def find_mode(path: Path) -> int | None:
    return stat.S_IMODE(path.stat().st_mode) if path.exists() else None


async def test_a_preflight_is_answered_with_its_verdict(cluster: FakeCluster, client: OperatorClient) -> None:
    """Nothing is recorded; the object keeps the verdict."""
    add_pipeline(cluster)
    await reach(lambda: see(client).pipelines)
    reply = await client.preflight(LOGIN, StartRequest("a", wait_secs=20))
    assert (reply.verdict, reply.failure) in {("Go", None), ("GoWithWarning", None)}
    assert (reply.pod, reply.container, reply.mode) == ("pipeline-a-0", "pipeline", "InPlace")
    raw = cluster.objects[objects.samply_profiles(NAMESPACE, reply.name)]
    assert raw["spec"]["preflightOnly"] is True
    assert "profile" not in raw["status"]


async def test_a_preflight_that_refuses_says_what_was_found(cluster: FakeCluster, client: OperatorClient) -> None:
    """As its object does, with the cure."""
    (container,) = add_pipeline(cluster)
    container.facts["max_rate"] = "1"
    await reach(lambda: see(client).pipelines)
    reply = await client.preflight(LOGIN, StartRequest("a", wait_secs=20))
    assert reply.verdict == "Refuse"
    assert reply.failure is not None
    assert reply.failure.reason == "RateTooHigh"
    assert "RateTooHigh" in {finding.reason for finding in reply.findings}


async def test_a_preflight_while_one_records_is_refused_as_a_start_is(
    operator: OperatorProcess, cluster: FakeCluster, client: OperatorClient
) -> None:
    """With the one that runs."""
    add_pipeline(cluster)
    raw = ask(cluster, durationSeconds=600)
    await operator.reach_phase("p-1", "Recording")
    with pytest.raises(ProfilingInProgress) as caught:
        await client.preflight(LOGIN, StartRequest("a"))
    assert caught.value.details["profile"] == raw["metadata"]["uid"]


async def test_a_preflight_that_takes_too_long_is_reported(cluster: FakeCluster, client: OperatorClient) -> None:
    """Its object continues, and is named."""
    add_pipeline(cluster)
    await reach(lambda: see(client).pipelines)
    with pytest.raises(PipelineUnreachable) as caught:
        await client.preflight(LOGIN, StartRequest("a", wait_secs=0))
    assert "kubectl get samplyprofile -n prod profile-" in caught.value.remedy


def read_metrics(text: bytes) -> dict[str, float]:
    """`name{labels}` → value, read by Prometheus' own parser."""
    return {
        sample.name + (str(sorted(sample.labels.items())) if sample.labels else ""): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


async def test_the_metrics_tell_of_a_recording_that_ended(
    operator: OperatorProcess, cluster: FakeCluster, client: OperatorClient
) -> None:
    """Counted once, with its mode, its durations, its bytes and its quality; and how things stand now."""
    add_pipeline(cluster)
    before = read_metrics(await client.get_metrics())
    ask(cluster)
    await reach(lambda: see(client).recordings)
    await reach(lambda: not see(client).recordings)
    after = read_metrics(await client.get_metrics())

    def grown(name: str) -> float:
        return after.get(name, 0) - before.get(name, 0)

    ended = "[('mode', 'InPlace'), ('outcome', 'Succeeded'), ('reason', '')]"
    assert grown(f"samply_operator_recordings_total{ended}") == 1
    for step in ("recording", "copy", "bake"):
        assert grown(f"samply_operator_{step}_duration_seconds_count") >= 1, step
    assert grown("samply_operator_copied_bytes_total") > 0
    assert grown("samply_operator_samples_total") > 0
    assert grown("samply_operator_kubernetes_requests_total[('method', 'PATCH')]") >= 0
    assert after["samply_operator_objects[('kind', 'SamplyProfile')]"] == 1
    assert after["samply_operator_synced"] == 1
    assert after["samply_operator_recordings_running[('phase', 'Recording')]"] == 0
    assert after["samply_operator_store_generation"] > before["samply_operator_store_generation"]


async def test_the_metrics_tell_what_waits_in_the_spool_of_a_bucket(
    operator: OperatorProcess, client: OperatorClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"samply_operator_spool_{name}" for name in ("attempts", "used_bytes", "oldest_age_seconds")]
    without = read_metrics(await client.get_metrics())
    assert all(math.isnan(without[name]) for name in names), "a volume has no spool"
    for backlog, age in ((Backlog(2, 4096, time.time() - 90), 90), (Backlog(0, 512, None), 0)):
        monkeypatch.setattr(Volume, "measure_backlog", lambda _, backlog=backlog: backlog)
        found = read_metrics(await client.get_metrics())
        assert [found[name] for name in names] == [backlog.attempts, backlog.used_bytes, pytest.approx(age, abs=5)]


async def test_a_refusal_is_counted_with_its_reason(cluster: FakeCluster, client: OperatorClient) -> None:
    """It never began."""
    add_pipeline(cluster)
    name = "samply_operator_recordings_total[('mode', ''), ('outcome', 'Refused'), ('reason', 'UnknownOrdinal')]"
    before = read_metrics(await client.get_metrics()).get(name, 0)
    ask(cluster, ordinal=7)
    async with asyncio.timeout(10):
        while read_metrics(await client.get_metrics()).get(name, 0) != before + 1:
            await asyncio.sleep(0.02)


async def test_the_operators_lines_carry_the_id_of_the_request(
    client: OperatorClient, caplog: pytest.LogCaptureFixture
) -> None:
    """So that one search finds what both containers say of it."""
    caplog.set_level("INFO", server_.logger.name)
    seen: list[str] = []
    caplog.handler.addFilter(lambda record: seen.append(logs.request_id.get()) or True)
    logs.request_id.set("from-a-proxy-1")
    with pytest.raises(UnknownProfile):
        await client.stop(LOGIN, "00000000-0000-4000-8000-000000000001")
    assert "from-a-proxy-1" in seen
    assert any("/v1/stop: UnknownProfile" in message for message in caplog.messages)


async def test_evidence_is_the_objects_the_pods_and_their_events(
    operator: OperatorProcess, cluster: FakeCluster, client: OperatorClient
) -> None:
    """Of this pipeline only; what couldn't be listed is named."""
    add_pipeline(cluster, ordinals=1)
    ask(cluster, durationSeconds=1)
    await reach(
        lambda: any(raw.get("status", {}).get("phase") == "Succeeded" for raw in cluster.find("samplyprofiles/"))
    )
    about = {"kind": "Pod", "namespace": NAMESPACE, "name": "pipeline-b-0", "uid": "x"}
    await operator.context.events.publish(about, "Warning", "Other", "of another pipeline")
    about["name"] = "pipeline-a-0"
    await operator.context.events.publish(about, "Warning", "BackOff", "back-off")
    found = await client.gather_evidence(LOGIN, SupportBundleRequest("a", NAMESPACE))
    assert [each["spec"]["pipeline"] for each in found.objects] == ["a"]
    assert [pod["name"] for pod in found.pods] == ["pipeline-a-0"]
    assert ("Pod/pipeline-a-0", "BackOff") in {(event["object"], event["reason"]) for event in found.events}
    assert not any(event["reason"] == "Other" for event in found.events)
    assert any(event["object"].startswith("SamplyProfile/") for event in found.events)
    assert found.missing == ()


async def test_evidence_without_the_right_to_list_events_has_a_hole(
    cluster: FakeCluster, client: OperatorClient
) -> None:
    """An installation with an older Role."""

    def fault(verb: str, what: str) -> KubeError | None:
        return KubeForbidden("may not list events") if (verb, what.endswith("/events")) == ("list", True) else None

    cluster.fault = fault
    found = await client.gather_evidence(LOGIN, SupportBundleRequest("a", NAMESPACE))
    assert found.missing == tuple(
        f"Events on {kind}: may not list events" for kind in ("SamplyProfile", "Pod", "StatefulSet")
    )
