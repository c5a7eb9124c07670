"""Files of profiles that are kept open for a moment: a profile with many requests is opened once, not for each.

Opening and closing happen in threads, because a volume may be slow. A file that was removed since is not returned.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from aiohttp import web

from samply_operator.api.content.remote_files import RemoteFile, RemoteFiles
from samply_operator.api.content.stored_files import Stored, build_key, count_bytes
from samply_operator.errors import UnknownProfile
from samply_operator.model.manifest import Manifest
from samply_operator.store import durable, layout
from samply_operator.store.store import StoreReader

KEEP_SECS = 10.0
"""A file stays open this long after its last use, twice this at most; then a removed profile's space is freed."""
MAX_KEPT = 64
"""Further files are opened and closed for each request."""
MAX_CRCS = 10_000
READ_BYTES = 1024 * 1024
AT_ONCE = 4
"""Up to this number of objects of a bucket are requested before the head is sent; of more, only the first."""

Wanted = tuple[Stored, int, int]
"""A file, and which bytes of it will be read: from the first number up to the second."""


class OpenFile:
    """A file and how many use it. Read it with explicit offsets only: users share it."""

    __slots__ = ("file", "is_idle", "timer", "users")

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.users = 0
        self.is_idle = False
        self.timer: asyncio.TimerHandle | None = None


class AcquiredFiles:
    """An `async with` of files, which are released at its end. A class, because a generator costs 3 µs per request."""

    __slots__ = ("_files", "_taken", "_wanted")

    def __init__(self, files: OpenFiles, wanted: Sequence[Wanted]) -> None:
        self._files = files
        self._wanted = wanted
        self._taken: list[tuple[str, OpenFile]] = []

    async def __aenter__(self) -> list[BinaryIO | RemoteFile]:
        files: list[BinaryIO | RemoteFile] = []
        try:
            for stored, start, stop in self._wanted:
                key = build_key(stored)
                found = await self._files.take(key, count_bytes(stored))
                if isinstance(found, OpenFile):
                    self._taken.append((key, found))
                    files.append(found.file)
                else:
                    file = found.find(stored)
                    if not files or len(self._wanted) <= AT_ONCE:
                        await file.open(start, stop)
                    files.append(file)
        except BaseException:
            self._release()
            raise
        return files

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        for key, kept in self._taken:
            self._files.release(key, kept)


class OpenFiles:
    """Use as `async with files.acquire_all([(manifest, start, stop)]) as (file,)`. `remote`: where files are that are
    not on the volume; None: nowhere."""

    def __init__(self, volume: StoreReader, remote: RemoteFiles | None = None) -> None:
        self._volume = volume
        self.remote = remote
        self._kept: dict[str, OpenFile] = {}
        self._crcs: dict[str, int] = {}

    def acquire_all(self, wanted: Sequence[Wanted]) -> AcquiredFiles:
        """The profiles' files while the context lasts, each with what will be read of it. Raises UnknownProfile,
        StoreError."""
        return AcquiredFiles(self, wanted)

    def is_open(self, stored: Stored) -> bool:
        """Whether the file is kept open and still exists. Cheap."""
        return stored.file is not None and self._find(build_key(stored), stored.file.size_bytes) is not None

    async def check_there(self, stored: Stored) -> None:
        """Raises UnknownProfile, StoreError."""
        if self.is_open(stored):
            return
        found = await self.take(build_key(stored), count_bytes(stored))
        if isinstance(found, OpenFile):
            self.release(build_key(stored), found)
        else:
            await found.check_there(stored)

    async def take(self, key: str, size_bytes: int) -> OpenFile | RemoteFiles:
        """For AcquiredFiles, which releases it. A file that is not on the volume is requested from RemoteFiles. Raises
        UnknownProfile, StoreError."""
        kept = self._find(key, size_bytes)
        if kept is None and self.remote and (cached := self.remote.cache.open(key, size_bytes)):
            kept = self._keep(key, OpenFile(cached))
        if kept is None:
            file = await durable.open_in_thread(partial(self._open, key, size_bytes), _close)
            if isinstance(file, RemoteFiles):
                return file
            kept = self._keep(key, OpenFile(file))
        kept.users += 1
        kept.is_idle = False
        return kept

    def release(self, key: str, kept: OpenFile) -> None:
        kept.users -= 1
        self._release(key, kept)

    def find_path(self, profile_id: str) -> Path:
        """Where the profile's file is while `use` lasts, for a process that opens it itself."""
        if self.remote is not None:
            return self.remote.find_path(profile_id)
        return self._volume.root / layout.build_folder(profile_id) / layout.PROFILE_FILE

    @asynccontextmanager
    async def use(self, manifests: Sequence[Manifest]) -> AsyncIterator[None]:
        """Files are at `find_path`. Raises UnknownProfile, StoreUnavailable."""
        async with AsyncExitStack() as stack:
            if self.remote is not None:
                await stack.enter_async_context(self.remote.use(manifests))
            yield

    async def compute_crc(self, manifest: Manifest) -> int:
        """CRC-32 of the profile's file, which never changes. Raises UnknownProfile, StoreError."""
        if manifest.id not in self._crcs:
            crc = await self._compute_crc(manifest)
            if len(self._crcs) < MAX_CRCS:
                self._crcs[manifest.id] = crc
            return crc
        return self._crcs[manifest.id]

    async def _compute_crc(self, manifest: Manifest) -> int:
        size_bytes, crc = manifest.file.size_bytes if manifest.file else 0, 0
        async with self.acquire_all([(manifest, 0, size_bytes)]) as (file,):
            if not isinstance(file, RemoteFile):
                return await asyncio.to_thread(_compute_crc, file, size_bytes)
            async for piece in file.stream(0, size_bytes):
                crc = zlib.crc32(piece, crc)
        return crc

    async def __aenter__(self) -> OpenFiles:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for key, kept in list(self._kept.items()):
            self._drop(key, kept)

    def _open(self, key: str, size_bytes: int) -> BinaryIO | RemoteFiles:
        profile_id, _, name = key.partition("/")
        try:
            if name:
                file = self._volume.open_extra(profile_id, name, size_bytes=size_bytes)
            else:
                file = self._volume.open_profile(profile_id, size_bytes=size_bytes)
        except UnknownProfile:
            if self.remote is None:
                raise
            return self.remote
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        return file

    def _find(self, key: str, size_bytes: int) -> OpenFile | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        facts = os.fstat(kept.file.fileno())
        if facts.st_nlink and facts.st_size == size_bytes:
            return kept
        self._drop(key, kept)
        return None

    def _keep(self, key: str, opened: OpenFile) -> OpenFile:
        """Two requests may have opened the same file at once: the second one's stays its own."""
        if len(self._kept) < MAX_KEPT and key not in self._kept:
            self._kept[key] = opened
        return opened

    def _release(self, key: str, kept: OpenFile) -> None:
        if self._kept.get(key) is not kept:
            self._close_unused(kept)
        elif kept.timer is None:
            self._watch(key, kept)

    def _watch(self, key: str, kept: OpenFile) -> None:
        """Check every KEEP_SECS: close those not used in between."""
        kept.is_idle = True
        kept.timer = asyncio.get_running_loop().call_later(KEEP_SECS, self._look, key, kept)

    def _look(self, key: str, kept: OpenFile) -> None:
        if kept.users or not kept.is_idle:
            self._watch(key, kept)
        else:
            self._drop(key, kept)

    def _drop(self, key: str, kept: OpenFile) -> None:
        if self._kept.get(key) is kept:
            del self._kept[key]
        if kept.timer:
            kept.timer.cancel()
        self._close_unused(kept)

    def _close_unused(self, kept: OpenFile) -> None:
        """A file in use is closed by its last user, who finds it no longer kept."""
        if kept.users == 0:
            with suppress(OSError):  # some file systems report an earlier error here; what was read is correct
                kept.file.close()


def _compute_crc(file: BinaryIO, size_bytes: int) -> int:
    crc = 0
    for offset in range(0, size_bytes, READ_BYTES):
        crc = zlib.crc32(os.pread(file.fileno(), READ_BYTES, offset), crc)
    return crc


def _close(file: BinaryIO | RemoteFiles) -> None:
    if not isinstance(file, RemoteFiles):
        file.close()


FILES = web.AppKey("files", OpenFiles)
