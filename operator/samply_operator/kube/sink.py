"""The local end of a copy: a file that counts and hashes its data, off the event loop.

sink = Sink(path, size); await sink.submit(sink.open | sink.write | sink.rewind, …); await sink.close()
sink.offset, sink.mark(), sink.digest()
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Mark:
    """The start of a range, and the hash of everything before it."""

    offset: int
    hash: hashlib._Hash


START = Mark(0, hashlib.sha256())


class Sink:
    """The local file: counts and hashes its data, and can be reset to the start of a range. Its own thread does
    everything in order, so a cancelled copy never writes into a closed file."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._descriptor = -1
        self._hash = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1, "copy")
        self.offset = 0

    def submit(self, work: Callable[..., None], *arguments: object) -> asyncio.Future[None]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def open(self) -> None:
        """Count and hash the data of an earlier process; surplus bytes are truncated."""
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        while self.offset <= self._size and (piece := os.pread(self._descriptor, READ_BYTES, self.offset)):
            self._hash.update(piece)
            self.offset += len(piece)
        if self.offset > self._size:
            self.rewind(START)

    def mark(self) -> Mark:
        return Mark(self.offset, self._hash.copy())

    def rewind(self, mark: Mark) -> None:
        self.offset, self._hash = mark.offset, mark.hash.copy()
        os.ftruncate(self._descriptor, self.offset)

    def write(self, pieces: Iterable[memoryview]) -> None:
        for piece in pieces:
            rest = piece
            while rest:
                written = os.pwrite(self._descriptor, rest, self.offset)
                self._hash.update(rest[:written])
                self.offset += written
                rest = rest[written:]

    def digest(self) -> str:
        return self._hash.hexdigest()

    async def close(self) -> None:
        """After everything submitted."""
        try:
            await self.submit(self._close)
        finally:
            self._thread.shutdown(wait=False)

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
