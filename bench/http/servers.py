"""The servers side by side, each one process on loopback: nginx, ours with and without TLS, aiohttp's FileResponse."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")

NGINX = """
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000000;
    default_type application/gzip;
    ssl_certificate {folder}/tls/tls.crt;
    ssl_certificate_key {folder}/tls/tls.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
    uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{tls_port} ssl;
        location /files/ {{ alias {folder}/; }}
        location /poll {{ add_header Retry-After 30; return 204; }}
    }}
}}
"""

PLAIN = {name: f"/files/{name}" for name in ("big", "small", "huge")} | {"poll": "/poll"}
OURS = {name: f"/v0/pipelines/{name}/samply_profile" for name in ("big", "small", "huge")}
OURS["poll"] = "/v0/pipelines/busy/samply_profile?latest=true"


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    port: int
    pid: int
    paths: dict[str, str]
    headers: tuple[str, ...] = ()

    def read_cpu_secs(self) -> float:
        """User and system, since its start."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def read_resident_mib(self) -> float:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, tree: Path | None = None) -> Iterator[int]:
    """A server until the context ends; yields the pid that does the work. `tree`: a checkout to import from."""
    env = {**os.environ, "PYTHONPATH": str(tree / "operator")} if tree else None
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not is_open(port):
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"{command} does not listen")
            time.sleep(0.05)
        time.sleep(0.5)  # the scripted operator's first word
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield int(children[0]) if children else process.pid
    finally:
        process.terminate()
        process.wait(20)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True, slots=True)
class Field:
    """Who runs."""

    nginx: Server
    nginx_tls: Server
    ours: Server
    ours_tls: Server
    aiohttp: Server


def start(stack: ExitStack, folder: Path) -> Field:
    nginx = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if nginx is None or shutil.which("wrk") is None or shutil.which("curl") is None:
        sys.exit("nginx, wrk and curl are needed: apt-get install nginx-light wrk curl")
    port, tls_port = find_port(), find_port()
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, tls_port=tls_port))
    pid = stack.enter_context(running([nginx, "-c", str(config), "-e", f"{folder}/nginx.log"], port))

    def start_python(kind: str, paths: dict[str, str]) -> Server:
        port = find_port()
        command = [sys.executable, str(HERE / "server.py"), kind, str(folder), str(port)]
        return Server(kind, port, stack.enter_context(running(command, port)), paths)

    return Field(
        nginx=Server("nginx", port, pid, PLAIN),
        nginx_tls=Server("nginx", tls_port, pid, PLAIN),
        ours=start_python("ours", OURS),
        ours_tls=start_python("ours-tls", OURS),
        aiohttp=start_python("plain", PLAIN),
    )


def start_ours(stack: ExitStack, folder: Path, tree: Path) -> Server:
    """The api of a checkout, by that checkout's own server.py."""
    port = find_port()
    command = [sys.executable, str(tree / "bench" / "http" / "server.py"), "ours", str(folder), str(port)]
    return Server("ours", port, stack.enter_context(running(command, port, tree)), OURS)
