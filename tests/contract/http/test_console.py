"""The console's files: what is served to everyone, under which policy, below the base path, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path

import pytest
from multidict import CIMultiDictProxy

from samply_operator.api.content import console_files
from samply_operator.api.content.console_files import StaticFile
from samply_operator.settings import Api, Console
from support.service import serving

from .conftest import Service

BASE = "/tools/profiles"
PAGE = b'<base href="{{base}}/console/"><meta name="console-config" content="{{config}}">'


@pytest.fixture(autouse=True)
def built(monkeypatch: pytest.MonkeyPatch) -> dict[str, StaticFile]:
    """As `make console` leaves them, in small."""
    files = {
        path: console_files.build(path, body)
        for path, body in {
            "index.html": PAGE,
            "assets/main-A1.js": b"let a = 1;" * 100,
            "assets/inter-B2.woff2": b"\x00\x01",
            "speedscope/index.html": b"<title>speedscope</title>",
        }.items()
    }
    monkeypatch.setattr(console_files, "load", lambda: files)
    return files


@pytest.fixture
async def based(folder: Path) -> AsyncIterator[Service]:
    async with serving(folder, Api(base_path=BASE, requests_per_sec=0)) as service:
        yield service


async def fetch(service: Service, path: str, **headers: str) -> tuple[int, CIMultiDictProxy[str], bytes]:
    """The console is no part of the documented API: it is asked past the check of answers."""
    url = f"http://127.0.0.1:{service.port}{path}"
    named = {"Accept-Encoding": "identity"} | {name.replace("_", "-"): value for name, value in headers.items()}
    async with service.bare.get(url, headers=named, allow_redirects=False) as response:
        return response.status, response.headers, await response.read()


def read_config(body: bytes) -> dict[str, object]:
    found = re.search(rb'content="([^"]*)"', body)
    assert found
    config: dict[str, object] = json.loads(unescape(found[1].decode()))
    return config


@pytest.mark.parametrize("path", ["", "pipelines/feldera/orders", "profiles/x/%3Cscript%3E", "compare?before=a%2Fb"])
async def test_every_address_is_the_page(service: Service, path: str) -> None:
    status, headers, body = await fetch(service, f"/console/{path}")
    assert status == 200
    assert body.startswith(b'<base href="/console/">')
    assert b"script" not in body
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-cache"


async def test_its_policy_allows_no_other_origin(service: Service) -> None:
    """No inline code, no other host, no markup made of text, no framing."""
    policy = (await fetch(service, "/console/"))[1]["Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["frame-ancestors"] == "'none'"
    assert rules["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in policy
    assert "http" not in policy


async def test_speedscope_has_a_policy_of_its_own(service: Service) -> None:
    """It can reach neither the API nor any other host."""
    status, headers, body = await fetch(service, "/console/speedscope/")
    assert (status, body) == (200, b"<title>speedscope</title>")
    rules = dict(rule.split(" ", 1) for rule in headers["Content-Security-Policy"].split("; "))
    assert rules["connect-src"] == "blob:"
    assert rules["frame-ancestors"] == "'self'"


async def test_below_the_base_path(based: Service) -> None:
    for path in ("/console/", f"{BASE}/console/"):
        assert (await fetch(based, path))[2].startswith(f'<base href="{BASE}/console/">'.encode())
    status, headers, _ = await fetch(based, "/console")
    assert (status, headers["Location"]) == (308, f"{BASE}/console/")


async def test_files_are_immutable_and_compressed_on_request(service: Service) -> None:
    """Their names change with their contents."""
    status, headers, body = await fetch(service, "/console/assets/main-A1.js", Accept_Encoding="gzip")
    assert (status, headers["Content-Encoding"], len(body) < 100) == (200, "gzip", True)
    assert "immutable" in headers["Cache-Control"]
    _, plain, whole = await fetch(service, "/console/assets/main-A1.js")
    assert "Content-Encoding" not in plain
    assert len(whole) == 1000
    again = await fetch(service, "/console/assets/main-A1.js", If_None_Match=headers["ETag"])
    assert (again[0], again[2]) == (304, b"")
    assert (await fetch(service, "/console/assets/inter-B2.woff2"))[1]["Content-Type"] == "font/woff2"


@pytest.mark.parametrize(
    "path", ["assets/none.js", "assets/..%2fapp.py", "assets/%2e%2e/%2e%2e/app.py", "speedscope/none", "assets/"]
)
async def test_only_what_was_built_is_served(service: Service, path: str) -> None:
    status, _, body = await fetch(service, f"/console/{path}")
    assert status in (200, 404)
    assert status == 404 or body.startswith(b"<base")


async def test_the_configuration_served_before_sign_in(service: Service) -> None:
    """How to sign in; nothing about pipelines, and no secret."""
    config = read_config((await fetch(service, "/console/"))[2])
    assert (config["audience"], config["apiKeys"], config["links"]) == ("samply-operator", True, False)
    assert config["linkMaxSecs"] == 24 * 3600
    assert config["provider"] is None


async def test_not_built(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout without the bundle says what to run."""
    monkeypatch.setattr(console_files, "load", dict)
    status, _, body = await fetch(service, "/console/")
    assert status == 503
    assert b"make console" in body


async def test_switched_off(folder: Path) -> None:
    async with serving(folder, Api(console=Console(enabled=False), requests_per_sec=0)) as service:
        assert (await fetch(service, "/console/"))[0] == 404
        assert (await fetch(service, "/console"))[0] == 404
