"""What is done to a server, and what it cost: downloads by curl, requests by wrk, many downloads at once."""

from __future__ import annotations

import asyncio
import re
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers import Server

WRK = re.compile(r"99%\s+([\d.]+)(us|ms|s)\b")
UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True, slots=True)
class Result:
    rate: float
    """Requests, or MiB, per second."""
    cpu_usecs: float
    """The server's, per request."""
    p99_ms: float = 0.0


def download(server: Server, name: str, size: int, count: int, *, scheme: str = "http") -> Result:
    """`count` times one file, one after the other over one connection."""
    url = f"{scheme}://127.0.0.1:{server.port}{server.paths[name]}"
    marks = [mark for header in server.headers for mark in ("-H", header)]
    each = [word for _ in range(count) for word in ("-o", "/dev/null", url)]
    before, started = server.read_cpu_secs(), time.perf_counter()
    command = ["curl", "-skf", "-w", "%{size_download}\n", *marks, *each]
    sizes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    elapsed = time.perf_counter() - started
    if sizes != [str(size)] * count:
        raise RuntimeError(f"{server.name} sent {sizes}")
    return Result(size * count / elapsed / 2**20, (server.read_cpu_secs() - before) / count * 1e6)


LUA = """
local count = 0
request = function()
  count = count + 1
  wrk.headers["Authorization"] = "Bearer {prefix}" .. count
  return wrk.format()
end
"""


def hammer(
    server: Server,
    name: str,
    connections: int,
    secs: float,
    *,
    headers: Sequence[str] = (),
    lua: str = "",
) -> Result:
    """wrk on one thread. `lua`: each request shows another token that begins so."""
    marks = [word for header in (*server.headers, *headers) for word in ("-H", header)]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LUA.replace("{prefix}", lua) if lua else "")
        script.flush()
        scripted = ["-s", script.name] if lua else []
        url = f"http://127.0.0.1:{server.port}{server.paths[name]}"
        before = server.read_cpu_secs()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{secs:g}", "--latency", *scripted, *marks, url]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    used = server.read_cpu_secs() - before
    found, rate, slow = (
        re.search(r"(\d+) requests in", text),
        re.search(r"Requests/sec:\s+([\d.]+)", text),
        WRK.search(text),
    )
    if not found or not rate or not slow or "Non-2xx" in text or "Socket errors" in text:
        raise RuntimeError(f"{server.name}: {text}")
    return Result(float(rate[1]), used / int(found[1]) * 1e6, float(slow[1]) * UNITS[slow[2]])


def measure(rounds: int, acts: dict[str, Callable[[], Result]]) -> dict[str, Result]:
    """Interleaved, so that other work on the machine hits all alike; medians."""
    results: dict[str, list[Result]] = {name: [] for name in acts}
    for _ in range(rounds):
        for name, act in acts.items():
            results[name].append(act())
    return {
        name: Result(*(statistics.median(getattr(r, key) for r in found) for key in ("rate", "cpu_usecs", "p99_ms")))
        for name, found in results.items()
    }


@dataclass(frozen=True, slots=True)
class Memory:
    before_mib: float
    most_mib: float
    secs: float


def crowd(server: Server, name: str, size: int, count: int, *, tls: bool = False) -> Memory:
    """`count` downloads of the first `size` bytes at once, each read to its end."""
    return asyncio.run(_crowd(server, name, size, count, tls=tls))


async def _crowd(server: Server, name: str, size: int, count: int, *, tls: bool) -> Memory:
    before, started = server.read_resident_mib(), time.perf_counter()
    most = [before]
    watch = asyncio.create_task(_watch(server, most))
    await asyncio.gather(*(_download(server, name, size, tls=tls) for _ in range(count)))
    watch.cancel()
    return Memory(before, max(most), time.perf_counter() - started)


async def _watch(server: Server, most: list[float]) -> None:
    while True:
        most.append(server.read_resident_mib())
        await asyncio.sleep(0.02)


async def _download(server: Server, name: str, size: int, *, tls: bool) -> None:
    context = ssl._create_unverified_context() if tls else None
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context, limit=1 << 20)
    marks = "".join(f"{header}\r\n" for header in server.headers)
    head = f"GET {server.paths[name]} HTTP/1.1\r\nHost: x\r\nRange: bytes=0-{size - 1}\r\nConnection: close\r\n"
    writer.write(f"{head}{marks}\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    left = size
    while left:
        left -= len(await reader.read(1 << 20) or exit(f"{left} bytes are missing"))
    writer.close()


COPY = """
import hashlib, os, socket, sys, threading
path, size, piece = sys.argv[1], int(sys.argv[2]), os.urandom(1 << 20)
def feed(plug):
    for _ in range(size >> 20):
        plug.sendall(piece)
    plug.close()
while True:
    ours, theirs = socket.socketpair()
    threading.Thread(target=feed, args=(theirs,), daemon=True).start()
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        while data := ours.recv(1 << 20):
            digest.update(data)
            file.write(data)
        os.fsync(file.fileno())
    ours.close()
"""
"""What the operator does with a profile: reads it from a socket, hashes it, writes it to the volume and syncs."""


@contextmanager
def copying(folder: Path, size: int) -> Iterator[None]:
    """While it lasts another process copies `size` bytes to the volume, again and again."""
    with _running([sys.executable, "-c", COPY, str(folder / "copy"), str(size)]):
        yield


@contextmanager
def downloading(server: Server, name: str) -> Iterator[None]:
    """While it lasts a client downloads one file, again and again, over one connection."""
    marks = [word for header in server.headers for word in ("-H", header)]
    url = f"http://127.0.0.1:{server.port}{server.paths[name]}?n=[1-100000]"
    with _running(["curl", "-sf", "-o", "/dev/null", *marks, url]):
        yield


@contextmanager
def _running(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command)
    try:
        yield
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended early")
    finally:
        process.terminate()
        process.wait(20)
