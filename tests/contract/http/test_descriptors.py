"""More sockets than files may be open: existing clients are served, and the port of the probes answers."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import msgspec
import pytest

from samply_operator.settings import Api, ApiKeys, Auth, Paths, Settings
from samply_operator.store.volume import Volume
from support import kubectl

from .conftest import wait_until

FILES = 700
"""The hard limit: 100 connections."""


def find_ports() -> list[int]:
    """Two that were free a moment ago."""
    with socket.socket() as one, socket.socket() as two:
        for each in (one, two):
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in (one, two)]


@pytest.fixture
def ports(folder: Path) -> Iterator[tuple[int, int, Path]]:
    """A process of its own; its ports, and its access log."""
    Volume(folder / "data").prepare()
    port, probes = find_ports()
    api = Api(host="127.0.0.1", port=port, metrics_port=probes, requests_per_sec=0, shutdown_delay_secs=0, drain_secs=0)
    paths = Paths(data=str(folder / "data"), socket=str(folder / "no.sock"))
    settings = folder / "settings.json"
    settings.write_bytes(msgspec.json.encode(Settings(auth=Auth(api_keys=ApiKeys(enabled=True)), api=api, paths=paths)))
    out, err = folder / "out", folder / "err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            ["sh", "-c", f'ulimit -Hn {FILES}; ulimit -Sn 256; exec "$0" -m samply_operator.cli api', sys.executable],
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, "SAMPLY_OPERATOR_SETTINGS": str(settings)},
        )
    try:
        kubectl.poll(lambda: "connections at most" in err.read_text(), timeout=30, what=err.read_text)
        yield port, probes, out
    finally:
        process.terminate()
        process.wait(10)


async def test_idle_sockets_do_not_exhaust_descriptors(ports: tuple[int, int, Path]) -> None:
    port, probes, log = ports
    plugs = []
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/v0/config?first") as response:
            assert response.status == 200
        for number in range(800):
            source = (f"127.0.0.{2 + number % 20}", 0)
            plugs.append((await asyncio.open_connection("127.0.0.1", port, local_addr=source))[1])
        for path in ("/healthz", "/metrics"):
            async with session.get(f"http://127.0.0.1:{probes}{path}") as response:
                assert response.status == 200
        async with session.get(f"http://127.0.0.1:{port}/v0/config?later") as response:
            assert response.status == 200, "over the connection that was there before"
    for plug in plugs:
        plug.close()

    async def is_logged() -> bool:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        return [line["path"] for line in lines].count("/v0/config") == 2

    await wait_until(is_logged)
