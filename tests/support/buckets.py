"""Servers of object storage, as processes of this machine; each test has a prefix of its own."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import obstore

from samply_operator.settings import Bucket
from samply_operator.store.bucket.connection import CREDENTIALS, Connection
from samply_operator.store.bucket.objects import Objects
from support import needs

BUILT = Path(__file__).parents[2] / "build" / "out"
START_SECS = 30
NAME = "profiles"
KEYS = {"aws_access_key_id": "testkey", "aws_secret_access_key": "testsecret"}


@dataclass
class Server:
    """One that runs. `folder` has the credentials as a pod's mounted Secret would."""

    url: str
    endpoint: str
    folder: Path
    process: subprocess.Popen[bytes]
    options: dict[str, str] = field(default_factory=dict)

    def build_settings(self, **changes: object) -> Bucket:
        facts: dict[str, object] = {"url": self.url, "endpoint": self.endpoint, "options": self.options, **changes}
        return Bucket(**facts)  # type: ignore[arg-type]

    def connect(self, prefix: str) -> Connection:
        return Connection(self.build_settings(), prefix, self.folder)

    def open(self, prefix: str = "") -> Objects:
        return Objects(self.connect(prefix or secrets.token_hex(8)))

    def pause(self) -> None:
        """It accepts connections, and says nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)


def find_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_credentials(folder: Path, keys: Mapping[str, str]) -> None:
    (folder / CREDENTIALS).mkdir(parents=True, exist_ok=True)
    for name, text in keys.items():
        (folder / CREDENTIALS / name).write_text(text)


@contextlib.contextmanager
def run(command: list[str], port: int, env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Until the context ends; on entry it listens."""
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **(env or {})}
    ) as process:
        try:
            _wait(process, port)
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.kill()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + START_SECS
    while time.monotonic() < until:
        assert process.poll() is None, f"{process.args!r} ended: {process.returncode}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise AssertionError(f"{process.args!r} doesn't listen")


@contextlib.contextmanager
def run_moto(folder: Path, port: int = 0) -> Iterator[Server]:
    program = BUILT / "moto" / "bin" / "moto_server"
    if not program.exists():
        needs.lack("moto", "tests/buckets/install")
    port = port or find_port()
    write_credentials(folder, KEYS)
    with run([str(program), "-H", "127.0.0.1", "-p", str(port)], port) as process:
        endpoint = f"http://127.0.0.1:{port}"
        request = urllib.request.Request(
            f"{endpoint}/{NAME}", method="PUT", headers={"Authorization": "AWS4 a/b/us-east-1/s3/"}
        )
        with urllib.request.urlopen(request, timeout=START_SECS):
            yield Server(f"s3://{NAME}", endpoint, folder, process)


def count_objects(objects: Objects, prefix: str) -> int:
    return sum(1 for _ in objects.list(prefix))


def read_object(connection: Connection, path: str) -> bytes:
    return bytes(obstore.get(connection(), path).bytes())
