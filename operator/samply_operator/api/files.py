"""Sending one stored profile: entity tag, ranges, HEAD, and the bytes by sendfile where the connection is plain TCP.

A file is never read into memory as a whole. A client that hangs up is normal.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import BinaryIO

from aiohttp import hdrs, web

from samply_operator import errors
from samply_operator.api import conditions, problems
from samply_operator.api.access_log import SENT_BYTES
from samply_operator.api.parts import FILES
from samply_operator.model.manifest import FileFacts, Manifest

CONTENT_TYPE = "application/gzip"
PIECE_BYTES = 16 * 1024 * 1024
"""Sent in one call of the loop's sendfile."""
READ_BYTES = 512 * 1024
"""Read and written at once where sendfile can't be used (TLS)."""

KEPT = 1024
"""Profiles whose headers are remembered."""

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
    modified = parse_modified(manifest.finished_at)
    facts = {**_build_headers(manifest.id, manifest.finished_at, file.sha256, cache), **(headers or {})}
    plan = conditions.decide(request.headers, tag=file.sha256, modified=modified, size_bytes=file.size_bytes)
    match plan:
        case conditions.NotModified():
            kept = {name: value for name, value in facts.items() if name not in OF_THE_BODY}
            return web.Response(status=304, headers=kept)
        case conditions.PreconditionFailed():
            return problems.build_response(
                412, "PreconditionFailed", "The profile is another one than If-Match names.", {}
            )
        case conditions.Unsatisfiable():
            size: dict[str, str] = {hdrs.CONTENT_RANGE: f"bytes */{file.size_bytes}"}
            message = f"The range lies outside of the profile's {file.size_bytes} bytes."
            return problems.build_response(
                416, errors.RangeNotSatisfiable.code, message, {"size_bytes": file.size_bytes}, size
            )
        case conditions.Part(start, stop):
            facts[hdrs.CONTENT_RANGE] = f"bytes {start}-{stop - 1}/{file.size_bytes}"
            return await _send(request, manifest, file, 206, facts, start, stop)
        case conditions.Whole():
            return await _send(request, manifest, file, 200, facts, 0, file.size_bytes)


@lru_cache(KEPT)
def parse_modified(finished_at: str) -> datetime:
    """When a profile came to be, in whole seconds as HTTP has them; the epoch if its manifest doesn't say."""
    try:
        time = datetime.fromisoformat(finished_at)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return time.replace(microsecond=0, tzinfo=time.tzinfo or UTC)


@lru_cache(KEPT)
def _build_headers(profile_id: str, finished_at: str, sha256: str, cache: str) -> Mapping[str, str]:
    time = finished_at if _TIME.fullmatch(finished_at) else profile_id
    headers: dict[str, str] = {
        hdrs.CONTENT_TYPE: CONTENT_TYPE,
        hdrs.CONTENT_DISPOSITION: f'attachment; filename="{time}-samply_profile.json.gz"',
        hdrs.ETAG: f'"{sha256}"',
        hdrs.LAST_MODIFIED: conditions.render_date(parse_modified(finished_at)),
        hdrs.ACCEPT_RANGES: "bytes",
        hdrs.CACHE_CONTROL: cache,
    }
    return MappingProxyType(headers)


async def _send(
    request: web.Request,
    manifest: Manifest,
    file: FileFacts,
    status: int,
    headers: dict[str, str],
    start: int,
    stop: int,
) -> web.StreamResponse:
    problems.mark(headers)
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = stop - start
    async with request.app[FILES].borrow(manifest.id, file.size_bytes) as opened:
        _cork(request, is_corked=True)
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD:
            await _send_body(request, response, opened, start, stop)
        _cork(request, is_corked=False)
    return response


def _cork(request: web.Request, *, is_corked: bool) -> None:
    """Let the head wait for the first bytes of the body: one packet and one wake-up less at the client."""
    if request.transport is not None:
        request.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, is_corked)


async def _send_body(request: web.Request, response: web.StreamResponse, file: BinaryIO, start: int, stop: int) -> None:
    sender = Sender(request, response, file)
    try:
        await sender.send(start, stop)
    except (ConnectionError, TimeoutError):
        sender.abort()
    request[SENT_BYTES] = sender.sent_bytes


class Sender:
    """Moves bytes of a file to a client, piece by piece."""

    def __init__(self, request: web.Request, response: web.StreamResponse, file: BinaryIO) -> None:
        self.sent_bytes = 0
        self._request = request
        self._response = response
        self._file = file
        self._can_sendfile = not request.secure

    async def send(self, start: int, stop: int) -> None:
        """Raises ConnectionError if the client went, TimeoutError if the kernel gave it up (door.STALL_MS)."""
        if self._can_sendfile:
            self.sent_bytes = self._send_at_once(start, stop - start)
        while (offset := start + self.sent_bytes) < stop:
            if self._can_sendfile:
                self.sent_bytes += await self._sendfile(offset, min(stop - offset, PIECE_BYTES))
            else:
                self.sent_bytes += await self._write(offset, min(stop - offset, READ_BYTES))

    def _send_at_once(self, start: int, count: int) -> int:
        """What the socket's buffer takes right now: often all of a small profile, without the loop's machinery."""
        transport = self._find_transport()
        if count == 0 or transport.get_write_buffer_size():
            return 0
        try:
            return os.sendfile(transport.get_extra_info("socket").fileno(), self._file.fileno(), start, count)
        except BlockingIOError:
            return 0

    async def _sendfile(self, start: int, count: int) -> int:
        loop = asyncio.get_running_loop()
        try:
            sent = await loop.sendfile(self._find_transport(), self._file, start, count, fallback=False)
        except asyncio.SendfileNotAvailableError:
            self._can_sendfile = False  # the file system can't, or the client went: `_write` finds out which
            return 0
        return _check_sent(sent)

    async def _write(self, start: int, count: int) -> int:
        data = await asyncio.to_thread(os.pread, self._file.fileno(), count, start)
        await self._response.write(data)
        return _check_sent(len(data))

    def _find_transport(self) -> asyncio.WriteTransport:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client went")
        return transport

    def abort(self) -> None:
        """Cut the connection: the client must not take what it has for the whole."""
        self._response.force_close()
        if self._request.transport is not None:
            self._request.transport.abort()


def _check_sent(count: int) -> int:
    if count == 0:
        raise ConnectionAbortedError("the file ended early")
    return count
