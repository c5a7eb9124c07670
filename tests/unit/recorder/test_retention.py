"""Retention is carried out: files are removed, objects updated, pins kept, and a kill in between changes nothing."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from samply_operator.errors import KubeUnavailable, StoreFull
from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.model.manifest import Tombstone, TriggeredBy
from samply_operator.recorder.storage import retention
from samply_operator.rules import times
from samply_operator.settings import Recording, Retention, Settings, Thinning
from support.fake_cluster import FakeCluster
from support.operator_process import NAMESPACE, OperatorProcess, add_pipeline, ask
from support.stored import forget, make_id, store

from .test_engine import assert_nothing_left

MIB = 1024 * 1024


@pytest.fixture
def settings() -> Settings:
    return Settings(
        recording=Recording(min_free_bytes=1, min_coverage=0),
        retention=Retention(max_per_ordinal=2, max_failures_per_ordinal=1),
    )


def pin(cluster: FakeCluster, name: str, *, is_pinned: bool = True) -> None:
    path = objects.samply_profiles(NAMESPACE, name)
    raw = cluster.objects[path]
    raw["metadata"]["annotations"] = {names.PIN: ""} if is_pinned else {}
    cluster.put(path, raw)


async def test_the_oldest_go_and_their_objects_say_so(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """`removedAt`, why, and Stored is false; the facts stay; one Event; the object itself lives on."""
    ids = [store(cluster, operator.volume, f"p-{n}", age=100 - n) for n in range(4)]
    generation = operator.changes.store_generation
    await operator.engine.sweep()
    assert operator.volume.list_ids() == set(ids[2:])
    assert operator.changes.store_generation == generation + 2
    for name in ("p-0", "p-1"):
        status = operator.find_status(name)
        assert status["profile"]["removedAt"]
        assert status["profile"]["sizeBytes"] == 7
        assert "config.retention.maxPerOrdinal" in status["message"]
        assert {c["type"]: c["status"] for c in status["conditions"]}["Stored"] == "False"
        assert status["phase"] == "Succeeded"
        assert operator.list_events(name) == ["ProfileRemoved"]
    assert "removedAt" not in operator.find_status("p-3")["profile"]
    assert operator.volume.side_files.read_tombstones().items == ()
    await operator.engine.sweep()
    assert operator.list_events("p-0") == ["ProfileRemoved"]


async def test_a_new_profile_makes_an_old_one_go_at_once(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """After each publish, not with the next sweep."""
    add_pipeline(cluster)
    old = [store(cluster, operator.volume, f"old-{n}", age=100 - n) for n in range(2)]
    ask(cluster)
    await operator.reach_phase("p-1", "Succeeded")
    await operator.reach(lambda: old[0] not in operator.volume.list_ids())
    assert len(operator.volume.list_ids()) == 2
    await operator.reach(lambda: operator.find_status("old-0")["profile"].get("removedAt"))


async def test_a_pin_keeps_a_file_and_outlives_its_object(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """An orphan that was pinned is never old enough; taken off the object, the pin is gone."""
    ids = [store(cluster, operator.volume, f"p-{n}", age=100 - n) for n in range(5)]
    pin(cluster, "p-0")
    pin(cluster, "p-1")
    await operator.engine.sweep()
    assert operator.volume.list_ids() == {*ids[:2], *ids[3:]}
    assert operator.volume.side_files.list_pins() == set(ids[:2])

    forget(cluster, "p-0")
    pin(cluster, "p-1", is_pinned=False)
    await operator.list_all()
    await operator.engine.sweep()
    assert operator.volume.list_ids() == {ids[0], *ids[3:]}
    assert operator.volume.side_files.list_pins() == {ids[0]}
    assert operator.engine.retention.counts.pinned == 1


async def test_a_removal_that_cannot_be_reported_is_reported_later(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """The tombstone records it, across a restart too."""
    for n in range(3):
        store(cluster, operator.volume, f"p-{n}", age=100 - n)
    cluster.fault = lambda verb, what: KubeUnavailable("away") if verb == "patch" else None
    await operator.engine.sweep()
    assert len(operator.volume.list_ids()) == 2
    assert len(operator.volume.side_files.read_tombstones().items) == 1
    assert "removedAt" not in operator.find_status("p-0")["profile"]
    cluster.fault = lambda verb, what: None
    async with OperatorProcess(cluster, operator.volume.root, operator.context.settings) as second:
        await second.engine.sweep()
        assert second.find_status("p-0")["profile"]["removedAt"]
        assert second.volume.side_files.read_tombstones().items == ()


async def test_an_object_whose_namespace_is_not_watched_is_updated_once_it_is_again(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """Until then no update is tried: its Role is gone, and each attempt would be refused."""
    for n in range(3):
        store(cluster, operator.volume, f"p-{n}", age=100 - n)
    engine = operator.engine
    engine.world.cover("another")
    engine.world.uncover(NAMESPACE)
    before = len(cluster.calls)
    for _ in range(2):
        await engine.retention.sweep(())
    assert cluster.calls[before:] == []
    assert len(operator.volume.side_files.read_tombstones().items) == 1
    engine.world.cover(NAMESPACE)
    await engine.retention.sweep(())
    assert operator.find_status("p-0")["profile"]["removedAt"]
    assert operator.volume.side_files.read_tombstones().items == ()


async def test_an_object_whose_namespace_is_served_no_more_is_forgotten_in_the_end(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """The object is not updated; the tombstone does not take up room forever."""
    for n in range(3):
        store(cluster, operator.volume, f"p-{n}", age=100 - n)
    tested = operator.engine.retention
    operator.engine.world.uncover(NAMESPACE)
    before = len(cluster.calls)
    await tested.sweep(())
    (tombstone,) = operator.volume.side_files.read_tombstones().items
    for passed_secs, is_left in ((-60, True), (60, False)):
        now = times.parse_time(tombstone.at) + retention.TELL_SECS + passed_secs
        tested._context = dataclasses.replace(operator.context, now=lambda now=now: now)
        await tested.sweep(())
        assert (tombstone in operator.volume.side_files.read_tombstones().items) is is_left
    assert cluster.calls[before:] == []


async def test_killed_between_tombstone_and_file(cluster: FakeCluster, tmp_path: Path, settings: Settings) -> None:
    """The next process removes it, and reports it."""
    async with OperatorProcess(cluster, tmp_path / "data", settings) as first:
        old = store(cluster, first.volume, "p-0", age=100)
        tombstone = Tombstone(old, NAMESPACE, "p-0", "Retention", "2027-01-15T08:00:00.000Z", "why")
        first.volume.side_files.write_tombstone(tombstone)
    async with OperatorProcess(cluster, tmp_path / "data", settings) as second:
        assert second.volume.list_ids() == frozenset()
        await second.engine.sweep()
        profile = second.find_status("p-0")["profile"]
        assert profile["removedAt"] == "2027-01-15T08:00:00.000Z"


async def test_a_deleted_object_gets_no_tombstone(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """Orphans are subject to retention like others."""
    ids = [store(cluster, operator.volume, f"p-{n}", age=100 - n) for n in range(3)]
    forget(cluster, "p-0")
    await operator.list_all()
    await operator.engine.sweep()
    assert operator.volume.list_ids() == set(ids[1:])
    assert operator.volume.side_files.read_tombstones().items == ()


async def test_on_a_volume_too_full_for_a_tombstone_the_file_is_deleted_nevertheless(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room is what is needed; the object is updated from memory."""

    def refuse(tombstone: Tombstone) -> None:
        raise StoreFull("no room")

    monkeypatch.setattr(operator.volume.side_files, "write_tombstone", refuse)
    for n in range(3):
        store(cluster, operator.volume, f"p-{n}", age=100 - n)
    await operator.engine.sweep()
    assert len(operator.volume.list_ids()) == 2
    assert operator.find_status("p-0")["profile"]["removedAt"]


async def test_failures_are_removed_by_their_own_count_without_a_report(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """Their objects already state the failure; there was no file."""
    good = store(cluster, operator.volume, "p-0")
    (manifest,) = operator.volume.read_manifests().items
    ids = [make_id() for _ in range(3)]
    for n, failed in enumerate(ids):
        at = f"2027-01-15T08:00:0{n}.000Z"
        attempt = msgspec.structs.replace(manifest, id=failed, outcome="Failed", file=None, finished_at=at)
        operator.volume.publish(attempt, None)
    await operator.engine.sweep()
    assert operator.volume.list_ids() == {good, ids[-1]}
    counts = operator.engine.retention.counts
    assert (counts.profiles, counts.failures, counts.removed) == (1, 1, {"FailureCount": 2})
    assert operator.volume.side_files.read_tombstones().items == ()


async def test_what_was_done_is_counted(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """For metrics: by reason, in bytes, and how full it is."""
    for n in range(4):
        store(cluster, operator.volume, f"p-{n}", age=100 - n, size=10_000)
    assert operator.engine.retention.counts.ended_at == 0
    await operator.engine.sweep()
    await operator.engine.sweep()
    counts = operator.engine.retention.counts
    assert counts.removed == {"OrdinalCount": 2}
    assert counts.removed_bytes == counts.used_bytes == 2 * (12_288 + 8192)
    assert (counts.profiles, counts.failures, counts.pinned) == (2, 0, 0)
    assert counts.free_bytes > counts.budget_bytes > counts.used_bytes
    assert counts.ended_at > 0


async def test_what_samply_wrote_counts_where_it_is_kept(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """Of earlier processes too: it is measured on the disk."""
    stored = [store(cluster, operator.volume, f"p-{n}", age=100 - n) for n in range(2)]
    for name in ("raw.json.gz", "raw.syms.json"):
        (operator.volume.root / "profiles" / stored[1] / name).write_bytes(bytes(10_000))
    await operator.engine.sweep()
    assert operator.engine.retention.counts.used_bytes == 2 * (4096 + 8192) + 2 * 12_288


async def test_a_clock_that_was_set_back_costs_no_profile(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """The new one is the newest, and is kept; those with future times are removed like others."""
    add_pipeline(cluster)
    old = [store(cluster, operator.volume, f"old-{n}", age=n - 10**7) for n in (2, 1)]
    ask(cluster)
    await operator.reach_phase("p-1", "Succeeded")
    await operator.reach(lambda: old[0] not in operator.volume.list_ids())
    good = operator.engine.retention.catalog.find_last_good(NAMESPACE, "a", 0)
    assert good is not None
    assert (good.name, len(operator.volume.list_ids())) == ("p-1", 2)
    assert times.parse_time(good.finished_at) < time.time()


async def test_a_clock_that_is_set_far_forward_costs_no_profile(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """Neither while it is wrong, nor after a restart meanwhile. Two days later it is taken as correct."""
    ids = {store(cluster, operator.volume, f"p-{n}", age=100 - n) for n in range(2)}
    await operator.engine.sweep()
    years = 10 * 365 * 86400.0
    operator.change_context(now=lambda: time.time() + years)
    await operator.engine.sweep()
    assert operator.volume.list_ids() == ids
    async with OperatorProcess(cluster, operator.volume.root, operator.context.settings) as restarted:
        restarted.change_context(now=lambda: time.time() + years)
        await restarted.engine.sweep()
        assert restarted.volume.list_ids() == ids
    operator.change_context(uptime=lambda: time.monotonic() + 2 * 86400)
    operator.change_context(now=lambda: time.time() + years + 2 * 86400)
    await operator.engine.sweep()
    assert len(operator.volume.list_ids()) == 1


@pytest.mark.parametrize("down_hours", [1, 25])
async def test_what_was_thinned_is_not_displaced_after_a_day_without_operator(
    down_hours: int, cluster: FakeCluster, tmp_path: Path
) -> None:
    """While the clock is in doubt new ones are not thinned; afterwards the count applies again."""
    limits = Retention(thinning=(Thinning(86_400, 3600),), max_per_ordinal=3)
    settings = Settings(recording=Recording(min_free_bytes=1), retention=limits)
    by_schedule = {"trigger": TriggeredBy("t", when=names.SCHEDULE)}
    async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
        volume = operator.volume
        ids = {store(cluster, volume, f"old-{n}", age=(90 - n) * 3600, **by_schedule) for n in range(3)}
        await operator.engine.sweep()
        volume.side_files.write_clock(time.time() - down_hours * 3600)
    async with OperatorProcess(cluster, tmp_path / "data", settings) as restarted:
        ids |= {store(cluster, restarted.volume, f"new-{n}", age=10 - n, **by_schedule) for n in range(3)}
        await restarted.engine.sweep()
        is_in_doubt = down_hours > 24
        assert len(restarted.volume.list_ids() & ids) == (6 if is_in_doubt else 3)
        restarted.change_context(uptime=lambda: time.monotonic() + 86_400, now=lambda: time.time() + 86_000)
        await restarted.engine.sweep()
        assert len(restarted.volume.list_ids()) == 3


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """50 MB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=50m", "tmpfs", disk], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", disk], check=True)


SMALL = Settings(
    recording=Recording(min_free_bytes=8 * MIB, min_coverage=0), retention=Retention(max_volume_percent=60)
)


async def test_a_volume_that_runs_full_of_profiles_makes_room(cluster: FakeCluster, small_disk: Path) -> None:
    """The oldest are removed, the newest is kept, and the next recording finds room."""
    async with OperatorProcess(cluster, small_disk, SMALL) as operator:
        add_pipeline(cluster)
        ids = [store(cluster, operator.volume, f"p-{n}", age=100 - n, size=9 * MIB) for n in range(5)]
        assert operator.volume.room_bytes() < 0
        ask(cluster, "next")
        assert (await operator.reach_phase("next", "Succeeded", "Failed"))["phase"] == "Succeeded"
        await operator.reach_rest()
        left = operator.volume.list_ids()
        assert ids[0] not in left
        assert ids[4] in left
        assert operator.volume.room_bytes() > 8 * MIB
        assert operator.find_status("p-0")["profile"]["removedAt"]


async def test_a_volume_that_others_filled_refuses_and_serves(cluster: FakeCluster, small_disk: Path) -> None:
    """StoreFull before anything touches the pod; what is stored is read; with room again it works."""
    async with OperatorProcess(cluster, small_disk, SMALL) as operator:
        add_pipeline(cluster)
        kept = store(cluster, operator.volume, "p-0", size=MIB)
        others = small_disk / "others"
        with others.open("wb") as file:
            file.write(bytes(operator.volume.free_bytes() - MIB))
        ask(cluster)
        status = await operator.reach_phase("p-1", "Failed")
        assert status["failure"]["reason"] == "StoreFull"
        assert "persistence.size" in status["failure"]["remedy"]
        assert not any(verb == "exec" for verb, _ in cluster.calls)
        with operator.volume.open_profile(kept) as stored:
            assert len(stored.readall()) == MIB

        others.unlink()
        ask(cluster, "p-2")
        assert (await operator.reach_phase("p-2", "Succeeded", "Failed"))["phase"] == "Succeeded"


async def test_a_volume_that_fills_during_the_copy_leaves_no_half_file(cluster: FakeCluster, small_disk: Path) -> None:
    """A failure with its reason, nothing in tmp/, the profile in the pod for its time; the status is written."""
    async with OperatorProcess(cluster, small_disk, SMALL) as operator:
        (container,) = add_pipeline(cluster)
        reserve = operator.volume.reserve

        def reserve_and_fill(size_bytes: int) -> Any:
            reservation = reserve(size_bytes)
            with (small_disk / "others").open("wb") as file:
                file.write(bytes(operator.volume.free_bytes()))
            return reservation

        operator.volume.reserve = reserve_and_fill  # type: ignore[method-assign]
        ask(cluster)
        status = await operator.reach_phase("p-1", "Succeeded", "Failed")
        assert status["failure"]["reason"] == "StoreFull"
        await operator.reach(lambda: not operator.engine.runs)
        assert list((small_disk / "tmp").iterdir()) == []
        assert [m.outcome for m in operator.volume.read_manifests().items] in ([], ["Failed"])
        (folder,) = container.folder.iterdir()
        assert (folder / "profile.json.gz").exists()


async def test_a_success_that_cannot_be_written_down_is_a_success(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest is authoritative: what the journal lacks doesn't matter."""
    write = operator.volume.write_entry

    def refuse(entry: Any) -> None:
        if entry.outcome:
            raise StoreFull("no room")
        write(entry)

    monkeypatch.setattr(operator.volume, "write_entry", refuse)
    add_pipeline(cluster)
    ask(cluster)
    assert (await operator.reach_phase("p-1", "Succeeded", "Failed"))["phase"] == "Succeeded"
    await operator.reach_rest()
    assert_nothing_left(operator)


async def test_a_journal_without_room_refuses_before_the_pod_is_touched(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a reason whose remedy is known."""

    def refuse(entry: Any) -> None:
        raise StoreFull("the volume is full")

    monkeypatch.setattr(operator.volume, "write_entry", refuse)
    add_pipeline(cluster)
    ask(cluster)
    status = await operator.reach_phase("p-1", "Failed")
    assert status["failure"]["reason"] == "StoreFull"
    assert not any(verb == "exec" for verb, _ in cluster.calls)
    assert not operator.engine.runs
