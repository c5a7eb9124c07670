"""Files of profiles that are kept open for a moment: a profile that many ask for is opened once, not once per request.

Opening and closing happen in threads, for a volume may be slow. A file that was removed meanwhile is not given out.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from samply_operator.store import layout
from samply_operator.store.volume import Volume

KEEP_SECS = 10.0
"""A file stays open this long after its last use, twice this at most; then a removed profile's space comes back."""
MAX_KEPT = 64
"""Further files are opened and closed for each request."""
MAX_CRCS = 10_000
READ_BYTES = 1024 * 1024


class OpenFile:
    """A file and how many use it. Read it with explicit offsets only: users share it."""

    __slots__ = ("file", "is_idle", "timer", "users")

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.users = 0
        self.is_idle = False
        self.timer: asyncio.TimerHandle | None = None


class Loan:
    """An `async with` of files, which all go back at its end. A class, for a generator costs a small file 3 µs."""

    __slots__ = ("_files", "_taken", "_wanted")

    def __init__(self, files: OpenFiles, wanted: Sequence[tuple[str, int]]) -> None:
        self._files = files
        self._wanted = wanted
        self._taken: list[tuple[str, OpenFile]] = []

    async def __aenter__(self) -> list[BinaryIO]:
        try:
            for profile_id, size_bytes in self._wanted:
                self._taken.append((profile_id, await self._files.take(profile_id, size_bytes)))
        except BaseException:
            self._give_back()
            raise
        return [kept.file for _, kept in self._taken]

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    def _give_back(self) -> None:
        for profile_id, kept in self._taken:
            self._files.give_back(profile_id, kept)


class OpenFiles:
    """Use as `async with files.borrow(id, size) as file`."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._kept: dict[str, OpenFile] = {}
        self._crcs: dict[str, int] = {}

    @asynccontextmanager
    async def borrow(self, profile_id: str, size_bytes: int) -> AsyncIterator[BinaryIO]:
        """The profile's file while the context lasts. Raises UnknownProfile, StoreError."""
        async with self.borrow_all([(profile_id, size_bytes)]) as (file,):
            yield file

    def borrow_all(self, wanted: Sequence[tuple[str, int]]) -> Loan:
        """The same for several profiles, each with its size in bytes."""
        return Loan(self, wanted)

    async def check_there(self, profile_id: str, size_bytes: int) -> None:
        """Raises UnknownProfile, StoreError. Costs next to nothing while the file is kept open."""
        if self._find(profile_id, size_bytes) is None:
            async with self.borrow(profile_id, size_bytes):
                pass

    async def take(self, profile_id: str, size_bytes: int) -> OpenFile:
        """For Loan, which gives it back. Raises UnknownProfile, StoreError."""
        kept = self._find(profile_id, size_bytes)
        if kept is None:
            opening = asyncio.ensure_future(asyncio.to_thread(_open, self._volume, profile_id, size_bytes))
            try:
                file = await asyncio.shield(opening)
            except asyncio.CancelledError:
                opening.add_done_callback(_close_opened)  # the client went: nobody else will
                raise
            kept = self._keep(profile_id, OpenFile(file))
        kept.users += 1
        kept.is_idle = False
        return kept

    def give_back(self, profile_id: str, kept: OpenFile) -> None:
        kept.users -= 1
        self._release(profile_id, kept)

    def find_path(self, profile_id: str) -> Path:
        """Where the profile's file is, for a process that opens it itself. It may be gone by then."""
        return self._volume.root / layout.build_folder(profile_id) / layout.PROFILE_FILE

    async def compute_crc(self, profile_id: str, size_bytes: int) -> int:
        """CRC-32 of the profile's file, which never changes. Raises UnknownProfile, StoreError."""
        if profile_id not in self._crcs:
            async with self.borrow(profile_id, size_bytes) as file:
                crc = await asyncio.to_thread(_compute_crc, file, size_bytes)
            if len(self._crcs) < MAX_CRCS:
                self._crcs[profile_id] = crc
            return crc
        return self._crcs[profile_id]

    async def __aenter__(self) -> OpenFiles:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for profile_id, kept in list(self._kept.items()):
            self._drop(profile_id, kept)

    def _find(self, profile_id: str, size_bytes: int) -> OpenFile | None:
        kept = self._kept.get(profile_id)
        if kept is None:
            return None
        facts = os.fstat(kept.file.fileno())
        if facts.st_nlink and facts.st_size == size_bytes:
            return kept
        self._drop(profile_id, kept)
        return None

    def _keep(self, profile_id: str, opened: OpenFile) -> OpenFile:
        """Two requests may have opened the same file at once: the second one's stays its own."""
        if len(self._kept) < MAX_KEPT and profile_id not in self._kept:
            self._kept[profile_id] = opened
        return opened

    def _release(self, profile_id: str, kept: OpenFile) -> None:
        if self._kept.get(profile_id) is not kept:
            self._close_unused(kept)
        elif kept.timer is None:
            self._watch(profile_id, kept)

    def _watch(self, profile_id: str, kept: OpenFile) -> None:
        """Look again every KEEP_SECS: whoever wasn't used in between goes."""
        kept.is_idle = True
        kept.timer = asyncio.get_running_loop().call_later(KEEP_SECS, self._look, profile_id, kept)

    def _look(self, profile_id: str, kept: OpenFile) -> None:
        if kept.users or not kept.is_idle:
            self._watch(profile_id, kept)
        else:
            self._drop(profile_id, kept)

    def _drop(self, profile_id: str, kept: OpenFile) -> None:
        if self._kept.get(profile_id) is kept:
            del self._kept[profile_id]
        if kept.timer:
            kept.timer.cancel()
        self._close_unused(kept)

    def _close_unused(self, kept: OpenFile) -> None:
        """A file in use is closed by its last user, who finds it no longer kept."""
        if kept.users == 0:
            with suppress(OSError):  # some file systems tell of an old fault here: nothing that was read is wrong
                kept.file.close()


def _compute_crc(file: BinaryIO, size_bytes: int) -> int:
    crc = 0
    for offset in range(0, size_bytes, READ_BYTES):
        crc = zlib.crc32(os.pread(file.fileno(), READ_BYTES, offset), crc)
    return crc


def _close_opened(opening: asyncio.Future[BinaryIO]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _open(volume: Volume, profile_id: str, size_bytes: int) -> BinaryIO:
    file = volume.open_profile(profile_id, size_bytes=size_bytes)
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
    return file
