"""Several stored profiles, and texts beside them, as one zip file: the files themselves are not packed again."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from aiohttp import hdrs, web

from samply_operator.api.content import conditional, files, zip_layout
from samply_operator.api.content.open_files import FILES
from samply_operator.api.content.stored_files import Stored
from samply_operator.model.manifest import Manifest

CONTENT_TYPE = "application/zip"


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in the zip and what it holds. `time` matters to people who unpack it only."""

    name: str
    piece: files.Piece
    time: datetime


async def build_body(request: web.Request, entries: Iterable[Entry], *, filename: str) -> files.Body:
    """The whole zip: the same entries give the same bytes, and so the same tag. Raises UnknownProfile, StoreError."""
    entries = tuple(entries)
    layout = zip_layout.lay_out([await _describe(request, entry) for entry in entries])
    pieces: list[files.Piece] = []
    for head, entry in zip(layout.heads, entries, strict=True):
        pieces += [head, entry.piece]
    pieces.append(layout.tail)
    modified = max((entry.time for entry in entries), default=files.parse_modified(""))
    headers: dict[str, str] = {
        hdrs.CONTENT_TYPE: CONTENT_TYPE,
        hdrs.CONTENT_DISPOSITION: f'attachment; filename="{filename}"',
        hdrs.ETAG: f'"{_hash(pieces)}"',
        hdrs.LAST_MODIFIED: conditional.render_date(modified),
        hdrs.ACCEPT_RANGES: "bytes",
        hdrs.CACHE_CONTROL: files.REVALIDATE,
    }
    return files.Body(pieces, headers[hdrs.ETAG].strip('"'), modified, headers)


async def _describe(request: web.Request, entry: Entry) -> zip_layout.Member:
    crc32 = zlib.crc32(entry.piece) if isinstance(entry.piece, bytes) else await _find_crc(request, entry.piece)
    return zip_layout.Member(zip_layout.clean_name(entry.name), files.measure(entry.piece), crc32, entry.time)


async def _find_crc(request: web.Request, stored: Stored) -> int:
    """From the manifest; if it has none, from the file."""
    file = stored.file
    if file is None or file.crc32 or not isinstance(stored, Manifest):
        return file.crc32 if file else 0
    return await request.app[FILES].compute_crc(stored)


def _hash(pieces: Iterable[files.Piece]) -> str:
    """Covers all bytes: a file is represented by its own hash."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(_identify(piece))
    return digest.hexdigest()


def _identify(piece: files.Piece) -> bytes:
    if isinstance(piece, bytes):
        return piece
    return piece.file.sha256.encode() if piece.file else b""
