"""How long a client should wait for a running recording: whole seconds, at least one."""

from __future__ import annotations

import math

LONGEST_SECS = 3600 + 600


def compute_retry_after(*, ends_at: float | None, duration_secs: int, now: float) -> int:
    """Seconds until sampling ends (`ends_at`, `now`: Unix time); before it starts, its whole duration."""
    left = duration_secs if ends_at is None else math.ceil(ends_at - now)
    return max(1, min(left, LONGEST_SECS))
