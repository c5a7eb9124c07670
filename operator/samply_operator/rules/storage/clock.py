"""Whether to trust the wall clock when removing by age. A clock that is set far forward would expire everything at
once, and removed profiles do not return when it is corrected.
"""

from __future__ import annotations

LEAP_SECS = 86400.0
"""Advance beyond the elapsed time from which on the clock is not trusted."""
DOUBT_SECS = 86400.0
"""How long it is not trusted: time to correct it, or for it to prove correct."""


def has_jumped(before: float, now: float, passed_secs: float) -> bool:
    """`before` and `now` are Unix times, `passed_secs` the elapsed time on a monotonic clock (0: unknown, since the
    process started later)."""
    return now - before - passed_secs > LEAP_SECS
