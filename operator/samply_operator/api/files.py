"""Sending one stored profile: entity tag, ranges, HEAD, and the bytes by sendfile where the connection is plain TCP.

A file is never read into memory as a whole; small answers go out in one piece. A client that hangs up is normal.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import BinaryIO

from aiohttp import hdrs, web

from samply_operator import errors
from samply_operator.api import conditions
from samply_operator.api.access_log import SENT_BYTES
from samply_operator.api.parts import VOLUME
from samply_operator.api.problems import build_response
from samply_operator.model.manifest import FileFacts, Manifest
from samply_operator.store.volume import Volume

CONTENT_TYPE = "application/gzip"
SMALL_BYTES = 256 * 1024
"""Up to here one read and one write are cheaper than sendfile."""
PIECE_BYTES = 8 * 1024 * 1024
"""Sent in one call of sendfile; what is due within STALL_SECS."""
READ_BYTES = 512 * 1024
"""Read at once where sendfile can't be used (TLS)."""
STALL_SECS = 300.0
"""A client that doesn't take a piece in this time has gone."""

FOREVER = "private, max-age=31536000, immutable"
REVALIDATE = "private, no-cache"

OF_THE_BODY = frozenset({hdrs.CONTENT_TYPE, hdrs.CONTENT_DISPOSITION})
"""Headers that a 304 leaves out."""

_TIME = re.compile(r"[0-9TZ:.+-]{1,40}", re.ASCII)


async def send_profile(
    request: web.Request, manifest: Manifest, *, cache: str, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """Answer with the stored file of `manifest`, as the request's conditions and range want it."""
    file = manifest.file
    if file is None:
        raise errors.UnknownProfile(f"Profile '{manifest.id}' has no file.", details={"profile": manifest.id})
    modified = parse_modified(manifest)
    facts = _build_headers(manifest, file, modified, cache) | dict(headers or {})
    plan = conditions.decide(request.headers, tag=file.sha256, modified=modified, size_bytes=file.size_bytes)
    match plan:
        case conditions.NotModified():
            kept = {name: value for name, value in facts.items() if name not in OF_THE_BODY}
            return web.Response(status=304, headers=kept)
        case conditions.PreconditionFailed():
            return build_response(412, "PreconditionFailed", "The profile is another one than If-Match names.", {})
        case conditions.Unsatisfiable():
            size: dict[str, str] = {hdrs.CONTENT_RANGE: f"bytes */{file.size_bytes}"}
            message = f"The range lies outside of the profile's {file.size_bytes} bytes."
            return build_response(416, errors.RangeNotSatisfiable.code, message, {"size_bytes": file.size_bytes}, size)
        case conditions.Part(start, stop):
            facts[hdrs.CONTENT_RANGE] = f"bytes {start}-{stop - 1}/{file.size_bytes}"
            return await _send(request, manifest, file, 206, facts, start, stop)
        case conditions.Whole():
            return await _send(request, manifest, file, 200, facts, 0, file.size_bytes)


def parse_modified(manifest: Manifest) -> datetime:
    """When the profile came to be, in whole seconds as HTTP has them."""
    try:
        time = datetime.fromisoformat(manifest.finished_at)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return time.replace(microsecond=0, tzinfo=time.tzinfo or UTC)


def _build_headers(manifest: Manifest, file: FileFacts, modified: datetime, cache: str) -> dict[str, str]:
    time = manifest.finished_at if _TIME.fullmatch(manifest.finished_at) else manifest.id
    return {
        hdrs.CONTENT_TYPE: CONTENT_TYPE,
        hdrs.CONTENT_DISPOSITION: f'attachment; filename="{time}-samply_profile.json.gz"',
        hdrs.ETAG: f'"{file.sha256}"',
        hdrs.LAST_MODIFIED: conditions.render_date(modified),
        hdrs.ACCEPT_RANGES: "bytes",
        hdrs.CACHE_CONTROL: cache,
    }


async def _send(
    request: web.Request,
    manifest: Manifest,
    file: FileFacts,
    status: int,
    headers: dict[str, str],
    start: int,
    stop: int,
) -> web.StreamResponse:
    opened, data = await asyncio.to_thread(
        _open, request.app[VOLUME], manifest.id, file.size_bytes, start, 0 if request.method == "HEAD" else stop - start
    )
    if data is not None or opened is None:
        headers[hdrs.CONTENT_LENGTH] = str(stop - start)
        return web.Response(status=status, headers=headers, body=data)
    try:
        return await _stream(request, opened, status, headers, start, stop)
    finally:
        await asyncio.to_thread(opened.close)


def _open(
    volume: Volume, profile_id: str, size_bytes: int, start: int, count: int
) -> tuple[BinaryIO | None, bytes | None]:
    """Open the file; if `count` bytes are few, read them and close it again. (In a thread: a volume may be slow.)"""
    file = volume.open_profile(profile_id, size_bytes=size_bytes)
    if count > SMALL_BYTES:
        os.posix_fadvise(file.fileno(), start, count, os.POSIX_FADV_SEQUENTIAL)
        return file, None
    with file:
        data = os.pread(file.fileno(), count, start)
    if len(data) != count:
        raise errors.StoreError(f"the file of profile {profile_id} ended early.")
    return None, data


async def _stream(
    request: web.Request, file: BinaryIO, status: int, headers: dict[str, str], start: int, stop: int
) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = stop - start
    await response.prepare(request)
    sender = _Sender(request, response, file)
    try:
        await sender.send(start, stop)
    except (ConnectionError, TimeoutError):
        sender.abort()
    request[SENT_BYTES] = sender.sent_bytes
    return response


class _Sender:
    """Moves bytes of a file to a client, piece by piece."""

    def __init__(self, request: web.Request, response: web.StreamResponse, file: BinaryIO) -> None:
        self.sent_bytes = 0
        self._request = request
        self._response = response
        self._file = file

    async def send(self, start: int, stop: int) -> None:
        """Raises ConnectionError if the client went, TimeoutError if it doesn't take anything."""
        can_sendfile = self._request.transport is not None and not self._request.secure
        while start < stop:
            count = min(stop - start, PIECE_BYTES if can_sendfile else READ_BYTES)
            async with asyncio.timeout(STALL_SECS):
                await (self._sendfile(start, count) if can_sendfile else self._write(start, count))
            start += count
            self.sent_bytes += count

    async def _sendfile(self, start: int, count: int) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client went")
        loop = asyncio.get_running_loop()
        if await loop.sendfile(transport, self._file, start, count, fallback=False) != count:
            raise ConnectionAbortedError("the file ended early")

    async def _write(self, start: int, count: int) -> None:
        data = await asyncio.to_thread(os.pread, self._file.fileno(), count, start)
        if len(data) != count:
            raise ConnectionAbortedError("the file ended early")
        await self._response.write(data)

    def abort(self) -> None:
        """Cut the connection: the client must not take what it has for the whole."""
        self._response.force_close()
        if self._request.transport is not None:
            self._request.transport.abort()
