"""A really full file system (a small tmpfs): refused with a reason, what was stored is still read, nothing half."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from samply_operator.errors import StoreFull
from samply_operator.store.volume import Volume

from .conftest import make_entry, make_manifest, put


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
    with (disk / "ballast").open("wb", buffering=0) as file:
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

    (small_disk / "ballast").unlink()
    assert volume.publish(late, volume.tmp_path(late.id, "profile")) == late
    volume.clean_tmp()
    assert not list((small_disk / "tmp").iterdir())
