"""Measures the api beside nginx and aiohttp's FileResponse: `python bench/http/run.py`. Needs nginx and wrk.

Rounds are interleaved (each server once per round), and medians are told, so that other work on the machine hits all
alike. CPU is what the server's process used, read from /proc.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from samply_operator.model.manifest import FileFacts, Manifest
from samply_operator.store.volume import Volume

BIG_BYTES = 100 * 1024 * 1024
SMALL_BYTES = 200 * 1024
HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")

NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log warn;
events {{ worker_connections 256; }}
http {{
    access_log {access};
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    default_type application/gzip;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    server {{
        listen 127.0.0.1:{port};
        location /files/ {{ alias {folder}/; }}
        location /poll {{ add_header Retry-After 30; return 204; }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    port: int
    pid: int
    paths: dict[str, str]


@dataclass(frozen=True, slots=True)
class Result:
    rate: float
    """Requests per second, or MiB per second."""
    cpu_secs: float
    """The server's, per request."""


def put(volume: Volume, number: int, pipeline: str, size: int) -> Path:
    """Store a profile of random bytes; returns its file."""
    profile_id = f"00000000-0000-4000-8000-{number:012x}"
    path = volume.tmp_path(profile_id, "profile")
    data = os.urandom(size)
    path.write_bytes(data)
    manifest = Manifest(
        id=profile_id,
        namespace="feldera",
        name=pipeline,
        pipeline=pipeline,
        ordinal=0,
        outcome="Succeeded",
        requested_at="2026-01-31T09:00:00.000Z",
        finished_at="2026-01-31T09:00:30.000Z",
        file=FileFacts(size, hashlib.sha256(data).hexdigest()),
    )
    volume.publish(manifest, path)
    return volume.root / "profiles" / profile_id / "profile.json.gz"


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], port: int) -> Iterator[int]:
    """A server of our own until the context ends; yields the pid that does the work."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONOPTIMIZE": "1"})
    try:
        deadline = time.monotonic() + 20
        while socket.socket().connect_ex(("127.0.0.1", port)):
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"{command[0]} does not listen")
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield int(children[0]) if children else process.pid
    finally:
        process.terminate()
        process.wait(20)


def read_cpu_secs(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def download(server: Server, path: str, count: int) -> Result:
    """`count` times the big file on one connection each."""
    buffer = bytearray(1 << 20)
    size = 0
    before, started = read_cpu_secs(server.pid), time.perf_counter()
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            while got := client.recv_into(buffer):
                size += got
    elapsed = time.perf_counter() - started
    if size < BIG_BYTES * count:
        raise RuntimeError(f"{server.name} sent {size} bytes")
    return Result(size / elapsed / 2**20, (read_cpu_secs(server.pid) - before) / count)


def hammer(server: Server, path: str, connections: int, secs: int, *headers: str) -> Result:
    """wrk on one thread."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{secs}", *(p for h in headers for p in ("-H", h))]
    before = read_cpu_secs(server.pid)
    output = subprocess.run(
        [*command, f"http://127.0.0.1:{server.port}{path}"], check=True, capture_output=True, text=True
    ).stdout
    used = read_cpu_secs(server.pid) - before
    if "Non-2xx" in output and not headers:
        raise RuntimeError(f"{server.name}: {output}")
    found = re.search(r"(\d+) requests in", output)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if not found or not rate:
        raise RuntimeError(output)
    return Result(float(rate[1]), used / int(found[1]))


def measure(servers: list[Server], rounds: int, act: Callable[[Server], Result]) -> dict[str, Result]:
    results: dict[str, list[Result]] = {server.name: [] for server in servers}
    for _ in range(rounds):
        for server in servers:
            results[server.name].append(act(server))
    return {
        name: Result(statistics.median(r.rate for r in found), statistics.median(r.cpu_secs for r in found))
        for name, found in results.items()
    }


def report(title: str, unit: str, results: dict[str, Result]) -> None:
    print(f"\n{title}\n| server | {unit} | server's CPU per request | of nginx |\n| --- | ---: | ---: | ---: |")
    floor = results["nginx"].rate if "nginx" in results else None
    for name, result in results.items():
        ratio = f"{result.rate / floor:.2f}" if floor else ""
        print(f"| {name} | {result.rate:,.0f} | {result.cpu_secs * 1e6:,.0f} µs | {ratio} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--secs", type=int, default=3)
    options = parser.parse_args()
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None or shutil.which("wrk") is None:
        sys.exit("nginx and wrk are needed")
    with tempfile.TemporaryDirectory(prefix="so-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        volume = Volume(folder)
        volume.prepare()
        for number, (pipeline, size) in enumerate((("big", BIG_BYTES), ("small", SMALL_BYTES)), start=1):
            os.link(put(volume, number, pipeline, size), folder / pipeline)
        for path in folder.rglob("*"):
            path.chmod(0o755)
        servers = build_servers(stack, nginx, folder)
        print(json.dumps({"cpus": os.cpu_count(), "load": os.getloadavg(), "rounds": options.rounds}))
        big = measure(servers, options.rounds, lambda s: download(s, s.paths["big"], 5))
        report("100 MiB, one stream", "MiB/s", big)
        small = measure(servers, options.rounds, lambda s: hammer(s, s.paths["small"], 8, options.secs))
        report("200 KiB, 8 connections", "requests/s", small)
        polls = measure(servers, options.rounds, lambda s: hammer(s, s.paths["poll"], 8, options.secs))
        report("204 polls, 8 connections", "requests/s", polls)
        digest = hashlib.sha256((folder / "small").read_bytes()).hexdigest()
        ours = [server for server in servers if server.name.startswith("ours")]
        condition = f'If-None-Match: "{digest}"'
        fresh = measure(ours, options.rounds, lambda s: hammer(s, s.paths["small"], 8, options.secs, condition))
        report("304 polls, 8 connections", "requests/s", fresh)
        print(json.dumps({"load": os.getloadavg()}))


def build_servers(stack: ExitStack, nginx: str, folder: Path) -> list[Server]:
    plain_paths = {"big": "/files/big", "small": "/files/small", "poll": "/poll"}
    our_paths = {name: f"/v0/pipelines/{name}/samply_profile" for name in ("big", "small")}
    our_paths["poll"] = "/v0/pipelines/busy/samply_profile?latest=true"
    port = find_port()
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, access="/dev/null"))
    pid = stack.enter_context(running([nginx, "-c", str(config), "-e", f"{folder}/nginx.log"], port))
    servers = [Server("nginx", port, pid, plain_paths)]
    for kind, name, paths in (("ours", "ours", our_paths), ("plain", "aiohttp FileResponse", plain_paths)):
        port = find_port()
        pid = stack.enter_context(
            running([sys.executable, str(HERE / "server.py"), kind, str(folder), str(port)], port)
        )
        servers.append(Server(name, port, pid, paths))
    return servers


if __name__ == "__main__":
    main()
