"""Times as users type them: how long ago, or a date and time. Pure; callers provide the clock."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime, timedelta

_AGE = re.compile(r"(?=\d)(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,7})s)?", re.ASCII)
ACCEPTED = "how long ago, such as 90m, 2h30m or 7d, or a time such as 2026-01-31T09:30:00Z"


def parse(text: str, now: datetime) -> str:
    """As the HTTP interface takes it: in UTC. Raises ArgumentTypeError with what is accepted."""
    try:
        if age := _AGE.fullmatch(text):
            days, hours, minutes, secs = (int(each or 0) for each in age.groups())
            moment = now - timedelta(days=days, hours=hours, minutes=minutes, seconds=secs)
        else:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is None:
                raise ValueError("in which time zone?")
        return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"{text!r}: expected {ACCEPTED}") from error


def parse_now(text: str) -> str:
    """For an option of the command line."""
    return parse(text, datetime.now(UTC))
