"""What each long-lived worker is doing, and how long that may take: the facts for the liveness probe.

A running event loop proves little. A worker announces each piece of work and its maximum duration; if it exceeds that
it is stuck, and the process is restarted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Activity:
    """`now` is a monotonic clock, in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._deadlines: dict[str, float] = {}

    @contextmanager
    def doing(self, worker: str, patience_secs: float) -> Iterator[None]:
        """The worker is busy in this context; otherwise idle, for any time."""
        self.beat(worker, patience_secs)
        try:
            yield
        finally:
            self.forget(worker)

    def beat(self, worker: str, patience_secs: float) -> None:
        """It is alive now, and reports again within this time."""
        self._deadlines[worker] = self._now() + patience_secs

    def forget(self, worker: str) -> None:
        """It has ended, or is idle."""
        self._deadlines.pop(worker, None)

    def find_stuck(self) -> list[str]:
        """Names of workers that exceeded their time."""
        now = self._now()
        return sorted(worker for worker, deadline in self._deadlines.items() if now > deadline)
