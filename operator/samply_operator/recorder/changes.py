"""A bell: whoever shows the state waits for it to ring."""

from __future__ import annotations

import asyncio


class Changes:
    """Rings are counted, so that none is missed between two waits."""

    def __init__(self) -> None:
        self.count = 0
        self._bell = asyncio.Event()

    def notify(self) -> None:
        self.count += 1
        self._bell.set()
        self._bell = asyncio.Event()

    async def wait(self, seen: int, timeout_secs: float) -> int:
        """Return the count as soon as it differs from `seen`, or when the time is over."""
        if self.count == seen:
            bell = self._bell
            try:
                async with asyncio.timeout(timeout_secs):
                    await bell.wait()
            except TimeoutError:
                pass
        return self.count
