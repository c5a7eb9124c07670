"""A private authority is trusted by SSL_CERT_FILE, which the chart's extraCaBundle sets."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
from pathlib import Path

import pytest
from aiohttp import web

from support import certificates

ASK = """
import asyncio, sys
from samply_operator.control.auth.jwks import KeySet
from samply_operator.settings import Oidc

async def main():
    async with KeySet(Oidc(enabled=True, issuer=sys.argv[1], audience="a", jwks_url=sys.argv[1] + "/keys")) as keys:
        print((await keys.find("k"))["kty"])

asyncio.run(main())
"""


async def ask(issuer: str, **environment: str) -> str:
    """The output of a separate process, since the variable is read at startup."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ASK, issuer),
        env={key: value for key, value in os.environ.items() if key != "SSL_CERT_FILE"} | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await child.communicate()
    return said.decode()


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_it_is_trusted_if_it_is_named(tmp_path: Path, *, is_trusted: bool) -> None:
    certificates.write_pair(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"keys": [{"kid": "k", "kty": "EC"}]})

    app = web.Application()
    app.router.add_get("/keys", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        issuer = f"https://127.0.0.1:{runner.addresses[0][1]}"
        said = await ask(issuer, **({"SSL_CERT_FILE": str(tmp_path / "tls.crt")} if is_trusted else {}))
    finally:
        await runner.cleanup()
    assert said == "EC\n" if is_trusted else "keys cannot be fetched" in said


def test_the_public_authorities_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable replaces one file; OpenSSL still reads its folder."""
    before = ssl.get_default_verify_paths().openssl_capath
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "own.crt"))
    after = ssl.get_default_verify_paths()
    assert after.openssl_capath == before
    assert after.openssl_cafile_env == "SSL_CERT_FILE"
