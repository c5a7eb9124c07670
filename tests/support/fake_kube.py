"""A small API server on a loopback port: objects in a dict, with the responses that code must be able to handle.

It keeps what is written, counts resource versions, refuses what conflicts, tells watches of changes, and can fail on
demand. It knows no schema and no admission: what depends on these is tested on a real cluster.
`tests/cluster/test_exec.py` asks a real one the same questions about conflicts, pages and preconditions.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from support.exec_server import ExecServer

Json = dict[str, Any]


@dataclass(slots=True)
class FakeKube:
    """`async with FakeKube() as kube: KubeClient(load_plain(kube.url))`. `kube.exec` breaks exec sessions."""

    objects: dict[str, Json] = field(default_factory=dict)
    """By path, such as /api/v1/namespaces/space/pods/pod."""
    failures: deque[int] = field(default_factory=deque)
    failure: str = "failed by the test"
    """What they say."""
    """HTTP statuses for the next requests; 0: the connection breaks, 200: it passes, -1: no answer comes."""
    readiness: Callable[[], int] = lambda: 200
    """The status of /readyz."""
    is_slow: bool = False
    """Refusals come in two pieces."""
    is_allowed: Callable[[Json], bool] = lambda attributes: True
    forbidden: set[str] = field(default_factory=set)
    """Paths that are answered with 403."""
    forgotten: int = 0
    """Watches from this version or an older one are answered with 410."""
    is_deaf: bool = False
    """Watches are told nothing."""
    token: str = ""
    requests: list[tuple[str, str]] = field(default_factory=list)
    validations: list[str] = field(default_factory=list)
    """What each POST says of unknown fields; "": nothing."""
    exec: ExecServer = field(default_factory=ExecServer)
    url: str = ""
    history: list[tuple[int, str, str, Json]] = field(default_factory=list)
    """What happened: version, type, path, object."""
    _version: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._gate])
        self.exec.add_routes(app)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    def put(self, path: str, raw: Json) -> Json:
        """Place an object, as if the cluster had made it."""
        raw.setdefault("metadata", {}).setdefault("uid", str(uuid.uuid4()))
        self._version += 1
        raw["metadata"]["resourceVersion"] = str(self._version)
        raw["metadata"].setdefault("name", path.rsplit("/", 1)[-1])
        self._note("MODIFIED" if path in self.objects else "ADDED", path, raw)
        self.objects[path] = raw
        return raw

    def remove(self, path: str) -> None:
        """As if the cluster had deleted it."""
        raw = self.objects.pop(path)
        self._version += 1
        raw["metadata"]["resourceVersion"] = str(self._version)
        self._note("DELETED", path, raw)

    def _note(self, kind: str, path: str, raw: Json) -> None:
        self.history.append((self._version, kind, path, json.loads(json.dumps(raw))))
        self._changed.set()
        self._changed = asyncio.Event()

    @web.middleware
    async def _gate(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path == "/readyz":
            return web.Response(status=self.readiness())
        self.requests.append((request.method, request.path))
        if self.token and request.headers.get("Authorization", "").lower() != f"bearer {self.token}":
            return _status(401, "Unauthorized", "Unauthorized")
        if self.failures and (status := self.failures.popleft()) != 200:
            if status < 0:
                await asyncio.sleep(3600)
            if not status:
                assert request.transport is not None
                request.transport.abort()
            refusal = _status(status or 500, "Failed", self.failure)
            return await _send_in_two(request, refusal) if self.is_slow else refusal
        response: web.StreamResponse = await handler(request)
        return response

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removesuffix("/status")
        if path in self.forbidden:
            return _status(403, "Forbidden", 'forbidden: User "operator" cannot do it')
        if request.query.get("watch"):
            return await self._watch(request, path)
        if path.endswith("/selfsubjectaccessreviews"):
            body = await request.json()
            allowed = self.is_allowed(body["spec"]["resourceAttributes"])
            return web.json_response(body | {"status": {"allowed": allowed}}, status=201)
        match request.method:
            case "GET" if path in self.objects:
                return web.json_response(self.objects[path])
            case "GET" if _is_list(path):
                return self._list(request, path)
            case "POST":
                self.validations.append(request.query.get("fieldValidation", ""))
                return self._create(path, await request.json())
            case "PUT" | "PATCH" | "DELETE" if path in self.objects:
                return await self._change(request, path)
        return _status(404, "NotFound", f'"{path.rsplit("/", 1)[-1]}" not found')

    def _list(self, request: web.Request, path: str) -> web.Response:
        wanted = dict(pair.split("=", 1) for pair in request.query.get("labelSelector", "").split(",") if pair)
        found = [raw for key, raw in self.objects.items() if _is_in(key, path) and _has_labels(raw, wanted)]
        start, limit = int(request.query.get("continue", 0)), int(request.query.get("limit", len(found) or 1))
        meta = {"resourceVersion": str(self._version)}
        if start + limit < len(found):
            meta["continue"] = str(start + limit)
        return web.json_response({"kind": "List", "metadata": meta, "items": found[start : start + limit]})

    async def _watch(self, request: web.Request, path: str) -> web.StreamResponse:
        version, loop = int(request.query["resourceVersion"]), asyncio.get_running_loop()
        until = loop.time() + float(request.query["timeoutSeconds"])
        response = web.StreamResponse()
        await response.prepare(request)
        if version <= self.forgotten:
            gone = {"kind": "Status", "code": 410, "message": "too old resource version"}
            await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
            return response
        while loop.time() < until and path not in self.forbidden:
            changed = self._changed
            for at, kind, where, raw in self.history:
                if at > version and _is_in(where, path) and not self.is_deaf:
                    await response.write(json.dumps({"type": kind, "object": raw}).encode() + b"\n")
                    version = at
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(0.5, until - loop.time())):
                    await changed.wait()
        return response

    def _create(self, path: str, body: Json) -> web.Response:
        meta = body.setdefault("metadata", {})
        name = meta.get("name") or f"{meta.get('generateName', '')}{uuid.uuid4().hex[:5]}"
        if f"{path}/{name}" in self.objects:
            return _status(409, "AlreadyExists", f'"{name}" already exists')
        if "/namespaces/" in path:
            meta.setdefault("namespace", path.split("/namespaces/")[1].split("/", maxsplit=1)[0])
        meta["name"] = name
        return web.json_response(self.put(f"{path}/{name}", body), status=201)

    async def _change(self, request: web.Request, path: str) -> web.Response:
        body, old = await request.json() if request.can_read_body else {}, self.objects[path]
        if request.method == "DELETE":
            wanted = (body.get("preconditions") or {}).items()
            if any(old["metadata"].get(key) != value for key, value in wanted):
                return _status(409, "Conflict", "Precondition failed")
            self.remove(path)
            return web.json_response({"kind": "Status", "status": "Success"})
        if request.method == "PUT":
            if body["metadata"].get("resourceVersion", "") not in ("", old["metadata"]["resourceVersion"]):
                return _status(409, "Conflict", "the object has been modified")
            return web.json_response(self.put(path, body))
        new = json.loads(json.dumps(old))
        if request.content_type == "application/json-patch+json":
            if not _apply_json_patch(new, body):
                return _status(422, "Invalid", "the server rejected our request due to an error in our request")
        else:
            if body.get("metadata", {}).get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
                return _status(409, "Conflict", "Precondition failed: UID in precondition")
            if body.get("metadata", {}).get("resourceVersion") not in (None, old["metadata"]["resourceVersion"]):
                return _status(409, "Conflict", "the object has been modified")
            _merge(new, body)
        return web.json_response(self.put(path, new))


def _is_list(path: str) -> bool:
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    return len(parts) in (1, 3) and (len(parts) == 1 or parts[0] == "namespaces")


def _is_in(key: str, path: str) -> bool:
    head, _, plural = path.rpartition("/")
    return key.rsplit("/", 1)[0] == path or (
        "/namespaces/" not in path and key.startswith(head) and f"/{plural}/" in key
    )


def _has_labels(raw: Json, wanted: dict[str, str]) -> bool:
    return wanted.items() <= (raw["metadata"].get("labels") or {}).items()


def _merge(old: Json, change: Json) -> None:
    for key, value in change.items():
        if value is None:
            old.pop(key, None)
        elif isinstance(value, dict) and isinstance(old.get(key), dict):
            _merge(old[key], value)
        else:
            old[key] = value


def _apply_json_patch(raw: Json, operations: list[Json]) -> bool:
    """Objects only, no lists; False when a test fails or a place isn't there."""
    for operation in operations:
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"][1:].split("/")]
        place: Any = raw
        for part in parents:
            if not isinstance(place, dict) or part not in place:
                return False
            place = place[part]
        if operation["op"] != "add" and last not in place:
            return False
        match operation["op"]:
            case "test":
                if place[last] != operation["value"]:
                    return False
            case "add" | "replace":
                place[last] = operation["value"]
            case "remove":
                del place[last]
            case _:
                return False
    return True


def _status(status: int, reason: str, message: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message}
    return web.json_response(body | {"code": status}, status=status)


async def _send_in_two(request: web.Request, answer: web.Response) -> web.StreamResponse:
    body = answer.body
    assert isinstance(body, bytes)
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    await asyncio.sleep(0.05)
    await response.write(body[len(body) // 2 :])
    return response
