"""JsonSlabs (`.jslb`): JSON whose long arrays of numbers lie beside it in binary. Here it becomes plain JSON again.

A header (magic, version, count, number of the root), a table (type, offset, length of each slab), then the slabs, all
little-endian. In JSON, `{"$s": N}` stands for slab N: an array of numbers, or more JSON. Source: the crate json-slabs.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import msgspec

from samply_operator.profiles.format.lazy_numpy import np

MAGIC = b"\xdc\xdfJSLB\x01\x00"
VERSION = 1
JSON = 0x0A
DTYPES = ("<i1", "<u1", "<i2", "<u2", "<i4", "<u4", "<f4", "<f8", "<i8", "<u8")
"""By the number of their type."""
MAX_DEPTH = 8
"""Of JSON in JSON."""
NUMBERS = 64 << 10
"""Decoded at a time."""

_HEADER = struct.Struct("<8sIII")
_ENTRY = struct.Struct("<III")
_PLACEHOLDER = rb'\{\s*"\$s"\s*:\s*(\d{1,10})\s*\}'
"""Cannot occur in a JSON string, in which quotation marks are escaped."""


class SlabsError(ValueError):
    """The message says what is wrong, as the end of a sentence about the file."""


class TooLargeError(ValueError):
    """The JSON would be larger than allowed."""


def unpack(data: bytes | bytearray, *, max_bytes: int) -> bytearray:
    """The whole file as JSON. Raises SlabsError, TooLargeError."""
    return _Unpacker(memoryview(data), max_bytes).unpack()


class _Unpacker:
    def __init__(self, data: memoryview, max_bytes: int) -> None:
        self._data = data
        self._max_bytes = max_bytes
        self._out = bytearray()

    def unpack(self) -> bytearray:
        if len(self._data) < _HEADER.size:
            raise SlabsError("ends in the middle of its header")
        _, version, self._count, root = _HEADER.unpack_from(self._data)
        if version != VERSION:
            raise SlabsError(f"is JsonSlabs of version {version}, where {VERSION} is known")
        self._add(root, 0)
        return self._out

    def _add(self, index: int, depth: int) -> None:
        kind, slab = self._find(index)
        if kind != JSON:
            if depth == 0:
                raise SlabsError("has a root that is not JSON")
            for piece in _render(kind, slab):
                self._write(piece)
            return
        if depth > MAX_DEPTH:
            raise SlabsError("has slabs in slabs without an end")
        start = 0
        for found in re.finditer(_PLACEHOLDER, slab):
            self._write(slab[start : found.start()])
            self._add(int(found[1]), depth + 1)
            start = found.end()
        self._write(slab[start:])

    def _find(self, index: int) -> tuple[int, memoryview]:
        at = _HEADER.size + index * _ENTRY.size
        if index >= self._count or at + _ENTRY.size > len(self._data):
            raise SlabsError(f"has no slab {index}, which it names")
        kind, offset, length = _ENTRY.unpack_from(self._data, at)
        if offset + length > len(self._data):
            raise SlabsError("ends in the middle of a slab")
        return kind, self._data[offset : offset + length]

    def _write(self, piece: bytes | memoryview) -> None:
        if len(self._out) + len(piece) > self._max_bytes:
            raise TooLargeError
        self._out += piece


def _render(kind: int, slab: memoryview) -> Iterator[bytes]:
    """An array of numbers, in pieces of JSON."""
    if kind >= len(DTYPES):
        raise SlabsError(f"has a slab of the unknown type {kind}")
    dtype = np.dtype(DTYPES[kind])
    if len(slab) % dtype.itemsize:
        raise SlabsError("has a slab that ends in the middle of a number")
    numbers = np.frombuffer(slab, dtype)
    if dtype.kind == "f" and not np.isfinite(numbers).all():
        raise SlabsError("has a number that JSON does not allow (NaN or infinite)")
    yield b"["
    for start in range(0, len(numbers), NUMBERS):
        text = msgspec.json.encode(numbers[start : start + NUMBERS].tolist())
        yield (b"," if start else b"") + text[1:-1]
    yield b"]"
