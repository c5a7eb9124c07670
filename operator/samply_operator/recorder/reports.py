"""Tells the world how a recording stands: the object's status, and Events on object and pod.

A recording never fails because its report failed: trouble with the API server is tried again by the caller, an object
that is gone has nobody to be told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal

from samply_operator.errors import KubeError, KubeNotFound
from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.model.manifest import JournalEntry
from samply_operator.recorder.context import Context
from samply_operator.rules import status

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECS = 0.5
LONGEST_PAUSE_SECS = 30.0

Render = Callable[[Mapping[str, Any]], status.Status]


async def write_status(context: Context, namespace: str, name: str, uid: str, render: Render) -> bool:
    """Read the object, render its status from the old one, patch. False if that object is gone."""
    path = objects.samply_profiles(namespace, name)
    try:
        raw = await context.client.get(path)
        if raw["metadata"]["uid"] != uid:
            return False
        body = {
            # The API server refuses the patch if a successor took the name in between.
            "metadata": {"uid": uid},
            "status": render(raw.get("status") or {}) | {"observedGeneration": raw["metadata"].get("generation", 1)},
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
    """Writes the newest wanted status of one object, and tries again until it is written or the object is gone."""

    def __init__(self, context: Context, namespace: str, name: str, uid: str) -> None:
        self._context = context
        self._address = (namespace, name, uid)
        self._wanted: Render | None = None
        self._task: asyncio.Task[None] | None = None

    def want(self, render: Render) -> None:
        """Write this status soon; an older one that isn't written yet is skipped."""
        self._wanted = render
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write())

    async def flush(self) -> None:
        """Return when the newest wanted status is written."""
        while self._task is not None and not self._task.done():
            await asyncio.shield(self._task)

    async def _write(self) -> None:
        pause = FIRST_PAUSE_SECS
        while (render := self._wanted) is not None:
            try:
                await write_status(self._context, *self._address, render)
            except KubeError as error:
                logger.warning("status of %s/%s: %s; again in %g s", *self._address[:2], error, pause)
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE_SECS, pause * 2)
                continue
            if self._wanted is render:
                self._wanted = None
