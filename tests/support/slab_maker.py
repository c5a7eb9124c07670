"""Writes JsonSlabs (.jslb) as Firefox Profiler does: long arrays of numbers become slabs."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy

JSON = 10
TYPES = {"i4": 4, "u4": 5, "f8": 7, "i8": 8}
MAGIC = b"\xdc\xdfJSLB\x01\x00"


BINARY = {"frame": "i4", "prefixOffset": "i4", "func": "i4", "address": "i4", "timeDeltas": "f8"}
"""Columns of which version 70 allows it, and their types."""


def make(document: dict[str, Any], *, version: int = 1, columns: Mapping[str, str] | None = None) -> bytes:
    """Arrays of numbers become slabs, all of them or those of `columns`; `threads` is JSON in a slab of its own."""
    slabs: list[tuple[int, bytes]] = [(JSON, b"")]

    def walk(part: Any, name: str = "") -> Any:
        if isinstance(part, list):
            has_numbers = part and all(type(each) in (int, float) for each in part)
            if has_numbers and (columns is None or name in columns):
                return add(*_encode(part, (columns or {}).get(name)))
            return [walk(each) for each in part]
        if not isinstance(part, dict):
            return part
        changed = {key: walk(each, key) for key, each in part.items()}
        if "threads" in changed:
            changed["threads"] = add(JSON, json.dumps(changed["threads"]).encode())
        return changed

    def add(kind: int, data: bytes) -> dict[str, int]:
        slabs.append((kind, data))
        return {"$s": len(slabs) - 1}

    root = walk(document)
    slabs[0] = JSON, json.dumps(root).encode()
    return pack(slabs, version=version)


def _encode(numbers: Sequence[float], dtype: str | None) -> tuple[int, bytes]:
    if dtype is None:
        is_whole = all(isinstance(number, int) for number in numbers)
        dtype = "f8" if not is_whole else "i4" if -(1 << 31) <= min(numbers) <= max(numbers) < 1 << 31 else "i8"
    return TYPES[dtype], numpy.array(numbers, f"<{dtype}").tobytes()


def pack(slabs: Sequence[tuple[int, bytes]], *, version: int = 1) -> bytes:
    """Types and bytes; the first one is the root. Each begins at a multiple of 8."""
    at, table, body = 20 + 12 * len(slabs), b"", b""
    for kind, data in slabs:
        body += bytes(-(at + len(body)) % 8)
        table += struct.pack("<III", kind, at + len(body), len(data))
        body += data
    return MAGIC + struct.pack("<III", version, len(slabs), 0) + table + body
