"""Who calls, for the ways that need no word of Kubernetes: API keys and JWTs. Both containers ask here, for themselves.

Nothing is kept: a key that was removed is unknown as soon as the new credentials are there.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from samply_operator.control.auth import tokens
from samply_operator.control.messages import Credentials
from samply_operator.errors import AccessUndecided, Unauthenticated
from samply_operator.rules.access import credentials, permissions
from samply_operator.settings import Auth

KEEP_SECS = 3600.0
"""How long API keys stay valid while they cannot be read again: the operator or the API server is down."""


class LocalAuthenticator:
    """`current` gives the credentials of this moment."""

    def __init__(
        self,
        auth: Auth,
        keys: tokens.Keys,
        current: Callable[[], Credentials],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._auth = auth
        self._keys = keys
        self._current = current
        self._now = now

    def identify_key(self, token: str) -> permissions.Who:
        """Raises Unauthenticated, AccessUndecided."""
        known, now = self._current(), self._now()
        if now - known.read_at > KEEP_SECS:
            raise AccessUndecided(
                "API keys cannot be checked: there is no connection to the operator.",
                remedy="Try again in a few seconds.",
            )
        key = credentials.find_key(token, known.api_keys, now)
        if key is None:
            raise Unauthenticated("The API key is unknown, removed or expired.")
        return permissions.build_key_holder(key)

    async def identify_jwt(self, token: str) -> tuple[permissions.Who, float]:
        """And until when (Unix time) it holds. Raises Unauthenticated, AccessUndecided."""
        claims = await tokens.verify(token, self._auth.oidc, self._keys)
        return permissions.build_token_holder(claims, self._auth.oidc), float(claims["exp"])
