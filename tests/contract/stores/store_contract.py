"""The contract of every store, a volume or a bucket. Subclass it and provide the fixture `place`."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod

import pytest

from samply_operator.errors import StoreError, UnknownProfile
from samply_operator.model.attachment import NAMES
from samply_operator.model.manifest import Attachment, JournalEntry, Manifest, ObjectOrigin, StoredFile, Tombstone
from samply_operator.model.profile import Failure
from samply_operator.store import content, layout
from samply_operator.store.index import Index
from samply_operator.store.store import Store


def make_id(number: int) -> str:
    return f"{number % 16:x}0000000-0000-4000-8000-{number:012x}"


def make_manifest(number: int, data: bytes | None = b"profile", **changes: object) -> Manifest:
    facts: dict[str, object] = {
        "id": make_id(number),
        "namespace": "feldera",
        "name": f"p-{number}",
        "pipeline": "orders",
        "ordinal": 0,
        "outcome": "Failed" if data is None else "Succeeded",
        "requested_at": f"2026-01-31T09:{number % 60:02}:00.000Z",
        "finished_at": f"2026-01-31T09:{number % 60:02}:30.000Z",
        "file": None if data is None else StoredFile(size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()),
        "failure": Failure("PerfDenied", "no") if data is None else None,
    }
    return Manifest(**{**facts, **changes})  # type: ignore[arg-type]


def make_entry(number: int, **changes: object) -> JournalEntry:
    facts: dict[str, object] = {
        "id": make_id(number), "namespace": "feldera", "name": f"p-{number}", "pipeline": "orders", "ordinal": 0,
        "step": "Admitted", "pod": "orders-0", "pod_uid": "u", "container": "pipeline", "container_id": "c",
        "folder": "/tmp/x", "duration_secs": 30, "rate_hz": 1000, "requested_at": "", "admitted_at": "",
    }  # fmt: skip
    return JournalEntry(**{**facts, **changes})  # type: ignore[arg-type]


def put(store: Store, number: int, data: bytes | None = b"profile", **changes: object) -> Manifest:
    """Publish an attempt as the recorder does: a finished file in tmp/, then publish."""
    manifest = make_manifest(number, data, **changes)
    if data is None:
        return store.publish(manifest, None)
    path = store.tmp_path(manifest.id, "profile")
    path.write_bytes(data)
    return store.publish(manifest, path)


class Place(ABC):
    """Where a store is; it can be opened again, as after a restart."""

    store: Store

    @abstractmethod
    def reopen(self) -> Store:
        """The next process on the same place, once the last one ended in order. It is the writer."""

    @abstractmethod
    def read_file(self, manifest: Manifest) -> bytes:
        """The published bytes as a reader gets them."""

    @abstractmethod
    def read_extra(self, manifest: Manifest, name: str) -> bytes: ...

    @abstractmethod
    def list_left(self, manifest: Manifest) -> list[str]:
        """Names of the files that the profile has."""


class StoreContract:
    def test_a_published_profile_reads_back_as_it_was(self, place: Place) -> None:
        manifest = put(place.store, 1, b"bytes")
        assert place.read_file(manifest) == b"bytes"
        assert place.store.list_ids() == {manifest.id}
        assert place.store.has(manifest.id)
        assert place.store.read_manifest(manifest.id) == manifest
        assert list((place.store.root / "tmp").iterdir()) == []

    def test_what_is_not_there_is_none(self, place: Place) -> None:
        assert place.store.read_manifest(make_id(1)) is None
        assert not place.store.has(make_id(1))
        assert place.store.list_ids() == frozenset()
        assert not place.store.remove(make_id(1))

    def test_a_failure_is_a_manifest_without_a_file(self, place: Place) -> None:
        manifest = put(place.store, 1, None)
        assert place.store.read_manifests().items == (manifest,)
        assert place.store.list_extra_sizes(manifest.id) == ()

    def test_a_profile_of_many_parts(self, place: Place) -> None:
        data = bytes(range(256)) * 100_000
        manifest = put(place.store, 1, data)
        assert place.read_file(manifest) == data

    def test_further_files_are_kept_and_measured(self, place: Place) -> None:
        manifest = make_manifest(1)
        for name, data in (("profile", b"profile"), ("raw", b"raw bytes"), ("names", b"nm")):
            place.store.tmp_path(manifest.id, name).write_bytes(data)
        extras = {name: place.store.tmp_path(manifest.id, of) for name, of in
                  (("raw.json.gz", "raw"), ("raw.syms.json", "names"))}  # fmt: skip
        place.store.publish(manifest, place.store.tmp_path(manifest.id, "profile"), extras=extras)
        standing = place.store.read_manifest(manifest.id)
        assert standing is not None
        assert place.read_extra(standing, "raw.json.gz") == b"raw bytes"
        store = place.reopen()
        store.read_manifests()
        assert sorted(store.list_extra_sizes(manifest.id)) == [2, 9]
        assert store.list_extra_sizes(put(store, 2).id) == ()

    def test_attachments_come_and_go_with_their_profile(self, place: Place) -> None:
        data, name = b"\x1f\x8battached", NAMES["Stats"]
        for tmp, content_ in (("profile", b"profile"), (name, data)):
            place.store.tmp_path(make_id(1), tmp).write_bytes(content_)
        path = place.store.tmp_path(make_id(1), name)
        attached = Attachment("Stats", name, content.describe(path, 99), "2026-01-31T09:00:15.000Z")
        missing = Attachment("HeapProfile", problem="Feldera answers 400.")
        manifest = make_manifest(1, attachments=(attached, missing))
        place.store.publish(manifest, place.store.tmp_path(manifest.id, "profile"), extras={name: path})
        assert place.read_extra(manifest, name) == data, "by the manifest as it was before it was stored, too"
        store = place.reopen()
        (standing,) = store.read_manifests().items
        assert standing.attachments == (attached, missing)
        assert place.read_extra(standing, name) == data
        assert store.list_extra_sizes(manifest.id) == (len(data),)
        assert store.remove(manifest.id)
        assert store.list_extra_sizes(manifest.id) == ()
        assert place.list_left(manifest) == []

    def test_a_copy_of_a_profile_outlives_it(self, place: Place) -> None:
        manifest = make_manifest(1)
        for name, data in (("profile", b"profile"), ("names", b"nm")):
            place.store.tmp_path(manifest.id, name).write_bytes(data)
        extras = {layout.OPERATORS_FILE: place.store.tmp_path(manifest.id, "names")}
        manifest = place.store.publish(manifest, place.store.tmp_path(manifest.id, "profile"), extras=extras)
        folder = place.store.tmp_path(manifest.id, "copy")
        path = place.store.fetch_profile(manifest, folder)
        assert place.store.fetch_profile(manifest, folder) == path
        place.store.remove(manifest.id)
        assert path.read_bytes() == b"profile"
        assert path.with_name(layout.OPERATORS_FILE).read_bytes() == b"nm"
        with pytest.raises(UnknownProfile):
            place.store.fetch_profile(manifest, place.store.tmp_path(manifest.id, "late"))

    def test_the_first_to_publish_an_id_stands(self, place: Place) -> None:
        first = put(place.store, 1, b"first")
        assert put(place.store, 1, b"second!") == first
        assert place.read_file(first) == b"first"
        assert list((place.store.root / "tmp").iterdir()) == []

    def test_publishing_again_after_a_restart_changes_nothing(self, place: Place) -> None:
        first = put(place.store, 1, b"first")
        store = place.reopen()
        assert store.publish(first, store.tmp_path(first.id, "profile")) == first
        assert store.read_manifests().items == (first,)

    def test_a_manifest_names_a_file_exactly_when_there_is_one(self, place: Place) -> None:
        with pytest.raises(StoreError, match="must name a file"):
            place.store.publish(make_manifest(1), None)

    def test_a_file_of_another_size_than_its_manifest_says_is_refused(self, place: Place) -> None:
        manifest = make_manifest(1, b"long enough")
        path = place.store.tmp_path(manifest.id, "profile")
        path.write_bytes(b"short")
        with pytest.raises(StoreError, match="bytes"):
            place.store.publish(manifest, path)
        assert place.store.list_ids() == frozenset()

    def test_the_last_published_is_the_newest_whatever_the_clock_says(self, place: Place) -> None:
        ahead = put(place.store, 1, finished_at="2027-01-31T09:00:00.000Z")
        late = put(place.store, 2)
        store = place.reopen()
        last = put(store, 3)
        index = Index()
        assert index.refresh(store) == ()
        assert index.catalog.list_history("feldera", "orders") == (last, late, ahead)

    def test_a_removed_profile_is_gone_for_every_reader(self, place: Place) -> None:
        kept, gone = put(place.store, 1), put(place.store, 2)
        assert place.store.remove(gone.id)
        assert not place.store.has(gone.id)
        assert place.store.read_manifest(gone.id) is None
        assert place.store.list_ids() == {kept.id}
        assert not place.store.remove(gone.id)
        assert place.reopen().list_ids() == {kept.id}

    def test_the_index_follows(self, place: Place) -> None:
        index = Index()
        one, two = put(place.store, 1), put(place.store, 2, None)
        index.refresh(place.store)
        assert set(index.catalog.by_id) == {one.id, two.id}
        place.store.remove(one.id)
        three = put(place.store, 3)
        index.refresh(place.store)
        assert set(index.catalog.by_id) == {two.id, three.id}

    def test_the_journal_survives_a_restart(self, place: Place) -> None:
        place.store.write_entry(make_entry(1))
        place.store.write_entry(make_entry(1, step="Recording", pid=7))
        place.store.write_entry(make_entry(2))
        place.store.remove_entry(make_id(2))
        assert place.store.read_entry(make_id(1)) == make_entry(1, step="Recording", pid=7)
        assert place.store.read_entry(make_id(2)) is None
        store = place.reopen()
        assert store.read_entries().items == (make_entry(1, step="Recording", pid=7),)
        store.remove_entry(make_id(1))
        store.remove_entry(make_id(1))
        assert place.reopen().read_entries().items == ()

    def test_pins_and_tombstones_survive_a_restart(self, place: Place) -> None:
        tombstone = Tombstone(
            id=make_id(1), namespace="feldera", name="p-1", cause="Deleted", at="2026-01-31T09:00:00.000Z",
            origin=ObjectOrigin(namespace_uid="n"),
        )  # fmt: skip
        place.store.side_files.write_tombstone(tombstone)
        place.store.side_files.pin(make_id(1))
        place.store.side_files.pin(make_id(2))
        place.store.side_files.unpin(make_id(2))
        store = place.reopen()
        assert store.side_files.list_pins() == {make_id(1)}
        assert store.side_files.read_tombstones().items == (tombstone,)
        store.side_files.remove_tombstone(make_id(1))
        store.side_files.unpin(make_id(1))
        store = place.reopen()
        assert store.side_files.list_pins() == frozenset()
        assert store.side_files.read_tombstones().items == ()

    def test_only_one_process_writes(self, place: Place) -> None:
        assert place.store.lock()
        place.store.unlock()
        assert place.reopen().lock()

    def test_temporary_files_are_the_recordings_own(self, place: Place) -> None:
        for number in (1, 2):
            place.store.tmp_path(make_id(number), "profile").write_bytes(b"x")
        assert len(place.store.clean_tmp({make_id(1)})) == 1
        place.store.drop_tmp(make_id(1))
        assert list((place.store.root / "tmp").iterdir()) == []

    @pytest.mark.parametrize("name", ["../../etc/passwd", "", "ABC", "1" * 36])
    def test_nothing_but_an_id_becomes_a_name(self, place: Place, name: str) -> None:
        with pytest.raises(StoreError, match="not the id"):
            place.store.read_manifest(name)
        with pytest.raises(StoreError, match="not the id"):
            place.store.remove(name)
