"""The `operator` container, on one page: the doors open, what was under way goes on, then everything is watched.

    main task ── run: until SIGTERM
      └─ Supervisor: each of these lives as long as the process, or ends it
           heartbeat          touches the file of the liveness probe while no worker is stuck
           names              asks Feldera what its pipelines are called
           credentials        reads the Secrets that say who may
           watcher            one scope per namespace (or one for all); in each:
             ├─ reflectors    pods and StatefulSets: list, watch, list again
             ├─ lists         of SamplyProfiles
             └─ kopf          SamplyProfiles' watch, in a thread and a loop of its own
           recordings         the queue of objects to look at; each recording is a task of recorder/runs.py
           triggers           watches SamplyTriggers, and decides when each fires
           deletions, claims  the queues of deleted objects, and of annotations
           comparisons        the queue of stored profiles that are compared with earlier ones
           unwatched          says what is asked for and not watched
           leases, sweep      renewed every 10 s; every minute
      └─ the unix socket to `api`

Only recordings are tasks that may end by themselves: a defect met by one is logged, and the others go on.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AsyncExitStack
from pathlib import Path

from samply_operator.activity import Activity
from samply_operator.control.auth.authorizer import Authorizer
from samply_operator.control.auth.credentials import CredentialSource
from samply_operator.control.auth.jwks import KeySet
from samply_operator.control.auth.local_auth import LocalAuthenticator
from samply_operator.control.leadership import Leadership
from samply_operator.control.server import ControlServer
from samply_operator.controller import signals
from samply_operator.discovery.changes import Changes
from samply_operator.discovery.claims import Claims
from samply_operator.discovery.feldera_names import FelderaNames
from samply_operator.discovery.kopf_login import log_in
from samply_operator.discovery.scope import Listener, ScopeContext
from samply_operator.discovery.unwatched_sweep import UnwatchedSweep
from samply_operator.discovery.watcher import Watcher
from samply_operator.discovery.world import World, check_targets
from samply_operator.doctor.examination import Examination
from samply_operator.errors import KubeError
from samply_operator.feldera.client import FelderaClient
from samply_operator.kube import own_rights
from samply_operator.kube.client import KubeClient
from samply_operator.kube.events import EventSink
from samply_operator.kube.leader_lease import LeaderLease
from samply_operator.recorder import memory
from samply_operator.recorder.calls.requests import Requests
from samply_operator.recorder.context import Context
from samply_operator.recorder.engine import Engine
from samply_operator.rules.leadership import build_name
from samply_operator.settings import Identity, Settings, namespaces_of
from samply_operator.store import opening
from samply_operator.supervisor import Supervisor
from samply_operator.triggers.alerts import Alerts
from samply_operator.triggers.worker import Triggers

logger = logging.getLogger(__name__)

HEARTBEAT_SECS = 5.0


async def run(settings: Settings, identity: Identity) -> None:
    """Until SIGTERM or SIGINT. Recordings continue in their pods. Raises the error that ended it earlier."""
    await signals.run_until_signal(_run(settings, identity))


async def _run(settings: Settings, identity: Identity) -> None:
    check_targets(settings.targets)
    volume = opening.open_store(settings, identity)
    await asyncio.to_thread(volume.prepare)
    activity = Activity()
    async with (
        AsyncExitStack() as stack,
        KubeClient() as client,
        KeySet(settings.auth.oidc) as keys,
        Supervisor() as supervisor,
    ):
        supervisor.start("heartbeat", _beat(Path(settings.paths.heartbeat), activity))
        feldera = FelderaClient(settings.feldera.url) if settings.feldera.url else None
        if feldera is not None:
            await stack.enter_async_context(feldera)
        context = Context(
            client,
            volume,
            EventSink(client, identity.pod),
            settings,
            time.time,
            bakes=asyncio.Semaphore(memory.count_bakes(settings.recording.finish_memory_bytes)),
            feldera=feldera,
        )
        changes = Changes()
        world = World(settings.targets, changes)
        engine = Engine(context, world, changes, f"{identity.namespace}/{identity.release}", activity)
        source = CredentialSource(
            client,
            identity.namespace,
            key_secret=settings.auth.api_keys.secret_name if settings.auth.api_keys.enabled else "",
            link_secret=settings.api.links.secret_name,
            now=context.now,
        )
        supervisor.start("credentials", source.run())
        callers = LocalAuthenticator(settings.auth, keys, lambda: source.current, now=context.now)
        asked = feldera if settings.auth.feldera.enabled else None
        authorizer = Authorizer(settings.auth, client, callers, identity.namespace, asked)
        triggers = Triggers(engine, namespaces_of(settings, identity))
        feldera_names = FelderaNames(feldera, settings, world, changes)
        leadership = _build_leadership(settings, identity, client)
        server = ControlServer(
            engine,
            Requests(engine),
            settings.paths.socket,
            source,
            authorizer,
            namespaces=namespaces_of(settings, identity),
            examiner=lambda: Examination(client, settings, identity, feldera).run(),
            leadership=leadership if settings.storage.kind == "Bucket" else None,
            alerts=Alerts(engine, triggers),
        )
        try:
            await server.start()
            await leadership.lead(volume.lock, stand_by=volume.upload_spool)
            await _report_missing_rights(client, namespaces_of(settings, identity), settings)
            await feldera_names.load()
            await _record(supervisor, engine, triggers, settings, identity)
            supervisor.start("names", feldera_names.run())
            await asyncio.Event().wait()
        finally:
            await server.close()
            await engine.close()
            await asyncio.to_thread(volume.unlock)
            await leadership.close()


def _build_leadership(settings: Settings, identity: Identity, client: KubeClient) -> Leadership:
    """A volume has a lock, and one pod; a bucket may have several, of which a Lease says who leads."""
    if settings.storage.kind == "Volume":
        return Leadership(None, opening.end_process)
    host = f"[{identity.ip}]" if ":" in identity.ip else identity.ip
    address = f"{host}:{settings.api.port}" if host else ""
    name = build_name(identity.release)
    return Leadership(LeaderLease(client, identity.namespace, name, identity.pod, address), opening.end_process)


async def _record(
    supervisor: Supervisor, engine: Engine, triggers: Triggers, settings: Settings, identity: Identity
) -> None:
    """From here on this is the active process."""
    context, namespaces = engine.context, namespaces_of(settings, identity)
    world = engine.world
    claims = Claims(
        context.client, context.events, settings.targets, world.sets, engine.activity, lambda: world.known_names
    )
    listener = Listener(
        see_profile=lambda profile: engine.queue.put(profile.key),
        see_deleted=engine.deletions.see,
        see_carrier=claims.see,
    )
    scope_context = ScopeContext(
        client=context.client,
        world=engine.world,
        listener=listener,
        activity=engine.activity,
        login=log_in,
        identity=identity.pod,
        selectors=settings.targets.selectors,
        now=context.now,
    )
    watcher = Watcher(scope_context, namespaces, settings.targets.namespace_selector)
    # Running recordings continue even if nothing can be listed, for example without the CRD.
    await engine.recover()
    supervisor.start("watcher", watcher.run())
    supervisor.start("recordings", engine.queue.run())
    supervisor.start("deletions", engine.deletions.queue.run())
    supervisor.start("claims", claims.queue.run())
    supervisor.start("comparisons", engine.comparisons.queue.run())
    supervisor.start("triggers", triggers.run())
    sweep = UnwatchedSweep(context.client, context.events, settings.targets, world, namespaces, claims.see)
    supervisor.start("unwatched", sweep.run())
    supervisor.start("leases", engine.renew_leases())
    supervisor.start("sweep", engine.sweep_forever())


async def _report_missing_rights(client: KubeClient, namespaces: tuple[str, ...], settings: Settings) -> None:
    """Logs missing permissions at the start."""
    try:
        found = list(await own_rights.find_missing(client, namespaces))
        if ephemeral := own_rights.list_ephemeral(settings, namespaces):
            found += await own_rights.find_missing(client, ephemeral, own_rights.EPHEMERAL)
        if settings.auth.kubernetes.enabled and not settings.auth.unsafe_let_anyone_in_without_authentication:
            found += await own_rights.find_missing(client, (), own_rights.REVIEWING)
        for missing in found:
            logger.error("missing right: %s", missing)
    except KubeError as error:
        logger.warning("permissions cannot be checked: %s", error)


async def _beat(path: Path, activity: Activity) -> None:
    """The liveness probe looks at this file's age: a loop that hangs doesn't touch it, nor is it touched while a worker
    is stuck."""
    while True:
        stuck = activity.find_stuck()
        if stuck:
            logger.error("stuck: %s", ", ".join(stuck))
        else:
            await asyncio.to_thread(path.touch)
        await asyncio.sleep(HEARTBEAT_SECS)
