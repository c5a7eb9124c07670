"""Scheduled times: cron lines as Debian's cron reads them (by cronsim), and fixed intervals.

A cron line is read in its time zone. When clocks go forward, a time that does not exist is replaced by the first one
after the gap; when they go back, a fixed time fires once and a line with `*` goes on in real time. Intervals count from
the Unix epoch, so that neither a restart nor a time zone moves them.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from samply_operator.errors import InvalidSpec
from samply_operator.model.trigger import Schedule

UNIT_SECS = {"h": 3600, "m": 60, "s": 1}
SHORTEST_SECS = 10
AHEAD_SECS = 3600.0
"""How far a handled time may be ahead."""
MAX_MISSED = 100
_EVERY = re.compile(r"(?:[0-9]{1,7}[hms])+")


@dataclass(frozen=True, slots=True)
class Timing:
    """`due`: the latest scheduled time that is to be decided on; None: nothing is due. `missed`: how many before it
    were not, at most MAX_MISSED. `next`: None if there is none within 50 years."""

    due: float | None
    missed: int
    next: float | None


def parse_every(text: str) -> int:
    """Seconds of an interval such as 5m or 1h30m. Raises InvalidSpec."""
    secs = sum(int(number) * UNIT_SECS[unit] for number, unit in re.findall(r"([0-9]+)([hms])", text))
    if not _EVERY.fullmatch(text) or secs < SHORTEST_SECS:
        raise InvalidSpec(f"every: {text!r} is no interval of {SHORTEST_SECS} s or more.", remedy="Use 5m or 1h30m.")
    return secs


def find_offset(uid: str, jitter_secs: int) -> float:
    """How much later than scheduled this trigger fires: always the same, so that intervals stay even."""
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4]) % (jitter_secs + 1)


def is_ahead(handled: float, now: float) -> bool:
    """It was written while the clock was wrong."""
    return handled > now + AHEAD_SECS


def look(schedule: Schedule, after: float, now: float, offset: float = 0.0) -> Timing:
    """`after`: the scheduled time that was decided on last, or the trigger's creation. Raises InvalidSpec."""
    now -= offset
    after = now if is_ahead(after, now) else after
    if schedule.every:
        return _look_at_interval(parse_every(schedule.every), after, now)
    try:
        return _look_at_cron(schedule.cron, _find_zone(schedule.time_zone), after, now)
    except CronSimError as error:
        raise InvalidSpec(
            f"cron: {schedule.cron!r}: {error}.",
            remedy="Use five fields: minute, hour, day of the month, month, day of the week.",
        ) from error


def _look_at_interval(secs: int, after: float, now: float) -> Timing:
    latest = math.floor(now / secs) * secs
    following = max(latest, math.floor(after / secs) * secs) + secs
    if latest <= after:
        return Timing(None, 0, following)
    return Timing(latest, min(MAX_MISSED, math.ceil((latest - after) / secs) - 1), following)


def _look_at_cron(line: str, zone: tzinfo, after: float, now: float) -> Timing:
    following = next((at for at in _iterate(line, zone, now) if at > max(now, after)), None)
    missed: list[float] = []
    for at in _iterate(line, zone, int(now) + 1, is_reverse=True):
        if at <= after or len(missed) > MAX_MISSED:
            break
        if at <= now:
            missed.append(at)
    return Timing(missed[0] if missed else None, max(0, len(missed) - 1), following)


def _iterate(line: str, zone: tzinfo, start: float, *, is_reverse: bool = False) -> Iterator[float]:
    for at in CronSim(line, datetime.fromtimestamp(int(start), zone), reverse=is_reverse):
        yield at.timestamp()


def _find_zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise InvalidSpec(
            f"timeZone: there is no time zone {name!r}.", remedy="Use a name such as Europe/Berlin or UTC."
        ) from error
