"""The public keys of an identity provider, fetched when needed: few requests, small answers, no surprises.

Found keys are believed for KEEP_SECS. A kid that isn't among them has them fetched again, at most every REFRESH_SECS:
made-up kids can't be turned into requests. While the provider doesn't answer, known keys go on for STALE_SECS.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import msgspec

from samply_operator.errors import AccessUndecided
from samply_operator.settings import Oidc

logger = logging.getLogger(__name__)

KEEP_SECS = 300.0
REFRESH_SECS = 10.0
STALE_SECS = 3600.0
FETCH_SECS = 5.0
MAX_BYTES = 256 * 1024
MAX_KEYS = 100
WELL_KNOWN = "/.well-known/openid-configuration"

Jwk = Mapping[str, Any]


class BadAnswer(Exception):
    """The provider's answer isn't what it has to be."""


class KeySet:
    """Use as `async with`. `find` is the one question."""

    def __init__(self, oidc: Oidc, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._oidc = oidc
        self._clock = clock
        self._keys: dict[str, Jwk] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._has_failed = False
        self._lock = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        if self._oidc.enabled:
            timeout = aiohttp.ClientTimeout(total=FETCH_SECS)
            self._session = aiohttp.ClientSession(
                timeout=timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=True,
                headers={"Accept": "application/json"},
            )
            if any(url.startswith("http://") for url in (self._oidc.issuer, self._oidc.jwks_url)):
                logger.warning(
                    "keys of %s are fetched without TLS: an attacker on the network can replace them", self._oidc.issuer
                )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def find(self, kid: str) -> Jwk | None:
        """The key of this id; None: the provider has none. Raises AccessUndecided if its keys can't be had."""
        if not self._is_fresh(kid):
            async with self._lock:
                if not self._is_fresh(kid):
                    await self._refresh()
        is_stale = self._clock() - self._fetched_at > STALE_SECS
        if is_stale or (self._has_failed and kid not in self._keys):
            raise AccessUndecided(
                "The identity provider's keys cannot be fetched.", remedy="Try again in a few seconds."
            )
        return self._keys.get(kid)

    def _is_fresh(self, kid: str) -> bool:
        """Nothing to fetch: the key is known, or the keys were fetched a moment ago."""
        now = self._clock()
        if now - self._tried_at < REFRESH_SECS:
            return True
        return kid in self._keys and now - self._fetched_at < KEEP_SECS

    async def _refresh(self) -> None:
        self._tried_at = began = self._clock()
        self._has_failed = True
        try:
            async with asyncio.timeout(2 * FETCH_SECS):
                self._keys = await self._fetch()
        except (aiohttp.ClientError, OSError, TimeoutError, BadAnswer) as error:
            logger.error(
                "keys of %s cannot be fetched: %s: %s", self._oidc.issuer, type(error).__name__, str(error)[:200]
            )
            return
        self._fetched_at, self._has_failed = began, False

    async def _fetch(self) -> dict[str, Jwk]:
        url = self._oidc.jwks_url or await self._discover()
        found = (await self._get(url)).get("keys")
        if not isinstance(found, list):
            raise BadAnswer(f"{url} has no list of keys")
        keys = [key for key in found[:MAX_KEYS] if isinstance(key, dict) and isinstance(key.get("kid"), str)]
        return {key["kid"]: key for key in keys}

    async def _discover(self) -> str:
        """Where the keys are, as the issuer itself says: under its own name, and by no weaker transport."""
        issuer = self._oidc.issuer
        found = await self._get(issuer.rstrip("/") + WELL_KNOWN)
        url = found.get("jwks_uri")
        if found.get("issuer") != issuer:
            raise BadAnswer(f"{issuer} calls itself otherwise")
        if not isinstance(url, str) or urlsplit(url).scheme not in {"https", urlsplit(issuer).scheme}:
            raise BadAnswer(f"{issuer} names no place of its keys that can be trusted")
        return url

    async def _get(self, url: str) -> dict[str, Any]:
        """One JSON object. A redirect is not followed: who is trusted is written in the settings."""
        if self._session is None:
            raise BadAnswer("not open")
        async with self._session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise BadAnswer(f"{url} answers {response.status}")
            body = await _read(response.content, url)
        try:
            found = msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadAnswer(f"{url} is no JSON") from error
        if not isinstance(found, dict):
            raise BadAnswer(f"{url} is no object")
        return found


async def _read(content: aiohttp.StreamReader, url: str) -> bytes:
    body = bytearray()
    async for data in content.iter_any():
        body += data
        if len(body) > MAX_BYTES:
            raise BadAnswer(f"{url} is too long")
    return bytes(body)
