"""Conditions, ranges and large files: a resumed download never mixes two files."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
import socket
import struct

import aiohttp
import pytest

from samply_operator.api.server import listener
from support.fake_operator import KEY

from .conftest import Service, make_id, wait_until

URL = "/v0/pipelines/orders/samply_profile"
BIG = os.urandom(3 * 1024 * 1024) * 7


def tag_of(data: bytes) -> str:
    return f'"{hashlib.sha256(data).hexdigest()}"'


@pytest.mark.parametrize("data", [b"0123456789", BIG], ids=["small", "big"])
async def test_head_says_what_get_would(service: Service, data: bytes) -> None:
    service.put(1, data)
    await service.settle()
    get, head = await service.get(URL), await service.ask("HEAD", URL)
    assert get.body == data
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(data))
    varying = {"date", "x-request-id"}
    assert {k: v for k, v in head.headers.items() if k.lower() not in varying} == {
        k: v for k, v in get.headers.items() if k.lower() not in varying
    }


@pytest.mark.parametrize("data", [b"0123456789", BIG], ids=["small", "big"])
@pytest.mark.parametrize(
    ("wanted", "piece"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=3-", slice(3, None)),
        ("bytes=-4", slice(-4, None)),
        ("bytes=2-5", slice(2, 6)),
        ("bytes=5-99999999999", slice(5, None)),
        ("bytes=-99999999999", slice(0, None)),
    ],
)
async def test_a_range_is_exactly_these_bytes(service: Service, data: bytes, wanted: str, piece: slice) -> None:
    service.put(1, data)
    await service.settle()
    answer = await service.get(URL, Range=wanted)
    start, stop, _ = piece.indices(len(data))
    assert (answer.status, answer.body) == (206, data[piece])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(data)}"
    assert answer.headers["Content-Length"] == str(stop - start)


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=99-100", "bytes=-0"])
async def test_a_range_outside_is_416_and_names_the_size(service: Service, wanted: str) -> None:
    service.put(1, b"0123456789")
    await service.settle()
    answer = await service.get(URL, Range=wanted)
    answer.assert_error(416, "RangeNotSatisfiable")
    assert answer.headers["Content-Range"] == "bytes */10"


@pytest.mark.parametrize("wanted", ["bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes", "bytes=a-b", "bytes=--1"])
async def test_several_ranges_or_nonsense_give_the_whole(service: Service, wanted: str) -> None:
    service.put(1, b"0123456789")
    await service.settle()
    answer = await service.get(URL, Range=wanted)
    assert (answer.status, answer.body) == (200, b"0123456789")


async def test_if_none_match_gives_304_without_a_body(service: Service) -> None:
    service.put(1, b"data")
    await service.settle()
    for condition in (tag_of(b"data"), f'"x", W/{tag_of(b"data")}', "*"):
        answer = await service.get(URL, If_None_Match=condition)
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["ETag"] == tag_of(b"data")
    assert (await service.get(URL, If_None_Match='"other"')).status == 200


async def test_a_resumed_download_of_a_changed_profile_starts_anew(service: Service) -> None:
    service.put(1, b"old bytes")
    await service.settle()
    same = await service.get(URL, Range="bytes=4-", If_Range=tag_of(b"old bytes"))
    assert (same.status, same.body) == (206, b"bytes")
    service.put(2, b"new profile")
    await service.settle()
    changed = await service.get(URL, Range="bytes=4-", If_Range=tag_of(b"old bytes"))
    assert (changed.status, changed.body) == (200, b"new profile")


async def test_if_range_with_the_date_is_honoured_only_if_exact(service: Service) -> None:
    service.put(1, b"0123456789")
    await service.settle()
    exact = await service.get(URL, Range="bytes=5-", If_Range="Sat, 31 Jan 2026 09:01:30 GMT")
    assert exact.status == 206
    for other in ("Sat, 31 Jan 2026 09:01:31 GMT", "Sat, 31 Jan 2026 09:01:29 GMT", "nonsense"):
        assert (await service.get(URL, Range="bytes=5-", If_Range=other)).status == 200


async def test_if_match_that_fails_is_412(service: Service) -> None:
    service.put(1, b"data")
    await service.settle()
    (await service.get(URL, If_Match='"other"')).assert_error(412, "PreconditionFailed")
    assert (await service.get(URL, If_Match=tag_of(b"data"))).status == 200


def is_corked(fd: int) -> bool:
    with socket.socket(fileno=os.dup(fd)) as plug:
        return bool(plug.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK))


async def test_only_the_first_chunk_is_sent_corked(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large body is slower when corked; and data left under the cork reaches its client 0.2 s late."""
    seen: list[tuple[int, bool]] = []
    real = os.sendfile

    def spy(out: int, source: int, offset: int, count: int) -> int:
        seen.append((out, is_corked(out)))
        return real(out, source, offset, count)

    monkeypatch.setattr(os, "sendfile", spy)
    service.put(1, BIG)
    await service.settle()
    kept = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(2)]
    for method, (reader, writer) in zip(("GET", "HEAD"), kept, strict=True):
        writer.write(f"{method} {URL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        if method == "GET":
            assert await reader.readexactly(len(BIG)) == BIG
    assert [corked for _, corked in seen[:2]] == [True, False]
    runner = service.listener._runner
    open_ = [each.transport.get_extra_info("socket").fileno() for each in runner.server.connections if each.transport]
    assert len(open_) >= len(kept)
    assert not any(map(is_corked, open_))
    for _, writer in kept:
        writer.close()


async def test_an_empty_file_is_served_as_such(service: Service) -> None:
    service.put(1, b"")
    await service.settle()
    answer = await service.get(URL)
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")
    (await service.get(URL, Range="bytes=0-")).assert_error(416, "RangeNotSatisfiable")


async def test_a_stored_profile_may_be_kept_for_ever_and_the_last_one_not(service: Service) -> None:
    manifest = service.put(1, b"data")
    await service.settle()
    answer = await service.get(f"/v0/pipelines/orders/samply_profiles/{manifest.id}/profile")
    assert (answer.status, answer.body) == (200, b"data")
    assert "immutable" in answer.headers["Cache-Control"]
    assert "no-cache" in (await service.get(URL)).headers["Cache-Control"]


async def test_a_client_that_hangs_up_early_is_no_error(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    """The web console opens the stream and aborts it just to see the status."""
    service.put(1, BIG)
    await service.settle()
    caplog.set_level(logging.INFO)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.setblocking(False)
            request = f"GET {URL}?latest=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
            await asyncio.get_running_loop().sock_sendall(client, request)
            assert (await asyncio.get_running_loop().sock_recv(client, 12)) == b"HTTP/1.1 200"

    async def is_logged() -> bool:
        return sum(record.name.endswith("access") for record in caplog.records) >= 3

    await wait_until(is_logged)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert (await service.get(URL)).body == BIG


async def test_many_readers_at_once_all_get_the_same_bytes(service: Service) -> None:
    service.put(1, BIG)
    await service.settle()
    answers = await asyncio.gather(*(service.get(URL) for _ in range(8)))
    assert all(answer.body == BIG for answer in answers)


async def test_a_reader_finishes_though_the_profile_is_removed_meanwhile(service: Service) -> None:
    service.put(1, BIG)
    await service.settle()
    async with service.session.get(f"http://127.0.0.1:{service.port}{URL}") as response:
        first = await response.content.read(10)
        service.volume.remove(make_id(1))
        assert first + await response.content.read() == BIG


async def test_a_client_that_hangs_up_before_its_answer_is_no_error(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.put(1, BIG)
    await service.settle()
    request = f"GET {URL} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    for _ in range(30):
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(request)
    assert (await service.get(URL)).body == BIG
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_where_sendfile_cannot_be_used_the_bytes_are_the_same(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, "not here")

    monkeypatch.setattr(os, "sendfile", refuse)
    service.put(1, BIG)
    await service.settle()
    assert (await service.get(URL)).body == BIG
    assert (await service.get(URL, Range="bytes=1-9999999")).body == BIG[1:10_000_000]


async def test_a_truncated_file_closes_the_connection_and_is_logged(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = service.put(1, BIG)
    await service.settle()
    path = service.volume.root / "profiles" / manifest.id / "profile.json.gz"
    async with service.session.get(f"http://127.0.0.1:{service.port}{URL}") as response:
        await response.content.read(10)
        os.truncate(path, 1000)
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()
    assert "the file cannot be read" in caplog.text


async def test_a_client_that_takes_nothing_is_dropped_in_the_end(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener, "STALL_MS", 500)
    service.put(1, BIG)
    await service.settle()
    caplog.set_level(logging.INFO, logger="samply_operator.api.access")
    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(f"GET {URL} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

        async def is_logged() -> bool:
            return any(URL in record.getMessage() for record in caplog.records)

        await wait_until(is_logged)
    assert (await service.get(URL)).body == BIG
