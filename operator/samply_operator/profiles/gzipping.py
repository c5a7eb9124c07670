"""Writes gzip that is the same bytes for the same input: no name, no time in its head. Touches the file it is given."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

LEVEL = 6
BIG_LEVEL = 1
BIG_BYTES = 16 << 20
"""From here on speed counts more than the last fifth of the size."""

HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
PIECE = 1 << 20


def pick_level(raw_bytes: int) -> int:
    """How hard to pack so much."""
    return LEVEL if raw_bytes < BIG_BYTES else BIG_LEVEL


@dataclass(frozen=True, slots=True)
class Written:
    size_bytes: int
    raw_bytes: int
    sha256: str
    """Of the packed bytes, as they are served."""


def write(pieces: Iterable[bytes | bytearray | memoryview], path: Path, *, level: int = LEVEL) -> Written:
    """Pack the pieces into a new file and flush it to disk. An existing file is replaced."""
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    digest = hashlib.sha256()
    crc = raw_bytes = size = 0
    with path.open("wb") as file:

        def put(data: bytes) -> int:
            digest.update(data)
            return file.write(data)

        size += put(HEAD)
        for piece in pieces:
            view = memoryview(piece)
            for start in range(0, len(view), PIECE):
                part = view[start : start + PIECE]
                crc = zlib.crc32(part, crc)
                raw_bytes += len(part)
                size += put(packer.compress(part))
        size += put(packer.flush())
        size += put(struct.pack("<LL", crc, raw_bytes & 0xFFFFFFFF))
        file.flush()
        os.fsync(file.fileno())
    return Written(size, raw_bytes, digest.hexdigest())
