"""Whether this process is the one that acts: it holds the installation's Lease, where there is one, and its store.

One that lost either must end at once: what it was about to do is another pod's now, as after a kill.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import NoReturn

from samply_operator.control.messages import LeaderState
from samply_operator.errors import KubeError
from samply_operator.kube.leader_lease import LeaderLease
from samply_operator.rules import leadership

logger = logging.getLogger(__name__)

LOCK_SECS = 2.0
STAND_BY_SECS = 5.0


class Leadership:
    """`lease` None: there is one pod by its Deployment, and the store's lock is enough. `on_lost` doesn't return."""

    def __init__(self, lease: LeaderLease | None, on_lost: Callable[[], NoReturn]) -> None:
        self._lease = lease
        self._on_lost = on_lost
        self._leads = False
        self._keeping: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._told = ""

    @property
    def state(self) -> LeaderState:
        leader = self._lease.leader if self._lease is not None and not self._lease.is_ours else None
        return LeaderState(leads=self._leads, address=leader.address if leader else "")

    async def lead(self, lock: Callable[[], bool], *, stand_by: Callable[[], None] = lambda: None) -> None:
        """Return once this process leads; `lock` takes the store. `stand_by` is called periodically until then. Both
        may block."""
        standing_by = asyncio.create_task(_repeat(stand_by), name="standby")
        try:
            while True:
                if await self._try(lock):
                    break
                await asyncio.sleep(leadership.LOOK_SECS if self._lease is not None else LOCK_SECS)
        finally:
            standing_by.cancel()
        self._leads = True
        self._wake()

    async def wait(self, timeout_secs: float) -> None:
        """Until something changed, or the time is over."""
        try:
            async with asyncio.timeout(timeout_secs):
                await self._changed.wait()
        except TimeoutError:
            return

    async def close(self) -> None:
        """Give the Lease up, so that another pod leads at once."""
        self._leads = False
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        if self._lease is not None and self._lease.is_ours:
            try:
                await self._lease.release()
            except KubeError as error:
                logger.warning("the leader's Lease can't be given up: %s", error)

    async def _try(self, lock: Callable[[], bool]) -> bool:
        if not await self._has_lease():
            return False
        if await asyncio.to_thread(lock):
            return True
        self._tell("another operator writes to this store, or it cannot be reached: waiting")
        return False

    async def _has_lease(self) -> bool:
        if self._lease is None or (self._lease.is_ours and self._keeping is not None and not self._keeping.done()):
            return True
        before = self.state
        try:
            is_taken = await self._lease.try_acquire()
        except KubeError as error:
            self._tell(f"the leader's Lease can't be looked at: {error}")
            return False
        if is_taken:
            self._keeping = asyncio.create_task(self._keep(self._lease), name="leader's Lease")
        elif self.state.address:
            self._tell(f"standing by: {self.state.address} leads")
        if self.state != before:
            self._wake()
        return is_taken

    async def _keep(self, lease: LeaderLease) -> None:
        await lease.keep()
        if self._leads:
            logger.critical("another pod leads now: this process ends, and starts again as its standby")
            self._on_lost()

    def _tell(self, what: str) -> None:
        """Once, until it is something else."""
        if what != self._told:
            self._told = what
            logger.info("%s", what)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


async def _repeat(work: Callable[[], None]) -> None:
    while True:
        await asyncio.to_thread(work)
        await asyncio.sleep(STAND_BY_SECS)
