"""Connections to the API server through a proxy, or around it: the same for this client and for kopf."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import obstore
import pytest
import yaml
from aiohttp import web
from kubernetes.aio.config import incluster_config, kube_config
from obstore.exceptions import BaseError

from samply_operator.control.auth.jwks import KeySet
from samply_operator.discovery import kopf_login
from samply_operator.errors import AccessUndecided
from samply_operator.kube import proxies
from samply_operator.kube.client import KubeClient
from samply_operator.kube.connection import load_configuration
from samply_operator.settings import Bucket, Oidc
from samply_operator.store.bucket.connection import Connection

from .test_tls import build_certificate

PROXY = "http://proxy.example:3128"
TOKEN = "a.token"


def set_environment(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("url", "no_proxy", "proxy"),
    [
        pytest.param("https://172.30.0.1:443", "", PROXY, id="nothing is excepted"),
        pytest.param("https://172.30.0.1:443", ".svc,172.30.0.0/16,10.0.0.0/8", "", id="by its range"),
        pytest.param("https://172.31.0.1:443", "172.30.0.0/16", PROXY, id="another range"),
        pytest.param("https://172.30.0.1:443", "172.30.0.1", "", id="by its address"),
        pytest.param("https://172.30.0.1:443", "172.30.0.1:443", "", id="with its port"),
        pytest.param("https://[fd00::1]:443", "fd00::/8", "", id="IPv6, by its range"),
        pytest.param("https://[fe00::1]:443", "fd00::/8", PROXY, id="IPv6, another range"),
        pytest.param("https://api.example.com:6443", ".example.com", "", id="by its domain"),
        pytest.param("https://api.example.com:6443", "example.org,172.30.0.0/16,nonsense/x", PROXY, id="by none"),
        pytest.param("https://172.30.0.1:443", "*", "", id="all are excepted"),
        pytest.param("http://172.30.0.1:8001", "", "", id="no proxy for plain HTTP"),
    ],
)
def test_where_a_proxy_leads(url: str, no_proxy: str, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Go's clients read it: NO_PROXY has ranges of addresses, too."""
    set_environment(monkeypatch, HTTPS_PROXY=PROXY, NO_PROXY=no_proxy)
    assert proxies.find_proxy(url) == proxy


def test_a_proxy_may_lack_its_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, https_proxy="proxy.example:3128")
    assert proxies.find_proxy("https://10.0.0.1") == PROXY


class Tunnel:
    """A proxy that joins what asks for CONNECT, and writes down where to."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        where = head.split()[1].decode()
        self.asked.append(where)
        host, _, port = where.rpartition(":")
        up, down = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_pump(reader, down), _pump(up, writer))


async def _pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[int, Path]]:
    """An API server of one answer, over TLS: its port and its certificate."""
    certificate, key = build_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"token": request.headers.get("Authorization")})

    app = web.Application()
    app.router.add_get("/{rest:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    yield runner.addresses[0][1], certificate
    await runner.cleanup()


@pytest.fixture
async def tunnel() -> AsyncIterator[tuple[int, Tunnel]]:
    made = Tunnel()
    listener = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1], made


def write_kubeconfig(path: Path, port: int, certificate: Path) -> None:
    body = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [
            {"name": "k", "cluster": {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(certificate)}}
        ],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
    }
    path.write_text(yaml.safe_dump(body))


@pytest.mark.parametrize("is_around", [False, True], ids=["through it", "around it"])
async def test_both_clients_take_the_same_way(
    server: tuple[int, Path],
    tunnel: tuple[int, Tunnel],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_around: bool,
) -> None:
    (port, certificate), (proxy_port, proxy) = server, tunnel
    write_kubeconfig(tmp_path / "config", port, certificate)
    url = f"http://127.0.0.1:{proxy_port}"
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
    set_environment(monkeypatch, HTTPS_PROXY=url, NO_PROXY="127.0.0.0/8" if is_around else "")
    async with KubeClient() as client:
        assert await client.get("/api") == {"token": f"Bearer {TOKEN}"}
    assert proxy.asked == ([] if is_around else [f"127.0.0.1:{port}"])
    told = await kopf_login.log_in()
    assert told.proxy_url == (None if is_around else url)
    assert not told.trust_env  # what is said is all: kopf doesn't look into the environment itself
    assert (told.server, told.ca_path) == (f"https://127.0.0.1:{port}", str(certificate))
    assert told.as_http_headers() == {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("no_proxy", "bucket", "keys"),
    [
        pytest.param("", True, True, id="nothing is excepted"),
        pytest.param("127.0.0.1", False, False, id="by its address"),
        pytest.param("127.0.0.0/8", False, True, id="by its range"),
    ],
)
async def test_where_a_proxy_leads_the_other_clients(
    no_proxy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, bucket: bool, keys: bool
) -> None:
    """Their libraries read NO_PROXY themselves, as docs/install.md tells; that of the keys knows no ranges."""
    asked: list[str] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split()[1].decode())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        set_environment(monkeypatch, HTTP_PROXY=f"http://127.0.0.1:{port}", NO_PROXY=no_proxy)
        url = f"http://127.0.0.1:{port}"
        settings = Bucket(url="s3://b", endpoint=url, options={"skip_signature": "true"})
        provider = Oidc(enabled=True, issuer=url, audience="a", jwks_url=f"{url}/keys")
        with contextlib.suppress(BaseError):
            await obstore.get_async(Connection(settings, "", tmp_path)(), "x")
        async with KeySet(provider) as found:
            with contextlib.suppress(AccessUndecided):
                await found.find("k")
    # A proxy is asked for the whole URL, a server for its path.
    assert [what.startswith("http://") for what in asked] == [bucket, keys]


@pytest.mark.parametrize(
    ("host", "server"), [("10.96.0.1", "https://10.96.0.1:443"), ("fd00:10::1", "https://[fd00:10::1]:443")]
)
async def test_in_a_pod_no_name_is_needed(
    host: str, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An egress policy may leave DNS out: both clients go by the address that Kubernetes puts into the environment."""
    (certificate, _), token = build_certificate(tmp_path), tmp_path / "token"
    token.write_text(json.dumps(TOKEN).strip('"'))
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(certificate))
    set_environment(monkeypatch, KUBERNETES_SERVICE_HOST=host, KUBERNETES_SERVICE_PORT="443")
    assert (await load_configuration()).host == server
    told = await kopf_login.log_in()
    assert (told.server, told.ca_path, told.token) == (server, str(certificate), TOKEN)
