"""The operator's process without kopf and without its socket: engine, claims and watches over a FakeCluster.

    async with OperatorProcess(cluster, root, settings) as operator: …

Leaving it cancels everything, as the end of the process does; what is on the volume and in the cluster stays.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from samply_operator.discovery.changes import Changes
from samply_operator.discovery.claims import Claims
from samply_operator.discovery.world import World
from samply_operator.errors import KubeError
from samply_operator.feldera.client import FelderaClient
from samply_operator.kube import objects
from samply_operator.kube.events import EventSink
from samply_operator.model import names
from samply_operator.model.profile import parse_object
from samply_operator.model.trigger import parse_trigger
from samply_operator.recorder.calls.requests import Requests
from samply_operator.recorder.context import Context
from samply_operator.recorder.engine import Engine
from samply_operator.settings import Settings
from samply_operator.store.volume import Volume
from samply_operator.triggers.worker import Triggers
from support import shells
from support.fake_cluster import Container, FakeCluster, Json
from support.samples import LABELS

NAMESPACE = "prod"
PROFILES = Path(__file__).parents[1] / "data" / "profiles"
RECORDED = {
    "profile": str(PROFILES / "demo-v55.json.gz"),
    "sidecar": str(PROFILES / "demo-v55.syms.json"),
    "attach_secs": 0.02,
    "write_secs": 0.05,
}
"""How the stand-in for samply behaves: quick, and what it writes is a real recording."""


def nothing(step: str) -> None:
    """No fault."""


class OperatorProcess:
    def __init__(
        self,
        cluster: FakeCluster,
        root: Path,
        settings: Settings,
        *,
        fault: Callable[[str], None] = nothing,
        feldera: FelderaClient | None = None,
    ) -> None:
        self.cluster = cluster
        self.volume = Volume(root, min_free_bytes=settings.recording.min_free_bytes, fault=fault)
        client: Any = cluster
        self.context = Context(
            client, self.volume, EventSink(client, "operator-0"), settings, time.time, feldera=feldera
        )
        self.changes = Changes()
        self.engine = Engine(self.context, World(settings.targets, self.changes), self.changes)
        self.requests = Requests(self.engine)
        self.claims = Claims(client, self.context.events, settings.targets, self.engine.world.sets)
        self.triggers = Triggers(self.engine, (NAMESPACE,))
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self.volume.prepare()
        self.cluster.watchers.append(self._see)
        await self.engine.recover()
        await self._list_first()
        work = (
            self.engine.queue.run(), self.engine.deletions.queue.run(), self.claims.queue.run(),
            self.engine.renew_leases(), self._clean_once(), self.triggers.queue.run(), self.triggers.follow(),
            self.triggers.readings.run(), self.engine.comparisons.queue.run(),
        )  # fmt: skip
        self._tasks = [asyncio.create_task(each) for each in work]
        return self

    async def _list_first(self) -> None:
        """Until it works."""
        while True:
            try:
                await self.list_all()
            except KubeError:
                await asyncio.sleep(0.05)
            else:
                return

    async def _clean_once(self) -> None:
        """As the first sweep does, at once; tests ask for the others."""
        await self.engine.runs.clean(lambda profile_id: True)

    async def __aexit__(self, *_: object) -> None:
        self.cluster.watchers.remove(self._see)
        await self.engine.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def change_context(self, **changes: Any) -> Context:
        """Another clock, other settings, from now on; returns what was before."""
        before, engine = self.engine.context, self.engine
        engine.context = replace(before, **changes)
        runs = [*engine.runs.values(), *engine.runs._ended.values()]
        for part in (engine.runs, engine.admission, engine.deletions, engine.retention, engine.comparisons, *runs):
            part._context = engine.context
        return before

    async def list_all(self, scope: str = NAMESPACE) -> None:
        """Complete lists of everything, as discovery/scope.py makes them."""
        world, client = self.engine.world, self.cluster
        world.begin_profiles(scope)
        source = (scope, "")
        lists = [
            await client.list_objects(objects.pods(scope), objects.parse_pod, label_selector=selector)
            for selector in self.context.settings.targets.selectors
        ]
        pods = [pod for each in lists for pod in each.items]
        sets = await client.list_objects(objects.stateful_sets(scope), objects.parse_stateful_set)
        profiles = await client.list_objects(objects.samply_profiles(scope), parse_object)
        world.replace_pods(pods, source=source)
        world.replace_sets(sets.items, source=source)
        world.replace_profiles(scope, profiles.items)
        world.cover(scope)
        triggers = await client.list_objects(objects.samply_triggers(scope), parse_trigger)
        self.triggers.watch.replace(scope, triggers.items)
        for carrier in (*pods, *sets.items):
            self.claims.see(carrier)
        for profile in profiles.items:
            self.engine.queue.put(profile.key)

    def _see(self, kind: str, raw: Json) -> None:
        """As discovery/scope.py does."""
        world, is_gone, source = self.engine.world, kind == "DELETED", (NAMESPACE, "")
        match raw.get("kind"):
            case names.KIND:
                profile = parse_object(raw)
                world.see_profile(profile, is_gone=is_gone)
                if is_gone:
                    self.engine.deletions.see(profile)
                self.engine.queue.put(profile.key)
            case names.TRIGGER_KIND:
                self.triggers.watch.see(NAMESPACE, parse_trigger(raw), is_gone)
            case "Pod":
                pod = objects.parse_pod(raw)
                world.see_pod(pod, source=source, is_gone=is_gone)
                self.claims.see(pod)
            case "StatefulSet":
                found = objects.parse_stateful_set(raw)
                world.see_set(found, source=source, is_gone=is_gone)
                self.claims.see(found)

    async def reach(self, is_so: Callable[[], object], secs: float = 90.0) -> None:
        """Wait until the condition holds."""
        until = time.monotonic() + secs
        while not is_so():
            assert time.monotonic() < until, f"never reached: {[raw.get('status') for raw in self.list_profiles()]}"
            await asyncio.sleep(0.01)

    async def reach_phase(self, name: str, *phases: str) -> Json:
        """The status of an object that is in one of these phases."""
        await self.reach(lambda: self.find_status(name).get("phase") in phases)
        return self.find_status(name)

    async def reach_rest(self) -> None:
        """Wait until nothing is running and the journal is empty."""
        await self.reach(lambda: not self.engine.runs and not list((self.volume.root / "journal").iterdir()))

    def find_status(self, name: str) -> Json:
        raw = self.cluster.objects.get(objects.samply_profiles(NAMESPACE, name)) or {}
        return raw.get("status") or {}

    def list_profiles(self) -> list[Json]:
        return list(self.cluster.find(f"/{names.PLURAL}/"))

    def list_events(self, name: str) -> list[str]:
        """Reasons of the Events on this object, in order."""
        return [raw["reason"] for raw in self.cluster.find("/events/") if raw["involvedObject"]["name"] == name]


def add_pipeline(
    cluster: FakeCluster, name: str = "a", ordinals: int = 1, *, is_busy: bool = False, **behaviour: Any
) -> list[Container]:
    """A StatefulSet with its running pods; in each container dash and the stand-in for samply."""
    cluster.is_hurried = True
    owner = f"pipeline-{name}"
    cluster.put(
        objects.stateful_sets(NAMESPACE, owner),
        {
            "kind": "StatefulSet",
            "metadata": {"namespace": NAMESPACE, "name": owner, "labels": LABELS},
            "spec": {"replicas": ordinals, "template": {"metadata": {"labels": LABELS}}},
        },
    )
    return [add_pod(cluster, owner, ordinal, is_busy=is_busy, **behaviour) for ordinal in range(ordinals)]


def add_pod(cluster: FakeCluster, owner: str, ordinal: int, *, is_busy: bool = False, **behaviour: Any) -> Container:
    """A running pod; one that was there before is replaced, container and all."""
    name = f"{owner}-{ordinal}"
    path = shells.make_path(cluster.root / f"bin-{name}-{len(cluster.containers)}", "dash", **RECORDED | behaviour)
    container = cluster.add_container(NAMESPACE, name, path, is_busy=is_busy)
    cluster.objects.pop(objects.pods(NAMESPACE, name), None)
    state = {"name": "pipeline", "state": {"running": {}}, "containerID": f"containerd://{container.target.pid}"}
    cluster.put(
        objects.pods(NAMESPACE, name),
        {
            "kind": "Pod",
            "metadata": {
                "namespace": NAMESPACE, "name": name, "labels": LABELS,
                "ownerReferences": [{"kind": "StatefulSet", "name": owner, "controller": True}],
            },
            "spec": {"nodeName": "node-1", "containers": [{"name": "pipeline"}]},
            "status": {"phase": "Running", "containerStatuses": [state]},
        },
    )  # fmt: skip
    return container


def ask(cluster: FakeCluster, name: str = "p-1", *, annotations: dict[str, str] | None = None, **spec: Any) -> Json:
    """A SamplyProfile, as kubectl makes it."""
    return cluster.put(
        objects.samply_profiles(NAMESPACE, name),
        {
            "kind": names.KIND,
            "metadata": {
                "namespace": NAMESPACE, "name": name, "generation": 1, "annotations": annotations or {},
                "creationTimestamp": "2027-01-15T08:00:00Z",
            },
            "spec": {"pipeline": "a", "durationSeconds": 1, "mode": "InPlace"} | spec,
        },
    )  # fmt: skip


def put_trigger(cluster: FakeCluster, name: str = "t-1", *, labels: dict[str, str] | None = None, **spec: Any) -> Json:
    """A SamplyTrigger, as kubectl makes it: every ten seconds, all pipelines."""
    whole = {
        "pipelines": {"all": True},
        "when": {"schedule": {"every": "10s"}},
        "template": {"durationSeconds": 1, "mode": "InPlace"},
        "limits": {"maxSampledPercent": 100},
    }
    meta = {"namespace": NAMESPACE, "name": name, "generation": 1, "labels": labels or {}}
    meta |= {"creationTimestamp": "2027-01-15T07:59:00Z"}
    path = objects.samply_triggers(NAMESPACE, name)
    return cluster.put(path, {"kind": names.TRIGGER_KIND, "metadata": meta, "spec": whole | spec})
