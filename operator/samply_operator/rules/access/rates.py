"""How often one caller may ask: a bucket that fills steadily, and from which each request takes one."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """What was left at a moment. Starts full."""

    left: float
    at: float
    """In seconds of any clock that only goes forward."""


@dataclass(frozen=True, slots=True)
class Limit:
    per_sec: float
    """0: no limit."""
    burst: int
    """Room of the bucket."""


def open_bucket(limit: Limit, now: float) -> Bucket:
    return Bucket(float(limit.burst), now)


def take(bucket: Bucket, limit: Limit, now: float) -> int:
    """Take one, in place. 0: it was there; else whole seconds until one is."""
    fill(bucket, limit, now)
    if bucket.left >= 1:
        bucket.left -= 1
        return 0
    return max(1, math.ceil((1 - bucket.left) / limit.per_sec))


def fill(bucket: Bucket, limit: Limit, now: float) -> None:
    """What came in since the last look."""
    bucket.left = min(float(limit.burst), bucket.left + (now - bucket.at) * limit.per_sec)
    bucket.at = now
