"""Reads a file into memory, unpacked, up to a size limit.

Only reads from the file system. Detects gzip bombs, truncated gzip and bytes after the end, so that callers work on
one block of bytes.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

from isal import isal_zlib

from samply_operator.profiles.errors import ProfileTooLarge, UnreadableProfile
from samply_operator.profiles.format import file_types, slabs

GZIP_MAGIC = b"\x1f\x8b"
CUT = "It was cut off while it was written or copied; take it again."
DAMAGED = "It was damaged or changed after it was written: copy it again, as binary, or take it again."
PIECE = 1 << 20
PACKED_PIECE = 64 << 10
UNPACKED_PIECE = 512 << 10
"""What is unpacked at a time stays in the processor's cache until it is put where it belongs."""
MAX_LAYERS = 3
"""Of gzip in gzip."""
UTF8_MARK = b"\xef\xbb\xbf"
ENCODINGS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"{\x00\x00\x00", "utf-32-le"),
    (b"\x00\x00\x00{", "utf-32-be"),
    (b"{\x00", "utf-16-le"),
    (b"\x00{", "utf-16-be"),
)
"""By the byte order mark, or by how an object of JSON begins in it."""
MAX_RAW_BYTES = 2 << 30
"""Unpacked. The viewer gives up somewhere above 0.5 to 1 GiB; twice that is still read here."""


def load(path: Path, *, max_raw_bytes: int = MAX_RAW_BYTES) -> bytearray:
    """The unpacked bytes of a file, gzip or plain (by the magic number, not by the name)."""
    try:
        with path.open("rb") as file:
            head = file.read(2)
            file.seek(0)
            if head == GZIP_MAGIC:
                return _gunzip(file, path, max_raw_bytes)
            return _read_plain(file, path, max_raw_bytes)
    except OSError as error:
        raise UnreadableProfile(f"{path.name} can't be read: {error.strerror}.", details={"path": path.name}) from error


def load_json(path: Path, *, max_raw_bytes: int = MAX_RAW_BYTES) -> bytearray:
    """The text of a JSON object in UTF-8, whatever it was wrapped in: gzip (also twice, as a proxy may do), UTF-16,
    JsonSlabs.

    Raises UnreadableProfile, which says what the file is where it is something else.
    """
    data = load(path, max_raw_bytes=max_raw_bytes)
    for _ in range(MAX_LAYERS):
        if not data.startswith(GZIP_MAGIC):
            break
        data = _gunzip(io.BytesIO(data), path, max_raw_bytes)
    data = _unpack_slabs(data, path, max_raw_bytes)
    data = _use_utf8(data, path, max_raw_bytes)
    found = file_types.recognize(bytes(data[: file_types.HEAD_BYTES]))
    if found is not None:
        raise UnreadableProfile(f"{path.name} is {found.what}.", remedy=found.remedy, details={"path": path.name})
    return data


def _unpack_slabs(data: bytearray, path: Path, limit: int) -> bytearray:
    if not data.startswith(slabs.MAGIC[:6]):
        return data
    try:
        return slabs.unpack(data, max_bytes=limit)
    except slabs.SlabsError as error:
        raise _unreadable(path, str(error), CUT if "in the middle" in str(error) else DAMAGED) from error
    except slabs.TooLargeError as error:
        raise _too_large(path, limit) from error


def _use_utf8(data: bytearray, path: Path, limit: int) -> bytearray:
    """Without a byte order mark, and not in UTF-16 or 32, as Windows programs write text."""
    if data.startswith(UTF8_MARK):
        del data[: len(UTF8_MARK)]
        return data
    encoding = next((name for mark, name in ENCODINGS if data.startswith(mark)), None)
    if encoding is None:
        return data
    try:
        text = bytearray(data.decode(encoding).encode("utf-8", "replace"))
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"is broken {encoding.upper()}") from error
    if len(text) > limit:
        raise _too_large(path, limit)
    return text


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
                if unpacker.eof:
                    # Several gzip members in one file are one stream by the standard, zeros behind them are padding.
                    packed = packed.lstrip(b"\x00")
                    if not packed:
                        break
                    if not packed.startswith(GZIP_MAGIC[:1]):
                        raise _unreadable(path, "has something else behind its gzip stream")
                    unpacker = isal_zlib.decompressobj(wbits=31)
                out += unpacker.decompress(packed, UNPACKED_PIECE)
                if len(out) > limit:
                    raise _too_large(path, limit)
                packed = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
    except isal_zlib.error as error:  # type: ignore[misc]  # its stubs say that the class is an instance
        is_checksum = "checksum" in str(error).lower()
        why = "its checksum does not fit its content" if is_checksum else "its bytes are no valid stream"
        raise _unreadable(path, f"is broken gzip: {why}") from error
    if not unpacker.eof:
        raise _unreadable(path, "ends in the middle of its gzip stream", CUT)
    return out


def _unreadable(path: Path, what: str, remedy: str = DAMAGED) -> UnreadableProfile:
    return UnreadableProfile(f"{path.name} {what}.", remedy=remedy, details={"path": path.name})


def _too_large(path: Path, limit: int) -> ProfileTooLarge:
    return ProfileTooLarge(
        f"{path.name} unpacks to more than {limit} bytes.",
        remedy="Record for a shorter time or at a lower rate, or allow more.",
        details={"limit_bytes": limit},
    )
