"""Sends a response body to a client: from memory, and from files by sendfile if the connection is plain TCP.

A file is never read into memory as a whole. A client that hangs up is normal.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from typing import BinaryIO, ClassVar

from aiohttp import web

from samply_operator.api.content import sendfile

READ_BYTES = 256 * 1024
"""Read and written at once where sendfile can't be used (TLS); other requests wait as long as this takes to encrypt."""
SMALL_READ_BYTES = 64 * 1024
"""The same while more than FEW do it: each uses several times as much for buffers."""
FEW = 16


async def _read(fd: int, start: int, size: int) -> bytes | bytearray:
    """What is in the page cache at once; what isn't, or where the file system can't tell, in a thread: the way there
    and back takes as long as to encrypt half of a piece."""
    data = bytearray(size)
    try:
        got = os.preadv(fd, [data], start, os.RWF_NOWAIT)
    except OSError:
        got = 0
    if got == size:
        await asyncio.sleep(0)  # nothing here waits while the client keeps up: let other requests run
        return data
    return await asyncio.to_thread(os.pread, fd, size, start)


class Sender:
    """`sent_bytes` counts those of the body, `reading` how many of this process read and write just now."""

    reading: ClassVar[int] = 0

    def __init__(self, request: web.Request, response: web.StreamResponse) -> None:
        self.sent_bytes = 0
        self._request = request
        self._response = response
        self._corked: socket.socket | None = None

    def cork(self) -> None:
        """Let the head wait for the first bytes of the body: one packet and one wake-up less at the client."""
        transport = self._request.transport
        self._corked = transport.get_extra_info("socket") if transport is not None else None
        self._set_cork(is_corked=True)

    def uncork(self) -> None:
        """Send what waits. A large body is a third slower where it goes on under the cork."""
        self._set_cork(is_corked=False)
        self._corked = None

    def _set_cork(self, *, is_corked: bool) -> None:
        if self._corked is None:
            return
        try:
            self._corked.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, is_corked)
        except OSError:
            self._corked = None  # closed in the meantime

    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        """Raises ConnectionError if the client disconnected."""
        await self._response.write(data)
        self.uncork()
        self.sent_bytes += len(data)

    async def send_stream(self, pieces: AsyncIterator[memoryview]) -> None:
        """Send pieces as they arrive. Raises ConnectionError if the client disconnected, and what `pieces` raises."""
        async for piece in pieces:
            for start in range(0, len(piece), READ_BYTES):
                await self.send_bytes(piece[start : start + READ_BYTES])

    async def send_file(self, file: BinaryIO, start: int, stop: int) -> None:
        """Raises ConnectionError if the client disconnected, TimeoutError if the kernel gave up (listener.STALL_MS),
        EOFError if the file ends early."""
        if start < stop and not self._request.secure:
            start = await self._send_file(file, start, stop)
        Sender.reading += 1
        try:
            while start < stop:
                size = SMALL_READ_BYTES if Sender.reading > FEW else READ_BYTES
                data = await _read(file.fileno(), start, min(stop - start, size))
                if not data:
                    raise EOFError("the file ended early")
                await self.send_bytes(data)
                start += len(data)
        finally:
            Sender.reading -= 1

    async def _send_file(self, file: BinaryIO, start: int, stop: int) -> int:
        """Send by sendfile. Returns the position from which reading and writing must continue."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client went")
        if transport.get_write_buffer_size():
            return start  # earlier bytes are still buffered: nothing may overtake them
        sender = sendfile.FileSender(transport, file.fileno(), start, stop)
        try:
            is_sent = sender.send()
            self.uncork()
            if not is_sent:
                await sender.run()
        except OSError as error:
            if error.errno not in sendfile.CANNOT:
                raise
        finally:
            self.sent_bytes += sender.offset - start
        return sender.offset

    def abort(self) -> None:
        """Abort the connection, so that the client does not mistake a part for the whole."""
        self._response.force_close()
        if self._request.transport is not None:
            self._request.transport.abort()
