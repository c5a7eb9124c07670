"""The manifests of one prefix: listed in parallel requests, and read from one object that holds most of them.

That object is only a cache: the list determines which attempts exist, and an entry counts while its entity tag is the
one in the list.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from isal import igzip

from samply_operator.errors import CorruptManifest, StoreError
from samply_operator.model.manifest import Manifest
from samply_operator.store import documents
from samply_operator.store.bucket import names
from samply_operator.store.bucket.objects import Objects
from samply_operator.store.documents import Reading

logger = logging.getLogger(__name__)

AT_ONCE = 32
FEW = 200
"""Up to this number manifests are fetched one by one before the cache is read."""


class Line(msgspec.Struct, frozen=True):
    """One line of the cache."""

    e_tag: str
    manifest: Manifest


class Catalog:
    """Lists and reads. Thread-safe, but serialized."""

    def __init__(self, objects: Objects) -> None:
        self.tags: Mapping[str, str] = {}
        """Entity tag of each manifest by id, as of the last list."""
        self.is_listed = False
        self.removed: Mapping[str, float] = {}
        """When each removal was marked (Unix time), by id, as of the last list."""
        self.leftovers: frozenset[str] = frozenset()
        """Removed ids whose manifests still exist."""
        self._objects = objects
        self._lock = threading.Lock()
        self._encoder = msgspec.json.Encoder()
        self._forgotten: set[str] = set()
        """Removed by this process since the last list."""
        self._cached = 0
        """How many of the listed manifests the cache contains."""

    def list(self) -> frozenset[str]:
        """Ids of all attempts that are not removed. Raises StoreUnavailable."""
        with self._lock, ThreadPoolExecutor(len(names.SHARDS) + 1, "list") as pool:
            removed = pool.submit(self._list_removed)
            parts = pool.map(self._list_shard, names.SHARDS)
            tags = {profile_id: e_tag for part in parts for profile_id, e_tag in part.items()}
            self.removed = removed.result()
            self._forgotten -= self.removed.keys()
            self.leftovers = frozenset(tags.keys() & self.removed.keys())
            self.tags = {profile_id: tags[profile_id] for profile_id in tags.keys() - self.removed.keys()}
            self.is_listed = True
            return frozenset(self.tags)

    def note(self, profile_id: str, e_tag: str) -> None:
        """Published by this process, unless it was removed meanwhile."""
        with self._lock:
            if not self.is_removed(profile_id):
                self.tags = {**self.tags, profile_id: e_tag}

    def forget(self, profile_id: str, *, is_final: bool) -> None:
        """Removed by this process; `is_final`: a manifest of this id that appears later is removed too."""
        with self._lock:
            if is_final:
                self._forgotten.add(profile_id)
            self.tags = {known: e_tag for known, e_tag in self.tags.items() if known != profile_id}

    def is_removed(self, profile_id: str) -> bool:
        """By this process, or as of the last list."""
        return profile_id in self._forgotten or profile_id in self.removed

    def read(self, profile_id: str) -> Manifest | None:
        """One manifest; None if there is none. Raises CorruptManifest, StoreUnavailable."""
        found = self._objects.read(names.build_manifest(profile_id))
        return documents.decode_manifest(found[0], profile_id) if found else None

    def read_many(self, ids: Collection[str]) -> Reading[Manifest]:
        """Those of `ids` that exist; unreadable ones are in `faults`. Raises StoreUnavailable."""
        cached = self._read_cache(ids) if len(ids) > FEW else {}
        fetched = self._fetch(sorted(set(ids) - cached.keys()))
        return Reading((*cached.values(), *fetched.items), fetched.faults)

    def _fetch(self, ids: Collection[str]) -> Reading[Manifest]:
        with ThreadPoolExecutor(AT_ONCE, "read") as pool:
            results = list(pool.map(self._try_read, ids))
        faults = tuple(each for each in results if isinstance(each, CorruptManifest))
        return Reading(tuple(each for each in results if isinstance(each, Manifest)), faults)

    def is_cache_old(self) -> bool:
        """Many manifests were published or removed since it was written."""
        return abs(len(self.tags) - self._cached) > max(FEW, len(self.tags) // 10)

    def renew_cache(self) -> None:
        """List, and write all manifests into one object for the next start. Raises StoreUnavailable."""
        self.list()
        tags, written = self.tags, set[str]()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "catalog"
            with igzip.open(path, "wb") as file:  # type: ignore[no-untyped-call] # has no types
                for line in self._collect_lines(tags):
                    file.write(self._encoder.encode(line) + b"\n")
                    written.add(line.manifest.id)
            self._objects.upload(names.CATALOG, path, {"Content-Type": "application/gzip"})
        self._cached = len(written)

    def _collect_lines(self, tags: Mapping[str, str]) -> Iterator[Line]:
        """First what the cache has, then the rest in batches."""
        kept = set()
        for line in self._try_lines():
            if tags.get(line.manifest.id) == line.e_tag:
                kept.add(line.manifest.id)
                yield line
        missing = sorted(tags.keys() - kept)
        for start in range(0, len(missing), names.PAGE):
            for manifest in self._fetch(missing[start : start + names.PAGE]).items:
                yield Line(tags[manifest.id], manifest)

    def _read_cache(self, ids: Collection[str]) -> dict[str, Manifest]:
        wanted, found, tags, count = set(ids), {}, self.tags, 0
        for line in self._try_lines():
            count += 1
            profile_id = line.manifest.id
            if profile_id in wanted and tags.get(profile_id) == line.e_tag:
                found[profile_id] = line.manifest
        self._cached = count
        return found

    def _try_lines(self) -> Iterator[Line]:
        """All readable entries."""
        try:
            yield from self._read_lines()
        except (StoreError, OSError, EOFError, msgspec.MsgspecError) as error:
            logger.info("the rest of the manifest cache is ignored: %s", error)

    def _read_lines(self) -> Iterator[Line]:
        decoder = msgspec.json.Decoder(Line)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "catalog"
            with path.open("wb") as file:
                for piece in self._objects.read_pieces(names.CATALOG):
                    file.write(piece)
            with igzip.open(path, "rb") as lines:  # type: ignore[no-untyped-call] # has no types
                yield from map(decoder.decode, lines)

    def _try_read(self, profile_id: str) -> Manifest | CorruptManifest | None:
        try:
            return self.read(profile_id)
        except CorruptManifest as fault:
            return fault

    def _list_shard(self, shard: str) -> dict[str, str]:
        found = self._objects.list(f"{names.MANIFESTS}/{shard}")
        return {profile_id: each.e_tag for each in found if (profile_id := names.parse_id(each.path))}

    def _list_removed(self) -> dict[str, float]:
        found = self._objects.list(names.REMOVED)
        return {profile_id: each.modified_at for each in found if (profile_id := names.parse_id(each.path))}
