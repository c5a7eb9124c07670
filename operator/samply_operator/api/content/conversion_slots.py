"""Queue for conversions: one child process at a time, so that the container's memory suffices. Others wait a little or
get 429. Callers take turns, so that many requests of one caller delay only that caller.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from samply_operator import errors

MAX_WAITING = 16
"""Further requests get 429."""
MAX_WAITING_OF_ONE = 4
"""The same per caller."""
WAIT_SECS = 60.0
"""How long a request waits for those before it."""


class ConversionQueue:
    """One at a time; the next one is the oldest request of the next caller."""

    def __init__(self) -> None:
        self._is_taken = False
        self._queues: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """By caller, in the order in which they are served."""

    @property
    def waiting(self) -> int:
        return sum(map(len, self._queues.values()))

    @asynccontextmanager
    async def take(self, caller: str) -> AsyncIterator[None]:
        """Raises TooManyRequests. A request that is cancelled while it waits leaves the queue immediately."""
        if self._is_taken:
            await self._wait(caller)
        self._is_taken = True
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, caller: str) -> None:
        queue = self._queues.get(caller, deque())
        if self.waiting >= MAX_WAITING or len(queue) >= MAX_WAITING_OF_ONE:
            raise _build_busy()
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(place)
        self._queues[caller] = queue
        try:
            async with asyncio.timeout(WAIT_SECS):
                await place
        except TimeoutError as error:
            self._leave(caller, place)
            raise _build_busy() from error
        except asyncio.CancelledError:
            self._leave(caller, place)
            raise

    def _leave(self, caller: str, place: asyncio.Future[None]) -> None:
        queue = self._queues.get(caller, deque())
        if place in queue:
            queue.remove(place)
            if not queue:
                del self._queues[caller]
        elif place.done() and not place.cancelled():
            self._pass_on()  # it got the slot at the moment in which it was cancelled

    def _pass_on(self) -> None:
        while self._queues:
            caller, queue = self._queues.popitem(last=False)
            place = queue.popleft()
            if queue:
                self._queues[caller] = queue
            if not place.done():
                place.set_result(None)  # the slot stays taken, so that no other caller gets it in between
                return
        self._is_taken = False


def _build_busy() -> errors.TooManyRequests:
    return errors.TooManyRequests("Other profiles are being converted.", remedy="Try again in a few seconds.")
