"""Complete lists of everything watched, at start and then every minute: watches miss things, lists don't."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from samply_operator.errors import KubeError, StoreError
from samply_operator.kube import objects
from samply_operator.recorder import claims
from samply_operator.recorder.claims import Kind
from samply_operator.recorder.context import Context
from samply_operator.recorder.engine import Engine
from samply_operator.recorder.queue import WorkQueue

logger = logging.getLogger(__name__)

RESYNC_SECS = 60.0
RETRY_SECS = 2.0

ClaimKey = tuple[Kind, str, str]


class Sync:
    """`namespaces` empty means all. `claims` gets every Pod and StatefulSet that carries a trigger."""

    def __init__(self, context: Context, engine: Engine, namespaces: tuple[str, ...]) -> None:
        self._context = context
        self._engine = engine
        self._namespaces = namespaces or ("",)
        self.claims: WorkQueue[ClaimKey] = WorkQueue(self._take)

    async def _take(self, key: ClaimKey) -> None:
        await claims.take(self._context, *key)

    def see_carrier(self, kind: Kind, raw: dict[str, Any]) -> None:
        if claims.has_trigger(raw):
            self.claims.put((kind, raw["metadata"]["namespace"], raw["metadata"]["name"]))

    async def list_all(self) -> None:
        """One complete picture, or an error: never a part."""
        selector = self._context.settings.targets.pod_selector
        pods = await self._list(objects.pods, selector)
        sets = await self._list(objects.stateful_sets, "")
        profiles = await self._list(objects.samply_profiles, "")
        self._engine.world.namespaces = self._namespaces
        self._engine.world.replace(pods, sets, profiles)
        for raw in pods:
            self.see_carrier("Pod", raw)
        for raw in sets:
            self.see_carrier("StatefulSet", raw)

    async def _list(self, build_path: Callable[[str], str], selector: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        for namespace in self._namespaces:
            found = await self._context.client.list_items(build_path(namespace), label_selector=selector)
            items += found.items
        return items

    async def list_first(self) -> None:
        """Until it works: nothing is decided before the whole picture is there."""
        while True:
            try:
                await self.list_all()
            except KubeError as error:
                logger.warning("the first lists: %s; again in %g s", error, RETRY_SECS)
                await asyncio.sleep(RETRY_SECS)
            else:
                return

    async def run(self) -> None:
        """Resync and sweep until cancelled."""
        while True:
            await asyncio.sleep(RESYNC_SECS)
            try:
                await self.list_all()
                await self._engine.sweep()
                self._engine.changes.notify()
            except (KubeError, StoreError) as error:
                logger.warning("resync: %s", error)
