"""Checks tokens for the routes: API keys and JWTs by itself, the cluster's own by asking the operator.

What is decided here lets somebody read. Calls that act are decided again by the operator, from the token.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from samply_operator.api.auth.auth_cache import Found, Verdicts
from samply_operator.control.client import OperatorClient
from samply_operator.control.local_auth import LocalAuthenticator
from samply_operator.control.messages import ReviewRequest
from samply_operator.control.tokens import Keys
from samply_operator.errors import AccessUndecided, OperatorUnavailable, Unauthenticated
from samply_operator.rules.access import permissions
from samply_operator.settings import Auth, Verb

MAX_REVIEWS = 32
"""Questions to the operator at the same time."""
WAIT_SECS = 5.0
"""How long one more waits for its turn."""


class Gate:
    """One for the process; `keys` are the identity provider's."""

    def __init__(
        self,
        auth: Auth,
        operator: OperatorClient,
        keys: Keys,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._auth = auth
        self._operator = operator
        self._callers = LocalAuthenticator(auth, keys, lambda: operator.credentials, now=now)
        self._now = now
        self._verdicts = Verdicts(clock=clock)
        self._turns = asyncio.Semaphore(MAX_REVIEWS)

    async def identify(
        self, headers: Sequence[str], verbs: tuple[Verb, ...], namespaces: frozenset[str]
    ) -> tuple[permissions.Who, str]:
        """The caller, with what they may of what is asked, and their token. `headers` are all `Authorization` headers.

        Raises Unauthenticated, AccessUndecided, OperatorUnavailable.
        """
        if self._auth.unsafe_let_anyone_in_without_authentication:
            return permissions.ANYBODY, ""
        try:
            token = permissions.parse_header(headers)
            return await self._find(token, verbs, namespaces), token
        except Unauthenticated as error:
            raise Unauthenticated(error.message, remedy=permissions.tell_cure(self._auth)) from error

    async def _find(self, token: str, verbs: tuple[Verb, ...], namespaces: frozenset[str]) -> permissions.Who:
        match permissions.choose_way(token, self._auth):
            case "ApiKey":
                # Not remembered: a removed key is unknown at once.
                return self._callers.identify_key(token)
            case "Oidc":
                return await self._verdicts.find(self._verdicts.hash_token(token), lambda: self._verify(token))
            case "Kubernetes":
                question = self._verdicts.hash_token(token), verbs, namespaces
                return await self._verdicts.find(question, lambda: self._review(token, verbs, namespaces))

    async def _verify(self, token: str) -> Found:
        who, until = await self._callers.identify_jwt(token)
        return Found(who, keep_secs=until - self._now())

    async def _review(self, token: str, verbs: tuple[Verb, ...], namespaces: frozenset[str]) -> Found:
        if self._operator.snapshot is None:
            # Known to be away: a process that hangs would be waited for.
            raise OperatorUnavailable(
                "The operator is away: tokens of the cluster can't be reviewed.", remedy="Try again in a few seconds."
            )
        try:
            async with asyncio.timeout(WAIT_SECS):
                await self._turns.acquire()
        except TimeoutError as error:
            raise AccessUndecided(
                "Too many callers are being checked at once.", remedy="Try again in a few seconds."
            ) from error
        try:
            reply = await self._operator.review(token, ReviewRequest(verbs, tuple(sorted(namespaces))))
        finally:
            self._turns.release()
        return Found(permissions.build_reviewed(reply.subject, reply.allowed))
