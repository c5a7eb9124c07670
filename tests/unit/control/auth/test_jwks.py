"""Keys of an identity provider: fetched on demand, rarely, with limits, and only from the configured address."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from samply_operator.control.auth import jwks
from samply_operator.control.auth.jwks import KeySet
from samply_operator.errors import AccessUndecided
from samply_operator.settings import Oidc
from support.identity import AUDIENCE, Provider, public_jwk, rsa_key


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with Provider() as provider:
        yield provider


@pytest.fixture
async def keys(provider: Provider, clock: Clock) -> AsyncIterator[KeySet]:
    oidc = Oidc(enabled=True, issuer=provider.issuer, audience=AUDIENCE)
    async with KeySet(oidc, clock=clock) as keys:
        yield keys


DISCOVERED = ["/.well-known/openid-configuration", "/keys"]


async def test_keys_are_discovered_from_the_issuer_and_cached(provider: Provider, keys: KeySet, clock: Clock) -> None:
    for _ in range(3):
        assert (await keys.find("one")) == provider.keys[0]
    assert provider.requests == DISCOVERED
    clock.now += jwks.KEEP_SECS
    await keys.find("one")
    assert provider.requests == DISCOVERED * 2


async def test_they_are_fetched_from_the_address_that_is_set(provider: Provider, clock: Clock) -> None:
    oidc = Oidc(enabled=True, issuer="https://id.example", audience=AUDIENCE, jwks_url=f"{provider.issuer}/elsewhere")
    async with KeySet(oidc, clock=clock) as keys:
        assert await keys.find("one")
    assert provider.requests == ["/elsewhere"]


async def test_a_new_key_is_found_and_made_up_ones_cost_little(provider: Provider, keys: KeySet, clock: Clock) -> None:
    """An unknown kid has the keys fetched again, once in ten seconds."""
    await keys.find("one")
    provider.keys.append(public_jwk(rsa_key(), "two"))
    clock.now += jwks.REFRESH_SECS
    assert await keys.find("two")
    for number in range(100):
        assert await keys.find(f"made-up-{number}") is None
    assert provider.requests == DISCOVERED * 2


async def test_a_key_that_was_withdrawn_is_gone_after_five_minutes(
    provider: Provider, keys: KeySet, clock: Clock
) -> None:
    await keys.find("one")
    provider.keys.clear()
    clock.now += jwks.KEEP_SECS
    assert await keys.find("one") is None


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(web.Response(status=500), id="an error"),
        pytest.param(web.Response(status=302, headers={"Location": "/elsewhere"}), id="a redirect"),
        pytest.param(web.Response(body=b"{"), id="no JSON"),
        pytest.param(web.Response(body=b"[]"), id="no object"),
        pytest.param(web.Response(body=b'{"keys": {}}'), id="no list"),
        pytest.param(web.Response(body=b'{"keys": []}' + b" " * jwks.MAX_BYTES), id="too long"),
    ],
)
async def test_an_invalid_answer_grants_no_access(
    provider: Provider, keys: KeySet, clock: Clock, answer: web.Response
) -> None:
    """To nobody at first; later, known keys stay valid for an hour."""
    provider.answer = answer
    with pytest.raises(AccessUndecided):
        await keys.find("one")
    assert "/elsewhere" not in provider.requests
    provider.answer = None
    clock.now += jwks.REFRESH_SECS
    assert await keys.find("one")
    provider.answer = answer
    clock.now += jwks.KEEP_SECS
    assert await keys.find("one"), "known ones go on"
    with pytest.raises(AccessUndecided):
        await keys.find("two")
    clock.now += jwks.STALE_SECS
    with pytest.raises(AccessUndecided):
        await keys.find("one")


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"issuer": "https://evil.example"}, id="another issuer"),
        pytest.param({"jwks_uri": "file:///etc/passwd"}, id="a file"),
        pytest.param({"jwks_uri": "ftp://127.0.0.1/keys"}, id="another scheme"),
        pytest.param({"jwks_uri": None}, id="none"),
        pytest.param({"jwks_uri": ["x"]}, id="a list"),
    ],
)
async def test_the_key_address_is_validated(provider: Provider, keys: KeySet, document: dict[str, object]) -> None:
    provider.document = document
    with pytest.raises(AccessUndecided):
        await keys.find("one")
    assert provider.requests == DISCOVERED[:1]


async def test_the_number_of_keys_is_limited(provider: Provider, keys: KeySet) -> None:
    provider.keys = [{"kid": f"k{n}", "kty": "RSA"} for n in range(jwks.MAX_KEYS + 1)]
    assert await keys.find("k0")
    assert await keys.find(f"k{jwks.MAX_KEYS}") is None
