"""How often one caller may ask: a bucket that fills steadily, from which a request takes one, and a costly one more."""

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


def take(bucket: Bucket, limit: Limit, now: float, count: int = 1) -> int:
    """Take so many, in place. 0: they were there; else whole seconds until they are."""
    fill(bucket, limit, now)
    if bucket.left >= count:
        bucket.left -= count
        return 0
    return max(1, math.ceil((count - bucket.left) / limit.per_sec))


def fill(bucket: Bucket, limit: Limit, now: float) -> None:
    """What came in since the last look."""
    bucket.left = min(float(limit.burst), bucket.left + (now - bucket.at) * limit.per_sec)
    bucket.at = now
