"""How many short exec sessions may be open at once: exec is outside the API server's own fairness.

    async with ExecLimits(total=32, per_node=16, per_pod=4).slot(namespace, pod, node=""): …

Attached sessions, which live as long as a recording, are not counted here: the recorder bounds them itself, and if
they held slots, the short exec that stops one could wait for the very slot that it would set free.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager


class KeyedLimit:
    """A semaphore per key; unused keys take no memory."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._semaphores: dict[str, tuple[asyncio.Semaphore, int]] = {}

    def __len__(self) -> int:
        return len(self._semaphores)

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        semaphore, users = self._semaphores.get(key) or (asyncio.Semaphore(self.limit), 0)
        self._semaphores[key] = semaphore, users + 1
        try:
            async with semaphore:
                yield
        finally:
            semaphore, users = self._semaphores.pop(key)
            if users > 1:
                self._semaphores[key] = semaphore, users - 1


class ExecLimits:
    """Slots per pod, per node (if known) and in total, acquired in this order, so that there is no deadlock."""

    def __init__(self, *, total: int = 32, per_node: int = 16, per_pod: int = 4) -> None:
        self._pods = KeyedLimit(per_pod)
        self._nodes = KeyedLimit(per_node)
        self._total = KeyedLimit(total)

    @asynccontextmanager
    async def slot(self, namespace: str, pod: str, node: str = "") -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._pods.hold(f"{namespace}/{pod}"))
            if node:
                await stack.enter_async_context(self._nodes.hold(node))
            await stack.enter_async_context(self._total.hold(""))
            yield
