"""Rate limit of one caller: a token bucket, from which each request takes one, and expensive ones more."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """The level of the bucket at a time. Starts full."""

    left: float
    at: float
    """Seconds on any monotonic clock."""


@dataclass(frozen=True, slots=True)
class Limit:
    per_sec: float
    """0: no limit."""
    burst: int
    """Capacity of the bucket."""


def open_bucket(limit: Limit, now: float) -> Bucket:
    return Bucket(float(limit.burst), now)


def take(bucket: Bucket, limit: Limit, now: float, count: int = 1) -> int:
    """Take `cost` tokens, in place. Returns 0 if available, else whole seconds until they are."""
    fill(bucket, limit, now)
    if bucket.left >= count:
        bucket.left -= count
        return 0
    return max(1, math.ceil((count - bucket.left) / limit.per_sec))


def fill(bucket: Bucket, limit: Limit, now: float) -> None:
    """Add what has accrued since the last call."""
    bucket.left = min(float(limit.burst), bucket.left + (now - bucket.at) * limit.per_sec)
    bucket.at = now
