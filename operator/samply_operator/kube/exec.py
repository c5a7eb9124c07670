"""One exec session: a WebSocket, read frame by frame, with a deadline and a pulse. (Made by KubeClient.exec.)

    session.chunks() -> async iterator of memoryview   stdout as it comes; backpressure reaches the pod
    session.lines() -> async iterator of str           stdout by lines, each cut to 64 KiB
    session.read() -> memoryview                       the next piece; empty at the end
    session.write(data), session.close_stdin()         with stdin=True; the half-close needs v5
    session.wait() -> int                              the exit code (drops what is left of stdout)
    session.stderr -> bytes                            its last 16 KiB

Three ends: exit 0, exit N, and no status, which is errors.ExecFailed (transient: repeat). Leaving the session early
never ends the process in the pod: whoever starts something long gives it an end of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass
from socket import SHUT_RDWR
from types import TracebackType
from typing import Any, Self, TypeVar, assert_never

import aiohttp

from samply_operator.errors import ExecFailed, KubeError
from samply_operator.kube import channels, faults
from samply_operator.kube.connection import WebSocket

PING_SECS = 5.0
"""Load balancers and hardened kubelets cut connections that are silent for 300 s."""
SILENCE_SECS = 30.0
"""Six unanswered pings: the peer is gone, even if TCP has not noticed."""
LINGER_SECS = 2.0
"""The status comes last; how long to wait for the connection to close after it."""
LINE_LIMIT = 64 * 1024
STDIN_FRAME = 32 * 1024
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class ExecResult:
    """The result of a short command. `is_truncated`: stdout was longer than the limit."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    is_truncated: bool = False

    @property
    def text(self) -> str:
        return self.stdout.decode("utf-8", "replace")


class ExecSession:
    """Read by one task. An async context manager that closes the connection."""

    def __init__(self, socket: WebSocket, *, deadline_secs: float) -> None:
        self._socket = socket
        self._tcp = socket.get_extra_info("socket")
        self._frames = channels.Demultiplexer()
        self._loop = asyncio.get_running_loop()
        self._deadline = self._loop.time() + deadline_secs
        self._linger_until: float | None = None
        self._is_over = False
        self._cut_by = ""
        self._pulse: asyncio.Task[None] | None = None

    @property
    def protocol(self) -> str:
        return self._socket.protocol or ""

    @property
    def stderr(self) -> bytes:
        return self._frames.stderr

    async def __aenter__(self) -> Self:
        self._pulse = asyncio.create_task(self._keep_pulse(), name="exec-pulse")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pulse is not None:
            self._pulse.cancel()
            await asyncio.gather(self._pulse, return_exceptions=True)
        # close() reads until the other side agrees; one that never stops sending must not hold us, nor may TLS's
        # own goodbye keep the connection for 30 s more.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECS):
                await self._socket.close()
        if self._tcp is not None:
            with contextlib.suppress(OSError):
                self._tcp.shutdown(SHUT_RDWR)

    async def _keep_pulse(self) -> None:
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):  # the reader gets the same error
            while not self._is_over:
                await asyncio.sleep(PING_SECS)
                await self._socket.ping()

    async def read(self) -> memoryview:
        """The next piece of stdout, not empty before the end. Raises ExecFailed at the deadline or after silence."""
        while not self._is_over:
            piece = await self._take(await self._receive())
            if piece:
                return piece
        return channels.EMPTY

    async def chunks(self) -> AsyncIterator[memoryview]:
        while piece := await self.read():
            yield piece

    async def lines(self) -> AsyncIterator[str]:
        """Lines without line ends; the last one may lack its end."""
        rest = b""
        async for piece in self.chunks():
            *whole, rest = (rest + bytes(piece)).split(b"\n")
            for line in whole:
                yield line[:LINE_LIMIT].decode("utf-8", "replace")
            rest = rest[:LINE_LIMIT]
        if rest:
            yield rest.decode("utf-8", "replace")

    async def wait(self) -> int:
        """The exit code. Raises ExecFailed if the session ended without one, KubeInvalid or KubeNotFound if the command
        or the container does not exist."""
        async for _ in self.chunks():
            pass
        match self._frames.outcome:
            case channels.Exited(code):
                return code
            case channels.Broken(message, reason):
                raise faults.build_exec_error(message, reason)
            case None:
                raise faults.build_exec_error(self._cut_by or "the connection closed", "NoStatus")
            case unknown:
                assert_never(unknown)

    async def write(self, data: bytes | memoryview) -> None:
        """Send to stdin, with backpressure."""
        view = memoryview(data)
        try:
            for start in range(0, len(view), STDIN_FRAME):
                await self._socket.send_bytes(channels.build_stdin(view[start : start + STDIN_FRAME]))
        except (aiohttp.ClientError, ConnectionError) as error:
            raise self._fail(f"stdin broke: {error}", "Broken") from error

    async def close_stdin(self) -> None:
        """Close stdin. Not possible with v4: there, give the command a length (`head -c N`)."""
        if self.protocol != channels.V5:
            return
        try:
            await self._socket.send_bytes(channels.build_half_close())
        except (aiohttp.ClientError, ConnectionError) as error:
            raise self._fail(f"stdin broke: {error}", "Broken") from error

    async def _receive(self) -> aiohttp.WSMessage | None:
        """The next message; None if only the close was missing and did not arrive in time."""
        limit = min(self._deadline, self._linger_until or self._deadline, self._loop.time() + SILENCE_SECS)
        try:
            async with asyncio.timeout_at(limit):
                return await self._socket.receive()
        except TimeoutError:
            if self._linger_until is not None:
                return None
            self._is_over = True
            if self._loop.time() >= self._deadline:
                raise self._fail("The deadline of the exec session passed.", "DeadlineExceeded") from None
            raise self._fail(f"No sign of life for {SILENCE_SECS:g} s.", "Silence") from None

    async def _take(self, message: aiohttp.WSMessage | None) -> memoryview:
        if message is None:
            self._is_over = True
            return channels.EMPTY
        match message.type:
            case aiohttp.WSMsgType.BINARY:
                piece = self._frames.feed(message.data)
                if self._frames.outcome is not None and self._linger_until is None:
                    self._linger_until = self._loop.time() + LINGER_SECS
                return piece
            case aiohttp.WSMsgType.PING:
                with contextlib.suppress(aiohttp.ClientError, ConnectionError):
                    await self._socket.pong(message.data)
            case aiohttp.WSMsgType.PONG:
                pass
            case _:
                self._is_over = True
                self._cut_by = _describe_end(message)
        return channels.EMPTY

    def _fail(self, message: str, reason: str) -> KubeError:
        return ExecFailed(message, details={"status": None, "reason": reason})


def _describe_end(message: aiohttp.WSMessage) -> str:
    if message.type is aiohttp.WSMsgType.ERROR:
        return f"the connection broke: {message.data}"
    if message.type is aiohttp.WSMsgType.TEXT:
        return "a text frame, which no exec protocol has"
    return f"the connection closed (code {message.data})" if message.data else "the connection closed"


async def collect(session: ExecSession, *, stdin: bytes | None, max_output: int) -> ExecResult:
    """Run a session to its end: feed `stdin`, keep at most `max_output` bytes of stdout."""
    if stdin is None:
        return await _collect(session, max_output)
    return await converse(_collect(session, max_output), _feed(session, stdin))


async def _collect(session: ExecSession, max_output: int) -> ExecResult:
    kept = bytearray()
    is_truncated = False
    async for piece in session.chunks():
        is_truncated = is_truncated or len(kept) + len(piece) > max_output
        kept += piece[: max_output - len(kept)]
    return ExecResult(await session.wait(), bytes(kept), session.stderr, is_truncated)


async def _feed(session: ExecSession, stdin: bytes) -> None:
    await session.write(stdin)
    await session.close_stdin()


async def converse(reading: Coroutine[Any, Any, Answer], feeding: Coroutine[Any, Any, None]) -> Answer:
    """Read and feed concurrently, since a process that is not read from may block. The reader's result counts. A
    process that ends before it has read its stdin breaks the feeder with ExecFailed: its exit code says more. Any other
    error of the feeder, such as a local file's, ends both."""
    reader, feeder = asyncio.create_task(reading, name="exec-read"), asyncio.create_task(feeding, name="exec-feed")
    try:
        await asyncio.wait({reader, feeder}, return_when=asyncio.FIRST_COMPLETED)
        if feeder.done() and (error := feeder.exception()) is not None and not isinstance(error, ExecFailed):
            raise error
        return await reader
    finally:
        reader.cancel()
        feeder.cancel()
        await asyncio.gather(reader, feeder, return_exceptions=True)
