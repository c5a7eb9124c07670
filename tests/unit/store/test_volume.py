"""The volume: published profiles are served whole, damaged ones are reported and skipped, a full volume is reported."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from samply_operator.errors import CorruptManifest, StoreError, StoreFull, UnknownProfile
from samply_operator.rules.storage import retention
from samply_operator.settings import Retention
from samply_operator.store import durable
from samply_operator.store.index import build_catalog
from samply_operator.store.volume import Volume

from .conftest import make_entry, make_id, make_manifest, put


def test_a_published_profile_reads_back_as_it_was(volume: Volume) -> None:
    manifest = put(volume, 1, b"bytes")
    with volume.open_profile(manifest.id, size_bytes=5) as file:
        assert file.read() == b"bytes"
    assert volume.read_manifests().items == (manifest,)
    assert volume.read_manifest(manifest.id) == manifest
    assert list((volume.root / "tmp").iterdir()) == []


def test_a_failure_leaves_a_manifest_and_no_file(volume: Volume) -> None:
    manifest = put(volume, 1, None)
    assert volume.read_manifests().items == (manifest,)
    with pytest.raises(UnknownProfile):
        volume.open_profile(manifest.id)


def test_extra_files_lie_beside_the_profile(volume: Volume) -> None:
    manifest = make_manifest(1)
    for name, data in (("profile", b"profile"), ("raw", b"raw bytes")):
        volume.tmp_path(manifest.id, name).write_bytes(data)
    extras = {"raw.json.gz": volume.tmp_path(manifest.id, "raw")}
    volume.publish(manifest, volume.tmp_path(manifest.id, "profile"), extras=extras)
    with volume.open_extra(manifest.id, "raw.json.gz") as file:
        assert file.read() == b"raw bytes"


def test_a_copy_where_files_have_no_second_name_needs_room(volume: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    """Room that a recording has reserved is not taken from it."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    def is_full(self: Volume, size_bytes: int) -> None:
        raise StoreFull(f"no room for {size_bytes} bytes")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    manifest = put(volume, 1, b"profile")
    assert volume.fetch_profile(manifest, volume.tmp_path(manifest.id, "copy")).read_bytes() == b"profile"
    monkeypatch.setattr(Volume, "reserve", is_full)
    with pytest.raises(StoreFull, match="7 bytes"):
        volume.fetch_profile(manifest, volume.tmp_path(manifest.id, "another"))
    assert list(volume.tmp_path(manifest.id, "another").iterdir()) == []


def test_further_files_are_measured_and_the_profile_is_not(volume: Volume) -> None:
    manifest = make_manifest(1)
    for name, data in (("profile", b"profile"), ("raw", b"raw bytes"), ("names", b"nm")):
        volume.tmp_path(manifest.id, name).write_bytes(data)
    extras = {
        "raw.json.gz": volume.tmp_path(manifest.id, "raw"),
        "raw.syms.json": volume.tmp_path(manifest.id, "names"),
    }
    volume.publish(manifest, volume.tmp_path(manifest.id, "profile"), extras=extras)
    assert sorted(volume.list_extra_sizes(manifest.id)) == [2, 9]
    assert volume.list_extra_sizes(put(volume, 2).id) == ()
    assert volume.list_extra_sizes(make_id(3)) == ()


FUTURE = "2027-01-31T09:00:00.000Z"


def test_what_is_published_last_is_the_newest_whatever_the_clock_says(volume: Volume) -> None:
    ahead = [put(volume, n, finished_at=f"2027-01-31T09:00:{n:02}.000Z") for n in range(20)]
    late, failed, other = put(volume, 30), put(volume, 31, None), put(volume, 32, ordinal=1)
    catalog = build_catalog(volume.read_manifests().items)
    assert catalog.find_last_good("feldera", "orders", 0) == late
    assert catalog.find_last_attempt("feldera", "orders", 0) == failed
    history = catalog.list_history("feldera", "orders")
    assert history == (other, failed, late, *reversed(ahead))
    assert late.finished_at == make_manifest(30).finished_at


def test_the_last_published_profile_is_removed_last(volume: Volume) -> None:
    ahead = [put(volume, n, finished_at=f"2027-01-31T09:00:{n:02}.000Z") for n in range(20)]
    late = put(volume, 30)
    stored = volume.read_manifests().items
    room, limits = retention.Room(1 << 40, 1), Retention(max_per_ordinal=20)
    removals = retention.decide(stored, pinned=(), busy=(late.id,), room=room, limits=limits, now=0)
    assert [removal.manifest for removal in removals] == [ahead[0]]
    assert retention.find_newest_good(stored) == {late.id}


def test_a_restart_and_a_removal_change_nothing_about_the_order(volume: Volume) -> None:
    ahead = put(volume, 1, finished_at=FUTURE)
    first = put(volume, 2)
    again = Volume(volume.root)
    second = put(again, 3)
    again.remove(second.id)
    third = put(again, 4)
    assert 0 == ahead.sequence < first.sequence < second.sequence < third.sequence
    history = build_catalog(again.read_manifests().items).list_history("feldera", "orders")
    assert history == (third, first, ahead)


def test_a_manifest_of_an_older_release_is_ordered_by_its_time(volume: Volume) -> None:
    manifest = put(volume, 1, finished_at=FUTURE)
    assert b"sequence" not in (volume.root / "profiles" / manifest.id / "manifest.json").read_bytes()
    assert put(Volume(volume.root), 2).sequence > 0


def test_a_damaged_neighbour_stops_nothing_from_being_published(volume: Volume) -> None:
    ahead, bad = put(volume, 1, finished_at=FUTURE), put(volume, 2)
    (volume.root / "profiles" / bad.id / "manifest.json").write_bytes(b"{")
    late = put(Volume(volume.root), 3)
    assert build_catalog([ahead, late]).find_last_good("feldera", "orders", 0) == late


def test_what_was_published_first_stands(volume: Volume) -> None:
    first = put(volume, 1, b"one")
    assert put(volume, 1, b"two") == first
    with volume.open_profile(first.id) as file:
        assert file.read() == b"one"
    assert list((volume.root / "tmp").iterdir()) == []


def test_two_writers_at_the_same_instant_leave_the_first_ones_profile(tmp_path: Path) -> None:
    other = Volume(tmp_path)
    other.prepare()
    manifest = make_manifest(1, b"second", name="second")

    def be_overtaken(step: str) -> None:
        if step == "staging-synced":
            rival = tmp_path / "rival"
            rival.write_bytes(b"first")
            other.publish(make_manifest(1, b"first", name="first"), rival)

    slow = Volume(tmp_path, fault=be_overtaken)
    slow.tmp_path(manifest.id, "slow").write_bytes(b"second")
    # The first writer cleans this id's temporary files, so the second one may find its work gone: told, not glued.
    try:
        standing = slow.publish(manifest, slow.tmp_path(manifest.id, "slow"))
    except StoreError:
        standing = other.read_manifests().items[0]
    assert standing.name == "first"
    with other.open_profile(manifest.id, size_bytes=5) as file:
        assert file.read() == b"first"


def test_a_file_of_another_size_than_its_manifest_says_is_not_published(volume: Volume) -> None:
    manifest = make_manifest(1, b"whole")
    path = volume.tmp_path(manifest.id, "profile")
    path.write_bytes(b"who")
    with pytest.raises(StoreError, match="3 bytes"):
        volume.publish(manifest, path)
    assert volume.read_manifests().items == ()


def test_a_file_that_changed_its_size_on_the_disk_is_not_opened(volume: Volume) -> None:
    manifest = put(volume, 1, b"whole")
    (volume.root / "profiles" / manifest.id / "profile.json.gz").write_bytes(b"ha")
    with pytest.raises(StoreError, match="2 bytes"):
        volume.open_profile(manifest.id, size_bytes=5)


def test_a_link_is_not_followed(volume: Volume, tmp_path: Path) -> None:
    manifest = put(volume, 1)
    secret = tmp_path / "secret"
    secret.write_text("secret!")
    path = volume.root / "profiles" / manifest.id / "profile.json.gz"
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(StoreError):
        volume.open_profile(manifest.id)


def test_a_pipe_in_a_profiles_place_is_refused(volume: Volume) -> None:
    manifest = put(volume, 1)
    path = volume.root / "profiles" / manifest.id / "profile.json.gz"
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreError):
        volume.open_profile(manifest.id)


def test_removing_takes_everything_and_readers_read_on(volume: Volume) -> None:
    manifest = put(volume, 1, b"still here")
    with volume.open_profile(manifest.id) as file:
        assert volume.remove(manifest.id)
        assert file.read() == b"still here"
    assert not volume.remove(manifest.id)
    assert [p for p in volume.root.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b'{"id":"x"}', b"\xff\xfe", b"{}" + b" " * (1024 * 1024)],
    ids=["empty", "cut", "list", "fields", "bytes", "huge"],
)
def test_a_damaged_manifest_is_reported_and_the_others_are_read(volume: Volume, damage: bytes) -> None:
    good, bad = put(volume, 1), put(volume, 2)
    (volume.root / "profiles" / bad.id / "manifest.json").write_bytes(damage)
    reading = volume.read_manifests()
    assert reading.items == (good,)
    assert [fault.details["profile"] for fault in reading.faults] == [bad.id]


def test_a_manifest_in_another_ones_folder_is_damage(volume: Volume) -> None:
    one, two = put(volume, 1), put(volume, 2)
    source = volume.root / "profiles" / one.id / "manifest.json"
    (volume.root / "profiles" / two.id / "manifest.json").write_bytes(source.read_bytes())
    with pytest.raises(CorruptManifest, match="another id"):
        volume.read_manifest(two.id)


def test_keys_of_a_newer_release_are_ignored(volume: Volume) -> None:
    manifest = put(volume, 1)
    path = volume.root / "profiles" / manifest.id / "manifest.json"
    path.write_bytes(path.read_bytes().rstrip()[:-1] + b', "newer": {"a": [1]}}')
    assert volume.read_manifest(manifest.id) == manifest


def test_a_damaged_profile_can_be_published_again(volume: Volume) -> None:
    manifest = put(volume, 1)
    (volume.root / "profiles" / manifest.id / "manifest.json").write_bytes(b"{")
    assert put(volume, 1, b"profile") == manifest


def test_a_failure_takes_no_place_of_one_whose_manifest_is_damaged(volume: Volume) -> None:
    before = put(volume, 1, b"before")
    (volume.root / "profiles" / before.id / "manifest.json").write_bytes(b"{")
    with pytest.raises(CorruptManifest):
        put(volume, 1, None)
    with volume.open_profile(before.id) as file:
        assert file.read() == b"before"


def test_a_volume_that_was_never_written_is_empty(tmp_path: Path) -> None:
    volume = Volume(tmp_path / "nothing")
    assert volume.read_manifests().items == ()
    assert volume.read_entries().items == ()
    assert volume.list_ids() == frozenset()


def test_the_journal_reads_back_replaces_and_forgets(volume: Volume) -> None:
    volume.write_entry(make_entry(1))
    volume.write_entry(make_entry(1, step="Recording", pid=7))
    volume.write_entry(make_entry(2))
    assert [(e.id, e.step, e.pid) for e in volume.read_entries().items] == [
        (make_id(1), "Recording", 7),
        (make_id(2), "Admitted", 1),
    ]
    volume.remove_entry(make_id(1))
    volume.remove_entry(make_id(1))
    assert [e.id for e in volume.read_entries().items] == [make_id(2)]


def test_a_damaged_journal_entry_is_reported_and_the_others_are_read(volume: Volume) -> None:
    volume.write_entry(make_entry(1))
    (volume.root / "journal" / f"{make_id(2)}.json").write_bytes(b"{")
    (volume.root / "journal" / "notes.txt").write_bytes(b"{")
    reading = volume.read_entries()
    assert [e.id for e in reading.items] == [make_id(1)]
    assert len(reading.faults) == 1


def test_cleaning_keeps_what_is_still_needed(volume: Volume) -> None:
    keep, drop = volume.tmp_path(make_id(1), "raw"), volume.tmp_path(make_id(2), "raw")
    removed_earlier = volume.root / "tmp" / f"{make_id(1)}-removed-00"
    removed_earlier.mkdir()
    for path in (keep, drop, volume.root / "tmp" / "stray", removed_earlier / "profile.json.gz"):
        path.write_bytes(b"x")
    assert volume.clean_tmp({make_id(1)}) == (removed_earlier.name, drop.name, "stray")
    assert [p.name for p in (volume.root / "tmp").iterdir()] == [keep.name]


@pytest.mark.parametrize("name", ["publish-x", "removed-x", "draft-x"])
def test_the_stores_own_temporary_names_are_not_given_away(volume: Volume, name: str) -> None:
    with pytest.raises(StoreError):
        volume.tmp_path(make_id(1), name)


def test_reservations_add_up_and_are_given_back(tmp_path: Path) -> None:
    volume = Volume(tmp_path, min_free_bytes=1)
    room = volume.free_bytes() // 4 * 3
    with volume.reserve(room) as held:
        with pytest.raises(StoreFull) as caught:
            volume.reserve(room)
        assert caught.value.details["needed_bytes"] == room
        assert caught.value.remedy
        held.consume(room - 10)
        volume.reserve(room).release()
        assert held._left_bytes == 10
    volume.reserve(room).release()


def test_what_must_stay_free_is_not_given(tmp_path: Path) -> None:
    volume = Volume(tmp_path, min_free_bytes=2**62)
    with pytest.raises(StoreFull):
        volume.reserve(1)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_store_full_with_a_remedy(code: int) -> None:
    with pytest.raises(StoreFull) as caught, durable.translated("write"):
        raise OSError(code, os.strerror(code))
    assert "Delete old SamplyProfile objects" in caught.value.remedy


def test_another_failing_of_the_disk_is_a_store_error() -> None:
    with pytest.raises(StoreError, match="cannot write") as caught, durable.translated("write"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert not isinstance(caught.value, StoreFull)
