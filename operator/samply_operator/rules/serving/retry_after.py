"""How long a client should wait for a recording that runs: whole seconds, never less than one until it is stored."""

from __future__ import annotations

import math

LONGEST_SECS = 3600 + 600


def compute_retry_after(*, ends_at: float | None, duration_secs: int, now: float) -> int:
    """Seconds until sampling ends (`ends_at`, `now`: Unix time); before it runs, its whole length."""
    left = duration_secs if ends_at is None else math.ceil(ends_at - now)
    return max(1, min(left, LONGEST_SECS))
