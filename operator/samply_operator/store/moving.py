"""Copies the stored profiles from a volume to a bucket, or back, while either is in use: each profile complete and
verified, its manifest last. A repeated run continues with what is missing.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from samply_operator.errors import StoreConflict, StoreError
from samply_operator.model.manifest import Manifest
from samply_operator.store import durable, layout
from samply_operator.store.bucket import mirror, names, uploads
from samply_operator.store.bucket.catalog import Catalog
from samply_operator.store.bucket.objects import Objects
from samply_operator.store.volume import Volume

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Progress:
    """Progress."""

    wanted: int = 0
    copied: int = 0
    copied_bytes: int = 0
    present: int = 0
    """Already existed, with all files."""
    gone: int = 0
    """Removed at the source meanwhile, or in the target after an earlier copy."""
    failed: dict[str, str] = field(default_factory=dict)
    """Failures with their reason, by id."""

    @property
    def done(self) -> int:
        return self.copied + self.present + self.gone + len(self.failed)


class Way(Protocol):
    """From one store to another."""

    def list_source(self) -> frozenset[str]: ...
    def list_pins(self) -> frozenset[str]: ...
    def prepare_target(self) -> None: ...
    def is_removed(self, profile_id: str) -> bool: ...
    def find_target(self, profile_id: str) -> Manifest | None: ...
    def has_files(self, standing: Manifest) -> bool: ...
    def find_source(self, profile_id: str) -> Manifest | None: ...
    def copy(self, manifest: Manifest) -> None: ...
    def pin(self, profile_id: str) -> None: ...


class Upload:
    """From a volume, which is only read, to a bucket."""

    def __init__(self, volume: Volume, objects: Objects) -> None:
        self._volume = volume
        self._objects = objects
        self._catalog = Catalog(objects)
        self._uploads = uploads.Uploads(objects, volume, read_back=True)

    def list_source(self) -> frozenset[str]:
        self._catalog.list()
        return self._volume.list_ids()

    def list_pins(self) -> frozenset[str]:
        return self._volume.side_files.list_pins()

    def prepare_target(self) -> None:
        """A bucket has no folders."""

    def is_removed(self, profile_id: str) -> bool:
        """The bucket has the marker of its removal, which would hide it."""
        return profile_id in self._catalog.removed

    def find_source(self, profile_id: str) -> Manifest | None:
        return self._volume.read_manifest(profile_id)

    def find_target(self, profile_id: str) -> Manifest | None:
        return self._catalog.read(profile_id) if profile_id in self._catalog.tags else None

    def has_files(self, standing: Manifest) -> bool:
        """They may have been deleted in the bucket, for example by a lifecycle rule."""
        return all(self._objects.find(path) is not None for path in uploads.list_files(standing))

    def copy(self, manifest: Manifest) -> None:
        with durable.translated(f"read profile {manifest.id}"):
            self._uploads.send(manifest)

    def pin(self, profile_id: str) -> None:
        with suppress(StoreConflict):  # it exists
            self._objects.create(layout.build_pin(profile_id), msgspec.json.encode(mirror.Wrapped(term=0)))


class Download:
    """From a bucket, which is only read, to a volume."""

    def __init__(self, objects: Objects, volume: Volume) -> None:
        self._objects = objects
        self._volume = volume
        self._catalog = Catalog(objects)
        self._prefix = f"copy-{secrets.token_hex(8)}"
        """Of names in tmp/ of the volume: another copy may run at the same time."""

    def list_source(self) -> frozenset[str]:
        return self._catalog.list()

    def list_pins(self) -> frozenset[str]:
        found = self._objects.list(layout.PINS)
        return frozenset(profile_id for each in found if (profile_id := names.parse_id(each.path)))

    def prepare_target(self) -> None:
        self._volume.prepare()

    def is_removed(self, profile_id: str) -> bool:
        """A volume does not remember."""
        return False

    def find_source(self, profile_id: str) -> Manifest | None:
        return self._catalog.read(profile_id)

    def find_target(self, profile_id: str) -> Manifest | None:
        return self._volume.read_manifest(profile_id)

    def has_files(self, standing: Manifest) -> bool:
        """They are published and removed together."""
        return True

    def copy(self, manifest: Manifest) -> None:
        count = 1 + len(manifest.extras)
        path, *extras = (self._volume.tmp_path(manifest.id, f"{self._prefix}-{number}") for number in range(count))
        try:
            if manifest.file is not None:
                self._fetch(uploads.build_path(manifest), manifest.file.sha256, path)
            for source, facts, extra in zip(
                uploads.list_extras(manifest), manifest.extras.values(), extras, strict=True
            ):
                self._fetch(source, facts.sha256, extra)
            self._volume.publish(
                msgspec.structs.replace(manifest, extras={}),
                path if manifest.file else None,
                extras=dict(zip(manifest.extras, extras, strict=True)),
                keeps_place=True,
            )
        finally:
            for each in (path, *extras):
                each.unlink(missing_ok=True)

    def pin(self, profile_id: str) -> None:
        self._volume.side_files.pin(profile_id)

    def _fetch(self, source: str, sha256: str, path: Path) -> None:
        digest = hashlib.sha256()
        with durable.translated(f"write {path.name}"), path.open("wb") as file:
            for piece in self._objects.read_pieces(source):
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != sha256:
            raise StoreError(f"{source} does not match its manifest.")


def copy(way: Way, on_progress: Callable[[Progress], None]) -> Progress:
    """Copy everything that the target lacks. A failed item is reported and does not block the others. Raises StoreError
    if either cannot be listed; a folder is then not created."""
    ids, pins = sorted(way.list_source()), way.list_pins()
    way.prepare_target()
    progress = Progress(wanted=len(ids))
    for profile_id in ids:
        try:
            _copy_one(way, profile_id, progress, is_pinned=profile_id in pins)
        except StoreError as error:
            progress.failed[profile_id] = str(error)
        on_progress(progress)
    return progress


def _copy_one(way: Way, profile_id: str, progress: Progress, *, is_pinned: bool) -> None:
    manifest = way.find_source(profile_id)
    if manifest is None or way.is_removed(profile_id):
        progress.gone += 1
        return
    standing = way.find_target(profile_id)
    if standing is not None and standing.file != manifest.file:
        raise StoreError("the target has another file under this id.")
    if is_pinned:
        way.pin(profile_id)  # before the target's operator can see the profile, and remove it
    if standing is None or not way.has_files(standing):
        way.copy(manifest)
        progress.copied += 1
        progress.copied_bytes += manifest.file.size_bytes if manifest.file else 0
    else:
        progress.present += 1
    if is_pinned:
        way.pin(profile_id)  # that operator drops pins of profiles that it does not have
