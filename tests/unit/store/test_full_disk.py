"""A full file system (a small tmpfs): writes are refused with a reason, stored profiles are read, no partial files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from samply_operator.errors import StoreFull
from samply_operator.model.manifest import Tombstone
from samply_operator.store.volume import Volume

from .conftest import make_entry, make_manifest, put

EMERGENCY = 16 * 1024


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs here: {mounted.stderr.decode().strip()}")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def fill(disk: Path) -> None:
    with (disk / "others").open("wb", buffering=0) as file:
        for size in (4096, 1):
            with suppress(OSError):
                while file.write(b"x" * size):
                    pass
    assert Volume(disk).free_bytes() == 0


def test_a_full_disk_refuses_writes_and_serves_reads(small_disk: Path) -> None:
    volume = Volume(small_disk)
    volume.prepare()
    stored = put(volume, 1, b"kept")
    late = make_manifest(2, b"late")
    volume.tmp_path(late.id, "profile").write_bytes(b"late")
    fill(small_disk)

    with pytest.raises(StoreFull):
        volume.publish(late, volume.tmp_path(late.id, "profile"))
    with pytest.raises(StoreFull):
        volume.write_entry(make_entry(3))
    with pytest.raises(StoreFull):
        volume.reserve(1)
    assert volume.read_manifests().items == (stored,)
    with volume.open_profile(stored.id) as file:
        assert file.read() == b"kept"

    (small_disk / "others").unlink()
    assert volume.publish(late, volume.tmp_path(late.id, "profile")) == late
    volume.clean_tmp()
    assert not list((small_disk / "tmp").iterdir())


def list_all(disk: Path) -> set[str]:
    return {str(path.relative_to(disk)) for path in disk.rglob("*") if path.is_file()}


def test_what_finds_no_room_leaves_nothing(small_disk: Path) -> None:
    """No half file, no draft; and the finished profile lies where it lay, to be published when there is room."""
    volume = Volume(small_disk)
    volume.prepare()
    late = make_manifest(2, b"late")
    path = volume.tmp_path(late.id, "profile")
    path.write_bytes(b"late")
    fill(small_disk)
    before = list_all(small_disk)
    for write in (
        lambda: volume.publish(late, path),
        lambda: volume.publish(make_manifest(3, None), None),
        lambda: volume.write_entry(make_entry(4)),
        lambda: volume.side_files.write_tombstone(Tombstone(late.id, "n", "p", "Deleted", "")),
    ):
        with pytest.raises(StoreFull):
            write()
    assert list_all(small_disk) == before
    assert sorted(p.name for p in (small_disk / "tmp").iterdir()) == [path.name]

    volume.drop_tmp(late.id)
    assert not path.exists()


def test_a_recording_under_way_is_written_down_on_a_full_volume(small_disk: Path) -> None:
    """The ballast makes room for journal, tombstones and failures, once; it is held again when there is room."""
    volume = Volume(small_disk, emergency_bytes=EMERGENCY)
    volume.prepare()
    volume.write_entry(make_entry(1))
    fill(small_disk)
    assert "ballast" in list_all(small_disk)

    volume.write_entry(make_entry(1, step="Recording"))
    assert "ballast" not in list_all(small_disk)
    failure = make_manifest(1, None)
    assert volume.publish(failure, None) == failure
    volume.side_files.write_tombstone(Tombstone(failure.id, "n", "p", "Deleted", ""))
    entry = volume.read_entry(failure.id)
    assert entry is not None
    assert entry.step == "Recording"

    assert not volume.hold_emergency_space()
    (small_disk / "others").unlink()
    assert volume.hold_emergency_space()
    assert volume.hold_emergency_space()
    assert "ballast" in list_all(small_disk)


def test_the_ballast_is_never_a_large_part_of_a_small_volume(small_disk: Path) -> None:
    """256 KiB have none of 64."""
    volume = Volume(small_disk, emergency_bytes=64 * 1024)
    volume.prepare()
    assert "ballast" not in list_all(small_disk)
    assert not volume.hold_emergency_space()


def test_room_is_what_is_left_when_everything_set_aside_is_taken_away(small_disk: Path) -> None:
    """Below 0 on a full volume: no recording should begin."""
    volume = Volume(small_disk, min_free_bytes=100 * 1024)
    free = volume.free_bytes()
    with volume.reserve(4096):
        assert volume.room_bytes() == free - 104 * 1024
    fill(small_disk)
    assert volume.room_bytes() == -100 * 1024
