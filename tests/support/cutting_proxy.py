"""A proxy for a failing connection: passes bytes through unchanged, and cuts each connection where the test says.

async with CuttingProxy(host, port) as proxy:
    proxy.cuts = [70_000, 3]      the next two connections end after so many bytes from the server, the others don't
    … connect to 127.0.0.1, proxy.port
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self

PIECE_BYTES = 16 * 1024


class CuttingProxy:
    def __init__(self, host: str, port: int) -> None:
        self._to = host, port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.cuts: list[int] = []
        self.cut_count = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """No coroutine: one that is cancelled before it began would leave the connection open."""
        task = asyncio.create_task(self._forward(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(lambda _: writer.transport.abort())  # a reset, as a failing box on the way gives it
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left = self.cuts.pop(0) if self.cuts else None
        out_reader, out_writer = await asyncio.open_connection(*self._to)
        ways = {
            asyncio.create_task(self._pass(reader, out_writer, None)),
            asyncio.create_task(self._pass(out_reader, writer, left)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            out_writer.transport.abort()

    async def _wait(self) -> None:
        """Before each piece."""

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, left: int | None) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(PIECE_BYTES if left is None else min(left, PIECE_BYTES)):
                await self._wait()
                writer.write(data)
                await writer.drain()
                if left is not None:
                    left -= len(data)
                    if left <= 0:
                        self.cut_count += 1
                        return
