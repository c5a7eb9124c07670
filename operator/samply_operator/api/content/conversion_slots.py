"""Whose turn it is to have a profile read: one child process at a time, so that the container's memory suffices.

Who comes meanwhile waits a little, or is told to come later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from samply_operator import errors
from samply_operator.profiles.worker import bounded

MAX_WAITING = 8
"""Further ones are told to come later."""
WAIT_SECS = 60.0
"""How long one waits for those before."""
CPU_SECS = 60
WALL_SECS = 90.0
OUT_BYTES = 1 << 20
"""A child answers on its stdout and has no file to write."""
MAX_RAW_BYTES = 1 << 30


class Turns:
    """The limits of all children together."""

    def __init__(self, memory_bytes: int) -> None:
        self.limits = bounded.Limits(memory_bytes, CPU_SECS, WALL_SECS, OUT_BYTES, MAX_RAW_BYTES)
        self._turn = asyncio.Semaphore(1)
        self.waiting = 0

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Raises TooManyRequests."""
        await self._wait()
        try:
            yield
        finally:
            self._turn.release()

    async def _wait(self) -> None:
        if self.waiting >= MAX_WAITING:
            raise _build_busy()
        self.waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECS):
                await self._turn.acquire()
        except TimeoutError as error:
            raise _build_busy() from error
        finally:
            self.waiting -= 1


def _build_busy() -> errors.TooManyRequests:
    return errors.TooManyRequests("Other profiles are being converted.", remedy="Try again in a few seconds.")
