"""Complete lists: all or nothing, until they work; triggers that nobody saw are found by them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from samply_operator.errors import KubeForbidden, KubeUnavailable
from samply_operator.kube import objects
from samply_operator.kube.client import ItemList
from samply_operator.model import names
from samply_operator.recorder import sync
from support.fake_cluster import FakeCluster
from support.operator_process import NAMESPACE, OperatorProcess, add_pipeline, add_pod, ask

from .conftest import SETTINGS


def make_operator(cluster: FakeCluster, tmp_path: Path) -> OperatorProcess:
    """Not started: nothing watches."""
    return OperatorProcess(cluster, tmp_path / "data", SETTINGS)


async def test_the_lists_are_the_whole_picture(cluster: FakeCluster, tmp_path: Path) -> None:
    """Pods by the selector, sets and profiles all."""
    add_pipeline(cluster, ordinals=2)
    cluster.put(objects.pods(NAMESPACE, "postgres-0"), {"metadata": {"namespace": NAMESPACE, "name": "postgres-0"}})
    ask(cluster)
    operator = make_operator(cluster, tmp_path)
    await operator.sync.list_all()
    world = operator.engine.world
    assert sorted(world.pods) == [(NAMESPACE, "pipeline-a-0"), (NAMESPACE, "pipeline-a-1")]
    assert world.pipelines[NAMESPACE, "a"].ordinals == (0, 1)
    assert list(world.profiles) == [(NAMESPACE, "p-1")]
    assert world.is_synced


@pytest.mark.parametrize("broken", ["/pods", "/statefulsets", f"/{names.PLURAL}"])
async def test_a_part_of_the_lists_is_none_of_them(cluster: FakeCluster, tmp_path: Path, broken: str) -> None:
    """An error leaves the older picture as it was: absence would mean deletion."""
    add_pipeline(cluster)
    ask(cluster)
    operator = make_operator(cluster, tmp_path)
    await operator.sync.list_all()
    cluster.objects.clear()
    cluster.fault = lambda verb, what: KubeUnavailable("away") if verb == "list" and what.endswith(broken) else None
    with pytest.raises(KubeUnavailable):
        await operator.sync.list_all()
    world = operator.engine.world
    assert (len(world.pods), len(world.sets), len(world.profiles)) == (1, 1, 1)


async def test_a_namespace_that_may_not_be_listed_does_not_stop_the_others(
    cluster: FakeCluster, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is gone, and its Role with it. Nothing is known of it, and it is said once."""
    add_pipeline(cluster)
    ask(cluster)
    operator = make_operator(cluster, tmp_path)
    lists = sync.Sync(operator.context, operator.engine, (NAMESPACE, "gone"))
    cluster.fault = lambda verb, what: KubeForbidden("no Role") if "/gone/" in what else None
    for _ in range(3):
        await lists.list_all()
    world = operator.engine.world
    assert (len(world.pods), len(world.sets), len(world.profiles)) == (1, 1, 1)
    assert world.covers(NAMESPACE)
    assert not world.covers("gone")
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "gone" in caplog.text

    assert not lists.shifted.is_set()
    cluster.fault = lambda verb, what: None
    await lists.list_all()
    assert world.covers("gone")
    assert lists.shifted.is_set()


async def test_at_the_start_a_role_has_a_moment_to_act(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then a namespace that mayn't be listed is left out, and the others are watched."""
    monkeypatch.setattr(sync, "RETRY_SECS", 0.01)
    operator = make_operator(cluster, tmp_path)
    lists = sync.Sync(operator.context, operator.engine, (NAMESPACE, "gone"))
    left = 2

    def refuse(verb: str, what: str) -> KubeForbidden | None:
        nonlocal left
        left -= "/gone/" in what
        return KubeForbidden("no Role yet") if left >= 0 and "/gone/" in what else None

    cluster.fault = refuse
    await lists.list_first()
    assert operator.engine.world.namespaces == (NAMESPACE, "gone")
    left = 10**9
    await asyncio.wait_for(lists.list_first(), 5)
    assert operator.engine.world.namespaces == (NAMESPACE,)
    assert not lists.shifted.is_set()


async def test_nothing_in_a_namespace_that_may_not_be_listed_counts_as_deleted(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """Its objects vanish from the picture, its profiles stay on the volume."""
    add_pipeline(cluster)
    ask(cluster)
    await operator.reach_phase("p-1", "Succeeded")
    await operator.reach_rest()
    lists = sync.Sync(operator.context, operator.engine, (NAMESPACE, "other"))
    cluster.fault = lambda verb, what: KubeForbidden("no Role") if verb == "list" and f"/{NAMESPACE}/" in what else None
    for _ in range(3):
        await lists.list_all()
        await operator.engine.sweep()
    assert not operator.engine.world.profiles
    assert len(operator.volume.list_ids()) == 1


async def test_where_nothing_may_be_listed_nothing_is_known(cluster: FakeCluster, tmp_path: Path) -> None:
    """That isn't an empty picture."""
    cluster.fault = lambda verb, what: KubeForbidden("no Role")
    operator = make_operator(cluster, tmp_path)
    with pytest.raises(KubeForbidden):
        await operator.sync.list_all()
    assert not operator.engine.world.is_synced


async def test_the_first_lists_are_tried_until_they_work(
    cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is decided before."""
    monkeypatch.setattr(sync, "RETRY_SECS", 0.01)
    left = 3

    def fault(verb: str, what: str) -> KubeUnavailable | None:
        nonlocal left
        left -= 1
        return KubeUnavailable("away") if left >= 0 else None

    cluster.fault = fault
    operator = make_operator(cluster, tmp_path)
    assert not operator.engine.world.is_synced
    async with asyncio.timeout(5):
        await operator.sync.list_first()
    assert operator.engine.world.is_synced


async def test_a_trigger_that_no_watch_saw_is_found_by_the_lists(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """On pods and on sets."""
    add_pipeline(cluster, ordinals=2)
    cluster.watchers.clear()
    for path in (objects.pods(NAMESPACE, "pipeline-a-1"), objects.stateful_sets(NAMESPACE, "pipeline-a")):
        cluster.objects[path]["metadata"]["annotations"] = {names.TRIGGER: "600s"}
    await operator.sync.list_all()
    await operator.reach(lambda: len(operator.list_profiles()) == 3)
    assert sorted(raw["spec"]["ordinal"] for raw in operator.list_profiles()) == [0, 1, 1]
    cluster.watchers.append(operator._see)


async def test_from_an_annotation_to_the_stored_profile(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """The whole way, as kubectl begins it."""
    add_pipeline(cluster)
    path = objects.pods(NAMESPACE, "pipeline-a-0")
    await cluster.patch(path, {"metadata": {"annotations": {names.TRIGGER: "1s"}}})
    await operator.reach(operator.list_profiles)
    (raw,) = operator.list_profiles()
    status = await operator.reach_phase(raw["metadata"]["name"], "Succeeded", "Failed")
    assert status["phase"] == "Succeeded", status
    assert not cluster.objects[path]["metadata"]["annotations"]
    assert "ProfileRequested" in operator.list_events("pipeline-a-0")


async def test_a_defect_ends_neither_resync_nor_sweeps(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the next round comes."""
    monkeypatch.setattr(sync, "RESYNC_SECS", 0.01)
    rounds: list[int] = []

    async def sweep() -> None:
        rounds.append(len(rounds))
        if len(rounds) == 1:
            raise ValueError("a defect")

    monkeypatch.setattr(operator.engine, "sweep", sweep)
    running = asyncio.create_task(operator.sync.run())
    await operator.reach(lambda: len(rounds) > 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert "resync: a defect" in caplog.text


async def test_what_is_observed_while_the_lists_are_read_is_not_lost(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be older: what came stays, what went stays away, though no watch will say so again."""
    add_pipeline(cluster, ordinals=2)
    ask(cluster, "p-0", pipeline="none")
    await operator.reach_phase("p-0", "Failed")
    ahead = objects.pods(NAMESPACE, "pipeline-a-1")
    was_asked = FakeCluster.list_items

    async def list_early(self: FakeCluster, path: str, **options: str) -> ItemList:
        answer = await was_asked(self, path, **options)
        if path.endswith(names.PLURAL):
            self.remove(objects.samply_profiles(NAMESPACE, "p-0"))
            ask(self, "p-1", pipeline="none")
            self.remove(ahead)
            add_pod(self, "pipeline-a", 2)
        return answer

    monkeypatch.setattr(FakeCluster, "list_items", list_early)
    await operator.sync.list_all()
    world = operator.engine.world
    assert list(world.profiles) == [(NAMESPACE, "p-1")]
    assert sorted(name for _, name in world.pods) == ["pipeline-a-0", "pipeline-a-2"]
    await operator.reach_phase("p-1", "Failed")
