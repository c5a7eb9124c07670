"""A scripted operator: speaks the protocol of the unix socket from a state that the test sets.

The contract tests that run against it run against the real `control/server.py` too: what it says is what that says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import msgspec
from aiohttp import web

from samply_operator.control.messages import (
    REQUEST_ID,
    ActReply,
    ActRequest,
    AlertsReply,
    AlertsRequest,
    Credentials,
    ErrorReply,
    LeaderState,
    OrdinalState,
    PipelineState,
    PreflightReply,
    RecordingState,
    Refusal,
    ReviewReply,
    ReviewRequest,
    Snapshot,
    StartAllReply,
    StartAllRequest,
    StartReply,
    StartRequest,
    SupportBundleReply,
    SupportBundleRequest,
)
from samply_operator.errors import SamplyOperatorError, Unauthenticated, UnknownPipeline, UnknownProfile
from samply_operator.feldera.client import TENANT, Login
from samply_operator.model.check import Report
from samply_operator.rules.access import credentials
from samply_operator.settings import Verb

BEAT_SECS = 5.0
"""The protocol's own: something is said at least this often."""

Answer = Callable[[StartRequest], StartReply]
Judge = Callable[[StartRequest], PreflightReply]
Act = Callable[[str, str], ActReply]
Review = Callable[[str, ReviewRequest], ReviewReply]

KEY = credentials.build_key("test", bytes(32))
LOGIN = Login(KEY)
"""An API key that may do everything; `bearer(KEY)` is the header."""


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def make_key(
    token: str, verbs: tuple[Verb, ...] = credentials.VERBS, namespaces: tuple[str, ...] = ("*",)
) -> credentials.ApiKey:
    """What the Secret says of a key."""
    return credentials.ApiKey(token.split("_")[1], credentials.hash_key(token), verbs, namespaces)


def refuse_review(token: str, request: ReviewRequest) -> ReviewReply:
    raise Unauthenticated("The token is not valid.")


def refuse_unknown(request: StartRequest) -> StartReply:
    raise UnknownPipeline(f"Unknown pipeline name '{request.pipeline}'", details={"pipeline_name": request.pipeline})


def refuse_judging(request: StartRequest) -> PreflightReply:
    raise UnknownPipeline(f"Unknown pipeline name '{request.pipeline}'", details={"pipeline_name": request.pipeline})


def refuse_act(verb: str, profile_id: str) -> ActReply:
    raise UnknownProfile(f"Unknown profile '{profile_id}'", details={"profile": profile_id})


def make_pipeline(
    name: str,
    *,
    namespace: str = "feldera",
    running: tuple[int, ...] = (0,),
    stopped: tuple[int, ...] = (),
    ids: tuple[str, ...] = (),
) -> PipelineState:
    """A pipeline with pods that run and ordinals whose pods don't."""
    states = [OrdinalState(n, f"{name}-{n}", n in running) for n in sorted((*running, *stopped))]
    return PipelineState(namespace, name, tuple(states), ids)


def make_recording(
    profile_id: str,
    pipeline: str,
    *,
    namespace: str = "feldera",
    ordinal: int = 0,
    ends_in_secs: float | None = 30,
    preflight_only: bool = False,
    pipeline_id: str = "",
) -> RecordingState:
    return RecordingState(
        id=profile_id,
        namespace=namespace,
        name=f"r-{profile_id[-4:]}",
        pipeline=pipeline,
        ordinal=ordinal,
        phase="Pending" if ends_in_secs is None else "Recording",
        requested_at="2026-01-31T10:00:00.000Z",
        preflight_only=preflight_only,
        ends_at=None if ends_in_secs is None else time.time() + ends_in_secs,
        duration_secs=30,
        pipeline_id=pipeline_id,
    )


class FakeOperator:
    """Use as `async with`; set the state, then `push()`. `answer` decides what a start gets."""

    def __init__(self, socket_path: Path) -> None:
        self.pipelines: tuple[PipelineState, ...] = ()
        self.recordings: tuple[RecordingState, ...] = ()
        self.store_generation = 0
        self.pinned: tuple[str, ...] = ()
        self.is_synced = True
        self.leader = LeaderState()
        self.credentials = Credentials((make_key(KEY),), read_at=time.time())
        self.review: Review = refuse_review
        self.reviewed: list[tuple[str, ReviewRequest]] = []
        self.examine: Callable[[], Report] = lambda: Report("Passed", ())
        self.take_alerts: Callable[[AlertsRequest], AlertsReply] = lambda request: AlertsReply(())
        self.alerts: list[AlertsRequest] = []
        self.tenants: list[str] = []
        """Of calls to start."""
        self.bearers: list[str] = []
        """Of the calls that act."""
        self.is_silent = False
        self.answer: Answer = refuse_unknown
        self.judge: Judge = refuse_judging
        self.act: Act = refuse_act
        self.started: list[StartRequest] = []
        """Without their names, which differ each time."""
        self.named: list[object] = []
        self.breaks = 0
        """So many of the next starts are cut off without an answer, as by a kill."""
        self.judged: list[StartRequest] = []
        self.acts: list[tuple[str, str]] = []
        self.support_bundle = SupportBundleReply()
        self.exported: list[SupportBundleRequest] = []
        self.request_ids: list[str] = []
        self.metrics = b""
        self.watchers = 0
        self._socket_path = socket_path
        self._changed = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> FakeOperator:
        await self.come_back()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.go_away()

    async def come_back(self) -> None:
        app = web.Application()
        app.router.add_get("/v1/metrics", self._tell_metrics)
        app.router.add_get("/v1/watch", self._watch)
        app.router.add_get("/v1/credentials", self._watch_credentials)
        app.router.add_get("/v1/leader", self._watch_leader)
        app.router.add_post("/v1/review", self._review)
        app.router.add_post("/v1/start", self._start)
        app.router.add_post("/v1/start-all", self._start_all)
        app.router.add_post("/v1/preflight", self._preflight)
        app.router.add_post("/v1/doctor", self._examine)
        app.router.add_post("/v1/alerts", self._take_alerts)
        app.router.add_post("/v1/support-bundle", self._gather_support_bundle)
        app.router.add_post("/v1/{verb:stop|delete|pin|unpin}", self._act)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._socket_path)).start()

    async def go_away(self) -> None:
        """As a killed process: streams break, the socket's file remains."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    def push(self) -> None:
        """Send the current state to all watchers."""
        self._changed.set()
        self._changed = asyncio.Event()

    def build_snapshot(self) -> Snapshot:
        return Snapshot(
            pipelines=self.pipelines,
            recordings=self.recordings,
            pinned=self.pinned,
            store_generation=self.store_generation,
            sent_at=time.time(),
            is_synced=self.is_synced,
        )

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        self.watchers += 1
        try:
            return await self._stream(request, self.build_snapshot)
        finally:
            self.watchers -= 1

    async def _watch_credentials(self, request: web.Request) -> web.StreamResponse:
        return await self._stream(request, lambda: self.credentials)

    async def _watch_leader(self, request: web.Request) -> web.StreamResponse:
        return await self._stream(request, lambda: self.leader)

    async def _stream(self, request: web.Request, build: Callable[[], msgspec.Struct]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        try:
            while True:
                changed = self._changed
                if not self.is_silent:
                    await response.write(msgspec.json.encode(build()) + b"\n")
                with suppress(TimeoutError):
                    async with asyncio.timeout(BEAT_SECS):
                        await changed.wait()
        except ConnectionError:
            return response

    async def _tell_metrics(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self.metrics or b"samply_operator_synced 1.0\n")

    async def _review(self, request: web.Request) -> web.StreamResponse:
        wanted = msgspec.json.decode(await request.read(), type=ReviewRequest)
        token = _read_bearer(request)
        self.reviewed.append((token, wanted))
        return self._tell(lambda: self.review(token, wanted))

    async def _start(self, request: web.Request) -> web.StreamResponse:
        self.bearers.append(_read_bearer(request))
        self.tenants.append(request.headers.get(TENANT, ""))
        self.request_ids.append(request.headers[REQUEST_ID])
        wanted = msgspec.json.decode(await request.read(), type=StartRequest)
        self.named.append(wanted.request)
        wanted = msgspec.structs.replace(wanted, request=None)
        self.started.append(wanted)
        if self.breaks:
            self.breaks -= 1
            assert request.transport is not None
            request.transport.abort()
        return self._tell(lambda: self.answer(wanted))

    async def _start_all(self, request: web.Request) -> web.StreamResponse:
        """Asks `answer` for each ordinal of the pipeline; a hidden one is refused as a whole."""
        self.bearers.append(_read_bearer(request))
        wanted = msgspec.json.decode(await request.read(), type=StartAllRequest)
        found = next((p for p in self.pipelines if p.name == wanted.pipeline), None)
        if found is None or self.answer is refuse_unknown:
            return self._tell(lambda: refuse_unknown(StartRequest(wanted.pipeline)))
        started, refused = [], []
        for ordinal in (o.ordinal for o in found.ordinals):
            call = StartRequest(ordinal=ordinal, **msgspec.structs.asdict(wanted))
            self.started.append(call)
            try:
                started.append(msgspec.structs.replace(self.answer(call), ordinal=ordinal))
            except SamplyOperatorError as error:
                refused.append(Refusal(ordinal, ErrorReply(error.code, error.message, error.remedy, error.details)))
        return web.Response(body=msgspec.json.encode(StartAllReply(tuple(started), tuple(refused))))

    async def _preflight(self, request: web.Request) -> web.StreamResponse:
        self.bearers.append(_read_bearer(request))
        wanted = msgspec.json.decode(await request.read(), type=StartRequest)
        self.judged.append(wanted)
        return self._tell(lambda: self.judge(wanted))

    async def _examine(self, request: web.Request) -> web.StreamResponse:
        self.bearers.append(_read_bearer(request))
        return self._tell(self.examine)

    async def _take_alerts(self, request: web.Request) -> web.StreamResponse:
        self.bearers.append(_read_bearer(request))
        wanted = msgspec.json.decode(await request.read(), type=AlertsRequest)
        self.alerts.append(wanted)
        return self._tell(lambda: self.take_alerts(wanted))

    async def _gather_support_bundle(self, request: web.Request) -> web.StreamResponse:
        self.exported.append(msgspec.json.decode(await request.read(), type=SupportBundleRequest))
        return self._tell(lambda: self.support_bundle)

    async def _act(self, request: web.Request) -> web.StreamResponse:
        verb, profile_id = request.match_info["verb"], msgspec.json.decode(await request.read(), type=ActRequest).id
        self.bearers.append(_read_bearer(request))
        self.acts.append((verb, profile_id))
        return self._tell(lambda: self.act(verb, profile_id))

    def _tell(self, work: Callable[[], msgspec.Struct]) -> web.StreamResponse:
        try:
            reply = work()
        except SamplyOperatorError as error:
            told = ErrorReply(error.code, error.message, error.remedy, error.details)
            return web.Response(status=400, body=msgspec.json.encode(told))
        return web.Response(body=msgspec.json.encode(reply))


def _read_bearer(request: web.Request) -> str:
    return request.headers.get("Authorization", "").removeprefix("Bearer ")
