"""Edge cases of HTTP: valid requests outside the contract still get a response in its format."""

from __future__ import annotations

import asyncio
import json
import resource
import zlib
from pathlib import Path

import pytest

from samply_operator.api.server import access_log
from samply_operator.api.server.access_log import Batch
from support.fake_operator import KEY

from .conftest import Service, make_id

PATH = "/v0/pipelines/orders/samply_profile"
FILE = f"{PATH}s/{make_id(1)}/profile"
TOKEN = f"Authorization: Bearer {KEY}"


class Raw:
    """A response, as it came."""

    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    def assert_shape(self) -> None:
        """JSON with the request's id, and no word about software."""
        assert self.headers["content-type"].startswith("application/json")
        body = json.loads(self.body)
        assert set(body) == {"message", "error_code", "details"}
        assert body["details"]["request_id"] == self.headers["x-request-id"]
        assert self.headers["server"] == "samply-operator"


async def exchange(service: Service, *lines: str | bytes, body: bytes = b"") -> Raw:
    """One request on a connection of its own, which the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    head = [line if isinstance(line, bytes) else line.encode("latin-1") for line in lines]
    writer.write(b"\r\n".join([head[0], b"Host: x", b"Connection: close", *head[1:], b"", b""]) + body)
    async with asyncio.timeout(10):
        data = await reader.read()
    writer.close()
    return Raw(data)


async def store(service: Service) -> str:
    """Its entity tag."""
    service.put(1, b"0123456789")
    await service.settle()
    return (await service.get(PATH)).headers["ETag"]


@pytest.mark.parametrize("expect", ["foo", "100-continue, foo", "\xff", "a" * 4000])
@pytest.mark.parametrize("target", [PATH, "/nowhere", "/v0/config"])
async def test_an_expectation_that_cant_be_met_is_a_417_in_the_usual_shape(
    service: Service, target: str, expect: str
) -> None:
    answer = await exchange(service, f"GET {target} HTTP/1.1", TOKEN, f"Expect: {expect}")
    assert answer.status == 417
    answer.assert_shape()


async def test_head_has_no_ranges(service: Service) -> None:
    await store(service)
    for wanted in ("bytes=0-3", "bytes=99-"):
        answer = await service.ask("HEAD", PATH, Range=wanted)
        assert (answer.status, answer.headers["Content-Length"]) == (200, "10")
    assert (await service.get(PATH, Range="bytes=0-3")).status == 206


@pytest.mark.parametrize("target", [PATH, FILE, "/openapi.json", "/docs"])
async def test_entity_tags_on_several_lines_are_one_list(service: Service, target: str) -> None:
    await store(service)
    tag = (await service.get(target)).headers["ETag"]
    lines = ('If-None-Match: "x"', f"If-None-Match: {tag}", 'If-None-Match: "y"')
    assert (await exchange(service, f"GET {target} HTTP/1.1", TOKEN, *lines)).status == 304
    assert (await exchange(service, f"GET {target} HTTP/1.1", TOKEN, lines[0], lines[2])).status == 200


@pytest.mark.parametrize("length", [0, 5, 70_000])
async def test_connect_with_a_body_is_refused_and_the_body_is_no_request(service: Service, length: int) -> None:
    inner = b"GET /v0/config HTTP/1.1\r\nHost: x\r\n\r\n" + b"x" * length
    for framing in (f"Content-Length: {len(inner)}", "Transfer-Encoding: chunked"):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(f"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode() + inner)
        async with asyncio.timeout(10):
            data = await reader.read()
        writer.close()
        assert data.count(b"HTTP/1.") == 1, data
        answer = Raw(data)
        assert 400 <= answer.status < 500
        answer.assert_shape()


@pytest.mark.parametrize("query", ["xsignature=1", "x-signature=1&ordinal=0", "a.signature=", "signature_=1"])
async def test_an_unknown_key_that_looks_like_a_link_is_none(service: Service, query: str) -> None:
    """The token counts. A link's own key, and no other, makes a link."""
    await store(service)
    assert (await service.get(f"{FILE}?{query}")).status == 200
    assert (await exchange(service, f"GET {FILE}?{query} HTTP/1.1")).status == 401
    (await service.get(f"{FILE}?signature=1")).assert_error(403, "InvalidLink")


@pytest.mark.parametrize(
    "agent", [b"\xff", b"curl/8 \xe2\x80", b"\x80" * 200, "größe".encode()], ids=["one", "cut", "long", "words"]
)
async def test_bytes_that_are_no_text_lose_no_line_of_the_access_log(
    service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, agent: bytes
) -> None:
    """Neither their own nor their neighbours'."""
    with (tmp_path / "log").open("wb") as file:
        batch = Batch(file.fileno())
        monkeypatch.setattr(access_log, "_sink", batch.add)
        for number, value in enumerate((b"before", agent, b"after")):
            await exchange(service, f"GET /v0/config?{number} HTTP/1.1", b"User-Agent: " + value)
        await exchange(service, b"GET /" + agent + b" HTTP/1.1")
        batch.write()
    lines = [json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    assert [line["user_agent"] for line in lines[:3:2]] == ["before", "after"]
    assert len(lines) == 4


@pytest.mark.parametrize(
    "lines",
    [
        ("GET http://[::1/x HTTP/1.1",),
        ("GET http://x:99999/v0/config HTTP/1.1",),
        ("GET //evil.example/v0/config HTTP/1.1",),
        ("GET * HTTP/1.1",),
        ("OPTIONS * HTTP/1.1",),
        ("GET ?x HTTP/1.1",),
        ("GET /%ff%fe HTTP/1.1",),
        ("GET /v0/pipelines/%ud800/samply_profile HTTP/1.1", TOKEN),
        (f"GET {PATH}?ordinal=%d9%a3 HTTP/1.1", TOKEN),
        (f"GET {PATH} HTTP/1.1", TOKEN, "Range: bytes=" + "9" * 5000 + "-"),
        (f"GET {PATH} HTTP/1.1", TOKEN, "If-Modified-Since: Sat, 31 Jan 9999999999 09:00:00 GMT"),
        (f"GET {PATH} HTTP/1.1", TOKEN, "If-Modified-Since: , , ,"),
        (f"GET {PATH} HTTP/1.1", TOKEN, "If-Range: \xff"),
        (f"GET {PATH} HTTP/1.1", TOKEN, "If-None-Match: " + '"' * 8000),
        (f"GET {PATH} HTTP/1.1", TOKEN, "Origin: \xff\xfe"),
        (f"GET {PATH} HTTP/1.1", TOKEN, "Accept: " + "a/b;q=1," * 900),
        (f"GET {PATH} HTTP/1.1", TOKEN, "Cookie: " + "a=b; " * 1500),
        (f"GET {PATH} HTTP/1.1", TOKEN, "Upgrade: websocket", "Connection: upgrade"),
        (f"GET {PATH} HTTP/1.1", TOKEN, "X-Request-Id: a\tb"),
        (f"GET {PATH} HTTP/1.1", TOKEN, "X-Request-Id: " + "a" * 8000),
        (f"POST {PATH}s/{make_id(1)}/links HTTP/1.1", TOKEN, "Content-Type: \xff", "Content-Length: 0"),
        (f"POST {PATH} HTTP/1.1", TOKEN, "Content-Encoding: gzip", "Content-Length: 3"),
    ],
    ids=lambda lines: " ".join(lines)[:70].encode("ascii", "replace").decode(),
)
async def test_odd_requests_get_a_plain_answer(
    service: Service, lines: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """No 500, no traceback."""
    await store(service)
    body = b"abc" if "Content-Length: 3" in lines else b""
    answer = await exchange(service, *lines, body=body)
    assert answer.status != 500, answer.body
    if answer.status >= 400:
        answer.assert_shape()
    assert not [record for record in caplog.records if record.exc_info], caplog.text


async def test_a_body_that_unpacks_to_gigabytes_is_not_unpacked(service: Service) -> None:
    """No route expects a body."""
    bomb = zlib.compress(bytes(1 << 29), 9)
    before = resource.getrusage(resource.RUSAGE_SELF)
    head = (f"POST {PATH} HTTP/1.1", TOKEN, "Content-Encoding: deflate", f"Content-Length: {len(bomb)}")
    answer = await exchange(service, *head, body=bomb)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert answer.status == 404
    assert after.ru_utime - before.ru_utime < 0.25, "it takes a second to unpack"
