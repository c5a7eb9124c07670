"""Sends bytes of a file into a plain TCP connection, without a copy in this process.

`loop.sendfile` does the same with two more system calls and a dozen Python calls each time the socket has room, which
costs a quarter of the speed on a fast network; and when its first call fails it cannot distinguish a disconnected
client from a file system without sendfile. Here the socket's descriptor is duplicated, registered once, and used until
all is sent.
"""

from __future__ import annotations

import asyncio
import errno
import os

AT_ONCE_BYTES = 1024 * 1024
"""A fast client's socket accepts some MiB at a time: between two pieces other requests run."""
CANNOT = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
"""Errors of the kernel for files that cannot be sent this way."""


class FileSender:
    """Sends `file_fd` from `offset` (the current position) up to `stop` into a socket. Its methods raise OSError for
    errors of the socket or the file, EOFError if the file ends early."""

    def __init__(self, transport: asyncio.BaseTransport, file_fd: int, offset: int, stop: int) -> None:
        self.offset = offset
        self._stop = stop
        self._file_fd = file_fd
        self._socket_fd = transport.get_extra_info("socket").fileno()

    def send(self) -> bool:
        """What fits, AT_ONCE_BYTES at most. True: all is sent."""
        try:
            size = min(self._stop - self.offset, AT_ONCE_BYTES)
            sent = os.sendfile(self._socket_fd, self._file_fd, self.offset, size)
        except BlockingIOError:
            return False
        if sent == 0:
            raise EOFError("the file ended early")
        self.offset += sent
        return self.offset == self._stop

    async def run(self) -> None:
        """Until all is sent, each time the socket has room. Once only."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        fd = self._socket_fd = os.dup(self._socket_fd)
        try:
            loop.add_writer(fd, self._go_on, ended)
            await ended
        finally:
            loop.remove_writer(fd)
            os.close(fd)

    def _go_on(self, ended: asyncio.Future[None]) -> None:
        """Called by the loop while the socket has room."""
        if ended.done():
            return
        try:
            if self.send():
                ended.set_result(None)
        except (OSError, EOFError) as error:
            ended.set_exception(error)
