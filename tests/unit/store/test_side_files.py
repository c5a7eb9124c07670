"""Tombstones and pins: they are stored separately from the profile and survive a restart."""

from __future__ import annotations

import pytest

from samply_operator.errors import StoreError
from samply_operator.model.manifest import ObjectOrigin, Tombstone
from samply_operator.store.volume import Volume

from .conftest import make_id, put


def make_tombstone(number: int, message: str = "") -> Tombstone:
    origin = ObjectOrigin(namespace_uid="n", definition_uid="d")
    return Tombstone(make_id(number), "feldera", f"p-{number}", "Deleted", "2026-01-31T09:00:00.000Z", message, origin)


def test_a_tombstone_is_read_back_as_it_was_written(volume: Volume) -> None:
    """The last one written for an id counts; removing one that isn't there is fine."""
    volume.side_files.write_tombstone(make_tombstone(1))
    volume.side_files.write_tombstone(make_tombstone(1, "again"))
    volume.side_files.write_tombstone(make_tombstone(2))
    assert Volume(volume.root).side_files.read_tombstones().items == (make_tombstone(1, "again"), make_tombstone(2))
    for _ in range(2):
        volume.side_files.remove_tombstone(make_id(1))
    assert volume.side_files.read_tombstones().items == (make_tombstone(2),)
    assert list((volume.root / "tmp").iterdir()) == []


def test_a_tombstone_that_cannot_be_read_is_a_fault_beside_the_others(volume: Volume) -> None:
    """It never deletes anything."""
    volume.side_files.write_tombstone(make_tombstone(1))
    (volume.root / "tombstones" / f"{make_id(2)}.json").write_bytes(b"{")
    (volume.root / "tombstones" / f"{make_id(3)}.json").write_bytes(
        (volume.root / "tombstones" / f"{make_id(1)}.json").read_bytes()
    )
    (volume.root / "tombstones" / "notes.txt").write_bytes(b"{")
    reading = volume.side_files.read_tombstones()
    assert reading.items == (make_tombstone(1),)
    assert [fault.details["profile"] for fault in reading.faults] == [make_id(2), make_id(3)]


def test_pins_outlive_the_process(volume: Volume) -> None:
    """And are no part of the profile: they may be set before and stay after it."""
    put(volume, 1)
    for _ in range(2):
        volume.side_files.pin(make_id(1))
    volume.side_files.pin(make_id(2))
    assert Volume(volume.root).side_files.list_pins() == {make_id(1), make_id(2)}
    for _ in range(2):
        volume.side_files.unpin(make_id(2))
    assert volume.side_files.list_pins() == {make_id(1)}


def test_an_older_volume_has_no_marks(volume: Volume) -> None:
    """Reading one that was never prepared is no error."""
    (volume.root / "pins").rmdir()
    (volume.root / "tombstones").rmdir()
    assert (volume.side_files.list_pins(), volume.side_files.read_tombstones().items) == (frozenset(), ())


def test_what_is_no_id_never_becomes_a_mark(volume: Volume) -> None:
    """Names are made by the server alone."""
    for write in (volume.side_files.pin, volume.side_files.unpin, volume.side_files.remove_tombstone):
        with pytest.raises(StoreError):
            write("../journal")


def test_whether_anything_is_stored(volume: Volume) -> None:
    """A folder that can't be read is something too."""
    put(volume, 1)
    (volume.root / "profiles" / make_id(2)).mkdir()
    assert [volume.has(make_id(n)) for n in (1, 2, 3)] == [True, True, False]
