"""Events on objects, for those who type `kubectl describe`.

    sink = EventSink(client, instance)
    await sink.publish({"apiVersion", "kind", "namespace", "name", "uid"}, "Normal" | "Warning", reason, message)

A repeated one increases the count of the existing Event. Publishing never raises errors.Kube* into a recording: what
can't be published is logged. Core v1, since one group of rights is then enough.
"""

from __future__ import annotations

import datetime
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from samply_operator.errors import KubeError, KubeNotFound
from samply_operator.kube import faults, objects
from samply_operator.kube.client import KubeClient

logger = logging.getLogger(__name__)

EventType = Literal["Normal", "Warning"]

COMPONENT = "samply-operator"
MESSAGE_LIMIT = 1000
"""The API server accepts 1,024 bytes in a note."""
REMEMBERED = 256
REPEAT_SECS = 600.0
"""After this time the same message makes a new Event."""
PUBLISH_SECS = 5.0


@dataclass(slots=True)
class _Published:
    name: str
    count: int
    at: float


class EventSink:
    """One per process. `instance` is the name of this pod."""

    def __init__(self, client: KubeClient, instance: str) -> None:
        self._client = client
        self._instance = instance
        self._published: OrderedDict[tuple[str, ...], _Published] = OrderedDict()

    async def publish(self, involved: Mapping[str, str], type_: EventType, reason: str, message: str) -> None:
        """Publish it, or log the error."""
        message = faults.cut(message, MESSAGE_LIMIT)
        try:
            await self._publish(involved, type_, reason, message)
        except KubeError as error:
            logger.warning("event %s on %s not published: %s", reason, involved.get("name"), error)

    async def _publish(self, involved: Mapping[str, str], type_: EventType, reason: str, message: str) -> None:
        key = (involved.get("uid", ""), involved["namespace"], involved["name"], type_, reason, message)
        published = self._published.get(key)
        if published is not None and time.monotonic() - published.at < REPEAT_SECS:
            try:
                await self._count(involved["namespace"], published)
            except KubeNotFound:
                pass  # its Event was deleted: create a new one
            else:
                return
        body = build_event(involved, type_, reason, message, instance=self._instance, now=_now())
        await self._client.create(objects.events(involved["namespace"]), body, timeout_secs=PUBLISH_SECS)
        self._published[key] = _Published(body["metadata"]["name"], 1, time.monotonic())
        self._published.move_to_end(key)
        while len(self._published) > REMEMBERED:
            self._published.popitem(last=False)

    async def _count(self, namespace: str, published: _Published) -> None:
        change = {"count": published.count + 1, "lastTimestamp": _now()}
        await self._client.patch(objects.events(namespace, published.name), change, timeout_secs=PUBLISH_SECS)
        published.count += 1
        published.at = time.monotonic()


def build_event(
    involved: Mapping[str, str], type_: EventType, reason: str, message: str, *, instance: str, now: str
) -> dict[str, Any]:
    """A new Event with a unique name of at most 253 characters."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{involved['name'][:230].rstrip('.-')}.{secrets.token_hex(8)}",
            "namespace": involved["namespace"],
        },
        "involvedObject": dict(involved),
        "type": type_,
        "reason": reason,
        "message": message,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
