"""Limits the number of connections, in total and per address."""

from __future__ import annotations

import logging
import time
from collections import Counter

from samply_operator.api.server.measures import CLOSED, CONNECTIONS

logger = logging.getLogger(__name__)

LOG_SECS = 10.0
"""Refused connections are logged this often, not once for each."""


class ConnectionLimits:
    """Shared by all connections of a listener. Those of the metrics port are not counted in the metrics."""

    def __init__(self, most: int = 2000, most_of_one: int = 1000, *, is_counted: bool = True) -> None:
        self.most = most
        self.most_of_one = most_of_one
        self._is_counted = is_counted
        self._of: Counter[str] = Counter()
        self._total = 0
        self._logged_at = 0.0

    def enter(self, address: str) -> bool:
        """Returns False if there are too many. Call `leave` in any case."""
        self._total += 1
        self._of[address] += 1
        CONNECTIONS.inc(self._is_counted)
        if self._total > self.most:
            return self._refuse("total", f"more than {self.most} connections")
        if self._of[address] > self.most_of_one:
            return self._refuse("address", f"more than {self.most_of_one} connections from {address}")
        return True

    def leave(self, address: str) -> None:
        self._total -= 1
        self._of[address] -= 1
        if not self._of[address]:
            del self._of[address]
        CONNECTIONS.dec(self._is_counted)

    def _refuse(self, limit: str, what: str) -> bool:
        CLOSED.labels(limit).inc()
        now = time.monotonic()
        if now - self._logged_at > LOG_SECS:
            self._logged_at = now
            logger.warning("%s: further ones are closed", what)
        return False
