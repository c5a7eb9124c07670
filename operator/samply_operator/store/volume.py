"""The volume: publish, read, remove, journal, space. The only code that opens its files.

A profile appears by one rename of a complete, synced folder, and disappears by one rename: readers see all of it or
nothing, whatever is killed in between, and of two writers the first one succeeds. All calls block: use a thread in an
event loop. Reading works on a volume mounted read-only.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from samply_operator.errors import CorruptManifest, StoreError, UnknownProfile
from samply_operator.model.manifest import JournalEntry, Manifest
from samply_operator.rules.storage import order
from samply_operator.store import documents, durable, layout
from samply_operator.store.documents import Reading
from samply_operator.store.durable import Medium
from samply_operator.store.emergency_space import EmergencySpace
from samply_operator.store.lock import Lock
from samply_operator.store.side_files import SideFiles
from samply_operator.store.space import Backlog, Reservation, Space

TAKEN = frozenset({errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR})
"""Errors of rename if another writer was first."""


def _no_fault(step: str) -> None:
    """Where tests kill the process: called with each step's name after that step."""


class Volume:
    """One volume, mounted at `root`. `min_free_bytes` stay free whatever is reserved, and at most `max_bytes` are used
    (0: no limit); `emergency_bytes` are reserved for small writes on a full volume."""

    def __init__(
        self,
        root: Path | str,
        *,
        min_free_bytes: int = 0,
        max_bytes: int = 0,
        emergency_bytes: int = 0,
        medium: Medium = durable.VOLUME,
        fault: Callable[[str], None] = _no_fault,
    ) -> None:
        self._root = Path(root)
        self._medium = medium
        self._space = Space(self._root, min_free_bytes, max_bytes, medium)
        self._lock = Lock(self._root / layout.LOCK)
        self._emergency = EmergencySpace(self._root / layout.EMERGENCY, emergency_bytes)
        self.side_files = SideFiles(self._root, self._emergency.retry_if_full, medium)
        self._fault = fault
        self._newest = 0
        """The highest place of an attempt that is or was stored (rules/storage/order.py), once it is known."""
        self._has_newest = False
        self._numbering = threading.Lock()

    @property
    def root(self) -> Path:
        return self._root

    @property
    def medium(self) -> Medium:
        return self._medium

    def prepare(self) -> None:
        """Create the folders. Only the writer calls this, once."""
        with durable.translated(f"prepare the {self._medium.name}", self._medium):
            for name in (layout.PROFILES, layout.JOURNAL, layout.TMP):
                (self._root / name).mkdir(mode=0o750, parents=True, exist_ok=True)
            self.side_files.prepare()
            self._emergency.take(self._space.free_bytes())
            durable.sync(self._root)

    def lock(self) -> bool:
        """Become the only writer until this process ends. False: another process is. Raises StoreError."""
        with durable.translated("lock the volume"):
            return self._lock.acquire()

    def unlock(self) -> None:
        self._lock.release()

    # ------------------------------------------------------------------------------------------------- publishing

    def publish(
        self,
        manifest: Manifest,
        profile_path: Path | None,
        *,
        extras: Mapping[str, Path] | None = None,
        keeps_place: bool = False,
    ) -> Manifest:
        """Publish an attempt that ended; `profile_path` (and `extras`, see layout.is_extra) are finished files in tmp/.

        Returns the manifest that stands: if this id was published before, that one, and the new files are dropped.
        It is the newest from then on, whatever the clock says, unless it `keeps_place` among those of another store.
        May be repeated after a kill at any step. Raises StoreFull, StoreError; CorruptManifest if a failure would take
        the place of an attempt that cannot be read, and may have a file.
        """
        if (profile_path is None) != (manifest.file is None):
            raise StoreError("a manifest must name a file if and only if there is one.")
        with durable.translated(f"publish profile {manifest.id}", self._medium):
            numbered = manifest if keeps_place else self._number(manifest)
            standing = self._published(manifest) or self._publish(numbered, profile_path, extras or {})
            self.note_newest(order.find_place(standing))
            for path in self._list_tmp(manifest.id):
                _drop(path)
            self._fault("tmp-dropped")
            return standing

    def _publish(self, manifest: Manifest, profile_path: Path | None, extras: Mapping[str, Path]) -> Manifest:
        staging = self._path(layout.build_tmp(manifest.id, layout.PUBLISHING + secrets.token_hex(8)))
        self._emergency.retry_if_full(lambda: staging.mkdir(mode=0o750))
        self._fault("staged")
        try:
            self._stage(manifest, profile_path, extras, staging)
        except OSError:
            # A retry, now or after a restart, finds the files where they were.
            for name, path in (*extras.items(), (layout.PROFILE_FILE, profile_path)):
                if path is not None and (staging / name).exists():
                    (staging / name).rename(path)
            shutil.rmtree(staging, ignore_errors=True)
            raise
        return self._place(manifest, staging)

    def _number(self, manifest: Manifest) -> Manifest:
        with self._numbering:
            if not self._has_newest:
                self._newest = max((self._newest, *map(order.find_place, self._list_readable())))
                self._has_newest = True
            return order.number(manifest, self._newest)

    def note_newest(self, place: int) -> None:
        """An attempt exists that is not on this volume: later ones are numbered after its place."""
        with self._numbering:
            self._newest = max(self._newest, place)

    def _list_readable(self) -> Iterator[Manifest]:
        for profile_id in self.list_ids():
            with suppress(StoreError):  # listing reports it
                manifest = self.read_manifest(profile_id)
                if manifest is not None:
                    yield manifest

    def _stage(self, manifest: Manifest, profile_path: Path | None, extras: Mapping[str, Path], staging: Path) -> None:
        if profile_path is not None:
            self._stage_profile(manifest, profile_path, staging)
        for name, path in extras.items():
            self._stage_file(path, staging / layout.check_extra(name))
        self._fault("files-staged")
        self._emergency.retry_if_full(lambda: durable.write(staging / layout.MANIFEST_FILE, documents.encode(manifest)))
        self._fault("manifest-written")
        durable.sync(staging)
        self._fault("staging-synced")

    def _stage_profile(self, manifest: Manifest, path: Path, staging: Path) -> None:
        """Move the profile in; after a kill it may already be in an older staging folder."""
        sha256 = manifest.file.sha256 if manifest.file else ""
        source = path if path.exists() else self._find_staged(manifest.id, layout.PROFILE_FILE, sha256)
        if source is None:
            raise StoreError(f"the profile to publish is missing: {path.name}.")
        expected = manifest.file.size_bytes if manifest.file else 0
        if source.stat().st_size != expected:
            raise StoreError(f"the profile to publish has {source.stat().st_size} bytes, its manifest says {expected}.")
        self._stage_file(source, staging / layout.PROFILE_FILE)
        self._fault("profile-staged")

    def _stage_file(self, source: Path, destination: Path) -> None:
        durable.sync(source)
        source.rename(destination)

    def _find_staged(self, profile_id: str, name: str, sha256: str) -> Path | None:
        for folder in self._path(layout.TMP).glob(f"{layout.check_id(profile_id)}-{layout.PUBLISHING}*"):
            path = folder / name
            if path.is_file() and _hash(path) == sha256:
                return path
        return None

    def take_back(self, profile_id: str, name: str, sha256: str) -> bool:
        """Put an additional file with this hash, which a killed publication had moved, back to its `tmp_path`. False:
        there is none. Not while the profile is being published. Raises StoreError."""
        with durable.translated(f"take back {name} of {profile_id}", self._medium):
            staged = self._find_staged(profile_id, layout.check_extra(name), sha256)
            if staged is not None:
                staged.rename(self.tmp_path(profile_id, name))
            return staged is not None

    def _place(self, manifest: Manifest, staging: Path) -> Manifest:
        folder = self._path(layout.build_folder(manifest.id))
        try:
            staging.rename(folder)
        except OSError as error:
            if error.errno not in TAKEN:
                raise
            standing = self._published(manifest)
            if standing is None:
                raise StoreError(f"the place of profile {manifest.id} was taken; retry.") from error
            manifest = standing
        self._fault("placed")
        durable.sync(folder.parent)
        self._fault("placed-synced")
        return manifest

    def _published(self, manifest: Manifest) -> Manifest | None:
        """The published manifest of this id; an unreadable folder is moved away, unless only for a failure."""
        try:
            standing = self.read_manifest(manifest.id)
        except CorruptManifest:
            if manifest.file is None:
                raise
            standing = None
        if standing is None and self._path(layout.build_folder(manifest.id)).exists():
            self.remove(manifest.id)
        return standing

    def remove(self, profile_id: str, *, everywhere: bool = False) -> bool:
        """Remove a profile with all its files; False if there was none. Readers that have it open can continue.
        `everywhere`: there is no other place."""
        folder = self._path(layout.build_folder(profile_id))
        gone = self._path(layout.build_tmp(profile_id, layout.REMOVED + secrets.token_hex(8)))
        with durable.translated(f"remove profile {profile_id}"):
            try:
                folder.rename(gone)
            except FileNotFoundError:
                return False
            self._fault("removed")
            durable.sync(folder.parent)
        with suppress(OSError):  # the profile is removed; a file in use over NFS is left to `clean_tmp`
            _drop(gone)
        return True

    # ---------------------------------------------------------------------------------------------------- reading

    def has(self, profile_id: str) -> bool:
        """Whether this id is stored, readable or not."""
        return self._path(layout.build_folder(profile_id)).exists()

    def may_exist(self, profile_id: str) -> bool:
        """The same: there is no other place."""
        return self.has(profile_id)

    @property
    def is_listed(self) -> bool:
        """Whether `list_ids` returned what is stored now, and not an earlier list."""
        return True

    def list_ids(self) -> frozenset[str]:
        """Ids of all folders of profiles; empty if the volume was never written."""
        with durable.translated("list the profiles"):
            return frozenset(name for name in durable.list_names(self._path(layout.PROFILES)) if layout.is_id(name))

    def read_manifest(self, profile_id: str) -> Manifest | None:
        """One manifest; None if there is none. Raises CorruptManifest, StoreError."""
        path = self._path(f"{layout.build_folder(profile_id)}/{layout.MANIFEST_FILE}")
        with durable.translated(f"read the manifest of {profile_id}"):
            return documents.read_manifest(path, profile_id)

    def read_manifests(self, ids: Collection[str] | None = None) -> Reading[Manifest]:
        """Those of `ids`, or all of them; unreadable ones are in `faults`."""
        return documents.collect(sorted(self.list_ids() if ids is None else ids), self.read_manifest)

    def open_profile(self, profile_id: str, *, size_bytes: int | None = None) -> BinaryIO:
        """The published bytes, unbuffered. Raises UnknownProfile; StoreError if the size is not `size_bytes`."""
        return self._open(profile_id, layout.PROFILE_FILE, size_bytes)

    def open_extra(self, profile_id: str, name: str, *, size_bytes: int | None = None) -> BinaryIO:
        """An additional file of a profile, unbuffered. Raises UnknownProfile; StoreError if the size is not
        `size_bytes`."""
        return self._open(profile_id, layout.check_extra(name), size_bytes)

    def _open(self, profile_id: str, name: str, size_bytes: int | None) -> BinaryIO:
        path = self._path(layout.build_folder(profile_id)) / name
        with durable.translated(f"open profile {profile_id}"):
            try:
                fd = os.open(path, documents.OPENING)
            except FileNotFoundError as error:
                raise UnknownProfile(f"Unknown profile '{profile_id}'", details={"profile": profile_id}) from error
            file = os.fdopen(fd, "rb", buffering=0)
            found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or size_bytes not in (None, found.st_size):
            file.close()
            raise StoreError(f"the file of profile {profile_id} has {found.st_size} bytes, not {size_bytes}.")
        return file

    def list_extra_sizes(self, profile_id: str) -> tuple[int, ...]:
        """Bytes of each additional file of a profile. Raises StoreError."""
        folder = self._path(layout.build_folder(profile_id))
        with durable.translated(f"measure profile {profile_id}"):
            try:
                with os.scandir(folder) as found:
                    own = (layout.PROFILE_FILE, layout.MANIFEST_FILE)
                    return tuple(entry.stat(follow_symlinks=False).st_size for entry in found if entry.name not in own)
            except FileNotFoundError:
                return ()

    def fetch_profile(self, manifest: Manifest, folder: Path) -> Path:
        """Put the file of a profile, and Feldera's names of its operators, into `folder` of tmp/: there they outlive
        the profile. Raises UnknownProfile, StoreError."""
        source = self._path(layout.build_folder(manifest.id))
        with durable.translated(f"read profile {manifest.id}", self._medium):
            folder.mkdir(mode=0o750, exist_ok=True)
            with suppress(FileNotFoundError):
                self._link(source / layout.OPERATORS_FILE, folder / layout.OPERATORS_FILE)
            try:
                self._link(source / layout.PROFILE_FILE, folder / layout.PROFILE_FILE)
            except FileNotFoundError as error:
                raise UnknownProfile(
                    f"Profile '{manifest.id}' has no file.", details={"profile": manifest.id}
                ) from error
        return folder / layout.PROFILE_FILE

    def _link(self, source: Path, target: Path) -> None:
        """A second name for a file, or a copy where the file system has no links."""
        target.unlink(missing_ok=True)
        try:
            target.hardlink_to(source)
        except FileNotFoundError:
            raise
        except OSError:
            with self.reserve(source.stat().st_size):
                shutil.copyfile(source, target)

    # ---------------------------------------------------------------------------------------------------- journal

    def write_entry(self, entry: JournalEntry) -> None:
        """Write or replace the journal's entry of `entry.id`; on return it is on the disk."""
        path = self._path(layout.build_journal(entry.id))
        draft = self._path(layout.build_tmp(entry.id, layout.DRAFT + secrets.token_hex(8)))
        with durable.translated(f"write the journal of {entry.id}", self._medium):
            self._emergency.retry_if_full(lambda: durable.write(draft, documents.encode(entry)))
            self._fault("entry-written")
            draft.rename(path)
            self._fault("entry-placed")
            durable.sync(path.parent)

    def read_entry(self, profile_id: str) -> JournalEntry | None:
        """One entry; None if there is none. Raises CorruptManifest, StoreError."""
        with durable.translated(f"read the journal of {profile_id}"):
            return documents.read_entry(self._path(layout.build_journal(profile_id)), profile_id)

    def read_entries(self) -> Reading[JournalEntry]:
        """All entries; unreadable ones are in `faults`."""
        with durable.translated("list the journal"):
            ids = self._list_journal()
        return documents.collect(ids, self.read_entry)

    def _list_journal(self) -> list[str]:
        names = durable.list_names(self._path(layout.JOURNAL))
        return [profile_id for name in names if (profile_id := layout.parse_journal(name))]

    def remove_entry(self, profile_id: str) -> None:
        path = self._path(layout.build_journal(profile_id))
        with durable.translated(f"remove the journal of {profile_id}"):
            path.unlink(missing_ok=True)
            durable.sync(path.parent)

    # ------------------------------------------------------------------------------------- temporary files, space

    def tmp_path(self, profile_id: str, name: str) -> Path:
        """Path of a growing file of this recording: the same name gives the same file after a restart."""
        if name.startswith(layout.OWN):
            raise StoreError(f"a name reserved for the store: {name!r}.")
        return self._path(layout.build_tmp(profile_id, name))

    def clean_tmp(self, except_ids: Collection[str] = ()) -> tuple[str, ...]:
        """Clean tmp/, except files of `except_ids` and of the journal, readable or not; returns the removed names,
        without those in use."""
        removed = []
        with durable.translated("clean the temporary files"):
            except_ids = {*except_ids, *self._list_journal()}
            for name in durable.list_names(self._path(layout.TMP)):
                profile_id, rest = layout.parse_tmp(name) or ("", "")
                if profile_id in except_ids and not rest.startswith(layout.REMOVED):
                    continue
                with suppress(OSError):
                    _drop(self._path(layout.TMP) / name)
                    removed.append(name)
        return tuple(removed)

    def drop_tmp(self, profile_id: str) -> None:
        """Remove the files of a failed recording in tmp/: on a full volume their space is needed."""
        with durable.translated(f"remove the temporary files of {profile_id}"):
            for path in self._list_tmp(profile_id):
                _drop(path)

    def free_bytes(self) -> int:
        """Free space on the volume for this process's user, including reserved space."""
        with durable.translated("ask for the free space"):
            return self._space.free_bytes()

    def room_bytes(self) -> int:
        """Unreserved free space; if negative, no recording should start."""
        with durable.translated("ask for the free space"):
            return self._space.room_bytes()

    def hold_emergency_space(self) -> bool:
        """Allocate the reserve again after it was released, once there is enough space. True: it exists."""
        with durable.translated("hold room back"):
            return self._emergency.take(self._space.room_bytes())

    def reserve(self, size_bytes: int) -> Reservation:
        """Reserve space before a copy. Raises StoreFull. Release it (or use `with`) when the file is published."""
        with durable.translated("ask for the free space"):
            return self._space.reserve(size_bytes)

    def upload_spool(self) -> None:
        """A volume is the final storage."""

    def measure_backlog(self) -> Backlog | None:
        """None: there is no spool."""
        return None

    def _path(self, name: str) -> Path:
        return self._root / name

    def _list_tmp(self, profile_id: str) -> list[Path]:
        """All files of one id in tmp/ except drafts of the journal, which are cleaned separately."""
        found = self._path(layout.TMP).glob(f"{layout.check_id(profile_id)}-*")
        return [path for path in found if not path.name.startswith(f"{profile_id}-{layout.DRAFT}")]


def _drop(path: Path) -> None:
    """Remove a file or a folder; a missing one is ignored."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        shutil.rmtree(path)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
