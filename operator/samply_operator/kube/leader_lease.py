"""Holds the one Lease of an installation by rules/leadership.py: takes it, renews it, gives it up, says who has it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable

from samply_operator.errors import KubeConflict, KubeError, KubeNotFound
from samply_operator.kube import objects
from samply_operator.kube.client import KubeClient
from samply_operator.rules import leadership, times
from samply_operator.rules.leadership import Leader

logger = logging.getLogger(__name__)

REQUEST_SECS = 4.0
"""Less than the Lease's time: a request that hangs must not cost it."""


class LeaderLease:
    """`me` is this pod, `address` where its HTTP port is."""

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        name: str,
        me: str,
        address: str,
        *,
        now: Callable[[], float] = time.time,
        uptime: Callable[[], float] = time.monotonic,
    ) -> None:
        self.leader: Leader | None = None
        """As last seen; None: nobody, or it isn't known."""
        self._client = client
        self._namespace = namespace
        self._name = name
        self._me = me
        self._address = address
        self._now = now
        self._uptime = uptime
        self._seen_since = 0.0
        self._acquired_at = ""

    @property
    def is_ours(self) -> bool:
        return self.leader is not None and self.leader.holder == self._me

    async def try_acquire(self) -> bool:
        """One look; take it if it may be taken. False: somebody else leads, or was faster. Raises KubeError."""
        try:
            found = await self._look()
        except KubeNotFound:
            return await self._write(Leader(self._me, self._address, "", 0), is_new=True)
        if not leadership.may_take(found, self._me, self._uptime() - self._seen_since):
            return False
        transitions = found.transitions + (found.holder != self._me)
        return await self._write(Leader(self._me, self._address, found.version, transitions), is_new=False)

    async def keep(self) -> None:
        """Renew until somebody else has it: then return. An API server that is away takes it from nobody: neither can
        another pod get it there, nor this one reach a pipeline's pod."""
        while True:
            await asyncio.sleep(leadership.RENEW_SECS)
            try:
                if not await self._renew():
                    return
            except KubeError as error:
                logger.warning("the leader's Lease can't be renewed: %s", error)

    async def release(self) -> None:
        """Give it up, if it is ours, so that another pod takes it at once. Raises KubeError."""
        if self.leader is None or not self.is_ours:
            return
        await self._write(dataclasses.replace(self.leader, holder="", address=""), is_new=False)
        self.leader = None

    async def _renew(self) -> bool:
        """False: it is somebody else's."""
        assert self.leader is not None  # noqa: S101 - for mypy
        if await self._write(self.leader, is_new=False):
            return True
        found = await self._look()
        if found.holder != self._me:
            return False
        return await self._write(found, is_new=False)

    async def _look(self) -> Leader:
        path = objects.leases(self._namespace, self._name)
        found = leadership.parse(await self._client.get(path, timeout_secs=REQUEST_SECS))
        self._note(found)
        return found

    def _note(self, found: Leader) -> None:
        if self.leader is None or found.version != self.leader.version:
            self._seen_since = self._uptime()
        self.leader = found

    async def _write(self, wanted: Leader, *, is_new: bool) -> bool:
        """False: somebody else was faster."""
        if is_new or self.leader is None or self.leader.holder != wanted.holder:
            self._acquired_at = times.format_time_micro(self._now())
        body = leadership.render(self._name, self._namespace, wanted, self._now(), acquired_at=self._acquired_at)
        path = objects.leases(self._namespace, "" if is_new else self._name)
        send = self._client.create if is_new else self._client.replace
        try:
            self._note(leadership.parse(await send(path, body, timeout_secs=REQUEST_SECS)))
        except (KubeConflict, KubeNotFound):
            return False
        return True
