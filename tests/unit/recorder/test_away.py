"""What the operator finds after a restart: recordings that it had admitted or begun, and pods that have changed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest

from samply_operator.control import snapshots
from samply_operator.errors import KubeUnavailable
from samply_operator.kube import objects
from samply_operator.kube.client import KubeClient
from samply_operator.model import names
from samply_operator.model.container import ContainerFacts
from samply_operator.model.manifest import JournalEntry
from samply_operator.recorder.pod import follow, script_calls
from samply_operator.settings import Recording, Settings
from support.fake_cluster import FakeCluster
from support.operator_process import NAMESPACE, OperatorProcess, add_pipeline, add_pod, ask

from .test_engine import POD, assert_nothing_left, count_starts
from .test_trouble import fail

LONG_SECS = 600
PROFILE = objects.samply_profiles(NAMESPACE, "p-1")


@pytest.fixture
def settings() -> Settings:
    """A pod that isn't reached is tried for longer than a test takes."""
    return Settings(recording=Recording(min_free_bytes=1, min_coverage=0, unreachable_secs=60))


def close_pods(cluster: FakeCluster) -> None:
    """Nothing can run in them until they are opened: a recording stays admitted."""
    cluster.fault = fail(lambda verb, _: verb == "exec", KubeUnavailable("no route to the node"))


def open_pods(cluster: FakeCluster) -> None:
    cluster.fault = lambda verb, what: None


def replace_pod(cluster: FakeCluster) -> None:
    """Its Lease is deleted with it."""
    (lease,) = (path for path in cluster.objects if "/leases/" in path)
    del cluster.objects[lease]
    add_pod(cluster, "pipeline-a", 0)


async def reach_trouble(operator: OperatorProcess) -> None:
    """It was admitted, and its pod isn't reached."""
    await operator.reach(lambda: any(run.trouble for run in operator.engine.runs.values()))
    assert [entry.step for entry in operator.volume.read_entries().items] == ["Admitted"]


async def test_a_pod_that_was_replaced_is_not_recorded_in_its_place(
    cluster: FakeCluster, tmp_path: Path, settings: Settings
) -> None:
    """The Lease was deleted with the pod: a second samply could start next to it, and files would be left behind."""
    add_pipeline(cluster)
    close_pods(cluster)
    async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
        ask(cluster, durationSeconds=LONG_SECS)
        await reach_trouble(operator)
    replace_pod(cluster)
    open_pods(cluster)
    async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
        status = await operator.reach_phase("p-1", "Recording", "Succeeded", "Failed")
        assert status.get("failure", {}).get("reason") == "PodDeleted", status
        ask(cluster, "p-2")
        assert (await operator.reach_phase("p-2", "Succeeded", "Failed"))["phase"] == "Succeeded"
        await operator.reach_rest()
        assert count_starts(cluster) == 1
        assert_nothing_left(operator)


def refuse_helpers(cluster: FakeCluster) -> None:
    """None is added until pods are opened."""
    cluster.fault = fail(lambda verb, what: verb == "patch" and "ephemeral" in what, KubeUnavailable("away"))


@pytest.mark.parametrize("hold", [close_pods, refuse_helpers], ids=["it was there", "it was about to be added"])
async def test_a_pod_that_was_replaced_gets_no_ephemeral_container(
    cluster: FakeCluster, tmp_path: Path, settings: Settings, hold: Callable[[FakeCluster], None]
) -> None:
    """It would stay in its spec for ever, and run there until its own end."""
    add_pipeline(cluster)
    hold(cluster)
    async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
        ask(cluster, mode="Ephemeral", durationSeconds=LONG_SECS)
        await reach_trouble(operator)
    replace_pod(cluster)
    open_pods(cluster)
    async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
        status = await operator.reach_phase("p-1", "Recording", "Succeeded", "Failed")
        assert status.get("failure", {}).get("reason") == "PodDeleted", status
        await operator.reach_rest()
    assert not cluster.objects[objects.pods(NAMESPACE, POD)]["spec"].get("ephemeralContainers")


async def test_a_container_that_restarted_is_looked_at_by_its_new_name(
    cluster: FakeCluster, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From an ephemeral container, its processes are identified by that."""
    add_pipeline(cluster)
    refuse_helpers(cluster)
    gather, seen = script_calls.gather_facts, []

    async def note(client: KubeClient, entry: JournalEntry) -> ContainerFacts:
        seen.append(entry.container_id)
        return await gather(client, entry)

    monkeypatch.setattr(script_calls, "gather_facts", note)
    async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
        ask(cluster, mode="Ephemeral")
        await reach_trouble(operator)
    path = objects.pods(NAMESPACE, POD)
    raw = copy.deepcopy(cluster.objects[path])
    raw["status"]["containerStatuses"][0]["containerID"] = "containerd://another"
    cluster.put(path, raw)
    open_pods(cluster)
    async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
        await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert seen == ["containerd://another"]


async def test_a_stop_of_what_was_only_admitted_acts_all_the_same(
    cluster: FakeCluster, tmp_path: Path, settings: Settings
) -> None:
    """As soon as it records, even without a second request."""
    add_pipeline(cluster)
    close_pods(cluster)
    async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
        ask(cluster, durationSeconds=LONG_SECS)
        await reach_trouble(operator)
        raw = copy.deepcopy(cluster.objects[PROFILE])
        raw["metadata"]["annotations"] = {names.STOP: "keep"}
        cluster.put(PROFILE, raw)
        await operator.reach(lambda: [entry.stop for entry in operator.volume.read_entries().items] == ["keep"])
    raw = copy.deepcopy(cluster.objects[PROFILE])
    raw["metadata"]["annotations"] = {}
    cluster.put(PROFILE, raw)
    open_pods(cluster)
    async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
        status = await operator.reach_phase("p-1", "Succeeded", "Failed")
        assert status["phase"] == "Succeeded", status
        await operator.reach_rest()
        assert_nothing_left(operator)


async def test_an_ephemeral_container_that_has_ended_is_followed_by_the_next(
    cluster: FakeCluster, tmp_path: Path, settings: Settings
) -> None:
    """It waits for its recording only so long, and can't be started again."""
    add_pipeline(cluster)
    close_pods(cluster)
    async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
        ask(cluster, mode="Ephemeral")
        await reach_trouble(operator)
        (entry,) = operator.volume.read_entries().items
    cluster.end_helper(NAMESPACE, POD, entry.helper)
    open_pods(cluster)
    async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
        status = await operator.reach_phase("p-1", "Succeeded", "Failed")
        assert (status["phase"], status["target"]["mode"]) == ("Succeeded", "Ephemeral"), status
        await operator.reach_rest()
        assert_nothing_left(operator)
    helpers = cluster.objects[objects.pods(NAMESPACE, POD)]["status"]["ephemeralContainerStatuses"]
    assert [helper["name"].rpartition("-")[0] for helper in helpers] == ["samply-operator-1", "samply-operator-2"]
    assert all("terminated" in helper["state"] for helper in helpers)


async def test_what_records_is_shown_as_recording_at_once(
    cluster: FakeCluster, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has begun already: no later event will report it."""
    monkeypatch.setattr(follow, "LONGEST_POLL_SECS", 0.1)
    monkeypatch.setattr(follow, "SHORTEST_POLL_SECS", 0.1)
    add_pipeline(cluster)
    async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
        ask(cluster, durationSeconds=LONG_SECS)
        await operator.reach(lambda: [e.step for e in operator.volume.read_entries().items] == ["Recording"])
    async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
        (state,) = snapshots.build_snapshot(operator.engine).recordings
        assert state.phase == "Recording"
        assert state.ends_at is not None
        (run,) = operator.engine.runs.values()
        assert run.has_answer.is_set()
        run.stop("keep")
        await operator.reach_rest()
