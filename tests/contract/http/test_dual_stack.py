"""IPv4 and IPv6: unless an address is set, the service listens on both."""

from __future__ import annotations

import socket
from contextlib import AsyncExitStack, suppress

import aiohttp
import pytest
from aiohttp import web

from samply_operator.api.server.listener import HttpListener
from samply_operator.settings import Settings


async def listen(stack: AsyncExitStack, app: web.Application) -> int:
    """On a port that is free for both: a client may get it between the look and its use."""
    for _ in range(20):
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = int(found.getsockname()[1])
        with suppress(OSError):
            await stack.enter_async_context(HttpListener(app, Settings().api.host, port, drain_secs=0))
            return port
    raise AssertionError("no port is free for both families")


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
async def test_both_families_are_served() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.remote)

    app = web.Application()
    app.router.add_get("/", answer)
    async with AsyncExitStack() as stack:
        port = await listen(stack, app)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        for host, seen in (("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")):
            async with session.get(f"http://{host}:{port}/") as response:
                # The client's own address: limits count by it, and the access log has it.
                assert await response.text() == seen
