"""A Lease per target: taken before samply starts, renewed, released; two operators never record the same target."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from samply_operator.errors import KubeForbidden, KubeUnavailable
from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.model.profile import Spec
from samply_operator.recorder.pod import script_calls
from samply_operator.rules.recording import lease
from samply_operator.settings import Recording, Settings, Targets
from samply_operator.store.volume import Volume
from support.fake_cluster import FakeCluster, Json
from support.operator_process import NAMESPACE, OperatorProcess, add_pipeline, ask

from .test_engine import assert_nothing_left, count_starts

SETTINGS = Settings(recording=Recording(min_free_bytes=1, min_coverage=0, finish_deadline_secs=5))
THEIRS = "other/samply-operator"


@pytest.fixture
def settings() -> Settings:
    return SETTINGS


@pytest.fixture
async def rival(cluster: FakeCluster, tmp_path: Path) -> AsyncIterator[OperatorProcess]:
    """A second operator that watches the same namespace, with a volume of its own."""
    rival = OperatorProcess(cluster, tmp_path / "rival", SETTINGS)
    rival.engine.leases.holder = THEIRS
    async with rival:
        yield rival


def find_leases(cluster: FakeCluster) -> list[Json]:
    return list(cluster.find("/leases/"))


def put_lease(cluster: FakeCluster, holder: str, *, renewed: float = 0, duration: int = 60, profile: str = "x") -> str:
    """As another operator left it for the one pod there is; its path."""
    (pod,) = cluster.find("/pods/")
    name = lease.build_name(pod["metadata"]["uid"], "pipeline")
    path = objects.leases(NAMESPACE, name)
    at = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(time.time() + renewed))
    spec = {"holderIdentity": holder, "leaseDurationSeconds": duration, "renewTime": at, "acquireTime": at}
    cluster.put(path, {"metadata": {"name": name, "annotations": {names.HELD_FOR: profile}}, "spec": spec})
    return path


async def test_it_is_held_while_the_recording_runs_and_gone_after_it(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """For this container of this pod, with its name in the journal; taken by one request, before samply starts."""
    add_pipeline(cluster)
    raw = ask(cluster)
    await operator.reach_phase("p-1", "Recording")
    (held,) = find_leases(cluster)
    (run,) = operator.engine.runs.values()
    (pod,) = cluster.find("/pods/")
    assert held["metadata"]["name"] == run.entry.lease == lease.build_name(pod["metadata"]["uid"], "pipeline")
    assert held["metadata"]["annotations"] == {names.HELD_FOR: raw["metadata"]["uid"]}
    entry = operator.volume.read_entry(raw["metadata"]["uid"])
    assert entry is not None
    assert entry.lease == run.entry.lease
    of_leases = [index for index, (_, what) in enumerate(cluster.calls) if "/leases" in what]
    launch = next(
        index for index, (_, what) in enumerate(cluster.calls) if script_calls.read_script("record.sh") in what
    )
    assert [cluster.calls[index][0] for index in of_leases] == ["create"]
    assert of_leases[0] < launch
    await operator.reach_phase("p-1", "Succeeded")
    await operator.reach(lambda: not find_leases(cluster))


async def test_a_preflight_needs_none(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """It records nothing."""
    add_pipeline(cluster)
    ask(cluster, preflightOnly=True)
    await operator.reach_phase("p-1", "Succeeded")
    assert not any("/leases" in what for _, what in cluster.calls)


async def test_it_is_renewed_while_the_recording_runs(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And created again if it was deleted."""
    monkeypatch.setattr(lease, "RENEW_SECS", 0.1)
    add_pipeline(cluster)
    ask(cluster, durationSeconds=600)
    await operator.reach_phase("p-1", "Recording")
    (first,) = find_leases(cluster)
    await operator.reach(lambda: find_leases(cluster)[0]["spec"]["renewTime"] > first["spec"]["renewTime"])
    assert find_leases(cluster)[0]["spec"]["acquireTime"] == first["spec"]["acquireTime"]
    await cluster.delete(objects.leases(NAMESPACE, first["metadata"]["name"]))
    await operator.reach(lambda: find_leases(cluster))
    path = objects.samply_profiles(NAMESPACE, "p-1")
    await cluster.patch(path, {"metadata": {"annotations": {names.STOP: "keep"}}})
    await operator.reach(lambda: not find_leases(cluster))


async def test_trouble_with_a_renewal_harms_no_recording(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither an unavailable API server, nor a rival that took it."""
    monkeypatch.setattr(lease, "RENEW_SECS", 0.05)
    add_pipeline(cluster)
    ask(cluster)
    await operator.reach_phase("p-1", "Recording")
    put_lease(cluster, THEIRS)
    cluster.fault = lambda verb, what: KubeUnavailable("away") if verb == "replace" else None
    assert (await operator.reach_phase("p-1", "Succeeded", "Failed"))["phase"] == "Succeeded"
    await operator.reach_rest()
    assert [raw["spec"]["holderIdentity"] for raw in find_leases(cluster)] == [THEIRS]


async def test_of_two_operators_one_records_an_object(
    operator: OperatorProcess, rival: OperatorProcess, cluster: FakeCluster
) -> None:
    """Both see it; the other one leaves its status alone."""
    add_pipeline(cluster)
    ask(cluster)
    assert (await operator.reach_phase("p-1", "Succeeded", "Failed"))["phase"] == "Succeeded"
    await operator.reach_rest()
    await rival.reach_rest()
    assert count_starts(cluster) == 1
    assert len(operator.volume.list_ids() | rival.volume.list_ids()) == 1
    assert operator.find_status("p-1")["phase"] == "Succeeded"
    assert_nothing_left(operator)


async def test_a_target_that_another_operator_records_is_refused(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """The holder is named; nothing is left of the attempt."""
    add_pipeline(cluster)
    put_lease(cluster, THEIRS)
    ask(cluster)
    status = await operator.reach_phase("p-1", "Failed")
    assert status["failure"]["reason"] == "AlreadyRecording"
    assert THEIRS in status["failure"]["message"]
    await operator.reach_rest()
    assert count_starts(cluster) == 0
    assert [raw["spec"]["holderIdentity"] for raw in find_leases(cluster)] == [THEIRS]


async def test_one_that_an_earlier_process_of_ours_left_is_taken_over(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """The same release in the same namespace."""
    add_pipeline(cluster)
    put_lease(cluster, operator.engine.leases.holder)
    ask(cluster)
    assert (await operator.reach_phase("p-1", "Succeeded", "Failed"))["phase"] == "Succeeded"
    await operator.reach(lambda: not find_leases(cluster))


async def test_one_whose_holder_is_gone_is_waited_for_and_taken_over(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silent by our own clock, and over by its own; until then it says what it waits for."""
    add_pipeline(cluster)
    path = put_lease(cluster, THEIRS, renewed=-100)
    ask(cluster)
    status = await operator.reach_phase("p-1", "Pending")
    assert THEIRS in status["message"]

    async def reconcile() -> None:
        # While the queue looks at it, a further look does nothing.
        await operator.reach(lambda: not operator.engine.runs)
        await operator.engine.reconcile((NAMESPACE, "p-1"))

    await operator.reach(lambda: not operator.engine.runs)
    # The holder comes back once: the silence begins anew.
    context = operator.engine.leases._context
    put_lease(cluster, THEIRS, renewed=-99)
    await reconcile()
    version = cluster.objects[path]["metadata"]["resourceVersion"]
    await operator.reach(lambda: operator.engine.leases._seen[path][0] == version)
    operator.engine.leases._context = replace(context, uptime=lambda: time.monotonic() + lease.SILENT_SECS - 1)
    await reconcile()
    assert count_starts(cluster) == 0
    # A clock that was set is no silence.
    operator.engine.leases._context = replace(context, now=lambda: time.time() + 7200)
    await reconcile()
    assert count_starts(cluster) == 0
    operator.engine.leases._context = replace(context, uptime=lambda: time.monotonic() + lease.SILENT_SECS + 1)
    await reconcile()
    await operator.reach(lambda: cluster.objects[path]["spec"]["holderIdentity"] == operator.engine.leases.holder)
    assert (await operator.reach_phase("p-1", "Succeeded", "Failed"))["phase"] == "Succeeded"


async def test_after_a_restart_it_is_held_again_and_released(
    cluster: FakeCluster, tmp_path: Path, settings: Settings
) -> None:
    """By the next process of the same installation."""
    add_pipeline(cluster)
    async with OperatorProcess(cluster, tmp_path / "data", settings) as first:
        ask(cluster, durationSeconds=2)
        await first.reach_phase("p-1", "Recording")
    (left,) = find_leases(cluster)
    async with OperatorProcess(cluster, tmp_path / "data", settings) as second:
        (again,) = find_leases(cluster)
        assert again["spec"]["renewTime"] > left["spec"]["renewTime"]
        assert (await second.reach_phase("p-1", "Succeeded", "Failed"))["phase"] == "Succeeded"
        await second.reach(lambda: not find_leases(cluster))
    assert count_starts(cluster) == 1


async def test_without_the_right_it_is_refused_with_the_cure(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """Once, and not for ever."""
    add_pipeline(cluster)
    cluster.fault = lambda verb, what: KubeForbidden("may not create leases") if "/leases" in what else None
    ask(cluster)
    status = await operator.reach_phase("p-1", "Failed")
    assert status["failure"]["reason"] == "NotPermitted"
    await operator.reach_rest()


async def test_an_api_server_that_is_away_delays_it(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """Until the Lease can be taken; the journal holds nothing meanwhile."""
    add_pipeline(cluster)
    left = 2

    def fault(verb: str, what: str) -> Any:
        nonlocal left
        if "/leases" in what and left:
            left -= 1
            return KubeUnavailable("away")
        return None

    cluster.fault = fault
    ask(cluster)
    assert (await operator.reach_phase("p-1", "Succeeded", "Failed"))["phase"] == "Succeeded"
    assert count_starts(cluster) == 1


@pytest.mark.parametrize("is_deleted", [False, True], ids=["stopped", "deleted"])
async def test_one_that_ends_while_its_lease_is_asked_for_in_vain_leaves_nothing(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, is_deleted: bool
) -> None:
    """Nothing waits forever for samply to start in order to stop it; the journal entry is not written again."""
    add_pipeline(cluster)
    path = objects.samply_profiles(NAMESPACE, "p-1")
    create, asked, refused = FakeCluster.create, asyncio.Event(), asyncio.Event()

    async def create_late(self: FakeCluster, where: str, body: Any, **options: Any) -> Json:
        if where.endswith("/leases"):
            asked.set()
            await refused.wait()
            raise KubeUnavailable("away")
        return await create(self, where, body, **options)

    monkeypatch.setattr(FakeCluster, "create", create_late)
    ask(cluster)
    await asked.wait()
    (run,) = operator.engine.runs.values()
    if is_deleted:
        await cluster.delete(path)
    else:
        run.stop("keep")
    await operator.reach(lambda: run.entry.stop)
    refused.set()
    await operator.reach(lambda: operator.engine.runs.get(run.entry.id) is not run)
    await operator.reach(lambda: not [task for task in asyncio.all_tasks() if "Run._stop" in repr(task)])
    if not is_deleted:
        await cluster.delete(path)
    await operator.reach_rest()
    assert not any(verb == "exec" for verb, _ in cluster.calls)
    assert_nothing_left(operator)


class Killed(BaseException):
    """What a dead process would do next."""


async def kill_before_lease(cluster: FakeCluster, data: Path, name: str) -> None:
    """A process that dies between the journal's first entry of this object and its Lease."""
    process = OperatorProcess(cluster, data, SETTINGS)
    process.volume.prepare()
    await process.list_all()
    process.engine.requesters.note((NAMESPACE, name), "Kubernetes/alice")
    cluster.fault = lambda verb, what: Killed() if verb == "create" and "/leases" in what else None
    with pytest.raises(Killed):
        await process.engine.reconcile((NAMESPACE, name))
    cluster.fault = lambda verb, what: None
    assert [entry.step for entry in process.volume.read_entries().items] == ["Admitted"]


async def test_after_a_kill_before_its_lease_nothing_starts_beside_a_rival(
    rival: OperatorProcess, cluster: FakeCluster, tmp_path: Path
) -> None:
    """What the journal admitted is admitted anew: refused, as it would have been."""
    add_pipeline(cluster)
    ask(cluster, "p-1", durationSeconds=600)
    await rival.reach_phase("p-1", "Recording")
    cluster.watchers.clear()  # the rival doesn't see what comes
    ask(cluster, "p-2")
    await kill_before_lease(cluster, tmp_path / "data", "p-2")
    async with OperatorProcess(cluster, tmp_path / "data", SETTINGS) as operator:
        status = await operator.reach_phase("p-2", "Recording", "Succeeded", "Failed")
        assert status["failure"]["reason"] == "AlreadyRecording"
        assert THEIRS in status["failure"]["message"]
        assert status["requestedBy"] == "Kubernetes/alice"
        await operator.reach_rest()
        assert count_starts(cluster) == 1
        assert [raw["spec"]["holderIdentity"] for raw in find_leases(cluster)] == [THEIRS]
    cluster.watchers.append(rival._see)


async def test_after_a_kill_before_its_lease_it_continues_with_the_lease(cluster: FakeCluster, tmp_path: Path) -> None:
    """Not before, however long the API server is unavailable; the target is not free for others meanwhile."""
    add_pipeline(cluster)
    ask(cluster, "p-1")
    await kill_before_lease(cluster, tmp_path / "data", "p-1")
    cluster.fault = lambda verb, what: KubeUnavailable("away") if "/leases" in what else None
    async with OperatorProcess(cluster, tmp_path / "data", SETTINGS) as operator:
        ask(cluster, "p-2")
        await operator.reach(lambda: sum("/leases" in what for _, what in cluster.calls) > 3)
        assert [run.entry.name for run in operator.engine.runs.values()] == ["p-1"]
        await cluster.delete(objects.samply_profiles(NAMESPACE, "p-2"))
        assert not any(verb == "exec" for verb, _ in cluster.calls)
        cluster.fault = lambda verb, what: None
        status = await operator.reach_phase("p-1", "Succeeded", "Failed")
        assert (status["phase"], status["requestedBy"]) == ("Succeeded", "Kubernetes/alice")
        await operator.reach_rest()
        await operator.reach(lambda: not find_leases(cluster))
    assert count_starts(cluster) == 1


async def test_a_helper_of_a_killed_run_is_ended_if_another_operator_has_the_target(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    """The helper is an ephemeral container."""
    add_pipeline(cluster)
    raw = ask(cluster, mode="Ephemeral")
    await kill_before_lease(cluster, tmp_path / "data", "p-1")
    helper = "samply-operator-x"
    volume = Volume(tmp_path / "data", min_free_bytes=1)
    entry = volume.read_entry(raw["metadata"]["uid"])
    assert entry is not None
    volume.write_entry(msgspec.structs.replace(entry, helper=helper))
    pod = objects.pods(NAMESPACE, entry.pod)
    await cluster.patch(f"{pod}/ephemeralcontainers", {"spec": {"ephemeralContainers": [{"name": helper}]}})
    put_lease(cluster, THEIRS)
    async with OperatorProcess(cluster, tmp_path / "data", SETTINGS) as operator:
        assert (await operator.reach_phase("p-1", "Failed"))["failure"]["reason"] == "AlreadyRecording"
        await operator.reach_rest()
    (state,) = cluster.objects[pod]["status"]["ephemeralContainerStatuses"]
    assert "terminated" in state["state"]


async def test_one_that_is_deleted_while_its_lease_is_asked_for_ends(cluster: FakeCluster, tmp_path: Path) -> None:
    """After a kill, with the API server's Leases away."""
    add_pipeline(cluster)
    ask(cluster)
    await kill_before_lease(cluster, tmp_path / "data", "p-1")
    cluster.fault = lambda verb, what: KubeUnavailable("away") if "/leases" in what else None
    async with OperatorProcess(cluster, tmp_path / "data", SETTINGS) as operator:
        assert operator.engine.runs
        await cluster.delete(objects.samply_profiles(NAMESPACE, "p-1"))
        await operator.reach_rest()
    assert not any(verb == "exec" for verb, _ in cluster.calls)


OFF = Settings(recording=Recording(min_free_bytes=1, min_coverage=0, enabled=False))
FULL = Settings(recording=Recording(min_free_bytes=1 << 60, min_coverage=0))
BLIND = Settings(recording=SETTINGS.recording, targets=Targets(pod_selector="app=none"))


@pytest.mark.parametrize(
    ("settings", "attach_secs"),
    [
        pytest.param(OFF, 0.02, id="switched off"),
        pytest.param(OFF, 1.5, id="switched off, and it is about to record"),
        pytest.param(FULL, 0.02, id="no room"),
        pytest.param(FULL, 1.5, id="no room, and it is about to record"),
        pytest.param(BLIND, 0.02, id="no such pipeline"),
    ],
)
async def test_a_recording_of_another_operator_is_not_refused(
    rival: OperatorProcess, cluster: FakeCluster, tmp_path: Path, settings: Settings, attach_secs: float
) -> None:
    """That operator has other settings and another volume."""
    add_pipeline(cluster, attach_secs=attach_secs)
    ask(cluster, durationSeconds=2)
    await rival.reach(lambda: count_starts(cluster))
    if attach_secs < 1:
        await rival.reach_phase("p-1", "Recording")
    async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
        assert (await operator.reach_phase("p-1", "Succeeded", "Failed"))["phase"] == "Succeeded"
        assert "Stored" in operator.list_events("p-1")
        assert len(set(operator.list_events("p-1"))) == 2


async def test_an_abandoned_recording_is_refused(cluster: FakeCluster, tmp_path: Path) -> None:
    """Its operator is gone, and the Lease has expired: its object must not show Recording forever."""
    add_pipeline(cluster)
    raw = ask(cluster)
    (pod,) = cluster.find("/pods/")
    target = {"podUid": pod["metadata"]["uid"], "container": "pipeline"}
    path = objects.samply_profiles(NAMESPACE, "p-1")
    cluster.put(path, raw | {"status": {"phase": "Recording", "target": target}})
    put_lease(cluster, THEIRS, renewed=-100, profile=raw["metadata"]["uid"])
    async with OperatorProcess(cluster, tmp_path / "data", OFF) as operator:
        leases = operator.engine.leases
        await operator.reach(lambda: leases._seen)
        assert operator.find_status("p-1")["phase"] == "Recording"
        leases._context = replace(leases._context, uptime=lambda: time.monotonic() + lease.SILENT_SECS + 1)
        operator.engine.queue.put((NAMESPACE, "p-1"))
        assert (await operator.reach_phase("p-1", "Failed"))["failure"]["reason"] == "ProfilingNotEnabled"


async def test_a_lease_that_is_released_while_it_is_renewed_stays_released(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of an ended recording is created again, and the renewal of others continues."""
    add_pipeline(cluster)
    ask(cluster, durationSeconds=600)
    await operator.reach_phase("p-1", "Recording")
    (run,) = operator.engine.runs.values()
    leases, live = operator.engine.leases, {run.entry.id}
    swap = FakeCluster.replace
    releasing: list[asyncio.Task[None]] = []

    async def swap_late(self: FakeCluster, path: str, body: Any, **options: Any) -> Json:
        live.clear()
        releasing.append(asyncio.create_task(leases.release(run.entry)))
        await asyncio.sleep(0.05)
        await self.delete(path)
        return await swap(self, path, body, **options)

    monkeypatch.setattr(FakeCluster, "replace", swap_late)
    await leases.renew([run.entry, run.entry], lambda profile_id: profile_id in live)
    await asyncio.gather(*releasing)
    assert len(releasing) == 1
    assert find_leases(cluster) == []
    run.stop("discard")
    await operator.reach_rest()


async def test_a_refused_request_does_not_report_that_it_is_being_profiled(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """A request that was taken back leaves no recording here."""
    add_pipeline(cluster)
    put_lease(cluster, THEIRS)
    pipeline = operator.requests.find_pipeline("a", None)
    started = await operator.requests.start(pipeline, Spec(pipeline.name, 0, 1), 20.0, "Kubernetes/alice")
    assert started.failure is not None
    assert started.failure.reason == "AlreadyRecording"
    assert operator.engine.runs.find(NAMESPACE, "a", 0) is None
