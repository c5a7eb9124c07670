"""SIGTERM to the real process: not ready at once, still serving for a moment, and slow downloads complete."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from samply_operator.model.manifest import Manifest, StoredFile
from samply_operator.store.volume import Volume

from .conftest import make_id, wait_until

SIZE = 24 * 2**20
"""More than what the sockets' buffers of both sides hold."""
DELAY_SECS = 1.0
LONG_DELAY_SECS = 5.0
"""For the test that looks at what happens meanwhile: it needs its turns of the CPU, also on a busy machine."""
START_SECS = 60.0


def find_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def publish(volume: Volume, data: bytes) -> None:
    path = volume.tmp_path(make_id(1), "profile")
    path.write_bytes(data)
    manifest = Manifest(
        id=make_id(1), namespace="feldera", name="p", pipeline="orders", ordinal=0, outcome="Succeeded",
        requested_at="2026-01-31T09:00:00.000Z", finished_at="2026-01-31T09:00:30.500Z",
        file=StoredFile(len(data), hashlib.sha256(data).hexdigest()),
    )  # fmt: skip
    volume.publish(manifest, path)


class Process:
    """`samply-operator api`, over a volume with one large profile."""

    def __init__(self, port: int, child: asyncio.subprocess.Process) -> None:
        self.port = port
        self.child = child

    async def get_status(self, path: str) -> int | None:
        """None: no connection is taken."""
        try:
            async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{self.port}{path}") as answer:
                return answer.status
        except aiohttp.ClientConnectionError:
            return None


def build_settings(folder: Path, port: int, drain_secs: float, delay_secs: float) -> Path:
    path = folder / "settings.json"
    api = {"host": "127.0.0.1", "port": port, "metricsPort": find_port(), "drainSecs": drain_secs}
    paths = {"data": str(folder), "socket": str(folder / "absent.sock")}
    auth = {"unsafeLetAnyoneInWithoutAuthentication": True}
    path.write_text(json.dumps({"auth": auth, "api": {**api, "shutdownDelaySecs": delay_secs}, "paths": paths}))
    return path


@pytest.fixture
def data() -> bytes:
    return os.urandom(SIZE)


@pytest.fixture
async def process(tmp_path: Path, data: bytes, request: pytest.FixtureRequest) -> AsyncIterator[Process]:
    volume = Volume(tmp_path)
    volume.prepare()
    publish(volume, data)
    port = find_port()
    path = build_settings(tmp_path, port, *getattr(request, "param", (20.0, DELAY_SECS)))
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "samply_operator.cli", "api", "--settings", str(path),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    process = Process(port, child)

    async def is_ready() -> bool:
        return await process.get_status("/readyz") == 200

    try:
        async with asyncio.timeout(START_SECS):
            while not await is_ready():
                await asyncio.sleep(0.05)
        yield process
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def begin(process: Process) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A download whose client has read the head and then takes its time."""
    plug = socket.socket()
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    plug.connect(("127.0.0.1", process.port))
    reader, writer = await asyncio.open_connection(sock=plug, limit=64 * 1024)
    writer.write(b"GET /v0/pipelines/orders/samply_profile HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    return reader, writer


@pytest.mark.parametrize("process", [(20.0, LONG_DELAY_SECS)], indirect=True)
async def test_a_slow_download_ends_whole_and_then_the_process_does(process: Process, data: bytes) -> None:
    reader, writer = await begin(process)
    process.child.send_signal(signal.SIGTERM)

    async def is_unready() -> bool:
        return await process.get_status("/readyz") == 503

    await wait_until(is_unready)
    assert await process.get_status("/v0/config") == 200  # who didn't hear of it yet is still served

    async def is_closed() -> bool:
        return await process.get_status("/v0/config") is None

    await wait_until(is_closed, 60)
    assert process.child.returncode is None
    assert await reader.readexactly(SIZE) == data
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(10):
        assert await process.child.wait() == 0


@pytest.mark.parametrize("process", [(0.3, DELAY_SECS)], indirect=True)
async def test_a_client_that_takes_for_ever_does_not_hold_the_pod(process: Process, data: bytes) -> None:
    """It is cut off when the time is over, and sees that it didn't get all."""
    reader, writer = await begin(process)
    process.child.send_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        assert await process.child.wait() == 0
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await reader.readexactly(SIZE)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_idle_connections_do_not_hold_the_pod(process: Process) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
    writer.write(b"GET /v0/config HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"}")
    started = asyncio.get_running_loop().time()
    process.child.send_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        assert await process.child.wait() == 0
    assert asyncio.get_running_loop().time() - started < DELAY_SECS + 5
    writer.close()
