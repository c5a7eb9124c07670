"""The operator's process without kopf and without its socket: engine, claims and watches over a FakeCluster.

    async with OperatorProcess(cluster, root, settings) as operator: …

Leaving it cancels everything, as the end of the process does; what is on the volume and in the cluster stays.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from samply_operator.kube import objects
from samply_operator.kube.events import EventSink
from samply_operator.model import names
from samply_operator.recorder.changes import Changes
from samply_operator.recorder.context import Context
from samply_operator.recorder.engine import Engine
from samply_operator.recorder.requests import Requests
from samply_operator.recorder.sync import Sync
from samply_operator.recorder.world import World
from samply_operator.settings import Settings
from samply_operator.store.volume import Volume
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
        self, cluster: FakeCluster, root: Path, settings: Settings, *, fault: Callable[[str], None] = nothing
    ) -> None:
        self.cluster = cluster
        self.volume = Volume(root, min_free_bytes=settings.recording.min_free_bytes, fault=fault)
        client: Any = cluster
        self.context = Context(client, self.volume, EventSink(client, "operator-0"), settings, time.time)
        self.engine = Engine(self.context, World(settings.targets), Changes())
        self.requests = Requests(self.engine)
        self.sync = Sync(self.context, self.engine, (NAMESPACE,))
        self._tasks: list[asyncio.Task[None]] = []
        self._late: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self.volume.prepare()
        self.cluster.watchers.append(self._see)
        await self.engine.recover()
        await self.sync.list_first()
        self._tasks = [asyncio.create_task(self.engine.queue.run()), asyncio.create_task(self.sync.claims.run())]
        for key in self.engine.world.profiles:
            self.engine.queue.put(key)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cluster.watchers.remove(self._see)
        await self.engine.close()
        for task in (*self._tasks, *self._late):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._late, return_exceptions=True)

    def _see(self, kind: str, raw: Json) -> None:
        """As handlers/watches.py does."""
        world, is_gone = self.engine.world, kind == "DELETED"
        match raw.get("kind"):
            case names.KIND:
                profile = world.see_profile(raw, is_gone=is_gone)
                if is_gone:
                    task = asyncio.create_task(self.engine.see_deleted(profile))
                    self._late.add(task)
                    task.add_done_callback(self._late.discard)
                self.engine.queue.put(profile.key)
            case "Pod":
                world.see_pod(raw, is_gone=is_gone)
                self.sync.see_carrier("Pod", raw)
            case "StatefulSet":
                world.see_set(raw, is_gone=is_gone)
                self.sync.see_carrier("StatefulSet", raw)
        self.engine.changes.notify()

    async def reach(self, is_so: Callable[[], object], secs: float = 30.0) -> None:
        """Wait until it is so."""
        until = time.monotonic() + secs
        while not is_so():
            assert time.monotonic() < until, f"never reached: {[raw.get('status') for raw in self.list_profiles()]}"
            await asyncio.sleep(0.01)

    async def reach_phase(self, name: str, *phases: str) -> Json:
        """The status of an object that is in one of these phases."""
        await self.reach(lambda: self.find_status(name).get("phase") in phases)
        return self.find_status(name)

    async def reach_rest(self) -> None:
        """Nothing runs, and the journal is empty."""
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
            "metadata": {"namespace": NAMESPACE, "name": owner},
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
