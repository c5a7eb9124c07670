"""Complete lists of everything watched, at start and then every minute: watches miss things, lists don't."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from samply_operator.errors import KubeError, KubeForbidden, StoreError
from samply_operator.kube import objects
from samply_operator.recorder import claims
from samply_operator.recorder.claims import Kind
from samply_operator.recorder.context import Context
from samply_operator.recorder.engine import Engine
from samply_operator.recorder.queue import WorkQueue

logger = logging.getLogger(__name__)

RESYNC_SECS = 60.0
RETRY_SECS = 2.0
PATIENCE = 5
"""First lists until a namespace that mayn't be listed is left out: a Role that was just made takes a moment to act."""

ClaimKey = tuple[Kind, str, str]


@dataclass(frozen=True, slots=True)
class _Lists:
    """All of one namespace."""

    pods: tuple[dict[str, Any], ...]
    sets: tuple[dict[str, Any], ...]
    profiles: tuple[dict[str, Any], ...]


class Sync:
    """`namespaces` empty means all. `claims` gets every Pod and StatefulSet that carries a trigger."""

    def __init__(self, context: Context, engine: Engine, namespaces: tuple[str, ...]) -> None:
        self._context = context
        self._engine = engine
        self._namespaces = namespaces or ("",)
        self._refused: frozenset[str] = frozenset()
        self.shifted = asyncio.Event()
        """Set when other namespaces may be listed than before: watches must begin anew."""
        self.claims: WorkQueue[ClaimKey] = WorkQueue(self._take)

    async def _take(self, key: ClaimKey) -> None:
        await claims.take(self._context, *key)

    def see_carrier(self, kind: Kind, raw: dict[str, Any]) -> None:
        if claims.has_trigger(raw):
            self.claims.put((kind, raw["metadata"]["namespace"], raw["metadata"]["name"]))

    async def list_all(self) -> None:
        """The complete picture of each namespace that may be listed, or an error: never a part of one.

        A namespace that mayn't be listed (it is gone, and its Role with it) doesn't stop the others; nothing is known
        of it, so nothing there counts as deleted.
        """
        self._engine.world.begin_lists()
        found: dict[str, _Lists] = {}
        refusals: dict[str, KubeForbidden] = {}
        for namespace in self._namespaces:
            try:
                found[namespace] = await self._list_namespace(namespace)
            except KubeForbidden as error:
                refusals[namespace] = error
        self._tell_refusals(refusals)
        if not found:
            raise next(iter(refusals.values()))
        self._take_in(found)

    def _take_in(self, found: dict[str, _Lists]) -> None:
        pods = [raw for lists in found.values() for raw in lists.pods]
        sets = [raw for lists in found.values() for raw in lists.sets]
        profiles = [raw for lists in found.values() for raw in lists.profiles]
        if self._engine.world.is_synced and self._engine.world.namespaces != tuple(found):
            self.shifted.set()
        self._engine.world.namespaces = tuple(found)
        self._engine.world.replace(pods, sets, profiles)
        self._engine.world.synced_at = self._context.now()
        for raw in pods:
            self.see_carrier("Pod", raw)
        for raw in sets:
            self.see_carrier("StatefulSet", raw)

    def _tell_refusals(self, refusals: dict[str, KubeForbidden]) -> None:
        """Once for each, not every minute."""
        for namespace in refusals.keys() - self._refused:
            logger.error("namespace %s is left out: %s", namespace or "(all)", refusals[namespace])
        for namespace in self._refused - refusals.keys():
            logger.info("namespace %s may be listed again", namespace)
        self._refused = frozenset(refusals)

    async def _list_namespace(self, namespace: str) -> _Lists:
        selector = self._context.settings.targets.pod_selector
        client = self._context.client
        pods = await client.list_items(objects.pods(namespace), label_selector=selector)
        sets = await client.list_items(objects.stateful_sets(namespace))
        profiles = await client.list_items(objects.samply_profiles(namespace))
        return _Lists(pods.items, sets.items, profiles.items)

    async def list_first(self) -> None:
        """Until it works: nothing is decided before the whole picture is there."""
        tries = 0
        while True:
            try:
                await self.list_all()
            except KubeError as error:
                logger.warning("the first lists: %s; again in %g s", error, RETRY_SECS)
            else:
                tries += 1
                if not self._refused or tries >= PATIENCE:
                    self.shifted.clear()
                    return
            await asyncio.sleep(RETRY_SECS)

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
            except Exception:  # a defect met on one object must not end resync, sweeps and retention for good
                logger.exception("resync: a defect; again in %g s", RESYNC_SECS)
