"""One scope: everything that is watched in one namespace, or in all. It does not affect other scopes.

Permissions may be revoked and granted again: while anything in it is forbidden, the scope is unknown and is retried.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from samply_operator.activity import Activity
from samply_operator.discovery import reflector
from samply_operator.discovery.kopf_watch import KopfWatch, Login
from samply_operator.discovery.object_table import Source
from samply_operator.discovery.reflector import Kind, Pause, Reflector
from samply_operator.discovery.world import World
from samply_operator.errors import KubeError, KubeForbidden
from samply_operator.kube import objects
from samply_operator.kube.client import KubeClient
from samply_operator.model.pipeline import Pod, StatefulSet
from samply_operator.model.profile import SamplyProfile, parse_object
from samply_operator.rules import times
from samply_operator.supervisor import Supervisor

logger = logging.getLogger(__name__)

FORBIDDEN_SECS = 5.0
"""Pause until a scope that may not be listed is tried again."""
FIRST_SECS, FIRST_TRIES = 2.0, 5
"""At the start, until it is left out: a Role that was just made takes a moment to act."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Called with what is seen: each profile that is to be looked at, each whose deletion was seen, each Pod and
    StatefulSet."""

    see_profile: Callable[[SamplyProfile], None]
    see_deleted: Callable[[SamplyProfile], None]
    see_carrier: Callable[[Pod | StatefulSet], None]


@dataclass(frozen=True, slots=True)
class ScopeContext:
    """What every scope needs. `identity` is this process's name, `now` Unix time."""

    client: KubeClient
    world: World
    listener: Listener
    activity: Activity
    login: Login
    identity: str
    selectors: tuple[str, ...]
    now: Callable[[], float]


class Scope:
    """`name` is a namespace, or "" for all."""

    def __init__(self, name: str, context: ScopeContext) -> None:
        self.name = name
        self._context = context
        self._unlisted: set[str] = set()
        self._gap = asyncio.Event()

    async def run(self) -> None:
        """Run forever."""
        tries = 0
        while True:
            try:
                await self._watch_all()
            except* KubeForbidden as refusals:
                tries = FIRST_TRIES if self.name in self._context.world.scopes else tries + 1
                if tries == FIRST_TRIES:
                    where = f"namespace {self.name}" if self.name else "all namespaces"
                    logger.error("%s: left out until it may be listed: %s", where, _find_first(refusals))
                    self._context.world.uncover(self.name)
            await asyncio.sleep(FIRST_SECS if tries < FIRST_TRIES else FORBIDDEN_SECS)

    async def _watch_all(self) -> None:
        """Until something in it is forbidden."""
        kinds = list(self._list_kinds())
        self._unlisted = {objects.samply_profiles(self.name), *(kind.name for kind in kinds)}
        kopf_watch = KopfWatch(
            self.name,
            self._context.identity,
            self._context.login,
            self._context.activity,
            on_event=self._see_profile,
            on_gap=self._gap.set,
        )
        async with Supervisor(passing=(KubeForbidden,)) as supervisor:
            for kind in kinds:
                supervisor.start(kind.name, self._build_reflector(kind).run())
            supervisor.start(f"lists of SamplyProfiles in {self.name}", self._list_profiles())
            supervisor.start(f"kopf in {self.name}", kopf_watch.run())

    def _build_reflector(self, kind: Kind[Any]) -> Reflector[Any]:
        return Reflector(self._context.client, kind, self._context.activity, lambda: self._note_listed(kind.name))

    def _list_kinds(self) -> Iterator[Kind[Any]]:
        for selector in self._context.selectors:
            yield self._build_pods((self.name, selector))
            yield self._build_sets((self.name, selector))

    def _build_pods(self, source: Source) -> Kind[Pod]:
        world = self._context.world

        def replace(pods: Sequence[Pod]) -> None:
            world.replace_pods(pods, source=source)
            self._see_carriers(pods)

        def see(pod: Pod, is_gone: bool) -> None:
            world.see_pod(pod, source=source, is_gone=is_gone)
            self._see_carriers(() if is_gone else (pod,))

        return Kind(objects.pods(self.name), objects.parse_pod, replace, see, source[1])

    def _build_sets(self, source: Source) -> Kind[StatefulSet]:
        world = self._context.world

        def replace(sets: Sequence[StatefulSet]) -> None:
            world.replace_sets(sets, source=source)
            self._see_carriers(sets)

        def see(stateful_set: StatefulSet, is_gone: bool) -> None:
            world.see_set(stateful_set, source=source, is_gone=is_gone)
            self._see_carriers(() if is_gone else (stateful_set,))

        return Kind(objects.stateful_sets(self.name), objects.parse_stateful_set, replace, see, source[1])

    def _see_carriers(self, carriers: Sequence[Pod | StatefulSet]) -> None:
        self._context.world.seen_at = self._context.now()
        for carrier in carriers:
            if self._context.world.serves(carrier.namespace):
                self._context.listener.see_carrier(carrier)

    def _see_profile(self, kind: str, raw: dict[str, Any]) -> None:
        """An event of kopf."""
        world, profile, is_gone = self._context.world, parse_object(raw), kind == "DELETED"
        world.seen_at = self._context.now()
        world.see_profile(profile, is_gone=is_gone)
        if is_gone:
            self._context.listener.see_deleted(profile)
        elif world.serves(profile.namespace):
            self._context.listener.see_profile(profile)

    async def _list_profiles(self) -> None:
        """At the start, after each gap of kopf's watch, and every RELIST_SECS: watches miss things, lists do not."""
        path, world, pause = objects.samply_profiles(self.name), self._context.world, Pause()
        while True:
            self._gap.clear()
            world.begin_profiles(self.name)
            try:
                with self._context.activity.doing(path, reflector.PATIENCE_SECS):
                    found = await self._context.client.list_objects(path, parse_object)
            except KubeForbidden:
                raise
            except KubeError as error:
                logger.warning("%s: %s", path, error.message)
                await pause.wait()
                continue
            pause.reset()
            world.replace_profiles(self.name, found.items)
            for profile in found.items:
                if not profile.has_ended and world.serves(profile.namespace):
                    self._context.listener.see_profile(profile)
            self._note_listed(path)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(times.spread(reflector.RELIST_SECS, random.random())):  # noqa: S311
                    await self._gap.wait()

    def _note_listed(self, name: str) -> None:
        world = self._context.world
        world.synced_at = self._context.now()
        self._unlisted.discard(name)
        if not self._unlisted and self.name not in world.scopes:
            logger.info("watching %s", f"namespace {self.name}" if self.name else "all namespaces")
            world.cover(self.name)


def _find_first(group: BaseExceptionGroup[KubeForbidden]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
