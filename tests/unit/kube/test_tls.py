"""TLS connections: the certificate is verified, and a silent peer does not hold a connection."""

from __future__ import annotations

import asyncio
import base64
import datetime
import gc
import hashlib
import ipaddress
import select
import socket
import ssl
import warnings
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kubernetes.aio.client.configuration import Configuration

from samply_operator import errors
from samply_operator.kube import exec as exec_
from samply_operator.kube.client import REQUEST_SECS, KubeClient
from samply_operator.kube.connection import Load

KEY_OF_WEBSOCKETS = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
WATCH_BEGINS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def build_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "tls.crt", folder / "tls.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, pem, plain))
    return paths


class SilentServer:
    """Accepts a WebSocket upgrade, then neither reads nor writes: blocking sockets in a thread, so that nothing answers
    TLS's close alert by itself."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._tls.load_cert_chain(certificate, key)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(10)
        self.host = f"https://127.0.0.1:{self._listening.getsockname()[1]}"

    def close(self) -> None:
        self._listening.close()

    def serve_once(self, answer: Callable[[bytes], bytes] | None = None) -> bool:
        """One connection; True if the client closed it within 5 s of the answer to its request, an upgrade if none is
        given."""
        plain, _ = self._listening.accept()
        plain.settimeout(10)
        try:
            connection = self._tls.wrap_socket(plain, server_side=True)
        except ssl.SSLError:
            plain.close()
            return True
        with connection:
            connection.sendall((answer or build_upgrade)(connection.recv(65536)))
            poll = select.poll()
            poll.register(connection, select.POLLRDHUP)
            return bool(poll.poll(5000))


def build_upgrade(request: bytes) -> bytes:
    key = next(line.split(": ")[1] for line in request.decode().splitlines() if line.startswith("Sec-WebSocket-Key"))
    accept = base64.b64encode(hashlib.sha1((key + KEY_OF_WEBSOCKETS).encode()).digest()).decode()
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Protocol: v5.channel.k8s.io\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    ).encode()


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[tuple[SilentServer, Load, Load]]:
    """The server, a loader that trusts its certificate, and one that doesn't."""
    certificate, key = build_certificate(tmp_path)
    server = SilentServer(certificate, key)

    async def trusting() -> Any:
        return Configuration(host=server.host, ssl_ca_cert=str(certificate))

    async def doubting() -> Any:
        return Configuration(host=server.host)

    yield server, trusting, doubting
    server.close()


async def test_a_strange_certificate_is_refused(silent: tuple[SilentServer, Load, Load]) -> None:
    server, _, doubting = silent
    serving = asyncio.create_task(asyncio.to_thread(server.serve_once))
    async with KubeClient(doubting) as client:
        with pytest.raises(errors.KubeUnavailable, match=r"(?i)certificate"):
            await client.get("/version")
    assert await serving


async def test_a_silent_peer_is_left_for_good(
    silent: tuple[SilentServer, Load, Load], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exec_, "LINGER_SECS", 0.1)
    server, trusting, _ = silent
    serving = asyncio.create_task(asyncio.to_thread(server.serve_once))
    async with KubeClient(trusting) as client:
        with pytest.raises(errors.ExecFailed, match="deadline"):
            await client.run("space", "pod", "main", ["true"], deadline_secs=0.3)
        assert await serving


async def watch(client: KubeClient) -> None:
    async for _ in client.watch("/pods", version="1", secs=0.3 - REQUEST_SECS):
        pass


async def get(client: KubeClient) -> None:
    await client.get("/version", timeout_secs=0.3)


@pytest.mark.parametrize(("ask", "answer"), [(watch, WATCH_BEGINS), (get, b"")])
def test_nothing_stays_open_after_the_end(
    silent: tuple[SilentServer, Load, Load], ask: Callable[[KubeClient], Awaitable[None]], answer: bytes
) -> None:
    """A watch that falls silent, and a request without an answer: neither waits for the peer's TLS alert."""
    server, trusting, _ = silent

    async def fail() -> None:
        async with KubeClient(trusting) as client:
            with pytest.raises(errors.KubeUnavailable):
                await ask(client)

    with ThreadPoolExecutor(1) as executor, warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        serving = executor.submit(server.serve_once, lambda _: answer)
        asyncio.run(fail())
        gc.collect()
        assert serving.result()
    assert not [str(warning.message) for warning in seen if "unclosed" in str(warning.message)]
