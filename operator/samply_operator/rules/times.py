"""Times as text: RFC 3339 in UTC, and durations as typed by users. Callers provide the clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from samply_operator.errors import InvalidSpec
from samply_operator.settings import MAX_DURATION_SECS

_DURATION = re.compile(r"(?:(?P<h>\d{1,4})h)?(?:(?P<m>\d{1,5})m)?(?:(?P<s>\d{1,6})s?)?", re.ASCII)
ACCEPTED = f"whole seconds or minutes from 1s to {MAX_DURATION_SECS}s, such as 30s, 2m, 1m30s or 30"


def format_time(unix: float) -> str:
    """Unix time as `2026-01-31T09:30:00.000Z`."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def format_time_micro(unix: float) -> str:
    """The same with microseconds, as in Kubernetes' MicroTime."""
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_time(text: str) -> float:
    """The inverse; 0.0 for an empty text. Raises ValueError for an invalid time."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else 0.0


def parse_duration(text: str) -> int:
    """Seconds of a duration as typed by users. Raises InvalidSpec with the accepted format."""
    shown = text[:40]
    match = _DURATION.fullmatch(text.strip())
    if not text.strip() or match is None:
        raise InvalidSpec(f"{shown!r} is not a duration.", remedy=f"Use {ACCEPTED}.")
    hours, minutes, seconds = (int(match[part] or 0) for part in ("h", "m", "s"))
    total = hours * 3600 + minutes * 60 + seconds
    if not 1 <= total <= MAX_DURATION_SECS:
        raise InvalidSpec(f"The duration {shown!r} is {total} s, out of range.", remedy=f"Use {ACCEPTED}.")
    return total


def spread(secs: float, chance: float) -> float:
    """A time near `secs` (75 to 125 %), so that many callers do not act at once; `chance` is from 0 to 1."""
    return secs * (0.75 + 0.5 * chance)
