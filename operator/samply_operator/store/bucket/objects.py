"""Objects of one prefix of a bucket: plain and conditional writes, lists, streams. The only user of obstore's calls.

All calls block except `open_stream`. Errors of the provider become StoreUnavailable (retry), StoreConflict (a condition
failed), or None if there is no such object.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import cast

import obstore
from obstore import exceptions
from obstore.store import AzureStore, GCSStore, S3Store

from samply_operator.errors import StoreConflict, StoreError, StoreUnavailable
from samply_operator.store.bucket import names

PART_BYTES = 8 * 1024 * 1024
PARTS_AT_ONCE = 4
READ_BYTES = 1024 * 1024
MESSAGE_LENGTH = 300
REMEDY = "Check config.storage.bucket: endpoint, region, credentials and their permissions."

ABSENT = (exceptions.NotFoundError, FileNotFoundError)
"""What obstore raises for a missing object, depending on its release."""
Native = S3Store | GCSStore | AzureStore
_XML = re.compile(r"<Code>(\w+)</Code>.*?<Message>([^<]*)</Message>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Found:
    """An object in a list."""

    path: str
    size_bytes: int
    e_tag: str
    modified_at: float
    """Unix time, by the provider's clock."""


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Translate obstore's exceptions to this project's; ABSENT passes."""
    try:
        yield
    except ABSENT:
        raise
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as error:
        raise StoreConflict(f"cannot {what}: it was changed by another process.") from error
    except (exceptions.BaseError, OSError) as error:
        raise StoreUnavailable(f"cannot {what}: {describe(error)}.", remedy=REMEDY) from error


def describe(error: Exception) -> str:
    """The provider's message in one line, without the request."""
    text = str(error)
    said = _XML.search(text)
    if said is not None:
        return f"{said[1]}: {said[2]}"[:MESSAGE_LENGTH].rstrip(" .")
    return " ".join(text.split("\n\nDebug source", 1)[0].split())[:MESSAGE_LENGTH].rstrip(" .")


class Stream:
    """An object as a stream; `size_bytes` is that of the whole object."""

    def __init__(self, result: obstore.GetResult, path: str) -> None:
        self.size_bytes = result.meta["size"]
        self._result = result
        self._path = path

    async def read(self, piece_bytes: int) -> AsyncGenerator[memoryview, None]:
        """Pieces of at least this size, except the last one. Raises StoreUnavailable."""
        start, stop = self._result.range
        with translated(f"read {self._path}"):
            if stop - start <= piece_bytes:
                # Less CPU time by a fifth: a stream copies each piece once more, holding the GIL.
                yield memoryview(await self._result.bytes_async())
                return
            async for piece in self._result.stream(min_chunk_size=piece_bytes):
                yield memoryview(piece)


class Objects:
    """`connect` returns the current connection: credentials are replaced while the process runs."""

    def __init__(self, connect: Callable[[], Native]) -> None:
        self._connect = connect
        self.has_versions = False
        """The bucket keeps versions, so removed objects still use space. Known after the first write."""

    # ---------------------------------------------------------------------------------------------------- writing

    def create(self, path: str, data: bytes) -> str:
        """Create an object; returns its tag for `replace`. Raises StoreConflict if it exists."""
        return self._put(path, data, "create")

    def replace(self, path: str, data: bytes, e_tag: str) -> str:
        """Replace the version with this tag; returns the new tag. Raises StoreConflict."""
        mode: obstore.PutMode = {"e_tag": e_tag}
        if self._has_generations():
            if not e_tag.isdecimal():
                raise StoreConflict(f"cannot write {path}: a list does not have its generation.")
            mode = {"e_tag": e_tag, "version": e_tag}
        try:
            return self._put(path, data, mode)
        except ABSENT as error:
            raise StoreConflict(f"cannot write {path}: it was removed.") from error

    def write(self, path: str, data: bytes) -> str:
        """Write an object unconditionally."""
        return self._put(path, data, "overwrite")

    def _put(self, path: str, data: bytes, mode: obstore.PutMode) -> str:
        with translated(f"write {path}"):
            result = obstore.put(self._connect(), path, data, mode=mode, use_multipart=False)
        if not self._has_generations():
            self.has_versions = self.has_versions or result["version"] is not None
        return self._choose_tag(result["e_tag"], result["version"])

    def _has_generations(self) -> bool:
        """Google's conditions are on generations, which every object has, and not on entity tags."""
        return isinstance(self._connect(), GCSStore)

    def _choose_tag(self, e_tag: str | None, version: str | None) -> str:
        return (version if self._has_generations() else e_tag) or ""

    def upload(self, path: str, file: Path, attributes: Mapping[str, str]) -> None:
        """Upload a file of any size in parts. The object appears atomically. Raises StoreUnavailable."""
        try:
            with translated(f"upload {path}"):
                obstore.put(
                    self._connect(),
                    path,
                    file,
                    attributes=dict(attributes),
                    chunk_size=PART_BYTES,
                    max_concurrency=PARTS_AT_ONCE,
                )
        except ABSENT as error:
            raise StoreError(f"cannot upload {path}: the bucket, or {file.name}, is gone.") from error

    def delete(self, paths: Sequence[str]) -> None:
        """Delete objects, many per request if the provider supports it; missing ones are ignored."""
        if not paths:
            return
        with translated(f"delete {paths[0]}" if len(paths) == 1 else f"delete {len(paths)} objects"):
            try:
                obstore.delete(self._connect(), list(paths))
            except ABSENT:
                self._delete_each(paths)

    def _delete_each(self, paths: Sequence[str]) -> None:
        """Some providers stop at the first missing object."""
        for path in paths:
            try:
                obstore.delete(self._connect(), path)
            except ABSENT:
                continue

    # ---------------------------------------------------------------------------------------------------- reading

    def read(self, path: str) -> tuple[bytes, str] | None:
        """A small object and its tag for `replace`; None if there is none."""
        try:
            with translated(f"read {path}"):
                result = obstore.get(self._connect(), path)
                return bytes(result.bytes()), self._choose_tag(result.meta["e_tag"], result.meta["version"])
        except ABSENT:
            return None

    def find(self, path: str) -> Found | None:
        """Size and entity tag; None if there is none."""
        try:
            with translated(f"look at {path}"):
                return _describe(obstore.head(self._connect(), path))
        except ABSENT:
            return None

    def list(self, prefix: str) -> Iterator[Found]:
        """All objects below `prefix`, a path without a trailing slash."""
        with translated(f"list {prefix}"):
            for page in obstore.list(self._connect(), prefix, chunk_size=names.PAGE):
                yield from map(_describe, page)

    def read_pieces(self, path: str) -> Iterator[memoryview]:
        """An object as a stream. Raises StoreUnavailable, or StoreError if it does not exist."""
        try:
            with translated(f"read {path}"):
                for piece in obstore.get(self._connect(), path).stream(min_chunk_size=READ_BYTES):
                    yield memoryview(piece)
        except ABSENT as error:
            raise StoreError(f"there is no {path} in the bucket.") from error

    def hash(self, path: str) -> tuple[int, str]:
        """Size and SHA-256 of an object as read back. Raises StoreUnavailable, StoreError."""
        digest, size = hashlib.sha256(), 0
        for piece in self.read_pieces(path):
            digest.update(piece)
            size += len(piece)
        return size, digest.hexdigest()

    async def open_stream(self, path: str, start: int, stop: int) -> Stream | None:
        """Bytes from `start` to `stop`, or to the end if None; None if the object does not exist. Raises
        StoreUnavailable."""
        try:
            with translated(f"read {path}"):
                options = cast("obstore.GetOptions", {"range": (start, stop)} if stop > start else {})
                return Stream(await obstore.get_async(self._connect(), path, options=options), path)
        except ABSENT:
            return None

    def sign(self, path: str, secs: int) -> str:
        """A signed URL of the object, valid for `secs`."""
        with translated(f"sign {path}"):
            return obstore.sign(self._connect(), "GET", path, timedelta(seconds=secs))


def _describe(meta: obstore.ObjectMeta) -> Found:
    return Found(meta["path"], meta["size"], meta["e_tag"] or "", meta["last_modified"].timestamp())
