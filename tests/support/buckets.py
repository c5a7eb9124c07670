"""Object storage servers as processes of this machine; each test has its own prefix."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from samply_operator.settings import Bucket, Storage
from samply_operator.store.bucket.connection import CREDENTIALS, Connection
from samply_operator.store.bucket.objects import Objects
from support import certificates, fake_gcs, needs

BUILT = Path(__file__).parents[2] / "build" / "out"
START_SECS = 100
"""moto imports for half a minute where many others work."""
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
    authorities: Path | None = None
    """The server's own certificate, if it has one."""

    def build_settings(self, **changes: object) -> Bucket:
        facts: dict[str, object] = {"url": self.url, "endpoint": self.endpoint, "options": self.options, **changes}
        return Bucket(**facts)  # type: ignore[arg-type]

    def connect(self, prefix: str) -> Connection:
        return Connection(self.build_settings(), prefix, self.folder, authorities=self.authorities)

    def open(self, prefix: str = "") -> Objects:
        return Objects(self.connect(prefix or secrets.token_hex(8)))

    def pause(self) -> None:
        """It accepts connections, but does not respond."""
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
def run_moto(folder: Path, port: int = 0, *, host: str = "127.0.0.1") -> Iterator[Server]:
    program = BUILT / "moto" / "bin" / "moto_server"
    if not program.exists():
        needs.lack("moto", "tests/buckets/install")
    port = port or find_port()
    write_credentials(folder, KEYS)
    with run([str(program), "-H", host, "-p", str(port)], port) as process:
        endpoint = f"http://127.0.0.1:{port}"
        request = urllib.request.Request(
            f"{endpoint}/{NAME}", method="PUT", headers={"Authorization": "AWS4 a/b/us-east-1/s3/"}
        )
        with urllib.request.urlopen(request, timeout=START_SECS):
            yield Server(f"s3://{NAME}", endpoint, folder, process)


def connect(server: Server, storage: Storage) -> Connection:
    """As the service with these settings."""
    return Connection(storage.bucket, storage.bucket.cluster, server.folder, authorities=server.authorities)


def build_storage(server: Server, **changes: object) -> Storage:
    """Settings of an installation with a prefix of its own."""
    bucket = server.build_settings(cluster=f"c-{secrets.token_hex(6)}")
    return Storage(kind="Bucket", bucket=bucket, **changes)  # type: ignore[arg-type]


def find_program(name: str) -> str:
    """One of those that `tests/buckets/install all` builds."""
    program = BUILT / "bin" / name
    if not program.exists():
        needs.lack(name, "tests/buckets/install all")
    return str(program)


@contextlib.contextmanager
def run_versitygw(folder: Path, *, is_secure: bool = False) -> Iterator[Server]:
    """Another implementation of S3. A bucket is a folder of it."""
    program, port = find_program("versitygw"), find_port()
    write_credentials(folder, KEYS)
    for name in (f"root/{NAME}", "meta"):
        (folder / name).mkdir(parents=True)
    pair = folder / "tls" / "tls.crt", folder / "tls" / "tls.key"
    if is_secure:
        certificates.write_pair(folder / "tls")
    command = [
        program, "--access", KEYS["aws_access_key_id"], "--secret", KEYS["aws_secret_access_key"], "--quiet",
        *(["--cert", str(pair[0]), "--key", str(pair[1])] if is_secure else []),
        "--port", f"127.0.0.1:{port}", "posix", "--sidecar", str(folder / "meta"), str(folder / "root"),
    ]  # fmt: skip
    scheme = "https" if is_secure else "http"
    with run(command, port) as process:
        yield Server(
            f"s3://{NAME}", f"{scheme}://127.0.0.1:{port}", folder, process, authorities=pair[0] if is_secure else None
        )


@contextlib.contextmanager
def run_fake_gcs(folder: Path) -> Iterator[Server]:
    """Google Cloud Storage's part; our own, since no other fake has the API that obstore uses."""
    port = find_port()
    endpoint = f"http://127.0.0.1:{port}"
    key = {"gcs_base_url": endpoint, "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    write_credentials(folder, {"google_service_account_key": json.dumps(key)})
    with run([sys.executable, str(Path(fake_gcs.__file__)), str(port)], port) as process:
        yield Server(f"gs://{NAME}", endpoint, folder, process)


AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The published one of every Azurite."""
AZURE_ACCOUNT = "devstoreaccount1"


@contextlib.contextmanager
def run_azurite(folder: Path) -> Iterator[Server]:
    program = BUILT / "azurite" / "node_modules" / ".bin" / "azurite-blob"
    if not program.exists():
        needs.lack("Azurite", "tests/buckets/install all")
    port = find_port()
    options = {"azure_storage_account_name": AZURE_ACCOUNT, "azure_storage_account_key": AZURE_KEY}
    write_credentials(folder, options)
    command = [str(program), "--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--blobPort", str(port)]
    with run(command, port) as process:
        endpoint = f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}"
        _create_container(endpoint)
        yield Server(f"az://{NAME}", endpoint, folder, process)


def _create_container(endpoint: str) -> None:
    """Which this project never does itself; so the request is signed here (SharedKey)."""
    date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = f"x-ms-date:{date}\nx-ms-version:2021-08-06\n"
    text = "PUT" + "\n" * 12 + headers + f"/{AZURE_ACCOUNT}/{AZURE_ACCOUNT}/{NAME}\nrestype:container"
    digest = hmac.new(base64.b64decode(AZURE_KEY), text.encode(), hashlib.sha256).digest()
    request = urllib.request.Request(
        f"{endpoint}/{NAME}?restype=container",
        method="PUT",
        headers={
            "x-ms-date": date,
            "x-ms-version": "2021-08-06",
            "Authorization": f"SharedKey {AZURE_ACCOUNT}:{base64.b64encode(digest).decode()}",
        },
    )
    with urllib.request.urlopen(request, timeout=START_SECS):
        pass
