"""A cluster in memory behind KubeClient's methods: objects in a dict, and exec as real processes of this machine.

It refuses what an API server refuses (conflicts, a JSON patch whose test fails, a uid that isn't the object's), tells
watchers of each change, and breaks on demand. A process goes on when its session ends, as it does in a pod.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import signal
import subprocess
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from samply_operator.errors import ExecFailed, KubeConflict, KubeInvalid, KubeNotFound
from samply_operator.kube import faults, objects
from samply_operator.kube.client import ItemList, ObjectList
from samply_operator.kube.exec import ExecResult
from samply_operator.recorder import object_origin
from samply_operator.recorder.pod import script_calls
from samply_operator.rules.discovery import selectors
from support import json_patch

Json = dict[str, Any]
Fault = Callable[[str, str], BaseException | None]
"""Asked before each call with the verb and the path (or, for exec, with "exec" and the command's words in one line)."""

POLL_SECS = 0.01
EPHEMERAL = "/ephemeralcontainers"
SECS_AT = 6
"""Where the seconds are in the command that recorder/pod/script_calls.py builds for record.sh."""
FACTS = {
    "uid": "0", "capeff": "000001ffffffffff", "capbnd": "000001ffffffffff", "seccomp": "0", "security": "",
    "uid_map": "0 0 4294967295", "allowed": "0-1", "online": "0-1", "paranoid": "1", "mlock_kib": "516",
    "max_rate": "100000", "memlock": "8388608", "nofile": "65536", "quota": "max 100000", "memory_limit": "max",
    "memory_used": "1000000", "memory_cache": "0",
}  # fmt: skip
"""A container where everything works."""


def no_fault(verb: str, what: str) -> None:
    """No call fails."""


@dataclass(slots=True)
class Container:
    """Where a pod's commands run: with this PATH, in this folder; `target` is its one process."""

    path: str
    folder: Path
    target: subprocess.Popen[bytes]
    facts: dict[str, str] = field(default_factory=lambda: dict(FACTS))
    """What preflight.sh says of the kernel here, whatever this machine's own is like."""

    def find_processes(self) -> str:
        """The target alone, as the script prints it: on this machine all processes share a cgroup."""
        try:
            name, _, rest = Path(f"/proc/{self.target.pid}/stat").read_text().partition("(")[2].rpartition(") ")
        except FileNotFoundError:
            return ""
        fields = rest.split()
        ticks = int(fields[11]) + int(fields[12])
        return f"process={self.target.pid} 0 {fields[0]} {fields[17]} {ticks} {fields[19]} 1000000 - {name}\n"

    def correct(self, output: str) -> str:
        """The output of preflight.sh with this container's facts in it."""
        mine = {*self.facts, "process"}
        kept = [line for line in output.splitlines(keepends=True) if line.partition("=")[0] not in mine]
        return "".join([*(f"{key}={value}\n" for key, value in self.facts.items()), *kept, self.find_processes()])


class Session:
    """What KubeClient.exec yields, over a local process."""

    def __init__(self, process: subprocess.Popen[bytes], errors: Path, cut_after: int | None) -> None:
        self._process = process
        self._errors = errors
        self._left = cut_after
        self._reader = asyncio.StreamReader()
        self._transport: asyncio.ReadTransport | None = None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(self._reader), self._process.stdout
        )

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    @property
    def stderr(self) -> bytes:
        return self._errors.read_bytes()

    async def read(self) -> memoryview:
        if self._left == 0:
            raise ExecFailed("The session was cut.")
        data = await self._reader.read(32 * 1024 if self._left is None else self._left)
        if self._left is not None:
            self._left -= len(data)
        return memoryview(data)

    async def chunks(self) -> AsyncIterator[memoryview]:
        while piece := await self.read():
            yield piece

    async def lines(self) -> AsyncIterator[str]:
        rest = b""
        async for piece in self.chunks():
            *whole, rest = (rest + bytes(piece)).split(b"\n")
            for line in whole:
                yield line.decode("utf-8", "replace")
        if rest:
            yield rest.decode("utf-8", "replace")

    async def write(self, data: bytes | memoryview) -> None:
        assert self._process.stdin is not None
        try:
            await asyncio.to_thread(self._process.stdin.write, data)
        except BrokenPipeError as error:
            raise ExecFailed("The process reads no more.") from error

    async def close_stdin(self) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except BrokenPipeError as error:
            raise ExecFailed("The process reads no more.") from error

    async def wait(self) -> int:
        async for _ in self.chunks():
            pass
        while (code := self._process.poll()) is None:
            await asyncio.sleep(POLL_SECS)
        return code if code >= 0 else 128 - code


@dataclass(slots=True)
class FakeCluster:
    """`with FakeCluster(tmp_path) as cluster: cluster.add_pod(…)`; hand it over as a KubeClient."""

    root: Path
    fault: Fault = no_fault
    objects: dict[str, Json] = field(default_factory=dict)
    containers: dict[tuple[str, str], Container] = field(default_factory=dict)
    """By namespace and pod."""
    watchers: list[Callable[[str, Json], None]] = field(default_factory=list)
    watch_lag_secs: float = 0.0
    """How late the watchers are told of what changes from now on; calls see it at once."""
    calls: list[tuple[str, str]] = field(default_factory=list)
    cuts: list[int | None] = field(default_factory=list)
    """After how many bytes of stdout the next attached sessions break; None: not at all."""
    is_hurried: bool = False
    """A recording of one second, the shortest that can be asked for, ends as soon as it has begun."""
    namespaces: tuple[str, ...] = ("prod",)
    helper_state: Json = field(default_factory=lambda: {"running": {}})
    """What becomes of the ephemeral containers that are added; their commands run where those of the pod's do."""
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _version: int = 0

    def __enter__(self) -> Self:
        for path in (object_origin.DEFINITION, *map(object_origin.namespace_path, self.namespaces)):
            self.put(path, {"metadata": {"name": path.rpartition("/")[2]}})
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGCONT)
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()

    # --------------------------------------------------------------------------------------------- what there is

    def spawn(self, *command: str, **options: Any) -> subprocess.Popen[bytes]:
        """A process of its own session, ended with the cluster."""
        process = subprocess.Popen(command, start_new_session=True, **options)
        self._processes.append(process)
        return process

    def add_container(self, namespace: str, pod: str, path: str, *, is_busy: bool = False) -> Container:
        folder = self.root / f"{namespace}-{pod}-{len(self._processes)}"
        folder.mkdir()
        work = ["sh", "-c", "while :; do :; done"] if is_busy else ["sleep", "600"]
        target = self.spawn(*work, stdin=subprocess.DEVNULL)
        container = self.containers[namespace, pod] = Container(path, folder, target)
        return container

    def put(self, path: str, raw: Json) -> Json:
        """Place an object as it is, and notify the watchers."""
        self._version += 1
        meta = raw.setdefault("metadata", {})
        meta.setdefault("uid", str(uuid.uuid4()))
        meta["resourceVersion"] = str(self._version)
        kind = "MODIFIED" if path in self.objects else "ADDED"
        self.objects[path] = raw
        self._tell(kind, raw)
        return copy.deepcopy(raw)

    def remove(self, path: str) -> None:
        self._tell("DELETED", self.objects.pop(path))

    def _tell(self, kind: str, raw: Json) -> None:
        for watcher in list(self.watchers):
            if self.watch_lag_secs:
                loop = asyncio.get_running_loop()
                loop.call_later(self.watch_lag_secs, self._tell_late, watcher, kind, copy.deepcopy(raw))
            else:
                watcher(kind, copy.deepcopy(raw))

    def _tell_late(self, watcher: Callable[[str, Json], None], kind: str, raw: Json) -> None:
        if watcher in self.watchers:
            watcher(kind, raw)

    def find(self, part: str) -> Iterator[Json]:
        return (raw for path, raw in self.objects.items() if part in path)

    # ---------------------------------------------------------------------------------------------------- requests

    async def _enter(self, verb: str, what: str) -> None:
        """Every call yields to the loop once, as a real one does, before it acts."""
        self.calls.append((verb, what))
        await asyncio.sleep(0)
        error = self.fault(verb, what)
        if error is not None:
            raise error

    async def _leave(self, verb: str, what: str) -> None:
        """A fault after the call: it was carried out, but the caller gets an error."""
        error = self.fault(f"{verb} done", what)
        if error is not None:
            raise error

    def _get(self, path: str) -> Json:
        raw = self.objects.get(path)
        if raw is None:
            raise KubeNotFound(f"GET {path}: 404 not found")
        return raw

    async def get(self, path: str, **_: Any) -> Json:
        await self._enter("get", path)
        return copy.deepcopy(self._get(path))

    async def list_items(self, path: str, *, label_selector: str = "", field_selector: str = "", **_: Any) -> ItemList:
        await self._enter("list", path)
        items = [
            copy.deepcopy(raw)
            for where, raw in self.objects.items()
            if where.rpartition("/")[0] == path
            and _is_selected(raw, label_selector)
            and _has_field(raw, field_selector)
        ]
        return ItemList(tuple(items), str(self._version))

    async def list_objects(
        self, path: str, parse: Callable[[Any], Any], *, label_selector: str = "", **_: Any
    ) -> ObjectList[Any]:
        listed = await self.list_items(path, label_selector=label_selector)
        return ObjectList([parse(raw) for raw in listed.items], [], listed.resource_version)

    async def create(self, path: str, body: Mapping[str, Any], **_: Any) -> Json:
        await self._enter("create", path)
        where = f"{path}/{body['metadata']['name']}"
        if where in self.objects:
            raise KubeConflict(f"POST {path}: 409 already exists")
        raw = copy.deepcopy(dict(body))
        raw["metadata"] |= {"creationTimestamp": "2027-01-15T08:00:00Z", "generation": 1}
        created = self.put(where, raw)
        await self._leave("create", path)
        return created

    async def patch(self, path: str, body: Any, *, kind: str = "merge", **_: Any) -> Json:
        await self._enter("patch", path)
        if path.endswith(EPHEMERAL):
            pod = self._add_helpers(path.removesuffix(EPHEMERAL), body["spec"]["ephemeralContainers"])
            await self._leave("patch", path)
            return pod
        status = path.endswith("/status")
        where = path.removesuffix("/status")
        raw = self._get(where)
        if kind == "json":
            try:
                changed = json_patch.apply(raw, body)
            except json_patch.TestFailed as error:
                raise KubeInvalid(f"PATCH {path}: 422 {error}") from error
        else:
            if (body.get("metadata") or {}).get("uid", raw["metadata"]["uid"]) != raw["metadata"]["uid"]:
                raise KubeConflict(f"PATCH {path}: 409 uid")
            kept = {"status": body.get("status")} if status else {k: v for k, v in body.items() if k != "status"}
            changed = json_patch.merge(raw, kept)
        written = self.put(where, changed)
        await self._leave("patch", path)
        return written

    def _add_helpers(self, path: str, containers: list[Json]) -> Json:
        pod = copy.deepcopy(self._get(path))
        added = pod["spec"].setdefault("ephemeralContainers", [])
        if {c["name"] for c in added} & {c["name"] for c in containers}:
            raise KubeInvalid(f"PATCH {path}: 422 existing ephemeral containers may not be changed")
        added += containers
        statuses = pod["status"].setdefault("ephemeralContainerStatuses", [])
        statuses += [{"name": c["name"], "state": copy.deepcopy(self.helper_state)} for c in containers]
        return self.put(path, pod)

    def _has_helper(self, namespace: str, pod: str, container: str) -> bool:
        """True for other containers too."""
        statuses = self.objects.get(objects.pods(namespace, pod), {}).get("status", {})
        states = {s["name"]: s["state"] for s in statuses.get("ephemeralContainerStatuses", [])}
        return not container.startswith("samply-operator-") or "running" in states.get(container, {})

    def end_helper(self, namespace: str, pod: str, name: str) -> None:
        """As its own timer does it, or release.sh."""
        path = objects.pods(namespace, pod)
        raw = copy.deepcopy(self._get(path))
        for status in raw["status"].get("ephemeralContainerStatuses", []):
            if status["name"] == name:
                status["state"] = {"terminated": {"exitCode": 0, "reason": "Completed"}}
        self.put(path, raw)

    async def replace(self, path: str, body: Mapping[str, Any], **_: Any) -> Json:
        await self._enter("replace", path)
        raw = self._get(path)
        version = body["metadata"].get("resourceVersion")
        if version not in {None, raw["metadata"]["resourceVersion"]}:
            raise KubeConflict(f"PUT {path}: 409 changed")
        return self.put(path, copy.deepcopy(dict(body)))

    async def delete(self, path: str, *, uid: str = "", resource_version: str = "", **_: Any) -> None:
        await self._enter("delete", path)
        meta = self._get(path)["metadata"]
        if uid not in {"", meta["uid"]} or resource_version not in {"", meta["resourceVersion"]}:
            raise KubeConflict(f"DELETE {path}: 409 uid or version")
        self.remove(path)
        await self._leave("delete", path)

    # -------------------------------------------------------------------------------------------------------- exec

    @contextlib.asynccontextmanager
    async def exec(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, stdin: bool = False,
        attached: bool = False, **_: Any,
    ) -> AsyncIterator[Session]:  # fmt: skip
        await self._enter("exec", " ".join(command))
        if self.is_hurried and attached and command[SECS_AT] == "1":
            command = [*command[:SECS_AT], "0", *command[SECS_AT + 1 :]]
        where = self.containers.get((namespace, pod))
        if where is None or not self._has_helper(namespace, pod, container):
            raise KubeNotFound(f"The container is not running: {pod}/{container}")
        errors = self.root / f"stderr-{len(self._processes)}"
        with errors.open("wb") as file:
            process = self.spawn(
                *command, executable=_find(command[0], where.path), cwd=where.folder, stderr=file,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL, stdout=subprocess.PIPE,
                env={"PATH": where.path, "TMPDIR": str(where.folder)},
            )  # fmt: skip
        session = Session(process, errors, self.cuts.pop(0) if attached and self.cuts else None)
        await session.open()
        try:
            yield session
        finally:
            session.close()

    async def run(
        self, namespace: str, pod: str, container: str, command: Sequence[str], *, stdin: bytes | None = None, **_: Any
    ) -> ExecResult:
        if command[2:3] == [script_calls.read_script("release.sh")]:
            await self._enter("exec", " ".join(command))
            if not self._has_helper(namespace, pod, container):
                raise KubeNotFound(f"The container is not running: {pod}/{container}")
            self.end_helper(namespace, pod, container)
            return ExecResult(0, b"", b"")
        async with self.exec(namespace, pod, container, command, stdin=stdin is not None) as session:
            if stdin is not None:
                await session.write(stdin)
                await session.close_stdin()
            output = b"".join([bytes(piece) async for piece in session.chunks()])
            code = await session.wait()
            if command[2:3] == [script_calls.read_script("preflight.sh")] and code == 0:
                output = self.containers[namespace, pod].correct(output.decode()).encode()
            result = ExecResult(code, output, session.stderr)
        await self._leave("exec", " ".join(command))
        return result


def _find(program: str, path: str) -> str:
    for folder in path.split(":"):
        if os.access(f"{folder}/{program}", os.X_OK):
            return f"{folder}/{program}"
    error = faults.find_container_error(f'exec: "{program}": executable file not found in $PATH')
    assert error is not None
    raise error


def _is_selected(raw: Json, selector: str) -> bool:
    return selectors.is_selected([selector], raw["metadata"].get("labels") or {})


def _has_field(raw: Json, selector: str) -> bool:
    """One equality, such as `involvedObject.kind=Pod`, or none."""
    place, _, wanted = selector.partition("=")
    found: Any = raw
    for key in place.split(".") if selector else ():
        found = found.get(key) or {}
    return not selector or found == wanted
