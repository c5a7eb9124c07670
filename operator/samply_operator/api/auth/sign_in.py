"""Signing in at an identity provider, for the console: authorization code with PKCE (RFC 7636), state and nonce.

What must come back with the code waits in a cookie that no script can read and that goes to this one path. The token
that comes of it goes to the page that asked, and is kept nowhere here.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
import msgspec
from aiohttp import web

from samply_operator.control.auth.jwks import WELL_KNOWN
from samply_operator.errors import AccessUndecided, Unauthenticated
from samply_operator.rules.access import permissions
from samply_operator.settings import Oidc, SignIn

SECS = 10.0
MAX_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Attempt:
    """Values that the callback of one attempt must return."""

    state: str
    verifier: str
    nonce: str

    @classmethod
    def begin(cls) -> Attempt:
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))

    @classmethod
    def parse(cls, text: str) -> Attempt | None:
        parts = text.split(".")
        return cls(*parts) if len(parts) == 3 and all(parts) else None

    def render(self) -> str:
        return f"{self.state}.{self.verifier}.{self.nonce}"

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


class Provider:
    """Use as `async with`. Does nothing where the console has no client id."""

    def __init__(self, oidc: Oidc, sign_in: SignIn) -> None:
        self._oidc = oidc
        self._settings = sign_in
        self._session: aiohttp.ClientSession | None = None
        self._endpoints: Mapping[str, str] | None = None

    @property
    def is_enabled(self) -> bool:
        return bool(self._settings.client_id)

    async def __aenter__(self) -> Self:
        if self.is_enabled:
            timeout = aiohttp.ClientTimeout(total=SECS)
            jar = aiohttp.DummyCookieJar()
            self._session = aiohttp.ClientSession(timeout=timeout, cookie_jar=jar, trust_env=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def build_address(self, attempt: Attempt, redirect: str) -> str:
        """The URL at which the browser signs in. Raises AccessUndecided."""
        endpoints = await self._discover()
        query = urlencode(
            {
                "response_type": "code",
                "client_id": self._settings.client_id,
                "redirect_uri": redirect,
                "scope": " ".join(self._settings.scopes),
                "state": attempt.state,
                "nonce": attempt.nonce,
                "code_challenge": attempt.challenge,
                "code_challenge_method": "S256",
            }
        )
        separator = "&" if "?" in endpoints["authorization_endpoint"] else "?"
        return f"{endpoints['authorization_endpoint']}{separator}{query}"

    async def exchange(self, attempt: Attempt, code: str, redirect: str) -> str:
        """The token for the API. Raises Unauthenticated, AccessUndecided."""
        endpoints = await self._discover()
        answer = await self._ask(
            "POST",
            endpoints["token_endpoint"],
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect,
                "client_id": self._settings.client_id,
                "code_verifier": attempt.verifier,
            },
        )
        # From the provider itself over TLS: its claims can be compared without a check of the signature.
        claims = permissions.read_unverified_claims(str(answer.get("id_token", "")))
        if claims.get("nonce") != attempt.nonce:
            raise Unauthenticated("The provider's answer is not to this attempt.", remedy="Sign in again.")
        token = answer.get("id_token" if self._settings.token == "idToken" else "access_token")  # noqa: S105
        if not isinstance(token, str) or not token:
            raise Unauthenticated(f"The provider sent no {self._settings.token}.", remedy="Sign in again.")
        return token

    async def _discover(self) -> Mapping[str, str]:
        if self._endpoints is None:
            found = await self._ask("GET", self._oidc.issuer.rstrip("/") + WELL_KNOWN)
            endpoints = {key: str(found.get(key, "")) for key in ("authorization_endpoint", "token_endpoint")}
            if found.get("issuer") != self._oidc.issuer or not all(map(_is_url, endpoints.values())):
                raise AccessUndecided("The provider's description is not that of config.auth.oidc.issuer.")
            self._endpoints = endpoints
        return self._endpoints

    async def _ask(self, method: str, url: str, form: Mapping[str, str] | None = None) -> dict[str, Any]:
        if self._session is None:
            raise AccessUndecided("Signing in at a provider is switched off.")
        try:
            async with self._session.request(method, url, data=form, allow_redirects=False) as response:
                body = await response.content.read(MAX_BYTES)
                if response.status in (400, 401):
                    raise Unauthenticated("The provider did not accept the code.", remedy="Sign in again.")
                if response.status != 200:
                    raise AccessUndecided(f"The provider answered {response.status}.", remedy="Try again.")
                found: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
        except (aiohttp.ClientError, TimeoutError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise AccessUndecided("The identity provider does not answer as it should.", remedy="Try again.") from error
        return found


def _is_url(text: str) -> bool:
    return text.startswith(("https://", "http://"))


SIGN_IN = web.AppKey("sign_in", Provider)
