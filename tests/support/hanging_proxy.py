"""A proxy for a server that hangs: connections are accepted, and while `pause` lasts, no byte passes either way."""

from __future__ import annotations

import asyncio

from support.cutting_proxy import CuttingProxy


class HangingProxy(CuttingProxy):
    def __init__(self, host: str, port: int) -> None:
        super().__init__(host, port)
        self._passes = asyncio.Event()
        self._passes.set()

    def pause(self) -> None:
        self._passes.clear()

    def resume(self) -> None:
        self._passes.set()

    async def _wait(self) -> None:
        await self._passes.wait()
