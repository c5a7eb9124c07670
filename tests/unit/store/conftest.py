"""A volume in a fresh folder, and manifests to put there."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from samply_operator.model.manifest import JournalEntry, Manifest, StoredFile
from samply_operator.model.profile import Failure
from samply_operator.store.volume import Volume

Build = Callable[..., Manifest]


def make_id(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


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
        "id": make_id(number),
        "namespace": "feldera",
        "name": f"p-{number}",
        "pipeline": "orders",
        "ordinal": 0,
        "step": "Admitted",
        "pod": "orders-0",
        "pod_uid": "u",
        "container": "pipeline",
        "container_id": "containerd://1",
        "folder": "/tmp/x",
        "duration_secs": 30,
        "rate_hz": 1000,
        "requested_at": "",
        "admitted_at": "",
    }
    return JournalEntry(**{**facts, **changes})  # type: ignore[arg-type]


def put(volume: Volume, number: int, data: bytes | None = b"profile", **changes: object) -> Manifest:
    """Publish an attempt as the recorder does: a finished file in tmp/, then publish."""
    manifest = make_manifest(number, data, **changes)
    if data is None:
        return volume.publish(manifest, None)
    path = volume.tmp_path(manifest.id, "profile")
    path.write_bytes(data)
    return volume.publish(manifest, path)


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(tmp_path / "data")
    volume.prepare()
    return volume
