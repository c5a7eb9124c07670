"""IPv4 and IPv6: unless an address is set, the service listens on both."""

from __future__ import annotations

import socket

import aiohttp
import pytest
from aiohttp import web

from samply_operator.api.server.listener import HttpListener
from samply_operator.settings import Settings


@pytest.mark.skipif(not socket.has_ipv6, reason="this Python has no IPv6")
async def test_both_families_are_served() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=request.remote)

    app = web.Application()
    app.router.add_get("/", answer)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    async with HttpListener(app, Settings().api.host, port, drain_secs=0), aiohttp.ClientSession() as session:
        for host, seen in (("127.0.0.1", "127.0.0.1"), ("[::1]", "::1")):
            async with session.get(f"http://{host}:{port}/") as response:
                # The client's own address: limits count by it, and the access log has it.
                assert await response.text() == seen
