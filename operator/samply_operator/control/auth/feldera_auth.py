"""The identity of a caller in Feldera, and the pipelines visible to them. Both containers use this.

Feldera is asked with the caller's own token, which is not used elsewhere. A Feldera without authentication proves
nothing about a token: it is first tested with an invented one.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable

from samply_operator import errors
from samply_operator.feldera.answers import UUID, PipelineInfo, Session
from samply_operator.feldera.client import FelderaClient, Login
from samply_operator.model import names
from samply_operator.rules.access import permissions
from samply_operator.settings import Auth

PROVED_SECS = 60.0
"""How long a Feldera that refused a made-up key is taken for one that looks at keys."""
MAX_ASKED = 16
"""Maximum number of concurrent reviews by Feldera. A slow Feldera does not affect other authentication methods."""
WAIT_SECS = 10.0
"""Longest wait for all that is asked about one caller."""


class FelderaAuthenticator:
    """`client` None: this way is off."""

    def __init__(
        self, auth: Auth, client: FelderaClient | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._auth = auth
        self._client = client
        self._clock = clock
        self._proved_until = float("-inf")
        self._turns = asyncio.Semaphore(MAX_ASKED)

    async def identify(self, login: Login, pipeline: str | None) -> permissions.Who:
        """The caller, and which of the pipelines called this they see in Feldera: a name or an id, several with a space
        between them; None: all that they see. Raises Unauthenticated, AccessUndecided."""
        if self._client is None:
            raise errors.Unauthenticated("Feldera's keys are not accepted here.")
        try:
            async with asyncio.timeout(WAIT_SECS), self._turns:
                await self._prove(self._client)
                session, found = await asyncio.gather(
                    self._find_session(self._client, login), self._find_all(self._client, login, pipeline)
                )
        except errors.FelderaUnauthenticated as error:
            raise errors.Unauthenticated(
                "Feldera does not accept the token: it is unknown there, or was removed."
            ) from error
        except errors.FelderaError as error:
            raise errors.AccessUndecided(
                f"Who calls cannot be found out: {error.message}", remedy="Try again in a few seconds."
            ) from error
        except TimeoutError as error:
            raise errors.AccessUndecided(
                "Who calls cannot be found out: Feldera does not answer in time.", remedy="Try again in a few seconds."
            ) from error
        visible = tuple((info.id, info.name) for info in found)
        subject = permissions.describe_feldera_caller(login.bearer, session.tenant_name or "")
        return permissions.build_feldera_caller(subject, visible, may_start=self._auth.feldera.may_start)

    async def _prove(self, client: FelderaClient) -> None:
        """Raises Unauthenticated if Feldera accepts an invented key."""
        if self._clock() < self._proved_until:
            return
        try:
            await client.get_session(Login(permissions.FELDERA_PREFIX + secrets.token_hex(32)))
        except errors.FelderaUnauthenticated:
            self._proved_until = self._clock() + PROVED_SECS
            return
        raise errors.Unauthenticated(
            "Feldera accepts every key, so its word about a caller is worth nothing: it runs without authentication."
        )

    async def _find_session(self, client: FelderaClient, login: Login) -> Session:
        try:
            return await client.get_session(login)
        except (errors.FelderaForbidden, errors.FelderaNotFound):
            return Session()

    async def _find_all(self, client: FelderaClient, login: Login, pipeline: str | None) -> tuple[PipelineInfo, ...]:
        wanted: list[str | None] = [None] if pipeline is None else [*pipeline.split(" ")]
        answers = await asyncio.gather(*(self._find(client, login, each) for each in wanted))
        return tuple(info for answer in answers for info in answer)

    async def _find(self, client: FelderaClient, login: Login, pipeline: str | None) -> tuple[PipelineInfo, ...]:
        """Nothing, where the key is good and may see nothing."""
        try:
            if pipeline is None:
                return (await client.list_pipelines(login)).pipelines
            if not names.is_pipeline_name(pipeline):
                return ()
            if re.fullmatch(UUID, pipeline):
                listed = await client.list_pipelines(login)
                return tuple(info for info in listed.pipelines if pipeline in {info.id, info.name})
            return (await client.get_pipeline(pipeline, login),)
        except (errors.FelderaForbidden, errors.FelderaNotFound, errors.FelderaRejected):
            return ()
