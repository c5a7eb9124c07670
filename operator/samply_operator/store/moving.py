"""Copies the stored profiles from a volume to a bucket, or back, while either is in use: each profile complete and
verified, its manifest last. A repeated run continues with what is missing.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from samply_operator.errors import StoreConflict, StoreError
from samply_operator.model.manifest import Manifest
from samply_operator.store import layout
from samply_operator.store.bucket import mirror, names, uploads
from samply_operator.store.bucket.catalog import Catalog
from samply_operator.store.bucket.objects import Objects
from samply_operator.store.volume import Volume

logger = logging.getLogger(__name__)

COPIED = "copy"
"""Prefix of names in tmp/ of the target volume."""


@dataclass(slots=True)
class Progress:
    """Progress."""

    wanted: int = 0
    copied: int = 0
    copied_bytes: int = 0
    present: int = 0
    """Already existed."""
    gone: int = 0
    """Removed at the source meanwhile."""
    failed: dict[str, str] = field(default_factory=dict)
    """Failures with their reason, by id."""

    @property
    def done(self) -> int:
        return self.copied + self.present + self.gone + len(self.failed)


class Way(Protocol):
    """From one store to another."""

    def list_source(self) -> frozenset[str]: ...
    def find_target(self, profile_id: str) -> Manifest | None: ...
    def find_source(self, profile_id: str) -> Manifest | None: ...
    def copy(self, manifest: Manifest) -> None: ...
    def copy_pins(self) -> None: ...


class Upload:
    """From a volume, which is only read, to a bucket."""

    def __init__(self, volume: Volume, objects: Objects) -> None:
        self._volume = volume
        self._objects = objects
        self._catalog = Catalog(objects)
        self._uploads = uploads.Uploads(objects, volume, read_back=True)
        self._present: frozenset[str] | None = None

    def list_source(self) -> frozenset[str]:
        return self._volume.list_ids()

    def find_source(self, profile_id: str) -> Manifest | None:
        return self._volume.read_manifest(profile_id)

    def find_target(self, profile_id: str) -> Manifest | None:
        if self._present is None:
            self._present = self._catalog.list()
        return self._catalog.read(profile_id) if profile_id in self._present else None

    def copy(self, manifest: Manifest) -> None:
        self._uploads.copy(manifest.id)

    def copy_pins(self) -> None:
        for profile_id in self._volume.side_files.list_pins():
            try:
                self._objects.create(layout.build_pin(profile_id), msgspec.json.encode(mirror.Wrapped(term=0)))
            except StoreConflict:
                continue


class Download:
    """From a bucket, which is only read, to a volume."""

    def __init__(self, objects: Objects, volume: Volume) -> None:
        self._objects = objects
        self._volume = volume
        self._catalog = Catalog(objects)

    def list_source(self) -> frozenset[str]:
        return self._catalog.list()

    def find_source(self, profile_id: str) -> Manifest | None:
        return self._catalog.read(profile_id)

    def find_target(self, profile_id: str) -> Manifest | None:
        return self._volume.read_manifest(profile_id)

    def copy(self, manifest: Manifest) -> None:
        path = None
        if manifest.file is not None:
            path = self._fetch(manifest.id, uploads.build_path(manifest), manifest.file.sha256, COPIED)
        extras = {
            name: self._fetch(
                manifest.id, names.build_extra(manifest.id, facts.sha256, name), facts.sha256, f"{COPIED}-{name}"
            )
            for name, facts in manifest.extras.items()
        }
        self._volume.publish(msgspec.structs.replace(manifest, extras={}), path, extras=extras, keeps_place=True)

    def copy_pins(self) -> None:
        for found in self._objects.list(layout.PINS):
            if profile_id := names.parse_id(found.path):
                self._volume.side_files.pin(profile_id)

    def _fetch(self, profile_id: str, source: str, sha256: str, name: str) -> Path:
        path, digest = self._volume.tmp_path(profile_id, name), hashlib.sha256()
        try:
            with path.open("wb") as file:
                for piece in self._objects.read_pieces(source):
                    digest.update(piece)
                    file.write(piece)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise StoreError(f"cannot write {path.name}: {error.strerror}.") from error
        if digest.hexdigest() != sha256:
            path.unlink()
            raise StoreError(f"{source} does not match its manifest.")
        return path


def copy(way: Way, on_progress: Callable[[Progress], None]) -> Progress:
    """Copy everything that the target lacks. A failed item is reported and does not block the others. Raises StoreError
    if either cannot be listed."""
    ids = sorted(way.list_source())
    progress = Progress(wanted=len(ids))
    for profile_id in ids:
        try:
            _copy_one(way, profile_id, progress)
        except StoreError as error:
            progress.failed[profile_id] = str(error)
        on_progress(progress)
    way.copy_pins()
    return progress


def _copy_one(way: Way, profile_id: str, progress: Progress) -> None:
    manifest = way.find_source(profile_id)
    if manifest is None:
        progress.gone += 1
        return
    standing = way.find_target(profile_id)
    if standing is None:
        way.copy(manifest)
        progress.copied += 1
        progress.copied_bytes += manifest.file.size_bytes if manifest.file else 0
    elif standing.file != manifest.file:
        raise StoreError("the target has another file under this id.")
    else:
        progress.present += 1
