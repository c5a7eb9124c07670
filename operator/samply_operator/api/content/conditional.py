"""Conditional and range requests for one immutable file (RFC 9110, 13.2.2 and 14.2): headers in, a plan out. Pure.

A header on several lines is one list (5.3). If it cannot be a list, several lines are invalid and ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

from multidict import MultiMapping

_RANGE = re.compile(r"bytes[ \t]*=[ \t]*([0-9]{0,18})-([0-9]{0,18})[ \t]*", re.ASCII | re.IGNORECASE)
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')


@dataclass(frozen=True, slots=True)
class Whole:
    """200 with all bytes."""


@dataclass(frozen=True, slots=True)
class Part:
    """206 with bytes `start` up to, not including, `stop`."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class NotModified:
    """304."""


@dataclass(frozen=True, slots=True)
class PreconditionFailed:
    """412."""


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """416."""


Plan = Whole | Part | NotModified | PreconditionFailed | Unsatisfiable


Headers = MultiMapping[str]


def decide(headers: Headers, *, tag: str, modified: datetime, size_bytes: int, method: str = "GET") -> Plan:
    """What to send of a file with the strong entity tag `tag` (unquoted) and the time `modified` (whole seconds). Only
    GET knows ranges."""
    if not _holds_match(headers, tag, modified):
        return PreconditionFailed()
    if _is_unchanged(headers, tag, modified):
        return NotModified()
    wanted = _find_one(headers, "Range") if method == "GET" else None
    if wanted is None or not _holds_if_range(find(headers, "If-Range"), tag, modified):
        return Whole()
    return _decide_range(wanted, size_bytes)


def render_date(time: datetime) -> str:
    return format_datetime(time.astimezone(UTC).replace(microsecond=0), usegmt=True)


def _decide_range(wanted: str, size_bytes: int) -> Plan:
    """One range only. Several ranges, another unit or an invalid value: the whole file, as RFC 9110 allows."""
    match = _RANGE.fullmatch(wanted.strip())
    if match is None or match.groups() == ("", ""):
        return Whole()
    first, last = match.groups()
    if not first:
        return Part(max(0, size_bytes - int(last)), size_bytes) if int(last) and size_bytes else Unsatisfiable()
    start = int(first)
    if last and int(last) < start:
        return Whole()
    if start >= size_bytes:
        return Unsatisfiable()
    return Part(start, min(size_bytes, int(last) + 1) if last else size_bytes)


def find(headers: Headers, name: str) -> str | None:
    """All lines of a header, as one."""
    lines = headers.getall(name, None)
    if lines is None:
        return None
    return lines[0] if len(lines) == 1 else ", ".join(lines)


def _find_one(headers: Headers, name: str) -> str | None:
    """A header that cannot be a list; several are invalid."""
    lines = headers.getall(name, None)
    return lines[0] if lines is not None and len(lines) == 1 else None


def _holds_match(headers: Headers, tag: str, modified: datetime) -> bool:
    wanted = find(headers, "If-Match")
    if wanted is not None:
        return is_listed(wanted, tag, weak=False)
    since = _parse_date(_find_one(headers, "If-Unmodified-Since"))
    return since is None or modified <= since


def _is_unchanged(headers: Headers, tag: str, modified: datetime) -> bool:
    known = find(headers, "If-None-Match")
    if known is not None:
        return is_listed(known, tag, weak=True)
    since = _parse_date(_find_one(headers, "If-Modified-Since"))
    return since is not None and modified <= since


def _holds_if_range(condition: str | None, tag: str, modified: datetime) -> bool:
    """A strong tag, or exactly our date; with anything else the whole file is sent."""
    if condition is None:
        return True
    match = _TAG.fullmatch(condition.strip())
    if match:
        return match[1] is None and match[2] == tag
    return _parse_date(condition) == modified


def is_listed(text: str, tag: str, *, weak: bool) -> bool:
    if text.strip() == "*":
        return True
    return any(value == tag and (weak or not is_weak) for is_weak, value in _TAG.findall(text))


def _parse_date(text: str | None) -> datetime | None:
    """An HTTP date; None if it is absent or invalid (then it is ignored)."""
    if text is None:
        return None
    try:
        time = parsedate_to_datetime(text)
    except (ValueError, OverflowError, IndexError, TypeError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
