"""Reads a file into memory, unpacked, and never more of it than allowed.

Touches the file system for reading only. A gzip bomb, a cut-off gzip and bytes after the end are told apart here,
so that everything above works on one block of bytes.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from isal import isal_zlib

from samply_operator.profiles.errors import ProfileTooLarge, UnreadableProfile

GZIP_MAGIC = b"\x1f\x8b"
PIECE = 1 << 20
PACKED_PIECE = 64 << 10
UNPACKED_PIECE = 512 << 10
"""What is unpacked at a time stays in the processor's cache until it is put where it belongs."""
MAX_RAW_BYTES = 2 << 30
"""Unpacked. The viewer gives up somewhere above 0.5 to 1 GiB; twice that is still read here."""


def load(path: Path, *, max_raw_bytes: int = MAX_RAW_BYTES) -> bytearray:
    """The unpacked bytes of a file, gzip or plain (told by the magic number, not by the name)."""
    try:
        with path.open("rb") as file:
            head = file.read(2)
            file.seek(0)
            if head == GZIP_MAGIC:
                return _gunzip(file, path, max_raw_bytes)
            return _read_plain(file, path, max_raw_bytes)
    except OSError as error:
        raise UnreadableProfile(f"{path.name} can't be read: {error.strerror}.", details={"path": path.name}) from error


def _read_plain(file: BinaryIO, path: Path, limit: int) -> bytearray:
    out = bytearray()
    # In pieces: `read(n)` takes n bytes of memory at once, whatever the size of the file.
    while piece := file.read(PIECE):
        out += piece
        if len(out) > limit:
            raise _too_large(path, limit)
    return out


def _gunzip(file: BinaryIO, path: Path, limit: int) -> bytearray:
    out = bytearray()
    unpacker = isal_zlib.decompressobj(wbits=31)
    try:
        while packed := file.read(PACKED_PIECE):
            while packed:
                out += unpacker.decompress(packed, UNPACKED_PIECE)
                if len(out) > limit:
                    raise _too_large(path, limit)
                packed = unpacker.unconsumed_tail
                if unpacker.eof:
                    # Several gzip members in one file are one stream by the standard.
                    packed = unpacker.unused_data
                    if packed:
                        unpacker = isal_zlib.decompressobj(wbits=31)
    except isal_zlib.error as error:  # type: ignore[misc]  # its stubs say that the class is an instance
        raise _unreadable(path, "is broken gzip") from error
    if not unpacker.eof:
        raise _unreadable(path, "ends in the middle of its gzip stream")
    return out


def _unreadable(path: Path, what: str) -> UnreadableProfile:
    return UnreadableProfile(
        f"{path.name} {what}.",
        remedy="It was cut off while it was written or copied; take it again.",
        details={"path": path.name},
    )


def _too_large(path: Path, limit: int) -> ProfileTooLarge:
    return ProfileTooLarge(
        f"{path.name} unpacks to more than {limit} bytes.",
        remedy="Record for a shorter time or at a lower rate, or allow more.",
        details={"limit_bytes": limit},
    )
