"""Stop and delete over the socket: the object is authoritative, and an orphan can be removed too."""

from __future__ import annotations

import pytest

from samply_operator.errors import KubeForbidden, NotRecording, UnknownProfile
from samply_operator.kube import objects
from samply_operator.model.profile import parse_object
from samply_operator.recorder.calls.actions import Acts
from support.fake_cluster import FakeCluster
from support.operator_process import NAMESPACE, OperatorProcess, add_pipeline, ask
from support.stored import forget, store

STRANGE_IDS = ["00000000-0000-4000-8000-000000000001", "../../etc/passwd", ""]


def path_of(name: str) -> str:
    return objects.samply_profiles(NAMESPACE, name)


async def test_stop_keeps_what_was_sampled(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """Long before its time, once or twice."""
    add_pipeline(cluster)
    profile_id = ask(cluster, durationSeconds=600)["metadata"]["uid"]
    await operator.reach_phase("p-1", "Recording")
    acts = Acts(operator.engine)
    await acts.stop(profile_id)
    await acts.stop(profile_id)
    status = await operator.reach_phase("p-1", "Succeeded", "Failed")
    assert status["phase"] == "Succeeded", status
    assert operator.volume.has(profile_id)
    with pytest.raises(NotRecording) as caught:
        await acts.stop(profile_id)
    assert caught.value.details == {"profile": profile_id, "state": "Succeeded"}


async def test_one_that_waits_can_not_be_stopped_but_deleted(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """There is nothing to keep yet."""
    add_pipeline(cluster)
    ask(cluster, "p-1", durationSeconds=600)
    await operator.reach_phase("p-1", "Recording")
    waiting = ask(cluster, "p-2")["metadata"]["uid"]
    with pytest.raises(NotRecording, match="not begun"):
        await Acts(operator.engine).stop(waiting)
    assert await Acts(operator.engine).delete(waiting) == "Removed"
    assert path_of("p-2") not in cluster.objects


async def test_delete_cancels_a_recording(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """And leaves neither object nor file."""
    add_pipeline(cluster)
    profile_id = ask(cluster, durationSeconds=600)["metadata"]["uid"]
    await operator.reach_phase("p-1", "Recording")
    assert await Acts(operator.engine).delete(profile_id) == "Cancelling"
    await operator.reach_rest()
    assert path_of("p-1") not in cluster.objects
    assert not operator.volume.has(profile_id)


async def test_delete_removes_object_and_file(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """At once; a second time there is nothing."""
    profile_id = store(cluster, operator.volume, "p-1")
    operator.engine.world.see_profile(parse_object(cluster.objects[path_of("p-1")]))
    generation = operator.changes.store_generation
    assert await Acts(operator.engine).delete(profile_id) == "Removed"
    assert path_of("p-1") not in cluster.objects
    assert not operator.volume.has(profile_id)
    assert operator.changes.store_generation > generation
    with pytest.raises(UnknownProfile):
        await Acts(operator.engine).delete(profile_id)


async def test_delete_removes_an_orphan_and_leaves_its_successor(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """The object of the same name is another one."""
    profile_id = store(cluster, operator.volume, "p-1")
    forget(cluster, "p-1")
    await operator.list_all()
    successor = store(cluster, operator.volume, "p-1")
    assert successor != profile_id
    assert await Acts(operator.engine).delete(profile_id) == "Removed"
    assert not operator.volume.has(profile_id)
    assert operator.volume.has(successor)
    assert cluster.objects[path_of("p-1")]["metadata"]["uid"] == successor


async def test_an_orphan_of_a_namespace_without_rights_can_be_removed(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """But a watched object that may not be deleted is kept, and so is its file."""
    profile_id = store(cluster, operator.volume, "p-1")
    cluster.fault = lambda verb, what: KubeForbidden("no") if verb == "delete" else None
    with pytest.raises(KubeForbidden):
        await Acts(operator.engine).delete(profile_id)
    assert operator.volume.has(profile_id)
    forget(cluster, "p-1")
    await operator.list_all()
    assert await Acts(operator.engine).delete(profile_id) == "Removed"


@pytest.mark.parametrize("profile_id", STRANGE_IDS, ids=["absent", "a path", "empty"])
async def test_what_is_not_there_is_unknown(operator: OperatorProcess, profile_id: str) -> None:
    """No text of a caller becomes a path."""
    with pytest.raises(UnknownProfile):
        await Acts(operator.engine).delete(profile_id)
    with pytest.raises(UnknownProfile):
        await Acts(operator.engine).stop(profile_id)
