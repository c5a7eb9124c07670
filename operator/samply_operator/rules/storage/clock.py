"""Whether the wall clock can be trusted to remove what is old. A clock that was set far forward would age everything at
once, and what was removed does not come back when it is set right.
"""

from __future__ import annotations

LEAP_SECS = 86400.0
"""How much further than the time that passed the clock must have moved to be doubted."""
DOUBT_SECS = 86400.0
"""How long it is doubted: time for somebody to set it right, or for it to turn out to be right."""


def has_leapt(before: float, now: float, passed_secs: float) -> bool:
    """`before` and `now` are Unix times, `passed_secs` what a clock that nobody sets saw pass in between (0: not known,
    since the process began later)."""
    return now - before - passed_secs > LEAP_SECS
