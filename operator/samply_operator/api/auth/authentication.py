"""Authenticates tokens for the routes: API keys and JWTs itself, the cluster's own with the operator, Feldera's with
Feldera.

Decisions made here allow reading. Calls that change something are authorized again by the operator, from the token.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
from aiohttp import web

from samply_operator.api.auth.auth_cache import HIDDEN_SECS, Found, Verdicts
from samply_operator.api.auth.platform import Platform
from samply_operator.api.state import View
from samply_operator.control.auth.feldera_auth import FelderaAuthenticator
from samply_operator.control.auth.local_auth import LocalAuthenticator
from samply_operator.control.auth.tokens import Keys
from samply_operator.control.client import OperatorClient
from samply_operator.control.messages import ReviewRequest
from samply_operator.errors import AccessUndecided, OperatorUnavailable, Unauthenticated
from samply_operator.feldera.answers import Config
from samply_operator.feldera.client import FelderaClient, Login
from samply_operator.rules.access import permissions
from samply_operator.rules.access.credentials import EVERYWHERE
from samply_operator.settings import Auth, Verb

MAX_REVIEWS = 32
"""Concurrent requests to the operator."""
WAIT_SECS = 5.0
"""How long a further one waits."""
PART = 16
"""Namespaces per request to the operator, so that a caller with many of them does not delay others for long."""

Charge = Callable[[int], None]
"""Charges the caller's rate limit. Raises TooManyRequests."""


class Question(msgspec.Struct, frozen=True, gc=False):
    """The permission to check. `pipeline` is its name as in the request (None: all of them), `namespaces` those that
    have it: none, for an unknown name."""

    verbs: tuple[Verb, ...]
    pipeline: str | None
    namespaces: frozenset[str]


class Authenticator:
    """One per process; `keys` are the identity provider's. `padding_namespace` is reviewed where a name has
    fewer namespaces than others, so that the number of reviews discloses nothing. `feldera` None: it is not used for
    callers."""

    def __init__(
        self,
        auth: Auth,
        operator: OperatorClient,
        keys: Keys,
        feldera: FelderaClient | None = None,
        *,
        padding_namespace: str,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._auth = auth
        self._operator = operator
        self._local = LocalAuthenticator(auth, keys, lambda: operator.credentials, now=now)
        self._feldera = FelderaAuthenticator(auth, feldera, clock=clock)
        self._platform = Platform(feldera, clock=clock)
        self._padding_namespace = padding_namespace
        self._now = now
        self._verdicts = Verdicts(clock=clock)
        self._slots = asyncio.Semaphore(MAX_REVIEWS)
        self._largest_count: tuple[View | None, int] = (None, 1)

    async def identify(
        self, headers: Sequence[str], question: Question, *, view: View, charge: Charge, tenant: str = ""
    ) -> tuple[permissions.Who, Login]:
        """The caller, with what they may of what is asked, and their login. `headers` are all `Authorization` headers;
        `tenant` matters to Feldera alone.

        Raises Unauthenticated, AccessUndecided, OperatorUnavailable, TooManyRequests.
        """
        if self._auth.unsafe_let_anyone_in_without_authentication:
            return permissions.ANYBODY, Login()
        try:
            login = Login(permissions.parse_header(headers), tenant)
            return await self._find(login, question, view, charge), login
        except Unauthenticated as error:
            raise Unauthenticated(error.message, remedy=permissions.describe_remedy(self._auth)) from error

    def is_felderas(self, headers: Sequence[str]) -> bool:
        """Whether Feldera verifies the token."""
        try:
            return permissions.choose_way(permissions.parse_header(headers), self._auth) == "Feldera"
        except Unauthenticated:
            return False

    async def find_platform(self, headers: Sequence[str], tenant: str) -> Config | None:
        """Feldera's edition and version, if a caller whom Feldera knows asks, or did; None: not known."""
        login = Login(permissions.parse_header(headers), tenant) if self.is_felderas(headers) else None
        return await self._platform.find(login)

    async def _find(self, login: Login, question: Question, view: View, charge: Charge) -> permissions.Who:
        token = login.bearer
        match permissions.choose_way(token, self._auth):
            case "ApiKey":
                # Not cached: a removed key is rejected immediately.
                return self._local.identify_key(token)
            case "Oidc":
                return await self._verdicts.find(self._verdicts.hash_token(token), lambda: self._verify(token))
            case "Kubernetes":
                # By name, not by namespaces: a hidden name causes as many requests as an unknown one.
                key = self._verdicts.hash_token(token), question.verbs, question.pipeline
                return await self._verdicts.find(key, lambda: self._review(login, question, view, charge))
            case "Feldera":
                seen = self._verdicts.hash_token(token), login.tenant, question.pipeline
                return await self._verdicts.find(seen, lambda: self._ask_feldera(login, question.pipeline))

    async def _verify(self, token: str) -> Found:
        who, until = await self._local.identify_jwt(token)
        return Found(who, keep_secs=until - self._now())

    async def _ask_feldera(self, login: Login, pipeline: str | None) -> Found:
        who = await self._feldera.identify(login, pipeline)
        return Found(who, sees_something=bool(who.visible))

    async def _review(self, login: Login, question: Question, view: View, charge: Charge) -> Found:
        if question.pipeline is None:
            who = await self._ask(login, question.verbs, (EVERYWHERE,))
            if who.readable is not None and question.namespaces:
                charge(len(question.namespaces))
                who = await self._ask(login, question.verbs, sorted(question.namespaces))
        else:
            asked = sorted(question.namespaces)
            asked += [self._padding_namespace] * (self._count_largest(view) - len(asked))
            charge(len(asked) - 1)  # the request has paid for one
            who = await self._ask(login, question.verbs, asked)
        if any(who.may("get", namespace) for namespace in question.namespaces):
            return Found(who)
        return Found(who, keep_secs=HIDDEN_SECS, sees_something=False)

    def _count_largest(self, view: View) -> int:
        """The largest number of namespaces that share one name, at least 1. Counted once per view."""
        if self._largest_count[0] is not view:
            self._largest_count = view, view.count_most_namespaces()
        return self._largest_count[1]

    async def _ask(self, login: Login, verbs: tuple[Verb, ...], namespaces: Sequence[str]) -> permissions.Who:
        """Raises OperatorUnavailable, AccessUndecided, and what the operator raises."""
        if self._operator.live is None:
            # Known to be down. A process that hangs would be waited for.
            raise OperatorUnavailable(
                "The operator is down, so tokens of the cluster cannot be reviewed.",
                remedy="Try again in a few seconds.",
            )
        subject, allowed = "", dict[Verb, list[str]]()
        for start in range(0, max(1, len(namespaces)), PART):
            async with self._slot():
                part = ReviewRequest(verbs, tuple(namespaces[start : start + PART]))
                reply = await self._operator.review(login, part)
            subject = reply.subject
            for verb, found in reply.allowed.items():
                allowed.setdefault(verb, []).extend(found)
        return permissions.build_reviewed(subject, allowed)

    @asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(WAIT_SECS):
                await self._slots.acquire()
        except TimeoutError as error:
            raise AccessUndecided(
                "Too many callers are being checked at once.", remedy="Try again in a few seconds."
            ) from error
        try:
            yield
        finally:
            self._slots.release()


AUTHENTICATOR = web.AppKey("authenticator", Authenticator)
