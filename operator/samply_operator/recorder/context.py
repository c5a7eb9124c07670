"""What every step of a recording needs: clients, settings, clock."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from samply_operator.feldera.client import FelderaClient
from samply_operator.kube.client import KubeClient
from samply_operator.kube.events import EventSink
from samply_operator.settings import Settings
from samply_operator.store.store import Store

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Context:
    client: KubeClient
    volume: Store
    events: EventSink
    settings: Settings
    now: Callable[[], float]
    """Unix time."""
    uptime: Callable[[], float] = time.monotonic
    """Seconds on a monotonic clock, to measure durations."""
    bakes: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    """How many children that read a profile may run at once: each may take `finishMemoryBytes`."""
    feldera: FelderaClient | None = None
    """None: Feldera is not asked."""


@dataclass(slots=True)
class Backoff:
    """Growing, randomized pauses until a deadline on a monotonic clock."""

    limit_secs: float
    now: Callable[[], float] = time.monotonic
    first_secs: float = 0.2
    longest_secs: float = 5.0
    _since: float | None = None
    _next: float = 0.0

    async def pause(self, error: Exception) -> None:
        """Wait before the next try. Raises `error` when the time is over."""
        now = self.now()
        if self._since is None:
            self._since, self._next = now, self.first_secs
        if now - self._since > self.limit_secs:
            raise error
        await asyncio.sleep(self._next * random.uniform(0.75, 1.25))  # noqa: S311 - no secret
        self._next = min(self.longest_secs, self._next * 2)

    def reset(self) -> None:
        """Reset after a success: the next error starts with the shortest pause."""
        self._since = None
