"""Keeps one kind of object in one scope up to date: a complete list, a watch from there, and the list again after a gap
of the watch, or at the latest after RELIST_SECS. Objects are parsed into what is used of them, straight from the wire.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from samply_operator.activity import Activity
from samply_operator.errors import KubeError, KubeForbidden
from samply_operator.kube.client import KubeClient, WatchEvent
from samply_operator.rules.times import spread

logger = logging.getLogger(__name__)

RELIST_SECS = 600.0
WATCH_SECS = 270.0
"""How long the API server holds one watch open; then the next one goes on where it ended."""
RETRY_SECS = (0.5, 15.0)
"""First and longest pause after trouble with the API server."""
PATIENCE_SECS = 120.0
"""How much longer than planned a list or a watch may take until it counts as stuck."""
GONE = 410
"""The version to watch from is too old: events were missed."""

Item = TypeVar("Item")


class _Status(msgspec.Struct, frozen=True):
    code: int = 0
    message: str = ""


class _Version(msgspec.Struct, frozen=True):
    resource_version: str = msgspec.field(default="", name="resourceVersion")


class _Versioned(msgspec.Struct, frozen=True):
    metadata: _Version = _Version()


@dataclass(frozen=True, slots=True)
class Kind(Generic[Item]):
    """What is listed, and where it goes: `replace` takes a complete list, `see` one object and whether it is gone."""

    path: str
    parse: Callable[[msgspec.Raw], Item]
    replace: Callable[[Sequence[Item]], None]
    see: Callable[[Item, bool], None]
    selector: str = ""

    @property
    def name(self) -> str:
        return f"{self.path}?{self.selector}" if self.selector else self.path


class Pause:
    """Growing, randomized pauses until something works."""

    def __init__(self) -> None:
        self._secs = RETRY_SECS[0]

    async def wait(self) -> None:
        await asyncio.sleep(self._secs * random.uniform(0.75, 1.25))  # noqa: S311 - no secret
        self._secs = min(RETRY_SECS[1], self._secs * 2)

    def reset(self) -> None:
        self._secs = RETRY_SECS[0]


class Reflector(Generic[Item]):
    """`on_listed` is called after each complete list; `fatal` are the errors that end it."""

    def __init__(
        self,
        client: KubeClient,
        kind: Kind[Item],
        activity: Activity,
        on_listed: Callable[[], None],
        fatal: tuple[type[KubeError], ...] = (KubeForbidden,),
    ) -> None:
        self._client = client
        self._kind = kind
        self._activity = activity
        self._on_listed = on_listed
        self._fatal = fatal
        self._pause = Pause()
        self._version = ""

    async def run(self) -> None:
        """Run until a fatal error: raises KubeForbidden as soon as listing or watching is forbidden."""
        while True:
            try:
                await self._list()
                await self._watch()
            except self._fatal:
                raise
            except KubeError as error:
                logger.warning("%s: %s", self._kind.name, error.message)
                await self._pause.wait()
            finally:
                self._activity.forget(self._kind.name)

    async def _list(self) -> None:
        self._activity.beat(self._kind.name, PATIENCE_SECS)
        kind = self._kind
        found = await self._client.list_objects(kind.path, kind.parse, label_selector=kind.selector)
        for fault in found.faults:
            logger.error("%s: it is left out, since it cannot be read: %s", kind.name, fault)
        kind.replace(found.items)
        self._version = found.resource_version
        self._pause.reset()
        self._on_listed()

    async def _watch(self) -> None:
        """Until something was missed, or it is time for the next list."""
        loop = asyncio.get_running_loop()
        until = loop.time() + spread(RELIST_SECS, random.random())  # noqa: S311 - no secret
        while (left := until - loop.time()) > 0:
            secs = min(WATCH_SECS, max(1.0, left))
            self._activity.beat(self._kind.name, secs + PATIENCE_SECS)
            try:
                if not await self._follow(secs):
                    return
                self._pause.reset()
            except self._fatal:
                raise
            except KubeError as error:
                logger.info("%s: the watch broke: %s", self._kind.name, error.message)
                await self._pause.wait()

    async def _follow(self, secs: float) -> bool:
        """One watch, to its end. False: something was missed."""
        kind = self._kind
        events = self._client.watch(kind.path, version=self._version, label_selector=kind.selector, secs=secs)
        async with aclosing(events):
            async for event in events:
                if event.type == "ERROR":
                    status = msgspec.json.decode(event.object, type=_Status)
                    if status.code != GONE:
                        logger.warning("%s: the API server ended the watch: %s", kind.name, status.message[:300])
                    return False
                self._take(event)
        return True

    def _take(self, event: WatchEvent) -> None:
        self._version = msgspec.json.decode(event.object, type=_Versioned).metadata.resource_version or self._version
        if event.type == "BOOKMARK":
            return
        try:
            item = self._kind.parse(event.object)
        except msgspec.ValidationError as error:
            logger.error("%s: an object cannot be read: %s", self._kind.name, error)
            return
        self._kind.see(item, event.type == "DELETED")
