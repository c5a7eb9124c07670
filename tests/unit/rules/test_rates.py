"""A caller's bucket: a burst at once, then a steady rate, and how long to wait."""

from __future__ import annotations

import pytest

from samply_operator.rules.access import rates
from samply_operator.rules.access.rates import Limit

LIMIT = Limit(per_sec=2, burst=3)


def test_a_burst_and_then_the_rate() -> None:
    bucket = rates.open_bucket(LIMIT, 100.0)
    assert [rates.take(bucket, LIMIT, 100.0) for _ in range(4)] == [0, 0, 0, 1]
    assert rates.take(bucket, LIMIT, 100.5) == 0
    assert rates.take(bucket, LIMIT, 100.5) == 1


def test_a_long_pause_gives_no_more_than_the_burst() -> None:
    bucket = rates.open_bucket(LIMIT, 0.0)
    assert [rates.take(bucket, LIMIT, 10_000.0) for _ in range(4)] == [0, 0, 0, 1]


@pytest.mark.parametrize(("per_sec", "wait_secs"), [(0.1, 10), (0.5, 2), (1, 1), (100, 1)])
def test_the_wait_is_in_whole_seconds_and_never_0(per_sec: float, wait_secs: int) -> None:
    limit = Limit(per_sec, 1)
    bucket = rates.open_bucket(limit, 0.0)
    assert rates.take(bucket, limit, 0.0) == 0
    assert rates.take(bucket, limit, 0.0) == wait_secs
    assert rates.take(bucket, limit, float(wait_secs)) == 0


def test_waiting_as_advised_suffices_despite_other_refusals() -> None:
    """A refusal costs nothing."""
    limit = Limit(0.5, 1)
    bucket = rates.open_bucket(limit, 0.0)
    rates.take(bucket, limit, 0.0)
    assert all(rates.take(bucket, limit, n / 100) for n in range(100))
    assert rates.take(bucket, limit, 2.0) == 0
