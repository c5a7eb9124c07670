"""The operator's own word on who calls and what they may, from their login and nothing else that `api` says.

Nothing is kept between two calls: `api` remembers for a few seconds what it read here, calls that act are always fresh.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from samply_operator.control.auth.feldera_auth import FelderaAuthenticator
from samply_operator.control.auth.local_auth import LocalAuthenticator
from samply_operator.errors import AccessUndecided, Unauthenticated
from samply_operator.feldera.client import FelderaClient, Login
from samply_operator.kube import reviews
from samply_operator.rules.access import permissions
from samply_operator.settings import Auth, Verb

MAX_REVIEWS = 32
"""Questions to Kubernetes at the same time; further ones wait."""
WAIT_SECS = 8.0
"""Longest wait for all of them together."""


class Authorizer:
    """`home` is a namespace to review if there is none: an unknown name then takes as long as a hidden one."""

    def __init__(
        self,
        auth: Auth,
        client: reviews.Creator,
        callers: LocalAuthenticator,
        home: str,
        feldera: FelderaClient | None = None,
    ) -> None:
        self._auth = auth
        self._client = client
        self._callers = callers
        self._feldera = FelderaAuthenticator(auth, feldera)
        self._home = home
        self._gate = asyncio.Semaphore(MAX_REVIEWS)

    async def identify(
        self, login: Login, verbs: Sequence[Verb], namespaces: Collection[str], *, pipeline: str | None = None
    ) -> permissions.Who:
        """Whose it is, with what they may of what is asked. Whom Feldera knows comes back with what they see there of
        `pipeline` (its name or id; None: all), and without grants. Raises Unauthenticated, AccessUndecided."""
        if self._auth.unsafe_let_anyone_in_without_authentication:
            return permissions.ANYBODY
        try:
            return await self._identify(login, verbs, namespaces, pipeline)
        except Unauthenticated as error:
            raise Unauthenticated(error.message, remedy=permissions.describe_remedy(self._auth)) from error

    async def _identify(
        self, login: Login, verbs: Sequence[Verb], namespaces: Collection[str], pipeline: str | None
    ) -> permissions.Who:
        token = permissions.parse_header([f"Bearer {login.bearer}"] if login.bearer else [])
        match permissions.choose_way(token, self._auth):
            case "ApiKey":
                return self._callers.identify_key(token)
            case "Oidc":
                return (await self._callers.identify_jwt(token))[0]
            case "Kubernetes":
                return await self._review(token, verbs, namespaces)
            case "Feldera":
                return await self._feldera.identify(login, pipeline)

    async def _review(self, token: str, verbs: Sequence[Verb], namespaces: Collection[str]) -> permissions.Who:
        audiences = self._auth.kubernetes.audiences
        try:
            async with asyncio.timeout(WAIT_SECS):
                async with self._gate:
                    reviewed = await reviews.review_token(self._client, token, audiences)
                if reviewed is None:
                    raise Unauthenticated(permissions.explain_rejected(token, audiences))
                return await self._review_access(reviewed, verbs, namespaces)
        except TimeoutError as error:
            raise AccessUndecided(
                "Kubernetes takes too long to review the token.", remedy="Try again in a few seconds."
            ) from error

    async def _review_access(
        self, reviewed: reviews.Reviewed, verbs: Sequence[Verb], namespaces: Collection[str]
    ) -> permissions.Who:
        pairs = [(verb, namespace) for verb in verbs for namespace in namespaces or (self._home,)]

        async def ask(verb: Verb, namespace: str) -> bool:
            async with self._gate:
                return await reviews.review_access(self._client, reviewed, verb, namespace)

        answers = await asyncio.gather(*(ask(*pair) for pair in pairs))
        granted = [pair for pair, is_allowed in zip(pairs, answers, strict=True) if is_allowed and namespaces]
        allowed: dict[Verb, list[str]] = {verb: [n for v, n in granted if v == verb] for verb in verbs}
        return permissions.build_reviewed(permissions.clean_subject(reviewed.username), allowed)
