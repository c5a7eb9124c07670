"""Overload and abuse: too many requests, connections and idle sockets; smuggled requests; clients that disconnect."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from samply_operator.settings import Api
from support.fake_operator import KEY
from support.service import serving

from .conftest import Service, make_id, wait_until

PATH = "/v0/pipelines/orders/samply_profile"


def build(line: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join((line, "Host: x", *headers, "", "")).encode() + body


async def exchange(port: int, raw: bytes) -> bytes:
    """Send raw bytes, read to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    async with asyncio.timeout(15):
        data = await reader.read()
    writer.close()
    await writer.wait_closed()
    return data


# ---------------------------------------------------------------------------------------------------------- rates


@pytest.fixture
async def strict(folder: Path) -> AsyncIterator[Service]:
    """Few requests, few connections."""
    limits = Api(requests_per_sec=1, request_burst=50, max_connections=30, max_connections_per_address=20)
    async with serving(folder, limits) as service:
        yield service


async def test_too_many_requests_are_refused_with_retry_after(strict: Service) -> None:
    """On an open route requests count against the address, whatever token is sent."""
    assert (await strict.get("/v0/pipelines")).status == 200
    answers = [await strict.get("/v0/config", Authorization=f"Bearer {number}") for number in range(60)]
    refused = answers[-1]
    details = refused.assert_error(429, "TooManyRequests")
    assert refused.headers["Retry-After"] == str(details["retry_after_secs"]) == "1"
    assert (await strict.get("/healthz")).status == 200
    assert (await strict.get("/readyz")).status == 200
    assert (await strict.get("/v0/pipelines")).status == 200, "who was authenticated before pays for themselves"


async def test_made_up_tokens_are_reviewed_only_within_the_rate_of_the_address(strict: Service) -> None:
    """Even if they were sent to an open route first, or many at once."""
    junk = [f"Bearer a.b.{number}" for number in range(100)]
    assert (await strict.get("/v0/pipelines")).status == 200
    for each in junk[:20]:
        await strict.get("/v0/config", Authorization=each)
    statuses = []
    for start in range(0, 100, 10):
        asked = [strict.get("/v0/pipelines", Authorization=each) for each in junk[start : start + 10]]
        statuses += [answer.status for answer in await asyncio.gather(*asked)]
    assert set(statuses) == {401, 429}
    assert len(strict.operator.reviewed) <= 50 - 20 + 3, "what flowed in meanwhile included"
    assert (await strict.get("/v0/pipelines")).status == 200


# ---------------------------------------------------------------------------------------------------- connections


async def open_idle(port: int, count: int, address: str = "127.0.0.1") -> list[socket.socket]:
    loop, found = asyncio.get_running_loop(), []
    for _ in range(count):
        plug = socket.socket()
        plug.setblocking(False)
        plug.bind((address, 0))
        await loop.sock_connect(plug, ("127.0.0.1", port))
        found.append(plug)
    return found


async def is_closed(plug: socket.socket) -> bool:
    try:
        async with asyncio.timeout(0.2):
            return await asyncio.get_running_loop().sock_recv(plug, 1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


async def test_one_address_cannot_take_all_connections(strict: Service) -> None:
    """The 21st of an address is closed, another address is served."""
    with Sockets() as held:
        held.add(await open_idle(strict.port, 20, "127.0.0.2"))
        [late] = held.add(await open_idle(strict.port, 1, "127.0.0.2"))
        assert await is_closed(late)
        assert (await strict.get("/v0/config")).status == 200


async def test_more_connections_than_the_limit_are_closed_and_room_comes_back(strict: Service) -> None:
    with Sockets() as held:
        for last in range(2, 5):
            held.add(await open_idle(strict.port, 10, f"127.0.0.{last}"))
        [late] = held.add(await open_idle(strict.port, 1, "127.0.0.9"))
        assert await is_closed(late)

    async def is_served() -> bool:
        return b" 200 OK" in await exchange(strict.port, build("GET /v0/config HTTP/1.1", "Connection: close"))

    await wait_until(is_served)


class Sockets:
    """Sockets that are closed at the end, whatever happens."""

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def add(self, plugs: list[socket.socket]) -> list[socket.socket]:
        self._held += plugs
        return plugs

    def __enter__(self) -> Sockets:
        return self

    def __exit__(self, *_: object) -> None:
        for plug in self._held:
            plug.close()


async def test_500_idle_sockets_do_not_hinder_others(service: Service) -> None:
    """Neither silent ones nor those that stop in the middle of a request head."""
    service.put(1, b"x" * 200_000)
    await service.settle()
    loop = asyncio.get_running_loop()
    with Sockets() as held:
        plugs = held.add(await open_idle(service.port, 500))
        for plug in plugs[::2]:
            await loop.sock_sendall(plug, b"GET /v0/config HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        times = []
        for _ in range(50):
            started = time.perf_counter()
            answer = await service.get(PATH)
            times.append(time.perf_counter() - started)
            assert (answer.status, len(answer.body)) == (200, 200_000)
        assert sorted(times)[25] < 0.25


# ------------------------------------------------------------------------------------------------------ smuggling

INNER = b"GET /v0/config HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        build(f"POST {PATH} HTTP/1.1", "Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n" + INNER),
        build(f"POST {PATH} HTTP/1.1", "Transfer-Encoding: chunked", "Content-Length: 0", body=b"0\r\n\r\n" + INNER),
        build(f"POST {PATH} HTTP/1.1", "Content-Length: 0", "Content-Length: 38", body=INNER),
        build(f"POST {PATH} HTTP/1.1", "Content-Length: +0", body=INNER),
        build(f"POST {PATH} HTTP/1.1", "Content-Length: -1", body=INNER),
        build(f"POST {PATH} HTTP/1.1", "Content-Length: 0x5", body=INNER),
        build(f"POST {PATH} HTTP/1.1", "Content-Length: 1_0", body=INNER),
        build(f"POST {PATH} HTTP/1.1", "Content-Length: 99999999999999999999", body=INNER),
        build(f"POST {PATH} HTTP/1.1", "Transfer-Encoding: xchunked", body=b"0\r\n\r\n" + INNER),
        build(f"POST {PATH} HTTP/1.1", "Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n" + INNER),
        build(f"POST {PATH} HTTP/1.1", "Transfer-Encoding : chunked", body=b"0\r\n\r\n" + INNER),
        build(f"POST {PATH} HTTP/1.1", "Transfer-Encoding: chunked", body=b"zz\r\n\r\n" + INNER),
        build(f"POST {PATH} HTTP/1.1", "Transfer-Encoding: chunked", body=b"-1\r\n\r\n" + INNER),
        build(f"POST {PATH} HTTP/1.1", "Transfer-Encoding: chunked", body=b"5\r\nabcdefgh\r\n0\r\n\r\n" + INNER),
        build(f"POST {PATH} HTTP/1.1", "Transfer-Encoding: chunked", body=b"0\nX: y\n\n" + INNER),
        build(f"GET {PATH} HTTP/1.1", " folded: x") + INNER,
        build(f"GET {PATH} HTTP/1.1", "X: a\x00b") + INNER,
        f"GET {PATH} HTTP/1.1\nHost: x\n\n".encode() + INNER,
        f"GET {PATH}\r\n\r\n".encode() + INNER,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + INNER,
        build("GET /v0/config HTTP/9.9") + INNER,
    ],
    ids=lambda raw: repr(raw[40:100]),
)
async def test_no_request_hides_in_the_body_of_another(service: Service, raw: bytes) -> None:
    """Anything that two servers could read differently is refused, and the connection is closed."""
    data = await exchange(service.port, raw)
    assert b"edition" not in data, "the hidden request was answered"
    assert data.startswith((b"HTTP/1.0 4", b"HTTP/1.1 4"))
    assert data.count(b"HTTP/1.") == 1


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PATCH", "PUT", "PROPFIND", "OPTIONS"])
async def test_methods_without_a_meaning_are_refused(service: Service, method: str) -> None:
    target = "x:443" if method == "CONNECT" else PATH
    data = await exchange(service.port, build(f"{method} {target} HTTP/1.1", "X-Secret: s3cret", "Connection: close"))
    assert b"s3cret" not in data
    assert not data.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v0/pipelines/%C3%A9t%C3%A9/samply_profile", 404),
        ("/v0/pipelines/%E2%80%AE/samply_profile", 404),
        ("/v0/pipelines/" + "%F0%9F%92%A9" * 50 + "/samply_profile", 404),
        ("/v0/pipelines/a%0ab/samply_profile", 404),
        ("/v0/pipelines/%c0%ae%c0%ae/samply_profile", 404),
        ("http://evil.example/v0/pipelines/orders/samply_profile?ordinal=%00", 400),
        (PATH + "?ordinal=" + "9" * 4000, 400),
        (PATH + "?namespace=" + "%00" * 1000, 400),
        (PATH + "?" + "&".join(f"k{n}=v" for n in range(900)), 200),
        (PATH + "?" + "a[]" * 2000, 200),
        (PATH + "?%ff=%fe&;=;&==&&&", 200),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_odd_targets_get_a_plain_answer(service: Service, target: str, status: int) -> None:
    service.put(1)
    await service.settle()
    data = await exchange(
        service.port, build(f"GET {target} HTTP/1.1", f"Authorization: Bearer {KEY}", "Connection: close")
    )
    assert int(data.split()[1]) == status
    if status != 200:
        assert set(json.loads(data.partition(b"\r\n\r\n")[2])) == {"message", "error_code", "details"}


async def test_an_unexpected_body_is_not_read_to_its_end(service: Service) -> None:
    """The connection of a client that sends without end is closed after a moment."""
    _, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(build(f"POST {PATH} HTTP/1.1", "Transfer-Encoding: chunked"))
    with pytest.raises(ConnectionError):
        await send_without_end(writer, 15)
    writer.transport.abort()


async def send_without_end(writer: asyncio.StreamWriter, secs: float) -> None:
    deadline = time.monotonic() + secs
    while time.monotonic() < deadline:
        writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        await writer.drain()


# --------------------------------------------------------------------------------------------------- gone clients


async def test_clients_that_hang_up_early_are_no_errors(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """At once, after half a head, after the head, in the middle of a large answer, in the middle of a POST."""
    service.put(1, b"x" * 8_000_000)
    await service.settle()
    whole = build(f"GET {PATH} HTTP/1.1")
    for raw in (b"", whole[:20], whole, build(f"POST {PATH} HTTP/1.1"), build(f"POST {PATH} HTTP/1.1")[:30]):
        for _ in range(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
            writer.write(raw)
            await writer.drain()
            if raw == whole:
                await reader.readexactly(100)
            writer.transport.abort()
    answer = await service.get(PATH, Range="bytes=0-3")
    assert answer.body == b"xxxx"
    assert not [record for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}]
    assert make_id(1) in service.state.view.catalog.by_id
