"""Reads stored profiles: from the spool if they are still there, else from the bucket. While the bucket is unavailable,
the last list is used: its profiles are known but cannot be fetched.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from samply_operator.errors import CorruptManifest, StoreUnavailable
from samply_operator.model.manifest import Manifest
from samply_operator.store import documents, layout
from samply_operator.store.bucket import names, uploads
from samply_operator.store.bucket.catalog import Catalog
from samply_operator.store.bucket.objects import Objects, Stream
from samply_operator.store.documents import Reading
from samply_operator.store.volume import Volume

logger = logging.getLogger(__name__)

LIST_SECS = 4.0
"""How long a list of the bucket is waited for if there is an earlier one."""


class BucketReader:
    """`spool` is the pod's own volume: profiles recorded here that are not in the bucket yet."""

    def __init__(self, spool: Volume, objects: Objects, *, sign: Callable[[str], str] | None = None) -> None:
        """`sign`: creates URLs of the bucket for callers; None: callers are not redirected."""
        self._spool = spool
        self._sign = sign
        self._objects = objects
        self._catalog = Catalog(objects)
        self._listing: Future[frozenset[str]] | None = None
        self.is_listed = True
        """As for Volume."""
        self._were_spooled: frozenset[str] = frozenset()
        """Ids that were in the spool at the last list of the bucket, or since."""

    @property
    def root(self) -> Path:
        """The spool's."""
        return self._spool.root

    def list_ids(self) -> frozenset[str]:
        """Ids of all attempts. Raises StoreUnavailable if the bucket was never listed, StoreError."""
        spooled = self._spool.list_ids()  # first, so that what is moved meanwhile is found in the bucket
        self._were_spooled |= spooled
        try:
            listed = self._list()
            self._were_spooled, self.is_listed = spooled, True
            return spooled | listed
        except (StoreUnavailable, TimeoutError) as error:
            if not self._catalog.is_listed:
                raise
            self.is_listed = False
            logger.warning("using the last list of the bucket: %s", str(error) or "it does not answer")
            return self._were_spooled | frozenset(self._catalog.tags)

    def _list(self) -> frozenset[str]:
        """Raises TimeoutError: a bucket that hangs is waited for in a thread, since the spool's profiles are served
        meanwhile."""
        if self._listing is None or self._listing.done():
            self._listing = Future()
            threading.Thread(target=_complete, args=(self._listing, self._catalog.list), daemon=True).start()
        return self._listing.result(LIST_SECS if self._catalog.is_listed else None)

    def has(self, profile_id: str) -> bool:
        """Whether this id is stored, readable or not. Raises StoreUnavailable."""
        return self._spool.has(profile_id) or self._is_in_bucket(profile_id)

    def _is_in_bucket(self, profile_id: str) -> bool:
        return profile_id in (self._catalog.tags if self._catalog.is_listed else self._catalog.list())

    def read_manifest(self, profile_id: str) -> Manifest | None:
        """One manifest; None if there is none. Raises CorruptManifest, StoreUnavailable, StoreError."""
        manifest = self._spool.read_manifest(profile_id)
        if manifest is None and self._is_in_bucket(profile_id):
            manifest = self._catalog.read(profile_id)
        return manifest

    def read_manifests(self, ids: Collection[str] | None = None) -> Reading[Manifest]:
        """Those of `ids`, or all; unreadable ones are in `faults`. Raises StoreUnavailable, StoreError."""
        wanted = self.list_ids() if ids is None else ids
        local = documents.collect(sorted(self._spool.list_ids() & set(wanted)), self._spool.read_manifest)
        seen = {manifest.id for manifest in local.items} | {str(fault.details["profile"]) for fault in local.faults}
        remote = self._catalog.read_many([profile_id for profile_id in wanted if profile_id not in seen])
        return Reading(local.items + remote.items, local.faults + remote.faults)

    def open_profile(self, profile_id: str, *, size_bytes: int | None = None) -> BinaryIO:
        """The file of a profile in the spool. Raises UnknownProfile if it is not there, StoreError."""
        return self._spool.open_profile(profile_id, size_bytes=size_bytes)

    def find_local(self, profile_id: str) -> Path | None:
        """Path of the file of a profile in the spool."""
        path = self._spool.root / layout.build_folder(profile_id) / layout.PROFILE_FILE
        return path if path.exists() else None

    def open_extra(self, profile_id: str, name: str, *, size_bytes: int | None = None) -> BinaryIO:
        """An additional file of a profile in the spool. Raises UnknownProfile if it is not there, StoreError."""
        return self._spool.open_extra(profile_id, name, size_bytes=size_bytes)

    def read_operators(self, manifest: Manifest) -> bytes | None:
        """Feldera's names of the operators, as they were stored; None: there are none. Raises StoreUnavailable."""
        local = self._spool.root / layout.build_folder(manifest.id) / layout.OPERATORS_FILE
        with suppress(FileNotFoundError):  # it is moved to the bucket
            return local.read_bytes()
        extras = manifest.extras
        if not extras:  # read in a spool, where a manifest does not name its other files
            with suppress(CorruptManifest):
                standing = self._catalog.read(manifest.id)
                extras = standing.extras if standing else {}
        facts = extras.get(layout.OPERATORS_FILE)
        if facts is None:
            return None
        found = self._objects.read(names.build_extra(manifest.id, facts.sha256, layout.OPERATORS_FILE))
        return found[0] if found else None

    async def open_stream(self, manifest: Manifest, start: int, stop: int, name: str = "") -> Stream | None:
        """Bytes of a profile's file from the bucket, or of the additional file of this name; None if it was removed.
        Raises StoreUnavailable, UnknownProfile."""
        return await self._objects.open_stream(uploads.build_path(manifest, name), start, stop)

    def sign(self, manifest: Manifest) -> str | None:
        """A signed URL of the profile's file; None: callers are not redirected."""
        if self._sign is None or self.find_local(manifest.id) is not None:
            return None
        return self._sign(uploads.build_path(manifest))


def _complete(future: Future[frozenset[str]], work: Callable[[], frozenset[str]]) -> None:
    try:
        future.set_result(work())
    except Exception as error:  # noqa: BLE001 - raised where the result is asked for
        future.set_exception(error)
