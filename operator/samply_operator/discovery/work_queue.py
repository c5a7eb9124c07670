"""A work queue: one worker per key at a time, with retries after growing pauses. kopf does not retry failed `on.event`
handlers, so handlers only add keys here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from samply_operator.activity import Activity
from samply_operator.errors import SamplyOperatorError
from samply_operator.supervisor import Supervisor

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECS = 0.5
LONGEST_PAUSE_SECS = 60.0
PATIENCE_SECS = 600.0
"""How long the work on one key may take until it counts as stuck: each request in it has a time-out of its own."""

Key = TypeVar("Key", bound=Hashable)


class WorkQueue(Generic[Key]):
    """`work` is called with one key at a time per key; a key put in meanwhile is worked on again afterwards."""

    def __init__(
        self,
        work: Callable[[Key], Awaitable[None]],
        *,
        name: str = "queue",
        workers: int = 4,
        activity: Activity | None = None,
    ) -> None:
        self._work = work
        self._name = name
        self._activity = activity or Activity()
        self._workers = workers
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        self._attempts: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    @property
    def length(self) -> int:
        """Keys that wait for a worker."""
        return len(self._waiting) + len(self._again)

    @property
    def is_idle(self) -> bool:
        """Nothing is worked on, and nothing waits for a worker."""
        return not (self._waiting or self._busy or self._again)

    def put(self, key: Key) -> None:
        """Work on `key` as soon as possible."""
        if key in self._busy:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def put_later(self, key: Key, pause_secs: float) -> None:
        """Once, at the earliest of the times that were asked for."""
        loop = asyncio.get_running_loop()
        timer, at = self._timers.get(key), loop.time() + pause_secs
        if timer is not None:
            if timer.when() <= at:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(at, self._put_now, key)

    def _put_now(self, key: Key) -> None:
        del self._timers[key]
        self.put(key)

    async def run(self) -> None:
        """Work until cancelled."""
        async with Supervisor() as supervisor:
            for number in range(self._workers):
                supervisor.start(f"{self._name}, worker {number}", self._run_worker())

    async def _run_worker(self) -> None:
        while True:
            key = await self._ready.get()
            self._waiting.discard(key)
            self._busy.add(key)
            try:
                await self._attempt(key)
            finally:
                self._busy.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.put(key)

    async def _attempt(self, key: Key) -> None:
        try:
            with self._activity.doing(f"{self._name}: {key}", PATIENCE_SECS):
                await self._work(key)
        except SamplyOperatorError as error:
            attempt = self._attempts[key] = self._attempts.get(key, 0) + 1
            pause = min(LONGEST_PAUSE_SECS, FIRST_PAUSE_SECS * 2 ** (attempt - 1))
            logger.warning("%s: attempt %d: %s; again in %g s", key, attempt, error, pause)
            self.put_later(key, pause)
        except Exception:  # a defect met on one object must not end the work on all others
            logger.exception("%s: a defect; again in %g s", key, LONGEST_PAUSE_SECS)
            self.put_later(key, LONGEST_PAUSE_SECS)
        else:
            self._attempts.pop(key, None)
