"""Cache of files of the bucket on the pod's own disk, with a size limit: the least recently used are removed first.

A file gets its name only once it is complete. Everything that touches the disk here is short, or happens in a thread.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from samply_operator.profiles.attribution import naming
from samply_operator.store import layout

SHARE = 4
"""A file larger than this part of the cache is not kept: it would evict all others."""
PART = ".part-"


class FileCache:
    """`folder` belongs to this process alone. `max_bytes` 0: nothing is kept."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._sizes: dict[str, int] = {}
        """In the order of their last use."""
        self._users: dict[str, int] = {}
        """Number of users of a file by its path; a used file is not evicted."""

    def prepare(self) -> None:
        """Create the folder, and adopt files of an earlier process of this container. Raises OSError."""
        self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        for path in sorted(self._folder.iterdir(), key=lambda each: each.stat().st_mtime):
            if layout.is_id(path.name):
                self._sizes[path.name] = path.stat().st_size
            else:
                path.unlink()
        self._trim()

    def find_path(self, profile_id: str) -> Path:
        return self._folder / layout.check_id(profile_id)

    def has(self, profile_id: str, size_bytes: int) -> bool:
        return self._sizes.get(profile_id) == size_bytes and self.find_path(profile_id).exists()

    def open(self, profile_id: str, size_bytes: int) -> BinaryIO | None:
        """The file, if it is cached and complete."""
        if self._sizes.get(profile_id) != size_bytes:
            return None
        self._sizes[profile_id] = self._sizes.pop(profile_id)
        try:
            return self.find_path(profile_id).open("rb", buffering=0)
        except OSError:
            del self._sizes[profile_id]
            return None

    def is_worth_keeping(self, size_bytes: int) -> bool:
        return size_bytes * SHARE <= self._max_bytes

    @contextmanager
    def use(self, profile_id: str) -> Iterator[Path]:
        """The file is not evicted while the context lasts, whatever its size."""
        self._users[profile_id] = self._users.get(profile_id, 0) + 1
        try:
            yield self.find_path(profile_id)
        finally:
            self._users[profile_id] -= 1
            if not self._users[profile_id]:
                del self._users[profile_id]
            self._trim()

    async def fill(
        self, profile_id: str, size_bytes: int, pieces: AsyncGenerator[memoryview, None]
    ) -> AsyncGenerator[memoryview, None]:
        """Pass `pieces` on while they are written, and keep them if they are complete at the end. A full disk only
        prevents caching."""
        path = self._folder / f"{PART}{secrets.token_hex(8)}"
        file: BinaryIO | None = None
        writing: asyncio.Future[int] | None = None
        written = 0
        try:
            with suppress(OSError):
                file = path.open("wb", buffering=0)
            async with aclosing(pieces):
                async for piece in pieces:
                    if file is None:
                        yield piece
                        continue
                    writing = asyncio.ensure_future(asyncio.to_thread(_write, file, piece))
                    yield piece
                    size = await writing
                    written += size
                    if size < len(piece):
                        file.close()
                        file = None
            if written == size_bytes:
                self._take(profile_id, path, size_bytes)
        finally:
            if writing is not None:
                await asyncio.wait([writing])
            if file is not None:
                file.close()
            path.unlink(missing_ok=True)

    def _take(self, profile_id: str, path: Path, size_bytes: int) -> None:
        with suppress(OSError):
            path.rename(self.find_path(profile_id))
            self._sizes.pop(profile_id, None)
            self._sizes[profile_id] = size_bytes
            self._trim()

    def _trim(self) -> None:
        total = sum(self._sizes.values())
        for profile_id in [known for known in self._sizes if known not in self._users]:
            if total <= self._max_bytes:
                return
            total -= self._sizes.pop(profile_id)
            with suppress(OSError):
                self.find_path(profile_id).unlink()
                naming.find_path(self.find_path(profile_id)).unlink(missing_ok=True)


def _write(file: BinaryIO, piece: memoryview) -> int:
    """Number of bytes; 0 if the disk is full."""
    try:
        return file.write(piece)
    except OSError:
        return 0
