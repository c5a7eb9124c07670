"""kopf's watches over SamplyProfiles, pods and StatefulSets: each event goes into the world, then into a queue.

Only `on.event`: kopf's other handlers write annotations and finalizers, and these are other people's objects.
"""

from __future__ import annotations

from typing import Any

import kopf

from samply_operator.handlers import login
from samply_operator.model import names
from samply_operator.recorder.engine import Engine
from samply_operator.recorder.sync import Sync

STATEFUL_SETS = ("apps", "v1", "statefulsets")
PROFILES = (names.GROUP, names.VERSION, names.PLURAL)


def build_registry(engine: Engine, sync: Sync) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    def note() -> None:
        engine.world.seen_at = engine.context.now()

    async def see_profile(event: Any, **_: Any) -> None:
        note()
        is_gone = event["type"] == "DELETED"
        profile = engine.world.see_profile(event["object"], is_gone=is_gone)
        if is_gone:
            await engine.see_deleted(profile)
        engine.queue.put(profile.key)
        engine.changes.notify()

    async def see_pod(event: Any, **_: Any) -> None:
        note()
        if engine.world.see_pod(event["object"], is_gone=event["type"] == "DELETED"):
            engine.changes.notify()
        sync.see_carrier("Pod", event["object"])

    async def see_set(event: Any, **_: Any) -> None:
        note()
        if engine.world.see_set(event["object"], is_gone=event["type"] == "DELETED"):
            engine.changes.notify()
        sync.see_carrier("StatefulSet", event["object"])

    kopf.on.login(id="login", registry=registry)(login.login)
    kopf.on.event(*PROFILES, id="profile", registry=registry)(see_profile)
    kopf.on.event("", "v1", "pods", id="pod", registry=registry)(see_pod)
    kopf.on.event(*STATEFUL_SETS, id="stateful-set", registry=registry)(see_set)
    return registry


def build_settings(pod_selector: str) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # log lines are no Events; recorder/reports.py tells what users act on
    settings.scanning.disabled = True  # rights are per namespace
    settings.watching.chunk_size = 500
    settings.watching.server_timeout = 270
    settings.watching.client_timeout = 300
    settings.watching.connect_timeout = 10
    if pod_selector:
        settings.watching.label_selectors["pods"] = pod_selector
    return settings
