"""kopf's watch of SamplyProfiles, in its own thread and loop, so that its end affects nothing else.

When `kopf.operator()` ends, it cancels every task of its loop that was created after its start, and it ends as soon as
it may not watch one namespace. Here it has one scope, and nothing else in its loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any, cast

import kopf

from samply_operator.activity import Activity
from samply_operator.model import names

logger = logging.getLogger(__name__)

PULSE_SECS = 5.0
STILL_SECS = 60.0
"""A loop without a sign of life for this long is stuck."""
RESTART_SECS = 2.0
FIRST_LIST_SECS = 5.0
"""By then kopf has listed once. What went before that it never knew, so that nobody would hear of it."""

OnEvent = Callable[[str, dict[str, Any]], None]
Login = Callable[[], Awaitable[kopf.ConnectionInfo]]


class KopfWatch:
    """`on_event` is called in the loop of `run` with the type (None while kopf lists, ADDED, MODIFIED, DELETED) and the
    object; `on_gap` when it may have missed something. `scope` "" watches all namespaces."""

    def __init__(
        self,
        scope: str,
        identity: str,
        login: Login,
        activity: Activity,
        *,
        on_event: OnEvent,
        on_gap: Callable[[], None],
    ) -> None:
        self._scope = scope
        self._identity = identity
        self._login = login
        self._activity = activity
        self._on_event = on_event
        self._on_gap = on_gap
        self._name = f"kopf in {scope or 'all namespaces'}"

    async def run(self) -> None:
        """Run forever; kopf is restarted when it ends."""
        while True:
            await self._live()
            await asyncio.sleep(RESTART_SECS)

    async def _live(self) -> None:
        life = _Life(asyncio.get_running_loop(), self)
        threading.Thread(target=life.work, name=self._name, daemon=True).start()
        try:
            error = await life.ended
        finally:
            life.stop.set()
            self._activity.forget(self._name)
        logger.warning("%s ended: %s; it is started again", self._name, error or "nothing was said")

    async def operate(self, life: _Life) -> None:
        """In kopf's thread."""
        pulse = asyncio.create_task(self._pulse(life))
        try:
            await kopf.operator(
                registry=self._build_registry(life),
                settings=build_settings(),
                namespaces=(self._scope,) if self._scope else (),
                clusterwide=not self._scope,
                standalone=True,
                # Without it kopf asks for the user's name, which a bare uid doesn't have.
                identity=cast("Any", self._identity),
                stop_flag=life.stop,
            )
        finally:
            pulse.cancel()

    async def _pulse(self, life: _Life) -> None:
        asyncio.get_running_loop().call_later(FIRST_LIST_SECS, life.call, self._on_gap)
        while True:
            life.call(self._activity.beat, self._name, STILL_SECS)
            await asyncio.sleep(PULSE_SECS)

    def _build_registry(self, life: _Life) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        async def see(event: Any, **_: Any) -> None:
            life.call(self._on_event, event["type"] or "", dict(event["object"]))

        async def login(**_: Any) -> kopf.ConnectionInfo:
            return await self._login()

        kopf.on.login(id="login", registry=registry)(login)
        kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, id="profile", registry=registry)(see)
        return registry


class _Life:
    """One life of kopf: its thread, and the way from there into the loop that started it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, watch: KopfWatch) -> None:
        self.stop = threading.Event()
        self.ended: asyncio.Future[BaseException | None] = loop.create_future()
        self._loop = loop
        self._watch = watch

    def work(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._watch.operate(self))
        except BaseException as failure:  # noqa: BLE001 - whatever it is, it ends this thread alone
            error = failure
        self.call(self._end, error)

    def _end(self, error: BaseException | None) -> None:
        if not self.ended.done():
            self.ended.set_result(error)

    def call(self, function: Callable[..., None], *arguments: object) -> None:
        """In the other loop; once that is closed, the process ends anyway."""
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            logger.debug("the process ends")


def build_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # log lines are no Events; recorder/reports.py publishes what users act on
    settings.scanning.disabled = True  # rights are per namespace
    settings.watching.chunk_size = 500
    settings.watching.server_timeout = 270
    settings.watching.client_timeout = 300
    settings.watching.connect_timeout = 10
    return settings
