"""A fake of Feldera's API server, as far as this project uses it: tenants, keys, pipelines, and its failures.

Every regular answer is checked against Feldera's own OpenAPI document before it is sent, and Feldera's SDK reads them
too (tests/sdk). A real Feldera is not to be had here; what this one leaves out, no test may rely on.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jsonschema
from aiohttp import web

TENANT = "Feldera-Tenant"
READER, WRITER = "apikey:reader", "apikey:writer"
"""Keys of the tenant `acme`."""
STRANGER = "apikey:stranger"
"""A key of the tenant `other`."""
NOW = "2026-11-28T12:00:00Z"
VERSION = "0.369.0"

Json = dict[str, Any]
SPEC: Json = json.loads((Path(__file__).parents[1] / "data" / "feldera" / "openapi.json").read_text())


@cache
def _translate() -> Json:
    """OpenAPI 3.0's `nullable` as JSON Schema has it."""

    def walk(part: Any) -> Any:
        if isinstance(part, list):
            return [walk(item) for item in part]
        if not isinstance(part, dict):
            return part
        found = {key: walk(value) for key, value in part.items() if key != "nullable"}
        return {"anyOf": [found, {"type": "null"}]} if part.get("nullable") is True else found

    schemas: Json = walk(SPEC["components"]["schemas"])
    return schemas


def check(path: str, method: str, status: int, body: Any) -> None:
    """Raises AssertionError or ValidationError for what Feldera's document does not say."""
    answers = SPEC["paths"][path][method.lower()]["responses"]
    answer = answers.get(str(status))
    assert answer is not None, f"{method} {path}: {status} is not documented"
    content = answer.get("content", {}).get("application/json")
    if content is not None:
        jsonschema.validate(body, {**content["schema"], "components": {"schemas": _translate()}})


@dataclass(slots=True)
class Key:
    """A bearer: in which tenants it may act."""

    tenants: tuple[str, ...]
    role: str = "read"
    delay_secs: float = 0.0


@dataclass(slots=True)
class Pipeline:
    id: str
    name: str
    tenant: str = "acme"
    status: str = "Running"
    graph: Json | None = None
    """Its dataflow graph."""
    circuit_profile: Json = field(default_factory=dict)
    metrics: str = "process_cpu_seconds_total 1\n"
    heap_profile: bytes | AsyncIterator[bytes] | None = None
    """Or parts that come one by one. None: its platform has none."""
    global_metrics: Json = field(default_factory=dict)
    profile: bytes | None = None
    """What its own samply gave."""
    retry_after_secs: int | None = None
    """Its own samply runs: so long still."""
    ends_by_itself: bool = False
    """Its own samply does, after the duration that was asked for; else a test ends it."""
    is_profiling_enabled: bool = True
    samply_problem: str = ""
    """Why its own samply gives no profile."""
    cores: float = 0.0
    """CPUs that it keeps busy, as its stats say; 0: cpu_msecs is what `global_metrics` says."""
    program_version: int = 1
    delay_secs: float = 0.0

    def tell_metrics(self) -> Json:
        busy = {"cpu_msecs": int(1000 * self.cores * time.monotonic())} if self.cores else {}
        return _describe_metrics() | busy | self.global_metrics

    def describe(self) -> Json:
        since = {f"{name}_since": NOW for name in STATES}
        desired = "Running" if self.status == "Running" else "Stopped"
        resources = "Provisioned" if self.status == "Running" else "Stopped"
        return {
            "id": self.id,
            "name": self.name,
            "description": "",
            "tags": [],
            "created_at": NOW,
            "version": 1,
            "platform_version": VERSION,
            "program_version": self.program_version,
            "program_status": "Success",
            "program_status_since": NOW,
            "refresh_version": 1,
            "storage_status": "InUse",
            "deployment_id": str(uuid.uuid5(uuid.UUID(self.id), "1")) if self.status == "Running" else None,
            "deployment_status": self.status,
            "deployment_desired_status": desired,
            "deployment_resources_status": resources,
            "deployment_resources_desired_status": resources,
            **since,
        }


STATES = (
    "deployment_status",
    "deployment_desired_status",
    "deployment_resources_status",
    "deployment_resources_desired_status",
)


def make_pipeline_id(number: int) -> str:
    return f"0198aaaa-0000-7000-8000-{number:012x}"


@dataclass(slots=True)
class FakeFeldera:
    """`async with FakeFeldera() as feldera`. `url` is where it is; `context` makes it speak TLS."""

    pipelines: list[Pipeline] = field(default_factory=list)
    keys: dict[str, Key] = field(
        default_factory=lambda: {
            READER: Key(("acme",)),
            WRITER: Key(("acme",), "write"),
            STRANGER: Key(("other",)),
        }
    )
    has_authentication: bool = True
    """False: as an open source installation without an identity provider, everybody acts in the tenant `acme`."""
    delay_secs: float = 0.0
    break_with: Callable[[], web.Response] | None = None
    """Answers everything in its place, such as a proxy's page."""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """(path, bearer, tenant) of each request."""
    started: list[tuple[str, int, int]] = field(default_factory=list)
    """(pipeline, ordinal, duration) of each samply that a pipeline was to run."""
    host: str = "127.0.0.1"
    port: int = 0
    context: ssl.SSLContext | None = None
    _runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://{self.host}:{self.port}"

    async def start(self) -> None:
        """Also after `stop`: at the same address as before."""
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, self.host, self.port, ssl_context=self.context).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """The server becomes unreachable."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def add(self, number: int, name: str, **changes: Any) -> Pipeline:
        pipeline = Pipeline(make_pipeline_id(number), name, **changes)
        self.pipelines.append(pipeline)
        return pipeline

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        self.asked.append((request.path, bearer, request.headers.get(TENANT, "")))
        hangs = (each.delay_secs for each in self.pipelines if f"/pipelines/{each.name}/" in request.path)
        key = self.keys.get(bearer) or Key(("acme",), "write")
        if delay_secs := max(self.delay_secs, key.delay_secs, *hangs, 0.0):
            await asyncio.sleep(delay_secs)
        if self.break_with is not None:
            return self.break_with()
        if self.has_authentication and bearer not in self.keys:
            refusal = {"message": "Unauthorized API key", "error_code": "AuthenticationFailed"}
            return web.Response(status=401, text=json.dumps(refusal))
        tenant = self._find_tenant(key, request.headers.get(TENANT))
        if tenant is None:
            refusal = {"message": "The principal is not trusted in this tenant", "error_code": "Forbidden"}
            return web.json_response(refusal | {"details": {}}, status=403)
        return self._route(request, key, tenant)

    def _find_tenant(self, key: Key, wanted: str | None) -> str | None:
        if wanted is None:
            return key.tenants[0] if key.tenants else None
        return wanted if wanted in key.tenants else None

    def _route(self, request: web.Request, key: Key, tenant: str) -> web.Response:
        parts = request.path.removeprefix("/v0/").split("/")
        visible = [pipeline for pipeline in self.pipelines if pipeline.tenant == tenant]
        match parts:
            case ["config"]:
                return _build("/v0/config", "GET", 200, _describe_config())
            case ["config", "session"]:
                session = {"tenant_id": str(uuid.uuid5(uuid.NAMESPACE_DNS, tenant)), "tenant_name": tenant}
                return _build("/v0/config/session", "GET", 200, session | {"role": key.role, "memberships": []})
            case ["pipelines"]:
                return _build("/v0/pipelines", "GET", 200, [pipeline.describe() for pipeline in visible])
            case ["pipelines", name, *rest] if len(rest) <= 1:
                pipeline = next((pipeline for pipeline in visible if pipeline.name == name), None)
                path = "/".join(["/v0/pipelines/{pipeline_name}", *rest])
                if path not in SPEC["paths"]:
                    return web.Response(status=404)
                if pipeline is None:
                    return _refuse(path, request.method, 404, "UnknownPipelineName", f"Unknown pipeline name '{name}'")
                return self._tell(pipeline, path, request)
        return web.Response(status=404)

    def _tell(self, pipeline: Pipeline, path: str, request: web.Request) -> web.Response:
        match path.rpartition("/")[2]:
            case "{pipeline_name}":
                return _build(path, "GET", 200, pipeline.describe())
            case "dataflow_graph":
                return _send_graph(pipeline, path)
            case _ if pipeline.status != "Running":
                return _refuse(path, request.method, 503, "PipelineInteractionNotDeployed", "It is not deployed")
            case "circuit_json_profile":
                return _build(path, "GET", 200, pipeline.circuit_profile)
            case "stats":
                stats = {"global_metrics": pipeline.tell_metrics(), "inputs": [], "outputs": []}
                return _build(path, "GET", 200, stats)
            case "heap_profile":
                return _send_heap(pipeline, path)
            case "metrics":
                return web.Response(body=pipeline.metrics.encode(), content_type="application/octet-stream")
            case "samply_profile" if request.method == "POST":
                return self._start_samply(pipeline, path, request)
            case "samply_profile":
                return _send_samply(pipeline, path)
        return web.Response(status=404)

    def _start_samply(self, pipeline: Pipeline, path: str, request: web.Request) -> web.Response:
        if not pipeline.is_profiling_enabled:
            # its document leaves it out; its web console knows the code
            refusal = {"message": "Profiling is not enabled", "error_code": "ProfilingNotEnabled", "details": {}}
            return web.json_response(refusal, status=400)
        if pipeline.retry_after_secs is not None:
            return _refuse(path, "POST", 409, "SamplyProfilingInProgress", "One is in progress")
        duration_secs = int(request.query.get("duration_secs", "30"))
        self.started.append((pipeline.name, int(request.query.get("ordinal", "0")), duration_secs))
        pipeline.retry_after_secs = duration_secs
        if pipeline.ends_by_itself:
            asyncio.get_running_loop().call_later(duration_secs, lambda: setattr(pipeline, "retry_after_secs", None))
        return web.Response(status=202)


def _send_graph(pipeline: Pipeline, path: str) -> web.Response:
    if pipeline.graph is None:
        return _refuse(path, "GET", 404, "DataflowGraphNotFound", "There is no dataflow graph")
    return _build(path, "GET", 200, pipeline.graph)


def _send_heap(pipeline: Pipeline, path: str) -> web.Response:
    if pipeline.heap_profile is None:
        return _refuse(path, "GET", 400, "HeapProfilerError", "Heap profiles are not supported here")
    return web.Response(body=pipeline.heap_profile, content_type="application/protobuf")


def _send_samply(pipeline: Pipeline, path: str) -> web.Response:
    if pipeline.retry_after_secs is not None:
        return web.Response(status=204, headers={"Retry-After": str(pipeline.retry_after_secs)})
    if pipeline.samply_problem:
        return _refuse(path, "GET", 500, "SamplyProfilingFailure", pipeline.samply_problem)
    if pipeline.profile is None:
        return _refuse(path, "GET", 400, "NoSamplyProfile", "No samply profile exists")
    return web.Response(body=pipeline.profile, content_type="application/gzip")


def _describe_config() -> Json:
    build = SPEC["components"]["schemas"]["BuildInformation"]["required"]
    texts = ("posthog", "conceptualhq", "product_fruits", "revision", "runtime_revision", "changelog_url")
    return {
        **dict.fromkeys(texts, ""),
        "edition": "Enterprise",
        "version": VERSION,
        "build_source": "ci",
        "build_info": dict.fromkeys(build, ""),
    }


def _describe_metrics() -> Json:
    """A value of the right type for each that Feldera always gives."""
    found: Json = _make_value(SPEC["components"]["schemas"]["GlobalControllerMetrics"])
    return found


def _make_value(schema: Json) -> Any:
    if "$ref" in schema:
        return _make_value(SPEC["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    if "allOf" in schema:
        return _make_value(schema["allOf"][0])
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("format") == "uuid":
        return make_pipeline_id(0)
    if schema.get("format") == "date-time":
        return NOW
    if schema["type"] == "object":
        return {name: _make_value(schema["properties"][name]) for name in schema.get("required", ())}
    return {"string": "", "integer": 0, "number": 0.0, "boolean": False, "array": []}[schema["type"]]


def _build(path: str, method: str, status: int, body: Any) -> web.Response:
    check(path, method, status, body)
    return web.json_response(body, status=status)


def _refuse(path: str, method: str, status: int, code: str, message: str) -> web.Response:
    return _build(path, method, status, {"message": message, "error_code": code, "details": {}})


@asynccontextmanager
async def serve_two_tenants() -> AsyncIterator[FakeFeldera]:
    """Each with a pipeline called orders: number 1 in the tenant acme, number 2 in the tenant other."""
    async with FakeFeldera() as feldera:
        feldera.add(1, "orders")
        feldera.add(2, "orders", tenant="other")
        yield feldera
