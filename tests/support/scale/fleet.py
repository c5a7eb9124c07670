"""Fake pipelines, written straight to an API server: StatefulSets whose pods say that they run, and pods that change.

    async with Writer(plane.url) as writer:
        fleet = Fleet("pipelines", pipelines=500, replicas=10)
        await fleet.create(writer)
        changed = await fleet.change(writer, per_sec=200, secs=120)

A pod is as large as Feldera's are in a cluster: about 8.5 KB, of which most is what a kubelet and others write. One
change is a restart of its container, the smallest that an operator has to act upon.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import aiohttp
import yaml

from samply_operator.kube import objects
from samply_operator.model import names
from support.scale.control_plane import ADMIN, build_tls

Json = dict[str, Any]
AT_ONCE = 24
NODES = 50
CONTAINER = "pipeline"
IMAGE = "registry.example.com/feldera/pipeline-manager:0.140.0"
FIELDS = 38
"""Environment variables of a pod: with them it is as large as a real one."""
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
DEFINITION = f"{DEFINITIONS}/{names.PLURAL}.{names.GROUP}"
BEGAN = "2027-01-15T08:00:00Z"


class Writer:
    """Requests as the cluster's administrator, some at a time."""

    def __init__(self, url: str, token: str = ADMIN) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=build_tls(), limit=AT_ONCE)
        self._session = aiohttp.ClientSession(self._url, connector=connector, headers=self._headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def ask(self, method: str, path: str, body: Json | None = None, kind: str = "json", **params: str) -> Json:
        headers = {"Content-Type": f"application/{kind}"}
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, path, data=data, headers=headers, params=params) as answer:
            found: Json = await answer.json()
            if answer.status >= 400:
                raise RuntimeError(f"{method} {path}: {answer.status} {found.get('message')}")
            return found

    async def create(self, path: str, body: Json) -> Json:
        return await self.ask("POST", path, body)

    async def patch(self, path: str, body: Json) -> Json:
        return await self.ask("PATCH", path, body, "merge-patch+json")

    async def settle(self, path: str, limit_secs: float = 120) -> None:
        """Wait until lists are quick: for many seconds after a CRD has changed, each page is read from etcd."""
        quick, deadline = 0, time.monotonic() + limit_secs
        while quick < 3 and time.monotonic() < deadline:
            began = time.monotonic()
            await self.ask("GET", path, limit="500")
            quick = quick + 1 if time.monotonic() - began < 0.3 else 0
            await asyncio.sleep(0.5)

    async def apply_definition(self, path: Path) -> None:
        """The CRDs of a source tree, in the place of another one's."""
        text = path.read_text()  # noqa: ASYNC240 - nothing else runs in this loop
        for body in filter(None, yaml.safe_load_all(text)):
            where = f"{DEFINITIONS}/{body['metadata']['name']}"
            await self.ask("PATCH", where, body, "apply-patch+yaml", fieldManager="scale", force="true")
        while True:
            status = (await self.ask("GET", DEFINITION)).get("status") or {}
            if any(c["type"] == "Established" and c["status"] == "True" for c in status.get("conditions") or ()):
                return
            await asyncio.sleep(0.1)

    async def remove_definition(self) -> None:
        await self.ask("DELETE", DEFINITION)
        while await self.has(DEFINITION):
            await asyncio.sleep(0.1)

    async def has(self, path: str) -> bool:
        async with self._session.get(path) as answer:
            return answer.status == 200

    async def create_namespace(self, name: str) -> None:
        await self.create("/api/v1/namespaces", {"metadata": {"name": name}})


async def run_all(jobs: Iterable[Callable[[], Awaitable[Any]]], at_once: int = AT_ONCE) -> None:
    """All of them, `at_once` at a time."""
    left = iter(jobs)

    async def work() -> None:
        for job in left:
            await job()

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())


@dataclass(slots=True)
class FakePod:
    namespace: str
    name: str
    labels: dict[str, str]
    owner: Json
    node: str
    restarts: int = 0
    uid: str = ""

    def build(self) -> Json:
        meta = {
            "name": self.name,
            "namespace": self.namespace,
            "labels": self.labels | {"statefulset.kubernetes.io/pod-name": self.name},
            "annotations": {"checksum/config": "0" * 64, "kubectl.kubernetes.io/default-container": CONTAINER},
            "ownerReferences": [self.owner],
        }
        environment = [
            {"name": f"FELDERA_SETTING_{number:02}", "value": f"the value of setting {number} as an operator sets it"}
            for number in range(FIELDS)
        ]
        container = {
            "name": CONTAINER,
            "image": IMAGE,
            "command": ["/home/feldera/pipeline", "--config", "/etc/feldera/config.yaml"],
            "env": environment,
            "ports": [{"containerPort": 8080, "name": "http"}],
            "resources": {"requests": {"cpu": "4", "memory": "16Gi"}, "limits": {"memory": "16Gi"}},
            "volumeMounts": [{"name": name, "mountPath": f"/mnt/{name}"} for name in ("storage", "config", "tls")],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 2},
        }
        volumes = [{"name": name, "emptyDir": {}} for name in ("storage", "config", "tls")]
        spec = {"nodeName": self.node, "containers": [container], "volumes": volumes, "hostname": self.name}
        return {"metadata": meta, "spec": spec}

    def build_status(self) -> Json:
        """As a kubelet reports it: the container has run since its last restart."""
        state: Json = {
            "name": CONTAINER,
            "image": IMAGE,
            "imageID": f"registry.example.com/feldera/pipeline-manager@sha256:{'0' * 64}",
            "containerID": f"containerd://{uuid.uuid4().hex}{uuid.uuid4().hex}",
            "ready": True,
            "started": True,
            "restartCount": self.restarts,
            "state": {"running": {"startedAt": BEGAN}},
        }
        if self.restarts:
            ended = {"exitCode": 137, "reason": "OOMKilled", "startedAt": BEGAN, "finishedAt": BEGAN}
            state["lastState"] = {"terminated": ended | {"containerID": f"containerd://{'0' * 64}"}}
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": BEGAN, "lastProbeTime": None}
            for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
        ]
        status: Json = {"phase": "Running", "hostIP": "192.0.2.1", "podIP": "192.0.2.2", "startTime": BEGAN}
        return status | {"conditions": conditions, "containerStatuses": [state]}


@dataclass(slots=True)
class Fleet:
    namespace: str
    pipelines: int
    replicas: int
    has_nodes: bool = True
    """Without one, a pod cannot be reached: every exec is refused at once."""
    pods: list[FakePod] = field(default_factory=list)
    changed_at: float = 0.0
    """Unix time of the last change."""

    @property
    def names(self) -> list[str]:
        return [f"orders-{number:04}" for number in range(self.pipelines)]

    async def create(self, writer: Writer) -> None:
        await writer.create_namespace(self.namespace)
        await run_all(lambda name=name: self._create_pipeline(writer, name) for name in self.names)

    async def _create_pipeline(self, writer: Writer, name: str) -> None:
        owner = f"pipeline-{uuid.uuid5(uuid.NAMESPACE_DNS, name)}"
        labels = {"app.kubernetes.io/name": "feldera-pipeline", "app.kubernetes.io/instance": owner}
        labels |= {names.PIPELINE: name}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": CONTAINER, "image": IMAGE}]}}
        spec = {"replicas": self.replicas, "serviceName": owner, "selector": {"matchLabels": labels}}
        body = {"metadata": {"name": owner, "labels": labels}, "spec": spec | {"template": template}}
        made = await writer.create(objects.stateful_sets(self.namespace), body)
        reference = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": owner, "uid": made["metadata"]["uid"]}
        for ordinal in range(self.replicas):
            index = {names.POD_INDEX: str(ordinal)}
            node = f"node-{len(self.pods) % NODES}" if self.has_nodes else ""
            pod = FakePod(self.namespace, f"{owner}-{ordinal}", labels | index, reference | {"controller": True}, node)
            self.pods.append(pod)
            await self._create_pod(writer, pod)

    async def _create_pod(self, writer: Writer, pod: FakePod) -> None:
        made = await writer.create(objects.pods(pod.namespace), pod.build())
        pod.uid = made["metadata"]["uid"]
        await self._report(writer, pod)

    async def _report(self, writer: Writer, pod: FakePod) -> None:
        await writer.patch(objects.pods(pod.namespace, pod.name, "status"), {"status": pod.build_status()})

    async def change(self, writer: Writer, *, per_sec: float, secs: float) -> int:
        """So many restarts a second, spread over all pods, as far as the API server keeps up. How many it took."""
        began, turns, done = time.monotonic(), itertools.cycle(self.pods), 0
        due = itertools.count()

        async def work() -> None:
            nonlocal done
            while (at := next(due) / per_sec) < secs:
                await asyncio.sleep(began + at - time.monotonic())
                if time.monotonic() - began > secs:
                    return
                pod = next(turns)
                pod.restarts += 1
                await self._report(writer, pod)
                done += 1
                self.changed_at = time.time()

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        return done


async def ask_for_profiles(writer: Writer, fleet: Fleet, count: int, **spec: Any) -> list[str]:
    """SamplyProfiles for so many pods, one each; their names."""
    wanted = [(fleet.names[number // fleet.replicas], number % fleet.replicas) for number in range(count)]
    made = [f"p-{uuid.uuid4().hex[:12]}" for _ in wanted]

    async def create(name: str, pipeline: str, ordinal: int) -> None:
        asked = {"pipeline": pipeline, "ordinal": ordinal, "durationSeconds": 1} | spec
        body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": name}, "spec": asked}
        await writer.create(objects.samply_profiles(fleet.namespace), body)

    await run_all(
        lambda name=name, pipeline=pipeline, ordinal=ordinal: create(name, pipeline, ordinal)
        for name, (pipeline, ordinal) in zip(made, wanted, strict=True)
    )
    return made


async def count_unfinished(writer: Writer, namespace: str) -> int:
    found = await writer.ask("GET", objects.samply_profiles(namespace))
    phases = [(item.get("status") or {}).get("phase") for item in found["items"]]
    return sum(phase not in {"Succeeded", "Failed", "Cancelled"} for phase in phases)


async def delete_profiles(writer: Writer, namespace: str) -> None:
    with contextlib.suppress(RuntimeError):
        await writer.ask("DELETE", objects.samply_profiles(namespace))
