"""Tells the world how a recording stands: the object's status, and Events on object and pod.

A recording never fails because its report failed, nor does it wait for it for long: trouble with the API server is
tried again, a refusal only a few times; an object that is gone has nobody to be told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal

from samply_operator.errors import KubeError, KubeInvalid, KubeNotFound
from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.model.manifest import JournalEntry
from samply_operator.model.profile import ENDED
from samply_operator.recorder.context import Context
from samply_operator.rules.recording import status

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECS = 0.5
LONGEST_PAUSE_SECS = 30.0
REFUSALS = 8
"""Tries, over a minute, of what the API server refuses: a Role may be under repair. Then once each time it is asked."""
FLUSH_SECS = 10.0

Render = Callable[[Mapping[str, Any]], status.Status | None]
"""The new status from the old one; None: it stays as it is."""


def unless_ended(render: Render) -> Render:
    """The same, but an end that was told stays as it was told."""
    return lambda old: None if old.get("phase") in ENDED else render(old)


async def write_status(context: Context, namespace: str, name: str, uid: str, render: Render) -> bool:
    """Read the object, render its status from the old one, patch. False if nothing was written: that object is gone,
    or its status stays."""
    path = objects.samply_profiles(namespace, name)
    try:
        raw = await context.client.get(path)
        if raw["metadata"]["uid"] != uid:
            return False
        wanted = render(raw.get("status") or {})
        if wanted is None:
            return False
        body = {
            # The API server refuses the patch if a successor took the name in between.
            "metadata": {"uid": uid},
            "status": wanted | {"observedGeneration": raw["metadata"].get("generation", 1)},
        }
        await context.client.patch(objects.samply_profiles(namespace, name, "status"), body)
    except KubeNotFound:
        return False
    return True


def refer(namespace: str, name: str, uid: str) -> dict[str, str]:
    """The object as Events want it."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "namespace": namespace,
        "name": name,
        "uid": uid,
    }


def refer_pod(entry: JournalEntry) -> dict[str, str]:
    return {"apiVersion": "v1", "kind": "Pod", "namespace": entry.namespace, "name": entry.pod, "uid": entry.pod_uid}


async def tell(
    context: Context, entry: JournalEntry, type_: Literal["Normal", "Warning"], reason: str, message: str
) -> None:
    """The same Event on the object and on the pod: people look at either."""
    await context.events.publish(refer(entry.namespace, entry.name, entry.id), type_, reason, message)
    await context.events.publish(refer_pod(entry), type_, reason, f"{entry.name}: {message}")


class Reporter:
    """Writes the newest wanted status of one object, and tries again until it is written, or the object is gone, or the
    API server refuses it for good."""

    def __init__(self, context: Context, namespace: str, name: str, uid: str) -> None:
        self._context = context
        self._address = (namespace, name, uid)
        self._wanted: Render | None = None
        self._task: asyncio.Task[None] | None = None
        self._refusals = 0

    @property
    def is_done(self) -> bool:
        """Nothing is left to be written."""
        return self._wanted is None

    def want(self, render: Render) -> None:
        """Write this status soon; an older one that isn't written yet is skipped."""
        self._wanted = render
        self.retry()

    def retry(self) -> None:
        """Try again what was refused."""
        if self._wanted is None:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write())

    async def flush(self) -> None:
        """Return when the newest wanted status is written, or refused, or takes too long: then it goes on alone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECS):
                while self._task is not None and not self._task.done():
                    await asyncio.shield(self._task)

    async def _write(self) -> None:
        pause = FIRST_PAUSE_SECS
        while (render := self._wanted) is not None:
            try:
                await write_status(self._context, *self._address, render)
            except KubeError as error:
                self._refusals += not error.is_transient
                if isinstance(error, KubeInvalid) or self._refusals >= REFUSALS:
                    logger.error("status of %s/%s is given up: %s", *self._address[:2], error)
                    return
                logger.warning("status of %s/%s: %s; again in %g s", *self._address[:2], error, pause)
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE_SECS, pause * 2)
                continue
            self._refusals = 0
            if self._wanted is render:
                self._wanted = None
