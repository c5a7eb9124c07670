"""A client that reads slowly, disconnects, or sends many requests does not block conversions for others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from samply_operator.api.content.conversions import CONVERSIONS, Conversions
from samply_operator.control.messages import Credentials
from samply_operator.rules.access import credentials
from samply_operator.settings import Api
from support import profile_maker
from support.fake_operator import KEY, make_key
from support.profile_maker import Sample
from support.service import serving

from .conftest import Service, make_id, wait_until

HISTORY = "/v0/pipelines/orders/samply_profiles"
LARGE, SMALL = (f"{HISTORY}/{make_id(number)}/profile?format=folded" for number in (1, 2))
OTHER = credentials.build_key("other", b"o" * 32)


def build_large(tmp: Path) -> bytes:
    """About 20 MB of stacks in a file of some 100 KB."""
    frames = tuple(f"f{n}" + "x" * 400 for n in range(100))
    samples = [Sample((*frames, f"leaf{n}")) for n in range(500)]
    return profile_maker.save(profile_maker.build([samples]), tmp / "large.json.gz").read_bytes()


@pytest.fixture
async def busy(folder: Path, tmp_path: Path) -> AsyncIterator[Service]:
    async with serving(folder, Api(requests_per_sec=0, view_spool_bytes=100 << 20)) as service:
        service.put(1, build_large(tmp_path))
        service.put(2, profile_maker.save(profile_maker.build([[Sample(("a", "b"))]]), tmp_path / "s").read_bytes())
        service.operator.credentials = Credentials((make_key(KEY), make_key(OTHER)), read_at=time.time())
        service.operator.push()
        await service.settle()
        await wait_until(service.knows_credentials)
        yield service


@pytest.fixture
def conversions(busy: Service) -> Conversions:
    return busy.listener.app[CONVERSIONS]


async def ask(service: Service, target: str, token: str = KEY) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request and read nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=1 << 10)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    await writer.drain()
    return reader, writer


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


def list_children() -> set[str]:
    """Of this process: other tests' servers, too."""
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    return set(path.read_text().split())


async def test_a_disconnecting_client_frees_its_place_for_the_next_one(busy: Service, conversions: Conversions) -> None:
    """A page whose user switches to another view disconnects, and requests that view at once."""
    _, first = await ask(busy, LARGE)

    async def is_read() -> bool:
        return bool(list_children())

    async def is_waiting() -> bool:
        return conversions.queue.waiting == 1

    await wait_until(is_read)
    second = asyncio.create_task(busy.get(SMALL))
    await wait_until(is_waiting)
    await hang_up(first)
    assert (await second).status == 200


async def test_a_client_that_reads_nothing_does_not_block_others(busy: Service) -> None:
    """Its response is ready; the next caller's conversion can run."""
    reader, writer = await ask(busy, LARGE)
    assert b" 200 " in await reader.readline()
    started = time.monotonic()
    for _ in range(2):
        assert (await busy.get(SMALL)).status == 200
    assert time.monotonic() - started < 10
    await hang_up(writer)


async def test_a_disconnecting_client_frees_its_place_and_child_at_once(
    busy: Service, conversions: Conversions
) -> None:
    others = list_children()
    _, running = await ask(busy, LARGE)

    async def has_child() -> bool:
        return bool(list_children() - others)

    await wait_until(has_child)
    children = list_children() - others
    for child in children:
        os.kill(int(child), signal.SIGSTOP)  # it does not end by itself, however slow this test is
    waiting = [await ask(busy, LARGE) for _ in range(3)]

    async def are_waiting(count: int) -> bool:
        return conversions.queue.waiting == count

    await wait_until(lambda: are_waiting(3))
    for _, writer in waiting:
        await hang_up(writer)
    await wait_until(lambda: are_waiting(0))
    await hang_up(running)

    async def is_gone() -> bool:
        return not children & list_children() and not conversions.spool.taken_bytes

    await wait_until(is_gone, 2)


async def test_a_client_with_many_requests_delays_only_itself(busy: Service, conversions: Conversions) -> None:
    """Another caller's single request is served before the rest of the many."""
    async with conversions.queue.take("somebody"):
        many = [await ask(busy, LARGE) for _ in range(4)]

        async def are_waiting(count: int) -> bool:
            return conversions.queue.waiting == count

        await wait_until(lambda: are_waiting(4))
        other = asyncio.create_task(busy.get(SMALL, Authorization=f"Bearer {OTHER}"))
        await wait_until(lambda: are_waiting(5))
        (await busy.get(SMALL)).assert_error(429, "TooManyRequests")
    assert (await other).status == 200
    assert conversions.queue.waiting >= 2, "the many still wait"
    for _, writer in many:
        await hang_up(writer)


async def test_the_size_of_a_response_is_limited(busy: Service, conversions: Conversions) -> None:
    object.__setattr__(conversions.limits, "out_bytes", 1 << 20)
    for method in ("GET", "HEAD"):
        answer = await busy.ask(method, LARGE)
        assert answer.status == 500
    assert (await busy.get(LARGE)).assert_error(500, "ProfileJobFailed")["reason"] == "OutOfSpace"
    assert (await busy.get(SMALL)).status == 200
    assert not conversions.spool.taken_bytes


async def test_a_client_that_reads_none_of_its_responses_is_refused_more(
    busy: Service, conversions: Conversions
) -> None:
    """Other callers still have room."""
    slow = []
    for _ in range(2):
        slow.append(await ask(busy, LARGE))
        assert b" 200 " in await slow[-1][0].readline()
    (await busy.get(SMALL)).assert_error(429, "TooManyRequests")
    assert (await busy.get(SMALL, Authorization=f"Bearer {OTHER}")).status == 200
    for _, writer in slow:
        await hang_up(writer)

    async def is_served() -> bool:
        return (await busy.get(SMALL)).status == 200

    await wait_until(is_served)
