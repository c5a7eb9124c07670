"""Sends stored files: entity tag, ranges and HEAD, for one profile and for several combined.

Files are opened before the head is sent, so that missing ones are reported by a status and not by an incomplete
response.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from types import MappingProxyType
from typing import BinaryIO

from aiohttp import hdrs, web

from samply_operator import errors
from samply_operator.api.content import conditional
from samply_operator.api.content.open_files import FILES
from samply_operator.api.content.remote_files import RemoteFile, RemoteFiles
from samply_operator.api.content.sending import Sender
from samply_operator.api.content.stored_files import Extra, Stored, count_bytes, find_owner
from samply_operator.api.server import problems
from samply_operator.api.server.access_log import SENT_BYTES
from samply_operator.model.manifest import Manifest
from samply_operator.store import content

logger = logging.getLogger(__name__)

CONTENT_TYPE = "application/gzip"

GONE = frozenset({errno.ENOTCONN, errno.EBADF})
"""Errors of a socket that was closed in the meantime."""
CONDITIONS = frozenset({hdrs.IF_MATCH, hdrs.IF_NONE_MATCH, hdrs.IF_MODIFIED_SINCE, hdrs.IF_UNMODIFIED_SINCE})
KEPT = 1024
"""Profiles whose headers are cached."""

FOREVER = "private, max-age=31536000, immutable"
REVALIDATE = "private, no-cache"

OF_THE_BODY = frozenset({hdrs.CONTENT_TYPE, hdrs.CONTENT_DISPOSITION})
"""Headers that a 304 leaves out."""

Piece = bytes | Stored
"""A part of a body: bytes, or a stored file."""
Part = tuple[bytes | BinaryIO | RemoteFile, int, int]
"""Bytes from one place up to another one, of what is there by now."""


@dataclass(frozen=True, slots=True)
class Body:
    """What is sent, and what conditions are judged by. `tag` is the strong entity tag, unquoted."""

    pieces: Sequence[Piece]
    tag: str
    modified: datetime
    headers: Mapping[str, str]

    @property
    def size_bytes(self) -> int:
        return sum(map(measure, self.pieces))


async def send_profile(
    request: web.Request, manifest: Manifest, *, cache: str, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """Answer with the stored file of `manifest`, as the request's conditions and range want it."""
    file = manifest.file
    if file is None:
        raise errors.UnknownProfile(f"Profile '{manifest.id}' has no file.", details={"profile": manifest.id})
    remote = request.app[FILES].remote
    if remote is not None and (url := await _find_redirect(request, remote, manifest)) is not None:
        return web.Response(status=307, headers={hdrs.LOCATION: url, hdrs.CACHE_CONTROL: "no-store", **(headers or {})})
    facts: Mapping[str, str] = _build_headers(manifest.id, manifest.finished_at, file.sha256, cache)
    if headers:
        facts = {**facts, **headers}
    return await send(request, Body((manifest,), file.sha256, parse_modified(manifest.finished_at), facts))


async def send_extra(request: web.Request, extra: Extra) -> web.StreamResponse:
    """Answer with an additional file, as the request's conditions and range want it."""
    owner, sha256 = extra.manifest, extra.file.sha256
    facts = _build_headers(owner.id, owner.finished_at, sha256, FOREVER, extra.name)
    return await send(request, Body((extra,), sha256, parse_modified(owner.finished_at), facts))


async def check_there(request: web.Request, stored: Stored) -> None:
    """Raises UnknownProfile if its file is gone, whatever the index says, StoreError if it can't be opened."""
    if stored.file is None:
        profile_id = find_owner(stored).id
        raise errors.UnknownProfile(f"Profile '{profile_id}' has no file.", details={"profile": profile_id})
    await request.app[FILES].check_there(stored)


def _list_closed(request: web.Request, body: Body) -> list[Stored]:
    """Files that are not kept open. A response without a body opens none: check these, since one may be gone."""
    is_open = request.app[FILES].is_open
    return [piece for piece in body.pieces if not (isinstance(piece, bytes) or is_open(piece))]


async def send(request: web.Request, body: Body) -> web.StreamResponse:
    """Answer with `body`, as the request's conditions and range want it."""
    size_bytes = body.size_bytes
    plan = conditional.decide(
        request.headers, tag=body.tag, modified=body.modified, size_bytes=size_bytes, method=request.method
    )
    match plan:
        case conditional.NotModified() | conditional.PreconditionFailed():
            for manifest in _list_closed(request, body):
                await check_there(request, manifest)
            return build_unsent(plan, body.headers)
        case conditional.Unsatisfiable():
            for manifest in _list_closed(request, body):
                await check_there(request, manifest)
            size: dict[str, str] = {hdrs.CONTENT_RANGE: f"bytes */{size_bytes}"}
            message = f"The range lies outside of the {size_bytes} bytes that there are."
            return problems.build_response(
                416, errors.RangeNotSatisfiable.code, message, {"size_bytes": size_bytes}, size
            )
        case conditional.Part(start, stop):
            facts = {**body.headers, hdrs.CONTENT_RANGE: f"bytes {start}-{stop - 1}/{size_bytes}"}
            return await _send(request, 206, facts, tuple(cut(body.pieces, start, stop)))
        case conditional.Whole():
            return await _send(request, 200, dict(body.headers), tuple(cut(body.pieces, 0, size_bytes)))


async def _find_redirect(request: web.Request, remote: RemoteFiles, manifest: Manifest) -> str | None:
    """The URL at which the bucket serves the file; None: it is sent from here, for example for HEAD, which such a URL
    does not allow, and for conditional requests."""
    if request.method != hdrs.METH_GET or not request.headers.keys().isdisjoint(CONDITIONS):
        return None
    return await remote.sign(manifest)


def build_unsent(
    plan: conditional.NotModified | conditional.PreconditionFailed, headers: Mapping[str, str]
) -> web.Response:
    """304 or 412 instead of the response that has these headers."""
    if isinstance(plan, conditional.PreconditionFailed):
        return problems.build_response(412, "PreconditionFailed", "It is another one than If-Match names.", {})
    kept = {name: value for name, value in headers.items() if name not in OF_THE_BODY}
    return web.Response(status=304, headers=kept)


@dataclass(frozen=True, slots=True)
class Slice:
    """Bytes `start` up to `stop` of one piece."""

    piece: Piece
    start: int
    stop: int


def measure(piece: Piece) -> int:
    """Bytes."""
    return len(piece) if isinstance(piece, bytes) else count_bytes(piece)


def cut(pieces: Sequence[Piece], start: int, stop: int) -> Iterator[Slice]:
    """The parts of the pieces that bytes `start` up to `stop` cover."""
    offset = 0
    for piece in pieces:
        size = measure(piece)
        first, last = max(start - offset, 0), min(stop - offset, size)
        if first < last:
            yield Slice(piece, first, last)
        offset += size


@lru_cache(KEPT)
def parse_modified(finished_at: str) -> datetime:
    """When a profile was made, in whole seconds as in HTTP; the epoch if its manifest does not say."""
    try:
        time = datetime.fromisoformat(finished_at)
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return time.replace(microsecond=0, tzinfo=time.tzinfo or UTC)


@lru_cache(KEPT)
def _build_headers(
    profile_id: str, finished_at: str, sha256: str, cache: str, name: str = content.DOWNLOAD_NAME
) -> MappingProxyType[str, str]:
    headers: dict[str, str] = {
        hdrs.CONTENT_TYPE: CONTENT_TYPE,
        hdrs.CONTENT_DISPOSITION: content.build_disposition(profile_id, finished_at, name),
        hdrs.ETAG: f'"{sha256}"',
        hdrs.LAST_MODIFIED: conditional.render_date(parse_modified(finished_at)),
        hdrs.ACCEPT_RANGES: "bytes",
        hdrs.CACHE_CONTROL: cache,
    }
    return MappingProxyType(headers)


async def _send(
    request: web.Request, status: int, headers: dict[str, str], slices: tuple[Slice, ...]
) -> web.StreamResponse:
    stored = [(each.piece, each.start, each.stop) for each in slices if not isinstance(each.piece, bytes)]
    async with request.app[FILES].acquire_all(stored) as opened:
        files = iter(opened)
        parts = [
            (each.piece if isinstance(each.piece, bytes) else next(files), each.start, each.stop) for each in slices
        ]
        return await transmit(request, status, headers, parts)


async def transmit(
    request: web.Request, status: int, headers: dict[str, str], parts: Sequence[Part], secs: float | None = None
) -> web.StreamResponse:
    """Send head and body. Disconnects a client that has not read all of it after `secs` (None: one that reads nothing
    for STALL_MS)."""
    problems.mark(headers)
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = sum(stop - start for _, start, stop in parts)
    sender = Sender(request, response)
    sender.cork()
    await response.prepare(request)
    if request.method != hdrs.METH_HEAD:
        await _send_body(request, sender, parts, secs)
    sender.uncork()
    return response


async def _send_parts(sender: Sender, parts: Sequence[Part]) -> None:
    for piece, start, stop in parts:
        if isinstance(piece, bytes):
            await sender.send_bytes(piece[start:stop])
        elif isinstance(piece, RemoteFile):
            async with aclosing(piece.stream(start, stop)) as pieces:
                await sender.send_stream(pieces)
        else:
            await sender.send_file(piece, start, stop)


async def _send_body(request: web.Request, sender: Sender, parts: Sequence[Part], secs: float | None) -> None:
    try:
        if secs is None:
            await _send_parts(sender, parts)
        else:
            async with asyncio.timeout(secs):
                await _send_parts(sender, parts)
    except (ConnectionError, TimeoutError):
        sender.abort()
    except (OSError, EOFError, errors.StoreError, errors.UnknownProfile) as error:
        if getattr(error, "errno", None) not in GONE:
            logger.error("a response was cut off: the file cannot be read", exc_info=error)
        sender.abort()
    request[SENT_BYTES] = sender.sent_bytes
