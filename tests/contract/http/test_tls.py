"""HTTPS: the same responses, large bodies, a certificate renewed while the process runs, old versions refused."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509

from samply_operator.api.server.listener import HttpListener
from samply_operator.api.server.tls import Tls
from samply_operator.errors import SettingsError
from samply_operator.plugin.service import ServiceClient
from support import certificates
from support.fake_operator import KEY, bearer

from .conftest import Answer, Service, wait_until

PATH = "/v0/pipelines/orders/samply_profile"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    folder = tmp_path / "secret"
    folder.mkdir()
    certificates.mount(folder, "first")
    return folder


@pytest.fixture
async def tls(secret: Path) -> AsyncIterator[Tls]:
    async with Tls(secret, look_secs=0.02) as tls:
        yield tls


@pytest.fixture
async def listener(service: Service, tls: Tls) -> AsyncIterator[HttpListener]:
    """The same application, over TLS."""
    async with HttpListener(service.listener.app, "127.0.0.1", 0, drain_secs=1, tls=tls.context) as listener:
        yield listener


async def get(service: Service, listener: HttpListener, **headers: str) -> Answer:
    url = f"https://127.0.0.1:{listener.port}{PATH}"
    async with service.session.get(url, ssl=False, headers=headers) as response:
        return Answer(response.status, response.headers, await response.read())


async def read_subject(listener: HttpListener) -> str:
    """Of the certificate that a new connection is shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=context)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with suppress(ssl.SSLError, ConnectionError):
        await writer.wait_closed()
    return x509.load_der_x509_certificate(shown).subject.rfc4514_string().removeprefix("CN=")


async def test_a_large_profile_and_a_part_of_it(service: Service, listener: HttpListener) -> None:
    """Byte for byte as over plain TCP, though not by sendfile."""
    data = bytes(range(256)) * 12_000
    service.put(1, data)
    await service.settle()
    whole = await get(service, listener)
    assert (whole.status, whole.body) == (200, data)
    part = await get(service, listener, Range="bytes=1000000-2999999")
    assert (part.status, part.body) == (206, data[1_000_000:3_000_000])


async def test_a_renewed_certificate_is_used_without_a_restart(listener: HttpListener, secret: Path) -> None:
    """Connections that are open stay open; new ones are shown the new one."""
    _, held = await asyncio.open_connection("127.0.0.1", listener.port)
    assert await read_subject(listener) == "first"
    certificates.mount(secret, "second")

    async def is_renewed() -> bool:
        return await read_subject(listener) == "second"

    await wait_until(is_renewed)
    held.close()


async def test_a_pair_that_does_not_match_is_not_used(
    listener: HttpListener, secret: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The old one stays in use; this is logged once."""
    wrong = secret / "..wrong"
    certificates.write_pair(wrong, "wrong")
    other = secret / "other"
    certificates.write_pair(other, "other")
    (other / "tls.key").rename(wrong / "tls.key")
    (secret / "tmp").symlink_to("..wrong")
    (secret / "tmp").rename(secret / "..data")

    async def is_said() -> bool:
        return "the old one is kept" in caplog.text

    await wait_until(is_said)
    assert await read_subject(listener) == "first"
    await asyncio.sleep(0.1)
    assert caplog.text.count("the old one is kept") == 1
    certificates.mount(secret, "third")

    async def is_renewed() -> bool:
        return await read_subject(listener) == "third"

    await wait_until(is_renewed)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"], ids=["absent", "empty", "invalid"])
async def test_without_a_usable_certificate_nothing_is_served(tmp_path: Path, content: bytes | None) -> None:
    """Never plain HTTP instead."""
    if content is not None:
        (tmp_path / "tls.crt").write_bytes(content)
        (tmp_path / "tls.key").write_bytes(content)
    with pytest.raises(SettingsError, match=r"tls\.secretName"):
        await Tls(tmp_path).__aenter__()


async def test_versions_before_1_2_are_refused(listener: HttpListener) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", listener.port, ssl=context)
    assert await read_subject(listener) == "first"


async def test_plain_http_on_the_tls_port_is_closed(listener: HttpListener) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        assert b"HTTP/1.1 200" not in await reader.read()
    writer.close()


async def test_a_client_that_hangs_up_in_a_large_answer_is_no_error(
    service: Service, listener: HttpListener, caplog: pytest.LogCaptureFixture
) -> None:
    """The web console does it to see the status only."""
    service.put(1, b"x" * 20_000_000)
    await service.settle()
    async with aiohttp.ClientSession(headers=bearer(KEY)) as session:
        response = await session.get(f"https://127.0.0.1:{listener.port}{PATH}", ssl=False)
        assert response.status == 200
        await response.content.readexactly(1000)
        response.close()
    assert (await get(service, listener, Range="bytes=0-9")).body == b"x" * 10
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_the_plugin_fetches_over_tls_too(service: Service, listener: HttpListener, tmp_path: Path) -> None:
    """Through a port of this machine, for which no certificate is."""
    manifest = service.put(1, b"x" * 1_000_000)
    await service.settle()
    plugin = ServiceClient(listener.port, KEY, is_tls=True)
    assert await asyncio.to_thread(plugin.fetch, "orders", manifest.id, tmp_path / "p") == 1_000_000


def read_resident_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


async def test_idle_connections_take_little_memory(listener: HttpListener) -> None:
    """Both ends are in this process; with asyncio's own buffers they would take 50 MiB."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    before, held = read_resident_mib(), []
    for _ in range(100):
        held.append((await asyncio.open_connection("127.0.0.1", listener.port, ssl=context))[1])
    assert read_resident_mib() - before < 30
    for writer in held:
        writer.close()
