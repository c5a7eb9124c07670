"""The bytes of a zip file around its members, which are stored as they are: names, sizes and checksums in, bytes out.

Everything is known before the first byte is sent, so length, entity tag and ranges are exact. Pure. (APPNOTE 6.3.10:
4.3.7 local headers, 4.3.12 central directory, 4.3.14 to 4.3.16 its end, 4.5.3 sizes and offsets beyond 32 bits.)
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|\ud800-\udfff]')
"""Not allowed in paths on Windows, or in text."""
LIMIT = 0xFFFFFFFF
"""Marks 32-bit fields whose value is in the 64-bit extra field."""
MAX_COUNT = 0xFFFF

PLAIN, LARGE = 10, 45
"""Version of the format that a reader needs."""
UNIX = 3 << 8
UTF8 = 1 << 11
MODE = 0o100644 << 16


@dataclass(frozen=True, slots=True)
class Member:
    """One file. `time` is stored in UTC with a resolution of two seconds, 1980 at the earliest."""

    name: str
    size_bytes: int
    crc32: int
    time: datetime


@dataclass(frozen=True, slots=True)
class Layout:
    """Each member's bytes follow its head; the tail ends the file."""

    heads: tuple[bytes, ...]
    tail: bytes


def clean_name(name: str) -> str:
    """A member's path that cannot leave the folder into which it is unpacked, on any system."""
    return "/".join(_clean_part(part) for part in name.split("/"))


def _clean_part(part: str) -> str:
    cleaned = _FORBIDDEN.sub("_", part)
    return f"_{cleaned}" if cleaned.strip(".") == "" else cleaned


def lay_out(members: Sequence[Member]) -> Layout:
    heads, entries, offset = [], [], 0
    for member in members:
        head = _build_head(member)
        heads.append(head)
        entries.append(_build_entry(member, offset))
        offset += len(head) + member.size_bytes
    directory = b"".join(entries)
    return Layout(tuple(heads), directory + _build_end(len(entries), len(directory), offset))


def _build_head(member: Member) -> bytes:
    name, is_large = member.name.encode(), member.size_bytes >= LIMIT
    size = LIMIT if is_large else member.size_bytes
    extra = struct.pack("<HHQQ", 1, 16, member.size_bytes, member.size_bytes) if is_large else b""
    facts = (LARGE if is_large else PLAIN, UTF8, 0, *_build_time(member.time), member.crc32, size, size)
    return struct.pack("<4s5H3L2H", b"PK\3\4", *facts, len(name), len(extra)) + name + extra


def _build_entry(member: Member, offset: int) -> bytes:
    name, size = member.name.encode(), member.size_bytes
    large = [*((size, size) if size >= LIMIT else ()), *((offset,) if offset >= LIMIT else ())]
    extra = struct.pack(f"<HH{len(large)}Q", 1, 8 * len(large), *large) if large else b""
    version = LARGE if large else PLAIN
    sizes = (min(size, LIMIT), min(size, LIMIT), len(name), len(extra), 0, 0, 0, MODE, min(offset, LIMIT))
    facts = (UNIX | version, version, UTF8, 0, *_build_time(member.time), member.crc32, *sizes)
    return struct.pack("<4s6H3L5H2L", b"PK\1\2", *facts) + name + extra


def _build_end(count: int, size: int, offset: int) -> bytes:
    counts, places = (min(count, MAX_COUNT),) * 2, (min(size, LIMIT), min(offset, LIMIT))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *counts, *places, 0)
    if MAX_COUNT not in counts and LIMIT not in places:
        return end
    large = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, UNIX | LARGE, LARGE, 0, 0, count, count, size, offset)
    return large + struct.pack("<4sLQL", b"PK\6\7", 0, offset + size, 1) + end


def _build_time(time: datetime) -> tuple[int, int]:
    """Time and date as DOS had them."""
    time = max(time.astimezone(UTC), datetime(1980, 1, 1, tzinfo=UTC))
    return time.hour << 11 | time.minute << 5 | time.second >> 1, time.year - 1980 << 9 | time.month << 5 | time.day
