"""The `operator` container: opens the doors, goes on with what was under way, then watches until it is told to end."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any, cast

import kopf

from samply_operator.control.authorizer import Authorizer
from samply_operator.control.credentials import CredentialSource
from samply_operator.control.jwks import KeySet
from samply_operator.control.local_auth import LocalAuthenticator
from samply_operator.control.server import ControlServer
from samply_operator.errors import KubeError
from samply_operator.handlers import watches
from samply_operator.kube import own_rights
from samply_operator.kube.client import KubeClient
from samply_operator.kube.events import EventSink
from samply_operator.recorder.changes import Changes
from samply_operator.recorder.context import Context
from samply_operator.recorder.engine import Engine
from samply_operator.recorder.requests import Requests
from samply_operator.recorder.sync import Sync
from samply_operator.recorder.world import World, check_targets
from samply_operator.settings import Identity, Settings, namespaces_of
from samply_operator.store import opening
from samply_operator.store.store import Store

logger = logging.getLogger(__name__)

HEARTBEAT_SECS = 5.0
LOCK_SECS = 2.0


async def run(settings: Settings, identity: Identity) -> None:
    """Until SIGTERM or SIGINT (kopf takes them). Recordings go on in their pods."""
    check_targets(settings.targets)
    namespaces = namespaces_of(settings, identity)
    volume = opening.open_store(settings, identity)
    await asyncio.to_thread(volume.prepare)
    async with KubeClient() as client, KeySet(settings.auth.oidc) as keys:
        events = EventSink(client, identity.pod)
        context = Context(client, volume, events, settings, time.time)
        engine = Engine(context, World(settings.targets), Changes(), f"{identity.namespace}/{identity.release}")
        sync = Sync(context, engine, namespaces)
        source = CredentialSource(
            client,
            identity.namespace,
            key_secret=settings.auth.api_keys.secret_name if settings.auth.api_keys.enabled else "",
            link_secret=settings.api.links.secret_name,
            now=context.now,
        )
        callers = LocalAuthenticator(settings.auth, keys, lambda: source.current, now=context.now)
        authorizer = Authorizer(settings.auth, client, callers, identity.namespace)
        server = ControlServer(engine, Requests(engine), settings.paths.socket, source, authorizer)
        tasks = [
            asyncio.create_task(_beat(Path(settings.paths.heartbeat)), name="heartbeat"),
            asyncio.create_task(source.run(), name="credentials"),
        ]
        try:
            await server.start()
            await _become_writer(volume)
            await _report_missing_rights(client, namespaces, settings)
            # What is under way goes on even while nothing can be listed, such as without the CRD.
            await engine.recover()
            await sync.list_first()
            await _watch(settings, identity, engine, sync, is_named=bool(namespaces))
        finally:
            for task in tasks:
                task.cancel()
            await server.close()
            await engine.close()
            volume.unlock()


async def _become_writer(volume: Store) -> None:
    """Two pods of one release, by mistake: the second one waits, and takes over when the first one ends."""
    while not await asyncio.to_thread(volume.lock):
        logger.warning("another operator writes to this store; waiting for its end")
        await asyncio.sleep(LOCK_SECS)


async def _watch(settings: Settings, identity: Identity, engine: Engine, sync: Sync, *, is_named: bool) -> None:
    """Until told to end. `is_named`: the namespaces are listed in the settings; else all are watched."""
    own = [
        asyncio.create_task(engine.queue.run(), name="reconcile"),
        asyncio.create_task(sync.claims.run(), name="claims"),
        asyncio.create_task(sync.run(), name="resync"),
    ]
    for key in engine.world.profiles:
        engine.queue.put(key)
    engine.changes.notify()
    try:
        while True:
            sync.shifted.clear()
            await kopf.operator(
                registry=watches.build_registry(engine, sync),
                settings=watches.build_settings(settings.targets.pod_selector),
                # Those that may be listed: kopf ends at the first one that it may not watch.
                namespaces=engine.world.namespaces if is_named else (),
                clusterwide=not is_named,
                standalone=True,
                # Without it kopf asks for the user's name, which a bare uid doesn't have.
                identity=cast("Any", identity.pod),
                stop_flag=sync.shifted,
            )
            if not sync.shifted.is_set():
                return
            logger.info("now watching %s", ", ".join(engine.world.namespaces))
    finally:
        for task in own:
            task.cancel()
        await asyncio.gather(*own, return_exceptions=True)


async def _report_missing_rights(client: KubeClient, namespaces: tuple[str, ...], settings: Settings) -> None:
    """Said at start, so that nobody has to guess later why nothing happens."""
    try:
        found = list(await own_rights.find_missing(client, namespaces))
        if ephemeral := own_rights.list_ephemeral(settings, namespaces):
            found += await own_rights.find_missing(client, ephemeral, own_rights.EPHEMERAL)
        if settings.auth.kubernetes.enabled and not settings.auth.unsafe_let_anyone_in_without_authentication:
            found += await own_rights.find_missing(client, (), own_rights.REVIEWING)
        for missing in found:
            logger.error("missing right: %s", missing)
    except KubeError as error:
        logger.warning("rights can't be checked: %s", error)


async def _beat(path: Path) -> None:
    """The liveness probe looks at this file's age: a loop that hangs doesn't touch it."""
    while True:
        await asyncio.to_thread(path.touch)
        await asyncio.sleep(HEARTBEAT_SECS)
