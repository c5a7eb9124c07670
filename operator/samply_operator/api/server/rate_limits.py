"""Rate limits per caller, checked before anything else.

A caller is its credential once that was authenticated, else its address. So guessed tokens use one bucket before
anything is looked up, however many requests are pending, and known callers at the same address are not affected.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import web

from samply_operator import errors
from samply_operator.api.server.measures import REFUSED
from samply_operator.api.server.shown import find_shown
from samply_operator.rules.access import rates
from samply_operator.rules.access.rates import Bucket, Limit

MAX_KEPT = 10_000
"""Callers that are remembered; who wasn't seen for the longest time is forgotten, and so starts full again."""
FREE = frozenset({"/", "/healthz", "/readyz"})
"""The kubelet's probes share an address with whatever runs on the node."""

Key = int | str


class Rates:
    def __init__(self, limit: Limit, now: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._now = now
        self._buckets: OrderedDict[Key, Bucket] = OrderedDict()
        self._good: OrderedDict[int, None] = OrderedDict()
        """Credentials that were authenticated, those used last at the end."""

    def admit(self, request: web.Request) -> None:
        """Charge for a request. Raises TooManyRequests."""
        if request.path not in FREE:
            self._take(request, 1)

    def charge(self, request: web.Request, count: int) -> None:
        """For what is done for the request's caller: nothing costs more than half a full bucket, so that it can be paid
        at all. Raises TooManyRequests."""
        if count > 0:
            self._take(request, min(count, max(1, self._limit.burst // 2)))

    def _take(self, request: web.Request, count: int) -> None:
        if not self._limit.per_sec:
            return
        key, whose = self._find_payer(request)
        wait_secs = rates.take(self._find(key), self._limit, self._now(), count)
        if wait_secs:
            REFUSED.labels(whose).inc()
            raise _build_refusal(self._limit, wait_secs)

    def trust(self, request: web.Request) -> None:
        """The request's credential was authenticated: from now on it pays for itself."""
        shown = find_shown(request)
        if not self._limit.per_sec or shown is None:
            return
        key = hash(shown)
        if key not in self._good:
            self._good[key] = None
            if len(self._good) > MAX_KEPT:
                self._good.popitem(last=False)

    def distrust(self, request: web.Request) -> None:
        """The request's credential was refused (401). If it was trusted, its address hasn't paid yet."""
        shown = find_shown(request)
        if shown is not None and self._good.pop(hash(shown), self) is None:
            rates.take(self._find(request.remote or ""), self._limit, self._now())

    def _find_payer(self, request: web.Request) -> tuple[Key, str]:
        shown = find_shown(request)
        if shown is None:
            return request.remote or "", "address"
        key = hash(shown)  # seeded anew in each process: no credential is kept
        if key not in self._good:
            return request.remote or "", "stranger"
        self._good.move_to_end(key)
        return key, "credential"

    def _find(self, key: Key) -> Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = rates.open_bucket(self._limit, self._now())
            if len(self._buckets) > MAX_KEPT:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket


def _build_refusal(limit: Limit, wait_secs: int) -> errors.TooManyRequests:
    return errors.TooManyRequests(
        f"More than {limit.per_sec:g} requests per second.",
        remedy="Wait as long as Retry-After says, or ask the administrator to raise config.api.requestsPerSec.",
        details={"retry_after_secs": wait_secs},
    )


RATES = web.AppKey("rates", Rates)
