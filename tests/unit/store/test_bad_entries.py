"""Invalid entries are skipped and reported; they never hide others, and data they may refer to is kept."""

from __future__ import annotations

import os

import pytest

from samply_operator.errors import StoreError
from samply_operator.model.manifest import Tombstone
from samply_operator.store.index import Index
from samply_operator.store.volume import Volume
from support import bad_entries

from .conftest import make_entry, make_id, put

pytestmark = pytest.mark.timeout(20)
"""A pipe that is waited for would hold a test for ever."""

bad = pytest.mark.parametrize("kind", bad_entries.BAD)
errors = pytest.mark.parametrize("number", bad_entries.ERRORS, ids=os.strerror)


@bad
def test_a_bad_manifest_is_left_out_of_the_index_and_reported_once(volume: Volume, kind: str) -> None:
    index = Index()
    put(volume, 1)
    folder = volume.root / "profiles" / make_id(2)
    folder.mkdir()
    bad_entries.BAD[kind](folder / "manifest.json")
    (fault,) = index.refresh(volume)
    assert fault.details["profile"] == make_id(2)
    assert index.fault_count == 1
    put(volume, 3)
    assert index.refresh(volume) == ()
    assert index.catalog.by_id.keys() == {make_id(1), make_id(3)}


@errors
def test_a_manifest_with_a_read_error_is_left_out_until_it_is_readable(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    index = Index()
    for each in (1, 2):
        put(volume, each)
    with monkeypatch.context() as patched:
        bad_entries.refuse(patched, volume.root / "profiles" / make_id(2) / "manifest.json", number)
        (fault,) = index.refresh(volume)
        assert fault.details["profile"] == make_id(2)
        assert index.catalog.by_id.keys() == {make_id(1)}
    index.refresh(volume)
    assert index.catalog.by_id.keys() == {make_id(1), make_id(2)}


def test_a_profile_that_is_a_file_and_no_folder_is_left_out(volume: Volume) -> None:
    put(volume, 1)
    (volume.root / "profiles" / make_id(2)).write_bytes(b"")
    reading = volume.read_manifests()
    assert [manifest.id for manifest in reading.items] == [make_id(1)]
    assert [fault.details["profile"] for fault in reading.faults] == [make_id(2)]


@bad
def test_a_bad_entry_of_the_journal_hides_no_other_one(volume: Volume, kind: str) -> None:
    """The files of its recording in tmp/ are kept: once the entry is repaired, the recording continues."""
    volume.write_entry(make_entry(1))
    bad_entries.BAD[kind](volume.root / "journal" / f"{make_id(2)}.json")
    copied = volume.tmp_path(make_id(2), "profile")
    copied.write_bytes(b"copied already")
    reading = volume.read_entries()
    assert [entry.id for entry in reading.items] == [make_id(1)]
    assert [fault.details["profile"] for fault in reading.faults] == [make_id(2)]
    volume.clean_tmp({make_id(1)})
    assert copied.exists()


@errors
def test_an_unreadable_entry_of_the_journal_hides_no_other_one(
    volume: Volume, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    for each in (1, 2):
        volume.write_entry(make_entry(each))
    bad_entries.refuse(monkeypatch, volume.root / "journal" / f"{make_id(2)}.json", number)
    reading = volume.read_entries()
    assert [entry.id for entry in reading.items] == [make_id(1)]
    assert len(reading.faults) == 1


@bad
def test_a_bad_tombstone_hides_no_other_one(volume: Volume, kind: str) -> None:
    volume.side_files.write_tombstone(Tombstone(make_id(1), "feldera", "p-1", "Deleted", ""))
    bad_entries.BAD[kind](volume.root / "tombstones" / f"{make_id(2)}.json")
    reading = volume.side_files.read_tombstones()
    assert [tombstone.id for tombstone in reading.items] == [make_id(1)]
    assert len(reading.faults) == 1


@bad
def test_a_profile_is_numbered_and_published_beside_a_bad_one(volume: Volume, kind: str) -> None:
    """The writer looks at all manifests before its first one."""
    folder = volume.root / "profiles" / make_id(2)
    folder.mkdir()
    bad_entries.BAD[kind](folder / "manifest.json")
    put(volume, 1)
    assert volume.read_manifest(make_id(1)) is not None


@pytest.mark.parametrize("kind", ["a folder", "a link to itself", "a link elsewhere", "a pipe without a writer"])
def test_what_is_no_file_is_not_served_as_one(volume: Volume, kind: str) -> None:
    put(volume, 1)
    path = volume.root / "profiles" / make_id(1) / "profile.json.gz"
    path.unlink()
    bad_entries.BAD[kind](path)
    with pytest.raises(StoreError):
        volume.open_profile(make_id(1), size_bytes=7)
