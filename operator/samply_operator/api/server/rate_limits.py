"""Limits on how often one caller asks, before anything else is done for it.

A caller is the credential that it shows, else the address that it comes from. Whose credential is refused (401) pays
from the bucket of its address too: when that is empty, only credentials that were good before are looked at, so that
guessing costs little here, and nothing to those who share the address.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import hdrs, web

from samply_operator import errors
from samply_operator.api.server.measures import REFUSED
from samply_operator.rules.access import rates
from samply_operator.rules.access.rates import Bucket, Limit

MAX_KEPT = 10_000
"""Callers that are remembered; who wasn't seen for the longest time is forgotten, and so starts full again."""
FREE = frozenset({"/healthz", "/readyz"})
"""The kubelet's probes share an address with whatever runs on the node."""

Key = int | str


class Rates:
    def __init__(self, limit: Limit, now: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._now = now
        self._buckets: OrderedDict[Key, Bucket] = OrderedDict()
        self._good: OrderedDict[int, None] = OrderedDict()

    def admit(self, request: web.Request) -> None:
        """Raises TooManyRequests."""
        if not self._limit.per_sec or request.path in FREE:
            return
        shown = request.headers.get(hdrs.AUTHORIZATION)
        address = request.remote or ""
        if shown is None:
            self._take(address, "address")
            return
        key = hash(shown)  # seeded anew in each process: no credential is kept
        if key not in self._good:
            self._look(address)
        self._take(key, "credential")

    def note(self, request: web.Request, status: int) -> None:
        """How it was answered: a credential is good, or its address pays."""
        if not self._limit.per_sec:
            return
        shown = request.headers.get(hdrs.AUTHORIZATION)
        if shown is None:
            return
        key = hash(shown)
        if status == 401:
            self._good.pop(key, None)
            rates.take(self._find(request.remote or ""), self._limit, self._now())
        elif status < 400 and key not in self._good:
            self._good[key] = None
            if len(self._good) > MAX_KEPT:
                self._good.popitem(last=False)

    def _take(self, key: Key, whose: str) -> None:
        wait_secs = rates.take(self._find(key), self._limit, self._now())
        if wait_secs:
            REFUSED.labels(whose).inc()
            raise _build_refusal(self._limit, wait_secs)

    def _look(self, address: str) -> None:
        bucket = self._find(address)
        rates.fill(bucket, self._limit, self._now())
        if bucket.left < 1:
            REFUSED.labels("stranger").inc()
            raise _build_refusal(self._limit, 1)

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
        remedy="Wait as Retry-After says; whoever runs this may raise config.api.requestsPerSec.",
        details={"retry_after_secs": wait_secs},
    )
