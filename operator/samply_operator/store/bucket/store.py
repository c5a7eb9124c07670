"""The store of one prefix of a bucket, with the pod's volume as its spool: the same interface as a volume's.

A published profile is first durable in the spool and is sent to the bucket at once; if that is unavailable, later, by
the thread that `lock` starts. No call waits for the bucket longer than a few retries.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path

from samply_operator.errors import CorruptManifest, StoreError, StoreFenced, StoreUnavailable, UnknownProfile
from samply_operator.model.manifest import JournalEntry, Manifest
from samply_operator.rules.storage import order
from samply_operator.store import durable, layout
from samply_operator.store.bucket import names, uploads
from samply_operator.store.bucket.fence import RENEW_SECS, Fence
from samply_operator.store.bucket.mirror import Mirror
from samply_operator.store.bucket.mirrored_side_files import MirroredSideFiles
from samply_operator.store.bucket.objects import Objects
from samply_operator.store.bucket.reader import BucketReader
from samply_operator.store.bucket.uploads import Uploads
from samply_operator.store.documents import Reading
from samply_operator.store.durable import Medium
from samply_operator.store.space import Backlog, Reservation, measure
from samply_operator.store.volume import Volume

logger = logging.getLogger(__name__)

PAUSE_SECS = 5.0
"""Pause between two tries of the thread while the bucket is unavailable."""
TIDY_SECS = 3600.0
ORPHANS_SECS = 86400.0
"""Pause between two lists of all files."""
MARK_SECS = 7 * 86400.0
"""How long the marker of a removal is kept: a paused process may still write the manifest again. Also how long a
manifest may follow its files."""
UNLIMITED = 1 << 60
TERM = "term"
"""File of the spool with the number of its own last term."""


def _no_fault(step: str) -> None:
    """Where tests kill the process."""


class BucketStore(BucketReader):
    """`on_fenced` is called once, from any thread, when another process has become the writer: this process must
    end."""

    def __init__(
        self,
        spool: Volume,
        objects: Objects,
        fence: Fence,
        *,
        read_back: bool = True,
        on_fenced: Callable[[StoreFenced], None] = lambda _: None,
        fault: Callable[[str], None] = _no_fault,
    ) -> None:
        super().__init__(spool, objects)
        self._fence = fence
        self._mirror = Mirror(objects, spool.root, fence)
        self._uploads = Uploads(objects, spool, read_back=read_back, on_stored=self._note, fault=fault)
        self._on_fenced = on_fenced
        self._newest = 0
        self._extra_sizes: dict[str, tuple[int, ...]] = {}
        self._pins_known: frozenset[str] = frozenset()
        """Profiles whose pins, if any, are in the spool."""
        self._away: StoreUnavailable | None = None
        """Why the bucket is unavailable: until the thread reaches it, no other call tries."""
        self._tidy_at = self._orphans_at = time.monotonic() + TIDY_SECS
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.side_files = MirroredSideFiles(spool.side_files, self._mirror, self._send)

    @property
    def medium(self) -> Medium:
        return self._spool.medium

    def prepare(self) -> None:
        """Create the spool's folders."""
        self._spool.prepare()
        self._mirror.prepare()

    def lock(self) -> bool:
        """Become the only writer: of the spool, then of the prefix. False: another process is, or the bucket is
        unavailable. Raises StoreError."""
        if self._fence.term is not None:
            return True
        try:
            if not self._spool.lock() or not self._fence.acquire(self._find_last_term):
                return False
            with durable.translated("begin a term"):
                self._begin()
        except StoreUnavailable as error:
            logger.warning("cannot become the writer of the store yet: %s", error)
            self._fence.term = None
            return False
        self._ended.clear()
        self._thread = threading.Thread(target=self._work, name="uploads", daemon=True)
        self._thread.start()
        return True

    def _begin(self) -> None:
        term = self._fence.term
        assert term is not None  # noqa: S101 - for mypy: it was acquired
        self._newest = term.newest
        was_ours = self._read_last_term() == term.number - 1
        if was_ours:
            self._note_term(term.number)  # if the next step fails, the next try is in a further term
        self._pins_known = self._catalog.list()  # first: `adopt` takes over their pins
        self._mirror.adopt(was_ours=was_ours)
        self._note_term(term.number)
        if self._objects.has_versions:
            logger.info("the bucket keeps versions: removed profiles use space until a lifecycle rule deletes them")

    def upload_spool(self) -> None:
        """While another process is the writer: upload finished attempts that only this spool has. Logs errors."""
        try:
            if self._spool.list_ids() and self._spool.lock():
                self._upload_all()
        except (StoreError, OSError) as error:
            logger.warning("the rest of the spool is not in the bucket yet: %s", error)
        except Exception:
            logger.exception("the spool: an unexpected error")  # else this would not be called again

    def unlock(self) -> None:
        """Send unsent documents if possible, and end the term, so that another process may start one immediately."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        try:
            if self._fence.term is not None:
                self._fence.release(self._newest)
        except StoreError as error:
            logger.warning("cannot end the term in the bucket: %s", error)
        self._spool.unlock()

    # ------------------------------------------------------------------------------------------------- publishing

    def publish(
        self, manifest: Manifest, profile_path: Path | None, *, extras: Mapping[str, Path] | None = None
    ) -> Manifest:
        """As Volume.publish. On return it is in the bucket, or in the spool if the bucket is unavailable."""
        standing = self._find_standing(manifest)
        if standing is not None:
            self._spool.drop_tmp(manifest.id)
            if standing.file is not None or self.find_local(manifest.id) is None:
                self._spool.remove(manifest.id)  # else the spool has the only copy of the file
            return standing
        self._spool.note_newest(self._newest)
        published = self._spool.publish(manifest, profile_path, extras=extras)
        self._newest = max(self._newest, order.find_place(published))
        return self._try(lambda: self._upload(manifest.id), f"profile {manifest.id}") or published

    def _find_standing(self, manifest: Manifest) -> Manifest | None:
        if not self._is_in_bucket(manifest.id):
            return None
        try:
            return self._catalog.read(manifest.id)
        except CorruptManifest:
            if manifest.file is None:
                raise  # a failure takes no profile's place
            self._check_term()
            self._delete(manifest.id)  # without a marker, which would hide the next one of this id
            return None

    def remove(self, profile_id: str, *, everywhere: bool = False) -> bool:
        """Remove a profile with all its files; False if there was none. `everywhere`: also if only the spool of
        another pod has it, which then does not upload it.

        The first of several steps removes it from view, so a kill between them is harmless. Raises StoreUnavailable."""
        was_spooled = self._spool.remove(profile_id)
        is_known = self._uploads.is_busy(profile_id) or self._is_in_bucket(profile_id)
        if not is_known and not everywhere:
            return was_spooled
        if (away := self._away) is not None:
            raise StoreUnavailable(f"cannot remove profile {profile_id} now: {away.message}", remedy=away.remedy)
        self._check_term()
        is_final = not self._is_failure(profile_id)
        if is_final:
            self._objects.write(names.build_removed(profile_id), b"")
        self._catalog.forget(profile_id, is_final=is_final)
        self._delete(profile_id)
        self._extra_sizes.pop(profile_id, None)
        return was_spooled or is_known

    def _is_failure(self, profile_id: str) -> bool:
        """In the bucket. It is removed without a marker: another pod's spool may have a good file of this id, which
        can be uploaded afterwards."""
        with suppress(CorruptManifest):
            found = self._catalog.read(profile_id)
            return found is not None and found.file is None
        return False

    def may_exist(self, profile_id: str) -> bool:
        """Whether it is stored, or may be in the spool of another pod."""
        return self._spool.has(profile_id) or not self._catalog.is_removed(profile_id)

    def _delete(self, profile_id: str) -> None:
        files = [found.path for found in self._objects.list(names.build_folder(profile_id))]
        self._objects.delete([*files, names.build_manifest(profile_id)])

    # ---------------------------------------------------------------------------------------------------- journal

    def write_entry(self, entry: JournalEntry) -> None:
        """Write or replace the journal's entry; on return it is on the spool's disk, and in the bucket unless that is
        unavailable."""
        name = layout.build_journal(entry.id)
        with self._mirror.changing(name):
            self._spool.write_entry(entry)
        self._send(name)

    def read_entry(self, profile_id: str) -> JournalEntry | None:
        return self._spool.read_entry(profile_id)

    def read_entries(self) -> Reading[JournalEntry]:
        return self._spool.read_entries()

    def remove_entry(self, profile_id: str) -> None:
        name = layout.build_journal(profile_id)
        with self._mirror.changing(name):
            self._spool.remove_entry(profile_id)
        self._send(name)

    # ------------------------------------------------------------------------------------- temporary files, space

    def list_extra_sizes(self, profile_id: str) -> tuple[int, ...]:
        """From the manifest, for profiles in the bucket."""
        return self._extra_sizes.get(profile_id) or self._spool.list_extra_sizes(profile_id)

    def fetch_profile(self, manifest: Manifest, folder: Path) -> Path:
        """As Volume.fetch_profile; from the bucket if the spool does not have it. Raises StoreUnavailable."""
        with suppress(UnknownProfile):
            return self._spool.fetch_profile(manifest, folder)
        size_bytes = manifest.file.size_bytes if manifest.file else 0
        path, remote = folder / layout.PROFILE_FILE, uploads.build_path(manifest)
        if self._objects.find(remote) is None:
            raise UnknownProfile(
                f"Profile '{manifest.id}' has no file in the bucket.", details={"profile": manifest.id}
            )
        with self._spool.reserve(size_bytes), durable.translated(f"copy profile {manifest.id}", self.medium):
            with path.open("wb") as file:
                for piece in self._objects.read_pieces(remote):
                    file.write(piece)
            if (names_text := self.read_operators(manifest)) is not None:
                (folder / layout.OPERATORS_FILE).write_bytes(names_text)
        return path

    def tmp_path(self, profile_id: str, name: str) -> Path:
        return self._spool.tmp_path(profile_id, name)

    def take_back(self, profile_id: str, name: str, sha256: str) -> bool:
        return self._spool.take_back(profile_id, name, sha256)

    def clean_tmp(self, except_ids: Collection[str] = ()) -> tuple[str, ...]:
        return self._spool.clean_tmp(except_ids)

    def drop_tmp(self, profile_id: str) -> None:
        self._spool.drop_tmp(profile_id)

    def free_bytes(self) -> int:
        """Of the final storage: a bucket is unlimited."""
        return UNLIMITED

    def room_bytes(self) -> int:
        """Of the spool: if negative, no recording should start."""
        return self._spool.room_bytes()

    def hold_emergency_space(self) -> bool:
        return self._spool.hold_emergency_space()

    def reserve(self, size_bytes: int) -> Reservation:
        return self._spool.reserve(size_bytes)

    # ------------------------------------------------------------------------------------------------- the bucket

    def list_ids(self) -> frozenset[str]:
        """As BucketReader.list_ids, but profiles of another program (`store copy`) only once their pins are taken over:
        retention must not see a pinned one without its pin."""
        ids = super().list_ids()
        if self._fence.term is None:
            return ids
        try:
            self._try(lambda: self._take_pins(ids), "the list of pins")
        except StoreFenced:
            raise
        except StoreError as error:
            logger.warning("pins in the bucket are not taken over yet: %s", error)
        return ids & (self._pins_known | self._spool.list_ids())

    def _take_pins(self, ids: frozenset[str]) -> None:
        self._mirror.take_new_pins(ids)
        self._pins_known = ids

    def read_manifests(self, ids: Collection[str] | None = None) -> Reading[Manifest]:
        reading = super().read_manifests(ids)
        for manifest in reading.items:
            self._learn(manifest)
        return reading

    def measure_backlog(self) -> Backlog:
        """The content of the spool. Raises StoreError."""
        with durable.translated("measure the spool"):
            return self._measure_backlog()

    def _measure_backlog(self) -> Backlog:
        stored = []
        for profile_id in self._spool.list_ids():
            with suppress(FileNotFoundError):  # it is moved to the bucket
                stored.append((self.root / layout.build_folder(profile_id) / layout.MANIFEST_FILE).stat().st_mtime)
        return Backlog(len(stored), measure(self.root), min(stored, default=None))

    def _send(self, name: str) -> None:
        self._try(lambda: self._mirror.send(name), name)

    def _try(self, work: Callable[[], Manifest | None], what: str) -> Manifest | None:
        """Do it now if the bucket seems available; else the thread, or the next call, does it later."""
        if self._away is not None:
            return None
        try:
            return work()
        except StoreUnavailable as error:
            logger.warning("%s has to wait: %s", what, error)
            self._away = error
        except StoreFenced as error:
            self._stop(error)
            raise
        return None

    def _check_term(self) -> None:
        try:
            self._fence.check()
        except StoreFenced as error:
            self._stop(error)
            raise

    def _stop(self, error: StoreFenced) -> None:
        logger.critical("%s", error)
        self._ended.set()
        self._on_fenced(error)

    def _work(self) -> None:
        """Until the term ends: send the content of the spool, renew the term, finish removals."""
        renewed = time.monotonic()
        while not self._ended.wait(PAUSE_SECS):
            try:
                if self._away is not None or time.monotonic() - renewed > RENEW_SECS:
                    self._fence.renew(self._newest)
                    renewed = time.monotonic()
                    self._away = None  # what is to be sent may take long
                self._drain()
                self._tidy()
            except StoreFenced as error:
                self._stop(error)
            except StoreError as error:
                logger.warning("the bucket: %s", error)
            except Exception:
                logger.exception("the bucket: an unexpected error")  # without this thread nothing would be uploaded
        try:
            if self._fence.term is not None:
                self._drain()
        except StoreError as error:
            logger.warning("cannot send the rest of the spool: %s", error)

    def _tidy(self) -> None:
        """Background work, if it is worth a list."""
        if self._catalog.is_cache_old():
            self._catalog.renew_cache()
        if time.monotonic() > self._tidy_at:
            self._tidy_at = time.monotonic() + TIDY_SECS
            self._catalog.list()
            self._finish_removals(self._find_time())
        if time.monotonic() > self._orphans_at:
            self._orphans_at = time.monotonic() + ORPHANS_SECS
            self._delete_orphans(self._find_time())

    def _find_time(self) -> float:
        """Unix time of the last renewal of the term by the provider's clock, as that of each object."""
        found = self._objects.find(names.LEADER)
        return found.modified_at if found else -math.inf

    def _finish_removals(self, now: float) -> None:
        """Removals interrupted by a kill, or undone by a late write of another process. Deletes old markers."""
        for profile_id in self._catalog.leftovers:
            self._delete(profile_id)
        marks = [known for known, at in self._catalog.removed.items() if now - at > MARK_SECS]
        self._objects.delete([names.build_removed(known) for known in marks if known not in self._catalog.leftovers])

    def _delete_orphans(self, now: float) -> None:
        """Files of uploads that were interrupted and not repeated, since their spool is gone."""
        known = self._spool.list_ids() | self._catalog.list()  # in this order: uploads move from one to the other
        old: dict[str, list[str]] = {}
        recent: set[str] = set()
        for found in self._objects.list(names.FILES):
            profile_id = names.parse_folder(found.path)
            if profile_id is None or profile_id in known:
                continue
            if now - found.modified_at > MARK_SECS:
                old.setdefault(profile_id, []).append(found.path)
            else:
                recent.add(profile_id)  # it is being uploaded
        for profile_id in old.keys() - recent:
            self._check_term()
            # A manifest may have followed meanwhile. If it follows now, the uploading process sends the files again.
            if not self._spool.has(profile_id) and self._objects.read(names.build_manifest(profile_id)) is None:
                self._objects.delete(old[profile_id])
                logger.info("%d files of %s without a manifest were deleted", len(old[profile_id]), profile_id)

    def _drain(self) -> None:
        """Send the content of the spool. An item that fails for its own reason does not block the others."""
        for name in self._mirror.list_unsent():
            self._attempt(self._mirror.send, name)
        self._upload_all()

    def _upload_all(self) -> None:
        for profile_id in sorted(self._spool.list_ids()):
            self._attempt(self._upload, profile_id)

    def _attempt(self, send: Callable[[str], object], what: str) -> None:
        """Raises StoreUnavailable, StoreFenced: these concern all."""
        try:
            send(what)
        except StoreFenced:
            raise
        except StoreError as error:
            if isinstance(error, StoreUnavailable):
                self._check_bucket()
            logger.error("%s stays in the spool: %s", what, error)
        except Exception:
            logger.exception("%s stays in the spool: an unexpected error", what)

    def _check_bucket(self) -> None:
        """A request was refused, or a file could not be read: raises StoreUnavailable if others would fail too,
        StoreFenced."""
        if self._fence.term is not None:
            self._fence.check()
        else:
            self._objects.read(names.LEADER)

    def _upload(self, profile_id: str) -> Manifest | None:
        try:
            return self._uploads.upload(profile_id)
        finally:
            if self._catalog.is_removed(profile_id):  # it was removed while it was uploaded
                self._delete(profile_id)

    def _note(self, manifest: Manifest) -> None:
        self._catalog.note(manifest.id, "")
        self._pins_known |= {manifest.id}
        self._learn(manifest)

    def _learn(self, manifest: Manifest) -> None:
        self._newest = max(self._newest, order.find_place(manifest))
        if manifest.extras:
            self._extra_sizes[manifest.id] = tuple(facts.size_bytes for facts in manifest.extras.values())

    def _find_last_term(self) -> int:
        return max(self._read_last_term(), self._mirror.find_last_term())

    def _read_last_term(self) -> int:
        path = self.root / TERM
        text = path.read_text(encoding="ascii") if path.exists() else ""
        return int(text) if text.isdecimal() else 0

    def _note_term(self, number: int) -> None:
        (self.root / TERM).write_text(str(number), encoding="ascii")
