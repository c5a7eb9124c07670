"""Moves a published attempt from the spool to the bucket: files, then verification, then the manifest, then removal of
the local copy. Can be repeated after a kill at any step; the first writer of the manifest has published.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from samply_operator.errors import StoreConflict, StoreError, UnknownProfile
from samply_operator.model.manifest import Manifest, StoredFile
from samply_operator.store import content, documents, durable, layout
from samply_operator.store.bucket import names
from samply_operator.store.bucket.objects import Objects
from samply_operator.store.volume import Volume

logger = logging.getLogger(__name__)


def _no_fault(step: str) -> None:
    """Where tests kill the process."""


class Uploads:
    """`on_stored` is called with each manifest that is in the bucket."""

    def __init__(
        self,
        objects: Objects,
        spool: Volume,
        *,
        read_back: bool,
        on_stored: Callable[[Manifest], None] = lambda _: None,
        fault: Callable[[str], None] = _no_fault,
    ) -> None:
        self._objects = objects
        self._spool = spool
        self._read_back = read_back
        self._on_stored = on_stored
        self._fault = fault
        self._busy: set[str] = set()
        self._turn = threading.Condition()

    def upload(self, profile_id: str) -> Manifest | None:
        """The manifest in the bucket; None if the spool does not have the attempt, or it was removed from everywhere,
        which removes it from the spool. Raises StoreError, and StoreUnavailable if a retry may help."""
        with self._own(profile_id):
            # A removal after this look hides the manifest, and the writer's thread deletes it.
            if self._objects.read(names.build_removed(profile_id)) is not None:  # `find` would hide a refusal
                if self._spool.remove(profile_id):
                    logger.info("%s was removed from the bucket: the spool discards it", profile_id)
                return None
            standing = self.copy(profile_id)
            if standing is None:
                return None
            self._fault("manifest-written")
            self._restore(standing)
            self._on_stored(standing)
            self._spool.remove(profile_id)
            self._fault("spool-removed")
            return standing

    def is_busy(self, profile_id: str) -> bool:
        """It is being uploaded, so that it may appear in the bucket even after its removal from the spool."""
        with self._turn:
            return profile_id in self._busy

    def copy(self, profile_id: str) -> Manifest | None:
        """The same, but the spool keeps its copy."""
        manifest = self._spool.read_manifest(profile_id)
        if manifest is None:
            return None
        try:
            with durable.translated(f"read profile {profile_id} in the spool"):
                standing = self._read_standing(profile_id)
                if standing is None:
                    return self.send(manifest)
                _check_keeps(standing, manifest)
                return standing
        except StoreError:
            if self._spool.has(profile_id):
                raise
            return None  # it was removed meanwhile

    def send(self, manifest: Manifest) -> Manifest:
        """Send the spool's files that are not in the bucket, and the manifest unless there is one. Returns the one in
        the bucket. Raises StoreError, OSError."""
        whole, sent = self._send_files(manifest)
        try:
            self._objects.create(names.build_manifest(manifest.id), documents.encode(whole))
        except StoreConflict:
            return self._give_way(whole, sent)
        return whole

    def _send_files(self, manifest: Manifest) -> tuple[Manifest, list[str]]:
        """The manifest with all files, and their paths in the bucket."""
        folder = self._spool.root / layout.build_folder(manifest.id)
        sent = []
        if manifest.file is not None:
            sent.append(self._send_file(folder / layout.PROFILE_FILE, build_path(manifest), manifest.file, manifest))
            self._fault("file-uploaded")
        extras = {}
        for path in sorted(path for path in folder.glob("*") if layout.is_extra(path.name)):
            extras[path.name] = content.describe(path)
            where = names.build_extra(manifest.id, extras[path.name].sha256, path.name)
            sent.append(self._send_file(path, where, extras[path.name], None))
        self._fault("files-uploaded")
        return msgspec.structs.replace(manifest, extras=extras), sent

    def _restore(self, standing: Manifest) -> None:
        """Send again what the writer took for the leftovers of an upload before the manifest was written. Raises
        StoreError: then the spool keeps its copy."""
        kept = list_files(standing)
        if all(self._objects.find(path) for path in kept):
            return
        if self._objects.read(names.build_removed(standing.id)) is not None:
            return
        manifest = self._spool.read_manifest(standing.id)
        if manifest is not None:
            with durable.translated(f"read profile {standing.id} in the spool"):
                _, sent = self._send_files(manifest)
            self._objects.delete([path for path in sent if path not in kept])

    def _send_file(self, path: Path, where: str, facts: StoredFile, manifest: Manifest | None) -> str:
        """Its name in the bucket, after verification."""
        if path.stat().st_size != facts.size_bytes:
            raise StoreError(f"{path.name} has {path.stat().st_size} bytes, its manifest says {facts.size_bytes}.")
        if not self._is_there(where, facts):
            self._objects.upload(where, path, build_attributes(manifest, facts))
            if not self._is_whole(where, facts):
                raise StoreError(f"{where} in the bucket differs from the uploaded file.")
        return where

    def _is_there(self, where: str, facts: StoredFile) -> bool:
        """An object of another size is not read."""
        return self._has_size(where, facts) and (not self._read_back or self._is_whole(where, facts))

    def _is_whole(self, where: str, facts: StoredFile) -> bool:
        """Size, and with `read_back` the hash, of what is in the bucket."""
        if not self._read_back:
            return self._has_size(where, facts)
        return self._objects.hash(where) == (facts.size_bytes, facts.sha256)

    def _has_size(self, where: str, facts: StoredFile) -> bool:
        found = self._objects.find(where)
        return found is not None and found.size_bytes == facts.size_bytes

    def _give_way(self, own: Manifest, sent: list[str]) -> Manifest:
        """This id was published before, or our own request was sent twice: the existing manifest is kept."""
        standing = self._read_standing(own.id)
        if standing is None:
            raise StoreConflict(f"the place of profile {own.id} was taken; retry.")
        _check_keeps(standing, own)
        kept = list_files(standing)
        self._objects.delete([path for path in sent if path not in kept])
        return standing

    def _read_standing(self, profile_id: str) -> Manifest | None:
        found = self._objects.read(names.build_manifest(profile_id))
        return documents.decode_manifest(found[0], profile_id) if found else None

    @contextmanager
    def _own(self, profile_id: str) -> Iterator[None]:
        """One upload of the same attempt at a time."""
        with self._turn:
            self._turn.wait_for(lambda: profile_id not in self._busy)
            self._busy.add(profile_id)
        try:
            yield
        finally:
            with self._turn:
                self._busy.discard(profile_id)
                self._turn.notify_all()


def _check_keeps(standing: Manifest, own: Manifest) -> None:
    """A writer that did not have this spool's file may have published a failure: the file is the only copy."""
    if own.file is not None and standing.file is None:
        raise StoreError(f"the bucket has a failure as {own.id}; the good file stays in the spool.")


def build_path(manifest: Manifest, name: str = "") -> str:
    """Path of the profile's file, or of the additional one of this name. Raises UnknownProfile if it has none."""
    # A manifest that was read while its profile was in the spool has no `extras`.
    files = {each.name: each.file for each in manifest.attachments if each.file} | manifest.extras
    if name in files:
        return names.build_extra(manifest.id, files[name].sha256, name)
    if manifest.file is None or name:
        raise UnknownProfile(f"Profile '{manifest.id}' has no file.", details={"profile": manifest.id})
    return names.build_file(manifest.id, manifest.file.sha256)


def list_extras(manifest: Manifest) -> list[str]:
    return [names.build_extra(manifest.id, facts.sha256, name) for name, facts in manifest.extras.items()]


def list_files(manifest: Manifest) -> list[str]:
    """Paths of all files of an attempt; a failure may have none."""
    return list_extras(manifest) + ([build_path(manifest)] if manifest.file else [])


def build_attributes(manifest: Manifest | None, facts: StoredFile) -> dict[str, str]:
    """Headers of the object when it is fetched by a URL of the bucket."""
    attributes = {"Content-Type": "application/gzip", "sha256": facts.sha256}
    if manifest is not None:
        attributes["Content-Disposition"] = content.build_disposition(manifest.id, manifest.finished_at)
    return attributes
