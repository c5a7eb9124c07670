"""Facts about a stored file: size, hashes, and the name under which it is saved."""

from __future__ import annotations

import hashlib
import re
import zlib
from pathlib import Path

from samply_operator.model.manifest import StoredFile

PIECE_BYTES = 1024 * 1024
_TIME = re.compile(r"[0-9TZ:.+-]{1,40}", re.ASCII)


def describe(path: Path, raw_bytes: int = 0) -> StoredFile:
    """Size, SHA-256 and CRC-32 of a file, read once. Raises OSError."""
    digest, crc, size = hashlib.sha256(), 0, 0
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
            crc = zlib.crc32(piece, crc)
            size += len(piece)
    return StoredFile(size_bytes=size, sha256=digest.hexdigest(), crc32=crc, raw_bytes=raw_bytes)


DOWNLOAD_NAME = "samply_profile.json.gz"
"""Of a profile's file, behind the time."""


def build_disposition(profile_id: str, finished_at: str, name: str = DOWNLOAD_NAME) -> str:
    """Content-Disposition of a profile's file, or of an additional one."""
    time = finished_at if _TIME.fullmatch(finished_at) else profile_id
    return f'attachment; filename="{time}-{name}"'
