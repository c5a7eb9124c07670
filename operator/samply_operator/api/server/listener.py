"""The listening socket and what aiohttp leaves open at the protocol's edge: limits, time-outs, JSON for bad HTTP."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from aiohttp import web

from samply_operator.api.server import draining, problems
from samply_operator.api.server.access_log import AccessLogger
from samply_operator.api.server.connection_limits import ConnectionLimits

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

IDLE_SECS = 20.0
"""A connection without a complete request head for this long is closed: idle and slow clients alike."""
DRAIN_SECS = 20.0
"""How long running downloads may continue after the shutdown was requested."""
LINGER_SECS = 2.0
"""How long an unwanted request body is read and dropped before the connection is closed."""
SENDING_SECS = 3.0
"""How long the kernel may go on with what was written for clients, once all connections are closed: what the chart's
values leave of a pod's 30 s to end."""
STALL_MS = 300_000
"""The kernel drops a client that reads nothing for this long."""
BACKLOG = 512
TLS_LIMITS: dict[str, Any] = {"ssl_handshake_timeout": 10.0, "ssl_shutdown_timeout": 2.0}
LIMITS: dict[str, Any] = {
    "access_log_class": AccessLogger,
    "lingering_time": LINGER_SECS,
    "max_headers": 64,
    "max_line_size": 8190,
    "max_field_size": 8190,
    "auto_decompress": False,  # bodies are never used: a compressed one is not unpacked
}


class Connection(web.RequestHandler):
    """One client: aiohttp's handler, with connection limits, and JSON responses to bad HTTP."""

    __slots__ = ("_address", "_connection_limits", "on_lost")

    def __init__(self, server: web.Server, connection_limits: ConnectionLimits, **kwargs: Any) -> None:
        super().__init__(server, **kwargs)
        self._connection_limits = connection_limits
        self._address = ""
        self.on_lost: Callable[[], object] | None = None
        """Called when the client is gone. There is one request at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALL_MS)
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if peer else ""
        if not self._connection_limits.enter(self._address):
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._connection_limits.leave(self._address)
        if self.on_lost:
            self.on_lost()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Respond to an invalid request head (400), and to an internal error (500) without its details."""
        if isinstance(exc, ConnectionError):
            raise exc  # the client disconnected before its response: normal, nothing to report
        if status < 500:
            problems.name_request()  # the previous request's id does not apply
        response = problems.build_bad_http() if status < 500 else problems.build_internal()
        if status >= 500:
            logger.error("a request failed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the response was cut off")
        response.force_close()
        return response


async def while_connected(request: web.Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Run the work; it is cancelled if the client disconnects. Raises ConnectionResetError."""
    task, protocol = asyncio.ensure_future(work), request.protocol
    if not isinstance(protocol, Connection):
        return await task
    protocol.on_lost = task.cancel
    if request.transport is None:
        task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        if request.transport is None:
            raise ConnectionResetError("the client went") from None
        raise
    finally:
        protocol.on_lost = None


class HttpListener:
    """Serves `app` on one address while its `async with` lasts."""

    def __init__(
        self,
        app: web.Application,
        host: str,
        port: int,
        *,
        drain_secs: float = DRAIN_SECS,
        idle_secs: float = IDLE_SECS,
        tls: ssl.SSLContext | None = None,
        connection_limits: ConnectionLimits | None = None,
    ) -> None:
        # aiohttp waits this long for the handler, and once more after it has cancelled the request's reading.
        self._runner = web.AppRunner(app, shutdown_timeout=drain_secs / 2)
        self._drain_secs = drain_secs
        self._host = host
        self._port = port
        self._idle_secs = idle_secs
        self._connection_limits = connection_limits or ConnectionLimits()
        self._tls: dict[str, Any] = {"ssl": tls, **TLS_LIMITS} if tls else {}
        self._listener: asyncio.Server | None = None

    @property
    def app(self) -> web.Application:
        return self._runner.app

    @property
    def port(self) -> int:
        """The port in use (if configured as 0: the assigned one)."""
        return int(self._listener.sockets[0].getsockname()[1]) if self._listener else self._port

    async def __aenter__(self) -> HttpListener:
        await self._runner.setup()
        server = self._runner.server
        if server is None:
            raise RuntimeError("aiohttp made no server")
        server.request_handler = problems.answer_first(server.request_handler)
        loop = asyncio.get_running_loop()
        build = partial(
            Connection, server, self._connection_limits, loop=loop, keepalive_timeout=self._idle_secs, **LIMITS
        )
        # Without a host asyncio opens a socket for each family that the machine has.
        host = self._host or None
        self._listener = await loop.create_server(build, host, self._port, backlog=BACKLOG, **self._tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        port = self.port
        if self._listener:
            self._listener.close()
        await self._runner.cleanup()
        if self._drain_secs:
            await draining.wait_sent(port, min(self._drain_secs, SENDING_SECS))
