"""Files in the bucket: streamed through, kept in the cache on the way, or fetched whole for a conversion."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import ClassVar, Protocol
from weakref import WeakValueDictionary

from samply_operator.api.content.file_cache import PART, FileCache
from samply_operator.api.content.stored_files import Stored, build_key, count_bytes, find_name, find_owner
from samply_operator.errors import StoreFull, StoreUnavailable, UnknownProfile
from samply_operator.model.manifest import Manifest
from samply_operator.profiles.attribution import naming
from samply_operator.store.bucket.objects import Stream

logger = logging.getLogger(__name__)

ANSWER_SECS = 8.0
"""How long a request waits for the bucket to answer; it is then told to retry."""
TRIES = 3
PAUSE_SECS = 0.5
KNOWN_SECS = 10.0
"""How long an existing object is assumed to exist; if it does not, sending it fails."""
MAX_SEEN = 10_000
PART_BYTES = 8 * 1024 * 1024
AHEAD = 2
"""A file is downloaded in parts of this size; this number of them is requested while the one before is sent. A provider
limits the speed of a request, and decryption uses a CPU for each."""
FEW = 4
"""While more files than this are downloaded, each further one is read in small pieces by one request: their memory is
limited."""
PIECE_BYTES = 1024 * 1024


class Source(Protocol):
    """The bucket: BucketReader."""

    def find_local(self, profile_id: str) -> Path | None: ...
    def read_operators(self, manifest: Manifest) -> bytes | None: ...
    async def open_stream(self, manifest: Manifest, start: int, stop: int, name: str = "") -> Stream | None: ...
    def sign(self, manifest: Manifest) -> str | None: ...


class RemoteFile:
    """A file that is served while it is downloaded. Call `open` first: missing files are reported by a status, not by
    an incomplete response. `reading` counts the downloads of this process."""

    reading: ClassVar[int] = 0

    def __init__(self, source: Source, cache: FileCache, stored: Stored) -> None:
        self._source = source
        self._cache = cache
        self._stored = stored
        self._opened: dict[tuple[int, int], Stream] = {}
        """Requests that nothing was read of yet, by their range."""

    @property
    def size_bytes(self) -> int:
        return count_bytes(self._stored)

    async def open(self, start: int, stop: int) -> None:
        """Ask for the first of these bytes. Raises UnknownProfile if they are gone, StoreUnavailable."""
        first = min(stop, start + PART_BYTES) if RemoteFile.reading < FEW else stop
        ranges = {(start, first), (start, stop)}
        streams = await asyncio.gather(*(self._ask(*each) for each in ranges))
        self._opened = dict(zip(ranges, streams, strict=True))

    async def stream(self, start: int, stop: int) -> AsyncGenerator[memoryview, None]:
        """Bytes `start` up to `stop`. Raises EOFError if there are fewer, StoreUnavailable, UnknownProfile."""
        pieces = self.read(start, stop)
        is_whole = isinstance(self._stored, Manifest) and (start, stop) == (0, self.size_bytes)
        if is_whole and self._cache.is_worth_keeping(self.size_bytes):
            pieces = self._cache.fill(build_key(self._stored), self.size_bytes, pieces)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def read(self, start: int, stop: int) -> AsyncGenerator[memoryview, None]:
        """The same without the cache."""
        pieces = self._read_parts(start, stop) if RemoteFile.reading < FEW else self._read(start, stop, PIECE_BYTES)
        RemoteFile.reading += 1
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    yield piece
        finally:
            RemoteFile.reading -= 1

    async def _read_parts(self, start: int, stop: int) -> AsyncGenerator[memoryview, None]:
        starts = range(start, stop, PART_BYTES)
        # Read only if the file is removed meanwhile: the bucket finishes a response that it began, and answers no
        # further request.
        whole = self._opened.pop((start, stop), None) if len(starts) > 1 else None
        ahead: deque[asyncio.Task[list[memoryview]]] = deque()
        try:
            for number in range(len(starts)):
                for each in starts[number + len(ahead) : number + AHEAD + 1]:
                    ahead.append(asyncio.create_task(self._read_part(each, min(each + PART_BYTES, stop))))
                try:
                    part = await ahead.popleft()
                except UnknownProfile:
                    if whole is None:
                        raise
                    async for piece in _skip(whole, starts[number] - start, stop - starts[number]):
                        yield piece
                    return
                for piece in part:
                    yield piece
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)

    async def _read_part(self, start: int, stop: int) -> list[memoryview]:
        return [piece async for piece in self._read(start, stop, PART_BYTES)]

    async def _read(self, start: int, stop: int, piece_bytes: int) -> AsyncGenerator[memoryview, None]:
        """One request. Continues after a broken connection."""
        failures = 0
        while start < stop:
            try:
                stream = await self._take(start, stop)
                async for piece in stream.read(piece_bytes):
                    start += len(piece)
                    yield piece
                if start < stop:
                    raise EOFError("the bucket's object ended early")
            except StoreUnavailable as error:
                failures += 1
                if failures == TRIES:
                    raise
                logger.info("%s; going on at byte %d", error, start)
                await asyncio.sleep(PAUSE_SECS * failures)

    async def _take(self, start: int, stop: int) -> Stream:
        return self._opened.pop((start, stop), None) or await self._ask(start, stop)

    async def _ask(self, start: int, stop: int) -> Stream:
        async with _limit():
            owner, name = find_owner(self._stored), find_name(self._stored)
            stream = await self._source.open_stream(owner, start, stop, name)
        if stream is None or stream.size_bytes != self.size_bytes:
            raise build_missing(owner)
        return stream


class RemoteFiles:
    """Files of the bucket, for OpenFiles."""

    def __init__(self, source: Source, cache: FileCache) -> None:
        self.cache = cache
        self._source = source
        self._fetching: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._seen: dict[str, float] = {}

    def find(self, stored: Stored) -> RemoteFile:
        return RemoteFile(self._source, self.cache, stored)

    async def check_there(self, stored: Stored) -> None:
        """Raises UnknownProfile if it is gone, StoreUnavailable. Not asked again for KNOWN_SECS."""
        now, key = time.monotonic(), build_key(stored)
        if now - self._seen.get(key, -KNOWN_SECS) < KNOWN_SECS:
            return
        await self._check_now(stored)
        if len(self._seen) >= MAX_SEEN:
            self._seen.clear()
        self._seen[key] = now

    async def _check_now(self, stored: Stored) -> None:
        await self.find(stored).open(0, min(1, count_bytes(stored)))

    async def sign(self, manifest: Manifest) -> str | None:
        """A URL of the bucket for the file; None if callers are not redirected. Raises UnknownProfile if it is missing,
        which otherwise only the caller would notice; StoreUnavailable."""
        url = await asyncio.to_thread(self._source.sign, manifest)
        if url is not None:
            await self._check_now(manifest)
        return url

    def find_path(self, profile_id: str) -> Path:
        """Where `use` puts the file."""
        return self.cache.find_path(profile_id)

    @asynccontextmanager
    async def use(self, manifests: Iterable[Manifest]) -> AsyncIterator[None]:
        """Whole files at `find_path` while the context lasts. Raises UnknownProfile, StoreUnavailable, EOFError."""
        async with AsyncExitStack() as stack:
            for manifest in manifests:
                stack.enter_context(self.cache.use(manifest.id))
                await self._fetch(manifest)
                await self._fetch_operators(manifest)
            yield

    async def _fetch(self, manifest: Manifest) -> None:
        """Into the cache, whatever its size."""
        lock = self._fetching.setdefault(manifest.id, asyncio.Lock())
        async with lock:
            size_bytes = manifest.file.size_bytes if manifest.file else 0
            if self.cache.has(manifest.id, size_bytes):
                return
            local = await asyncio.to_thread(self._source.find_local, manifest.id)
            pieces = _read_local(local) if local else await self._begin(manifest, size_bytes)
            async for _ in self.cache.fill(manifest.id, size_bytes, pieces):
                pass
            if not self.cache.has(manifest.id, size_bytes):
                raise StoreFull(
                    "the disk of the api container has no room for the profile.",
                    remedy="Raise config.storage.cacheBytes.",
                )

    async def _begin(self, manifest: Manifest, size_bytes: int) -> AsyncGenerator[memoryview, None]:
        file = self.find(manifest)
        await file.open(0, size_bytes)
        return file.read(0, size_bytes)

    async def _fetch_operators(self, manifest: Manifest) -> None:
        """Their names, beside the file."""
        path = naming.find_path(self.cache.find_path(manifest.id))
        if await asyncio.to_thread(path.exists):
            return
        async with _limit():
            text = await asyncio.to_thread(self._source.read_operators, manifest)
        if text is not None:
            await asyncio.to_thread(_write, path, text)


def _write(path: Path, data: bytes) -> None:
    """Other requests find all of it, or nothing."""
    draft = path.with_name(f"{PART}{secrets.token_hex(8)}")
    try:
        draft.write_bytes(data)
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)


@asynccontextmanager
async def _limit() -> AsyncIterator[None]:
    """Raises StoreUnavailable if the bucket does not answer in time."""
    try:
        async with asyncio.timeout(ANSWER_SECS):
            yield
    except TimeoutError as error:
        raise StoreUnavailable(f"the bucket does not answer for {ANSWER_SECS:g} s.", remedy="Retry later.") from error


async def _skip(stream: Stream, skipped: int, size_bytes: int) -> AsyncGenerator[memoryview, None]:
    """The last `size_bytes` of a stream, after so many others. Raises EOFError, StoreUnavailable."""
    async for piece in stream.read(PIECE_BYTES):
        rest = piece[skipped:]
        skipped -= len(piece) - len(rest)
        size_bytes -= len(rest)
        if rest:
            yield rest
    if size_bytes:
        raise EOFError("the bucket's object ended early")


async def _read_local(path: Path) -> AsyncGenerator[memoryview, None]:
    with path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, 1 << 20):
            yield memoryview(piece)


def build_missing(manifest: Manifest) -> UnknownProfile:
    return UnknownProfile(
        f"The file of profile '{manifest.id}' is no longer in the bucket.",
        remedy="It was removed there, by a lifecycle rule or by hand; its facts are still known.",
        details={"profile": manifest.id},
    )
