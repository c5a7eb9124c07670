"""Sending one stored profile: entity tag, ranges, HEAD, and the bytes by sendfile where the connection is plain TCP.

A file is never read into memory as a whole. A client that hangs up is normal.
"""

from __future__ import annotations

import asyncio
import errno
import logging
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
from samply_operator.api import conditions, problems, sendfile
from samply_operator.api.access_log import REQUEST_ID, SENT_BYTES
from samply_operator.api.parts import FILES
from samply_operator.model.manifest import FileFacts, Manifest

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/gzip"
READ_BYTES = 512 * 1024
"""Read and written at once where sendfile can't be used (TLS)."""

GONE = frozenset({errno.ENOTCONN, errno.EBADF})
"""What a socket says that was closed meanwhile."""
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
    except (OSError, EOFError) as error:
        if getattr(error, "errno", None) not in GONE:
            request_id = response.headers[REQUEST_ID]
            logger.error("request %s was cut off: the file can't be read", request_id, exc_info=error)
        sender.abort()
    request[SENT_BYTES] = sender.sent_bytes


class Sender:
    """Moves bytes of a file to a client."""

    def __init__(self, request: web.Request, response: web.StreamResponse, file: BinaryIO) -> None:
        self.sent_bytes = 0
        self._request = request
        self._response = response
        self._file = file

    async def send(self, start: int, stop: int) -> None:
        """Raises ConnectionError if the client went, TimeoutError if the kernel gave it up (door.STALL_MS), EOFError
        if the file ends early."""
        if start < stop and not self._request.secure:
            await self._pump(start, stop)
        while (offset := start + self.sent_bytes) < stop:
            data = await asyncio.to_thread(os.pread, self._file.fileno(), min(stop - offset, READ_BYTES), offset)
            if not data:
                raise EOFError("the file ended early")
            await self._response.write(data)
            self.sent_bytes += len(data)

    async def _pump(self, start: int, stop: int) -> None:
        """By sendfile; what it can't send is left to reading and writing."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client went")
        if transport.get_write_buffer_size():
            return  # the head didn't fit: nothing may overtake it
        pump = sendfile.Pump(transport, self._file.fileno(), start, stop)
        try:
            await pump.run()
        except OSError as error:
            if error.errno not in sendfile.CANNOT:
                raise
        finally:
            self.sent_bytes = pump.offset - start

    def abort(self) -> None:
        """Cut the connection: the client must not take what it has for the whole."""
        self._response.force_close()
        if self._request.transport is not None:
            self._request.transport.abort()
