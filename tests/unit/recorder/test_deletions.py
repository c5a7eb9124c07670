"""Missing objects, and what happens to their profiles: absence is not deletion."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from samply_operator.errors import KubeForbidden, KubeNotFound, KubeUnavailable
from samply_operator.kube import objects
from samply_operator.model.manifest import ObjectOrigin
from samply_operator.recorder import object_origin, runs
from samply_operator.rules.storage import deletion
from samply_operator.settings import Recording, Retention, Settings
from samply_operator.store.volume import Volume
from support.fake_cluster import FakeCluster
from support.operator_process import NAMESPACE, OperatorProcess, add_pipeline, ask
from support.stored import find_origin, forget, store

from .test_engine import assert_nothing_left

PLACE = object_origin.namespace_path(NAMESPACE)
SETTINGS = Settings(recording=Recording(min_free_bytes=1, min_coverage=0), retention=Retention(absence_grace_secs=60))


@pytest.fixture
def settings() -> Settings:
    return SETTINGS


def path_of(name: str) -> str:
    return objects.samply_profiles(NAMESPACE, name)


async def look(operator: OperatorProcess, later_secs: float = 0.0) -> None:
    """A resync, as if so much time had gone by."""
    operator.change_context(now=lambda: time.time() + later_secs, uptime=lambda: time.monotonic() + later_secs)
    await operator.list_all()
    await operator.engine.sweep()


def find_tombstones(operator: OperatorProcess) -> list[str]:
    return [tombstone.id for tombstone in operator.volume.side_files.read_tombstones().items]


def leave(path: str) -> Callable[[FakeCluster], None]:
    def mark(cluster: FakeCluster) -> None:
        cluster.objects[path]["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"

    return mark


def lose(path: str) -> Callable[[FakeCluster], None]:
    return lambda cluster: cluster.objects.pop(path) and None


def make_again(path: str) -> Callable[[FakeCluster], None]:
    def replace_it(cluster: FakeCluster) -> None:
        del cluster.objects[path]
        cluster.put(path, {"metadata": {"name": "again"}})

    return replace_it


GOING = [
    pytest.param(leave(object_origin.DEFINITION), id="the CRD is being deleted"),
    pytest.param(lose(object_origin.DEFINITION), id="the CRD is gone"),
    pytest.param(make_again(object_origin.DEFINITION), id="the CRD was made again"),
    pytest.param(leave(PLACE), id="the namespace is being deleted"),
    pytest.param(lose(PLACE), id="the namespace is gone"),
    pytest.param(make_again(PLACE), id="the namespace was made again"),
]


@pytest.mark.parametrize("happen", GOING)
async def test_files_survive_their_namespace_or_crd(
    operator: OperatorProcess, cluster: FakeCluster, happen: Callable[[FakeCluster], None]
) -> None:
    """Every object gets a DELETED event, but no file is removed: neither at once nor after a long absence."""
    kept = store(cluster, operator.volume, "p-1")
    happen(cluster)
    cluster.remove(path_of("p-1"))
    await operator.reach(lambda: not operator.engine.deletions._open and operator.engine.deletions.queue.is_idle)
    await look(operator)
    await look(operator, 10_000)
    assert operator.volume.list_ids() == {kept}
    assert find_tombstones(operator) == []
    assert list(operator.engine.deletions.orphans) == [kept]


async def test_without_a_profile_nothing_is_removed_elsewhere(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The spool of another pod cannot have a profile of an object whose status says that there is none."""
    monkeypatch.setattr(Volume, "may_exist", lambda self, profile_id: True)
    removed: list[str] = []
    monkeypatch.setattr(Volume, "remove", lambda self, profile_id, **_: removed.append(profile_id))
    ask(cluster)  # there is no such pipeline
    await operator.reach_phase("p-1", "Failed")
    await operator.reach_rest()
    operator.volume.has = lambda profile_id: False  # type: ignore[method-assign]  # nor is the failure kept
    cluster.remove(path_of("p-1"))
    await operator.reach(lambda: operator.engine.deletions.queue.is_idle)
    assert removed == find_tombstones(operator) == []


async def test_a_recording_continues_when_the_crd_is_deleted(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """Nobody cancelled it: its profile is stored, and served."""
    add_pipeline(cluster)
    ask(cluster)
    await operator.reach_phase("p-1", "Recording")
    leave(object_origin.DEFINITION)(cluster)
    cluster.remove(path_of("p-1"))
    await operator.reach_rest()
    (manifest,) = operator.volume.read_manifests().items
    assert (manifest.outcome, manifest.origin.namespace_uid) == ("Succeeded", find_origin(cluster).namespace_uid)
    assert_nothing_left(operator)


async def test_a_recording_is_finished_by_a_process_that_finds_no_crd(
    cluster: FakeCluster, tmp_path: Path, settings: Settings
) -> None:
    """It can list nothing and waits, but running recordings continue."""
    add_pipeline(cluster)
    async with OperatorProcess(cluster, tmp_path / "data", settings) as first:
        ask(cluster, durationSeconds=2)
        await first.reach_phase("p-1", "Recording")
    forget(cluster, "p-1")
    del cluster.objects[object_origin.DEFINITION]
    cluster.fault = lambda verb, what: KubeNotFound("404") if verb == "list" and "samplyprofiles" in what else None
    second = OperatorProcess(cluster, tmp_path / "data", settings)
    start = asyncio.create_task(second.__aenter__())
    try:
        await second.reach(second.volume.list_ids)
        await second.reach_rest()
        assert not start.done()
        (manifest,) = second.volume.read_manifests().items
        assert manifest.outcome == "Succeeded"
    finally:
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        await second.__aexit__()
    assert_nothing_left(second)


async def test_a_manifest_says_where_its_object_lived(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """Uids of the namespace and of the CRD."""
    add_pipeline(cluster)
    ask(cluster)
    await operator.reach_phase("p-1", "Succeeded")
    (manifest,) = operator.volume.read_manifests().items
    assert manifest.origin == find_origin(cluster)


async def test_where_its_object_lived_is_found_after_a_restart_too(
    cluster: FakeCluster, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It isn't known when the process was killed, and the world knows nothing until the first lists are there."""
    monkeypatch.setattr(runs, "RETRY_SECS", 0.05)
    add_pipeline(cluster)
    cluster.fault = lambda verb, what: KubeUnavailable("away") if what == PLACE else None
    async with OperatorProcess(cluster, tmp_path / "data", settings) as first:
        ask(cluster, durationSeconds=2)
        await first.reach_phase("p-1", "Recording")
        (run,) = first.engine.runs.values()
        assert not run.entry.origin.namespace_uid
    left = 2

    def fault(verb: str, what: str) -> KubeUnavailable | None:
        nonlocal left
        left -= what == PLACE
        return KubeUnavailable("away") if verb == "list" or (what == PLACE and left >= 0) else None

    cluster.fault = fault
    second = OperatorProcess(cluster, tmp_path / "data", settings)
    start = asyncio.create_task(second.__aenter__())
    try:
        await second.reach(second.volume.list_ids)
        await second.reach_rest()
        (manifest,) = second.volume.read_manifests().items
        assert (manifest.outcome, manifest.origin) == ("Succeeded", find_origin(cluster))
    finally:
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        await second.__aexit__()


async def test_a_recovered_recording_that_ends_at_once_says_where_its_object_lived(
    cluster: FakeCluster, tmp_path: Path, settings: Settings
) -> None:
    """It was over in the pod before."""
    add_pipeline(cluster)
    cluster.fault = lambda verb, what: KubeUnavailable("away") if what == PLACE else None
    async with OperatorProcess(cluster, tmp_path / "data", settings) as first:
        raw = ask(cluster)
        await first.reach_phase("p-1", "Collecting")
        entry = first.engine.runs[raw["metadata"]["uid"]].entry
    assert not first.volume.list_ids()
    first.volume.write_entry(msgspec.structs.replace(entry, origin=ObjectOrigin()))
    cluster.fault = lambda verb, what: None
    async with OperatorProcess(cluster, tmp_path / "data", settings) as second:
        await second.reach_rest()
        (manifest,) = second.volume.read_manifests().items
        assert (manifest.outcome, manifest.origin) == ("Succeeded", find_origin(cluster))


async def test_a_successor_says_nothing_of_where_its_predecessor_lived(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The object of that name is another one."""
    add_pipeline(cluster)
    monkeypatch.setattr(runs, "RETRY_SECS", 0.05)
    cluster.fault = lambda verb, what: KubeUnavailable("away") if what == PLACE else None
    ask(cluster, durationSeconds=600)
    await operator.reach_phase("p-1", "Recording")
    (run,) = operator.engine.runs.values()
    cluster.objects[path_of("p-1")]["metadata"]["uid"] = "successor"
    cluster.fault = lambda verb, what: None
    before = cluster.calls.count(("get", PLACE))
    await operator.reach(lambda: cluster.calls.count(("get", PLACE)) > before)
    await asyncio.sleep(0.1)
    assert run.entry.origin.namespace_uid == ""
    run.stop("discard")
    await operator.reach_rest()


async def test_a_deletion_that_cannot_be_checked_waits(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """The tombstone is written; when the API server responds again, the file is removed."""
    kept = store(cluster, operator.volume, "p-1")
    cluster.fault = lambda verb, what: KubeUnavailable("away") if what in {PLACE, object_origin.DEFINITION} else None
    cluster.remove(path_of("p-1"))
    await operator.reach(lambda: find_tombstones(operator) == [kept] and operator.engine.deletions.queue.is_idle)
    assert operator.volume.list_ids() == {kept}
    cluster.fault = lambda verb, what: None
    await look(operator)
    assert operator.volume.list_ids() == frozenset()
    assert find_tombstones(operator) == []


async def test_where_the_crd_cannot_be_read_discovery_confirms(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A little later, without waiting for the next resync."""
    monkeypatch.setattr(deletion, "CONFIRM_SECS", 0.2)
    store(cluster, operator.volume, "p-1")
    cluster.fault = lambda verb, what: KubeForbidden("no") if what == object_origin.DEFINITION else None
    cluster.put(object_origin.DISCOVERY, {"resources": [{"name": "samplyprofiles", "verbs": ["create"]}]})
    cluster.remove(path_of("p-1"))
    await operator.reach(lambda: not operator.volume.list_ids())


async def test_a_profile_that_may_lie_elsewhere_is_removed_everywhere(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a bucket, the spool of another pod may have a profile that this one does not know."""
    profile_id = store(cluster, operator.volume, "p-1")
    operator.volume.remove(profile_id)
    removed = []

    def remove(profile_id: str, *, everywhere: bool = False) -> bool:
        removed.append((profile_id, everywhere, find_tombstones(operator)))
        return False

    monkeypatch.setattr(operator.volume, "may_exist", lambda _: True)
    monkeypatch.setattr(operator.volume, "remove", remove)
    cluster.remove(path_of("p-1"))
    await operator.reach(lambda: removed and not find_tombstones(operator))
    assert removed == [(profile_id, True, [profile_id])]


@pytest.mark.parametrize("step", ["tombstone", "removed"])
async def test_killed_between_seeing_the_deletion_and_the_end_of_the_file(
    cluster: FakeCluster, tmp_path: Path, settings: Settings, step: str
) -> None:
    """The next process carries it out."""
    async with OperatorProcess(cluster, tmp_path / "data", settings) as first:
        store(cluster, first.volume, "p-1")

        died = asyncio.Event()

        async def die(*_: Any) -> Any:
            died.set()
            await asyncio.Event().wait()

        # Nothing that comes after this point happens in this process.
        first.engine.deletions._decide = die if step == "tombstone" else first.engine.deletions._decide  # type: ignore[method-assign]
        first.engine.deletions._close = die if step == "removed" else first.engine.deletions._close  # type: ignore[method-assign]
        profile = first.engine.world.profiles[NAMESPACE, "p-1"]
        del cluster.objects[path_of("p-1")]
        first.engine.deletions.see(profile)
        await asyncio.wait_for(died.wait(), 10)
        assert len(find_tombstones(first)) == 1
    async with OperatorProcess(cluster, tmp_path / "data", settings) as second:
        await second.reach(lambda: not find_tombstones(second))
        assert second.volume.list_ids() == frozenset()


async def test_a_deletion_missed_while_the_operator_was_away_is_found(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """In complete lists, past the grace period, and not before."""
    gone, kept = store(cluster, operator.volume, "p-1"), store(cluster, operator.volume, "p-2")
    forget(cluster, "p-1")
    await look(operator)
    await look(operator, 59)
    assert operator.volume.list_ids() == {gone, kept}
    await look(operator, 61)
    assert operator.volume.list_ids() == {kept}


async def test_a_reappearing_object_restarts_the_grace_period(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """The time of the first absence does not count."""
    kept = store(cluster, operator.volume, "p-1")
    raw = forget(cluster, "p-1")
    await look(operator)
    cluster.put(path_of("p-1"), raw)
    await look(operator, 61)
    forget(cluster, "p-1")
    await look(operator, 62)
    assert operator.volume.list_ids() == {kept}


@pytest.mark.parametrize(
    "origin",
    [
        pytest.param(ObjectOrigin(), id="unknown"),
        pytest.param(ObjectOrigin("another cluster's", "another cluster's"), id="another cluster's"),
    ],
)
async def test_a_volume_from_elsewhere_keeps_its_files(
    operator: OperatorProcess, cluster: FakeCluster, origin: ObjectOrigin
) -> None:
    """Its objects never were here."""
    kept = store(cluster, operator.volume, "p-1", origin=origin)
    forget(cluster, "p-1")
    await look(operator)
    await look(operator, 10**6)
    assert operator.volume.list_ids() == {kept}


async def test_files_of_a_namespace_that_is_no_longer_watched_stay(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """Nobody lists it, so nothing is known of it."""
    kept = store(cluster, operator.volume, "p-1", namespace="dropped")
    forget(cluster, "p-1")
    await look(operator)
    await look(operator, 10**6)
    assert operator.volume.list_ids() == {kept}
    assert operator.engine.deletions.orphans == {}


async def test_an_unreadable_manifest_never_counts_as_absent(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """And an object whose file cannot be identified is left alone."""
    kept = store(cluster, operator.volume, "p-1")
    (operator.volume.root / "profiles" / kept / "manifest.json").write_bytes(b"{")
    forget(cluster, "p-1")
    await look(operator)
    await look(operator, 10**6)
    assert operator.volume.has(kept)


async def test_a_recording_whose_object_is_absent_is_cancelled_past_the_grace_period(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """By the same certainty as a file."""
    add_pipeline(cluster, write_secs=600)
    ask(cluster, durationSeconds=600)
    await operator.reach_phase("p-1", "Recording")
    forget(cluster, "p-1")
    await look(operator)
    await look(operator, 59)
    (run,) = operator.engine.runs.values()
    assert not run.entry.stop
    await look(operator, 61)
    await operator.reach_rest()
    assert operator.volume.list_ids() == frozenset()
    assert_nothing_left(operator)


async def test_an_object_without_files_is_not_looked_up(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """Refusals and preflights have no file: no request, no tombstone."""
    ask(cluster, pipeline="unknown")
    await operator.reach_phase("p-1", "Failed")
    cluster.calls.clear()
    await cluster.delete(path_of("p-1"))
    await operator.reach(lambda: operator.engine.deletions.queue.is_idle)
    assert [what for verb, what in cluster.calls if verb == "get"] == []


async def test_confirmed_removals_are_immediate(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """File and pin are removed; the second call finds nothing."""
    kept = store(cluster, operator.volume, "p-1")
    operator.volume.side_files.pin(kept)
    before = operator.changes.store_generation
    assert await operator.engine.deletions.remove(kept)
    assert not await operator.engine.deletions.remove(kept)
    assert operator.volume.side_files.list_pins() == operator.volume.list_ids() == frozenset()
    assert operator.changes.store_generation == before + 1
