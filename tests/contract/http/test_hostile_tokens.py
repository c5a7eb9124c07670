"""Hostile tokens, which are parsed before the caller is known: 401 and rate-limited, never a 500."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from samply_operator.settings import Api, ApiKeys, Auth, Oidc
from support.fake_operator import KEY
from support.service import serving

from .conftest import Service

ISSUER = "http://127.0.0.1:1/issuer"
DEEP, DEEP_OBJECTS = b"[" * 5000, b'{"a":' * 1100
LATIN, NUMBER, LONG_TIME = b"\xff" * 20, b"1" * 4500, b'{"exp":1e999999}'
ROUTES = ("/v0/pipelines", "/v0/pipelines/orders/samply_profile", "/v0/pipelines/orders/export")


def encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def build_tokens() -> Iterator[tuple[str, str]]:
    claims = encode(json.dumps({"iss": ISSUER}).encode())
    deep_claims = encode(b'{"iss":' + json.dumps(ISSUER).encode() + b',"x":' + DEEP)
    header = encode(b'{"alg":"RS256","kid":"k"}')
    yield "nested payload", f"{header}.{encode(DEEP)}.x"
    yield "nested objects", f"{header}.{encode(DEEP_OBJECTS)}.x"
    yield "nested payload of the issuer", f"{header}.{deep_claims}.x"
    yield "nested header of the issuer", f"{encode(DEEP)}.{claims}.x"
    yield "nested objects in the header", f"{encode(DEEP_OBJECTS)}.{claims}.x"
    yield "header that is a number", f"{encode(NUMBER)}.{claims}.x"
    yield "header that is no UTF-8", f"{encode(LATIN)}.{claims}.x"
    yield "payload that is a number", f"{header}.{encode(NUMBER)}.x"
    yield "payload that is no object", f"{header}.{encode(b'[]')}.x"
    yield "no base64", "%%%.%%%.%%%"
    yield "only dots", ".."
    yield "many dots", "." * 5000
    yield "half characters", "a.b.c\xff"
    yield "a key without end", "samply_" + "a" * 7000
    yield "a long number for a time", f"{header}.{encode(LONG_TIME)}.x"


TOKENS = dict(build_tokens())


@pytest.fixture
def auth() -> Auth:
    """All three ways; the issuer can't be reached."""
    return Auth(oidc=Oidc(enabled=True, issuer=ISSUER, audience="a", jwks_url=ISSUER), api_keys=ApiKeys(enabled=True))


@pytest.fixture
async def strict(folder: Path, auth: Auth) -> AsyncIterator[Service]:
    async with serving(folder, Api(requests_per_sec=1, request_burst=30), auth=auth) as service:
        yield service


@pytest.mark.parametrize("kind", TOKENS)
async def test_it_is_a_401(service: Service, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """Or 503, if it claims an issuer whose keys are unavailable."""
    for path in ROUTES:
        answer = await service.get(path, Authorization=f"Bearer {TOKENS[kind]}")
        assert answer.status == 401, answer.body
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_hostile_token_counts_against_its_address(strict: Service) -> None:
    assert (await strict.get("/v0/pipelines", Authorization=f"Bearer {KEY}")).status == 200
    statuses = [
        (await strict.get("/v0/pipelines", Authorization=f"Bearer {TOKENS['nested payload']}{n}")).status
        for n in range(40)
    ]
    assert statuses.count(401) <= 32
    assert statuses[-1] == 429
    assert (await strict.get("/v0/pipelines", Authorization=f"Bearer {KEY}")).status == 200
