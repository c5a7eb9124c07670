"""Bytes that no HTTP library would send: path tricks, malformed heads, and slow clients."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from aiohttp import web

from samply_operator.api.server.listener import HttpListener
from support.fake_operator import KEY

from .conftest import Service

TOKEN = f"Authorization: Bearer {KEY}\r\n".encode()


async def exchange(port: int, raw: bytes) -> tuple[int, bytes]:
    """Send raw bytes, read to the end of the connection; (status, body)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    await writer.drain()
    async with asyncio.timeout(10):
        data = await reader.read()
    writer.close()
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def build(target: str | bytes, method: bytes = b"GET") -> bytes:
    target = target.encode("latin-1") if isinstance(target, str) else target
    return method + b" " + target + b" HTTP/1.1\r\nHost: x\r\n" + TOKEN + b"Connection: close\r\n\r\n"


@pytest.mark.parametrize(
    "target",
    [
        "/v0/pipelines/..%2f..%2fetc%2fpasswd/samply_profile",
        "/v0/pipelines/%2e%2e/samply_profile",
        "/v0/pipelines/../samply_profile",
        "/v0/pipelines/a%00b/samply_profile",
        "/v0/pipelines/%00/samply_profile",
        "/v0/pipelines/%ff%fe/samply_profile",
        "/v0/pipelines/a%2Fb/samply_profile",
        "/v0/pipelines/a%5cb/samply_profile",
        "/v0/pipelines//samply_profile",
        "/v0/pipelines/a%0d%0aSet-Cookie:x/samply_profile",
        "/v0/pipelines/orders/samply_profile/",
        "/v0/pipelines/orders/samply_profile%2f..",
        "/v0/pipelines/orders/samply_profiles/..%2f..%2fmanifest.json/profile",
        "/v0/pipelines/orders/samply_profiles/%2e%2e/profile",
        "//v0/pipelines/orders/samply_profile",
        "/v0/pipelines/" + "a" * 5000 + "/samply_profile",
        "/%",
        "/%zz",
    ],
)
async def test_a_trick_with_the_path_is_a_plain_404(service: Service, target: str) -> None:
    service.put(1)
    await service.settle()
    status, body = await exchange(service.port, build(target))
    assert status == 404
    assert set(json.loads(body)) == {"message", "error_code", "details"}
    assert str(service.volume.root).encode() not in body


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        build("/v0/config", b"BREW"),
        build(b"/v0/pipelines/a\x00b/samply_profile"),
        build("/" + "a" * 10_000),
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 10_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(200)) + b"\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
    ],
    ids=lambda raw: repr(raw[:24]),
)
async def test_a_broken_head_is_a_400_in_the_usual_shape(
    service: Service, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    status, body = await exchange(service.port, raw)
    assert "Unhandled" not in caplog.text
    assert status == 400
    assert json.loads(body)["error_code"] == "BadRequest"


async def test_a_body_without_end_does_not_hold_the_connection(service: Service) -> None:
    raw = (
        b"POST /v0/pipelines/a/samply_profile HTTP/1.1\r\nHost: x\r\n" + TOKEN + b"Content-Length: 99999999\r\n\r\nabc"
    )
    started = time.monotonic()
    status, _ = await exchange(service.port, raw)
    assert status == 404
    assert time.monotonic() - started < 8


async def test_pipelined_requests_are_all_answered(service: Service) -> None:
    raw = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 20 + build("/healthz")
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(raw)
    data = await reader.read()
    writer.close()
    assert data.count(b"HTTP/1.1 200 OK") == 21


@pytest.mark.parametrize(
    "start", [b"GET /", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: "], ids=["half a line", "half a head"]
)
async def test_a_client_that_never_ends_its_head_is_closed(start: bytes) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/healthz", answer)
    async with HttpListener(app, "127.0.0.1", 0, idle_secs=0.3, drain_secs=0.1) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        writer.write(build("/healthz").replace(b"Connection: close\r\n", b""))
        assert await reader.readuntil(b"\r\n\r\n")
        writer.write(start)
        trickle = asyncio.create_task(drip(writer))
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        trickle.cancel()
        writer.close()


async def drip(writer: asyncio.StreamWriter) -> None:
    """A byte now and then, so that the line is never quiet."""
    while True:
        await asyncio.sleep(0.05)
        if not writer.is_closing():
            writer.write(b"a")


async def test_an_internal_error_reveals_no_details(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    async def fail(request: web.Request) -> web.Response:
        raise RuntimeError(f"the secret is in {tmp_path}")

    app = web.Application()
    app.router.add_get("/fail", fail)
    async with HttpListener(app, "127.0.0.1", 0, drain_secs=0.1) as listener:
        status, body = await exchange(listener.port, build("/fail"))
    assert status == 500
    assert json.loads(body)["error_code"] == "InternalError"
    assert b"secret" not in body
    assert "the secret is in" in caplog.text
