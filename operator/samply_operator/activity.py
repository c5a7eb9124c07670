"""What each long-lived worker is doing, and until when that is plausible: the facts behind the liveness probe.

A loop that turns proves little. A worker says what it has begun and how long it may take; one that is still at it
after that is stuck, and the process is restarted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Activity:
    """`now` is a clock that nobody sets, in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._deadlines: dict[str, float] = {}

    @contextmanager
    def doing(self, worker: str, patience_secs: float) -> Iterator[None]:
        """The worker is busy while this lasts; idle before and after, for as long as it likes."""
        self.beat(worker, patience_secs)
        try:
            yield
        finally:
            self.forget(worker)

    def beat(self, worker: str, patience_secs: float) -> None:
        """It is alive now, and says so again within this time."""
        self._deadlines[worker] = self._now() + patience_secs

    def forget(self, worker: str) -> None:
        """It has ended, or is idle."""
        self._deadlines.pop(worker, None)

    def find_stuck(self) -> list[str]:
        """Workers whose time is over, by name."""
        now = self._now()
        return sorted(worker for worker, deadline in self._deadlines.items() if now > deadline)
