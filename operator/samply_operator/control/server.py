"""The operator's side of the unix socket: its state as a stream, and the calls that act.

Whoever can open the socket is the `api` container of the same pod: the volume it lies on is mounted nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from aiohttp import web

from samply_operator import logs
from samply_operator.control import metrics
from samply_operator.control.credentials import CredentialSource
from samply_operator.control.messages import (
    GIVE_UP_AT,
    REQUEST_ID,
    ActReply,
    ActRequest,
    ErrorReply,
    EvidenceReply,
    EvidenceRequest,
    OrdinalState,
    PipelineState,
    PreflightReply,
    RecordingState,
    Refusal,
    Snapshot,
    StartAllReply,
    StartAllRequest,
    StartReply,
    StartRequest,
)
from samply_operator.errors import (
    InvalidParam,
    OperatorUnavailable,
    ProfilingInProgress,
    RequestError,
    SamplyOperatorError,
)
from samply_operator.model.pipeline import Pipeline
from samply_operator.model.profile import Failure, SamplyProfile
from samply_operator.recorder import evidence
from samply_operator.recorder.acts import Acts
from samply_operator.recorder.changes import Changes
from samply_operator.recorder.engine import Engine
from samply_operator.recorder.requests import Requests, Started, read_failure
from samply_operator.recorder.run import Run
from samply_operator.rules import times
from samply_operator.rules.preflight import Finding

logger = logging.getLogger(__name__)

BEAT_SECS = 4.0
"""A snapshot goes out at least this often, so that silence means that the operator is away."""
MAX_BODY_BYTES = 64 * 1024

Call = TypeVar("Call")
Handler = Callable[[web.Request], Awaitable[web.Response]]


def describe_pipeline(pipeline: Pipeline) -> PipelineState:
    ordinals = sorted({*pipeline.ordinals, *pipeline.pods})
    return PipelineState(
        namespace=pipeline.namespace,
        name=pipeline.name,
        ordinals=tuple(
            OrdinalState(
                ordinal=ordinal,
                pod=pod.name if (pod := pipeline.pods.get(ordinal)) else "",
                is_running=bool(pod and pod.is_running),
                is_desired=ordinal in pipeline.ordinals,
            )
            for ordinal in ordinals
        ),
    )


def describe_run(run: Run) -> RecordingState:
    entry = run.entry
    return RecordingState(
        id=entry.id,
        namespace=entry.namespace,
        name=entry.name,
        pipeline=entry.pipeline,
        ordinal=entry.ordinal,
        phase=run.phase,
        requested_at=entry.requested_at,
        preflight_only=entry.preflight_only,
        ends_at=times.parse_time(entry.ends_at) if entry.ends_at else None,
        duration_secs=entry.duration_secs,
    )


def is_waiting(profile: SamplyProfile, engine: Engine) -> bool:
    """Asked for and not yet admitted."""
    return profile.phase in {None, "Pending"} and profile.uid not in engine.runs and not profile.is_deleted


def describe_waiting(profile: SamplyProfile) -> RecordingState:
    return RecordingState(
        id=profile.uid,
        namespace=profile.namespace,
        name=profile.name,
        pipeline=profile.spec.pipeline,
        ordinal=profile.spec.ordinal,
        phase="Pending",
        requested_at=profile.created_at,
        preflight_only=profile.spec.preflight_only,
        duration_secs=profile.spec.duration_secs or 0,
    )


def build_snapshot(engine: Engine) -> Snapshot:
    return Snapshot(
        pipelines=tuple(map(describe_pipeline, engine.world.pipelines.values())),
        recordings=(
            *(describe_run(run) for run in engine.runs.values() if not run.entry.outcome),
            *(describe_waiting(p) for p in engine.world.profiles.values() if is_waiting(p, engine)),
        ),
        store_generation=engine.store_generation,
        sent_at=engine.context.now(),
        is_synced=engine.world.is_synced,
        enabled=engine.context.settings.recording.enabled,
    )


def describe_started(started: Started, now: float) -> StartReply:
    run = started.run
    left = times.parse_time(run.entry.ends_at) - now if run and run.entry.ends_at else 1.0
    reply = StartReply(
        id=started.id,
        namespace=started.namespace,
        name=started.name,
        state="Pending",
        retry_after_secs=max(1, int(left + 0.999)),
        failure=started.failure,
    )
    if started.failure is not None:
        return msgspec.structs.replace(reply, state="Failed")
    if run is not None and run.entry.started_at:
        return msgspec.structs.replace(reply, state="Recording")
    return reply


def describe_preflight(profile: SamplyProfile) -> PreflightReply:
    """Of a preflight that ended, as its object tells it."""
    raw = profile.raw.get("status") or {}
    target, found = raw.get("target") or {}, raw.get("preflight") or {}
    failure = read_failure(raw)
    return PreflightReply(
        id=profile.uid,
        namespace=profile.namespace,
        name=profile.name,
        ordinal=profile.spec.ordinal,
        verdict="Refuse" if failure else "GoWithWarning" if found.get("findings") else "Go",
        pod=str(target.get("pod", "")),
        container=str(target.get("container", "")),
        mode=str(target.get("mode", "")),
        findings=tuple(msgspec.convert(found.get("findings") or [], list[Finding])),
        failure=failure,
    )


class ControlServer:
    def __init__(self, engine: Engine, requests: Requests, socket_path: str, source: CredentialSource) -> None:
        self._engine = engine
        self._source = source
        self._requests = requests
        self._acts = Acts(engine)
        self._path = Path(socket_path)
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_get("/v1/metrics", self._tell_metrics)
        app.router.add_get("/v1/watch", self._watch)
        app.router.add_get("/v1/credentials", self._watch_credentials)
        app.router.add_post("/v1/start", self._answer(StartRequest, self._start))
        app.router.add_post("/v1/start-all", self._answer(StartAllRequest, self._start_all))
        app.router.add_post("/v1/preflight", self._answer(StartRequest, self._preflight))
        app.router.add_post("/v1/evidence", self._answer(EvidenceRequest, self._gather_evidence))
        app.router.add_post("/v1/stop", self._answer(ActRequest, self._stop))
        app.router.add_post("/v1/delete", self._answer(ActRequest, self._delete))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)

    async def start(self) -> None:
        """Listen; a socket that a killed process left is replaced."""
        self._path.unlink(missing_ok=True)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._path)).start()
        self._path.chmod(0o660)

    async def close(self) -> None:
        await self._runner.cleanup()
        self._path.unlink(missing_ok=True)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        return await _stream(request, self._engine.changes, lambda: build_snapshot(self._engine))

    async def _watch_credentials(self, request: web.Request) -> web.StreamResponse:
        return await _stream(request, self._source.changes, lambda: self._source.current)

    async def _tell_metrics(self, request: web.Request) -> web.Response:
        waiting = sum(is_waiting(profile, self._engine) for profile in self._engine.world.profiles.values())
        return web.Response(body=metrics.render(self._engine, waiting), content_type="text/plain")

    def _answer(self, kind: type[Call], work: Callable[[Call], Awaitable[msgspec.Struct]]) -> Handler:
        """A route: read the call, do it, tell its outcome."""

        async def handle(request: web.Request) -> web.Response:
            logs.request_id.set(request.headers.get(REQUEST_ID, "")[: logs.MAX_ID])
            try:
                call = parse_call(await request.read(), kind)
                self._check_time(request)
                answer = _build_answer(200, await work(call))
                logger.info("%s: done", request.path)
            except SamplyOperatorError as error:
                logger.info("%s: %s: %s", request.path, error.code, error.message)
                answer = build_error(error)
            return answer

        return handle

    async def _start_all(self, call: StartAllRequest) -> StartAllReply:
        """At the same time, and as one request."""
        pipeline = self._requests.find_pipeline(call.pipeline, call.namespace)
        ordinals = sorted({*pipeline.ordinals, *pipeline.pods}) or [0]
        request = str(uuid.uuid4())
        wanted = [
            StartRequest(pipeline.name, ordinal, call.duration_secs, pipeline.namespace, call.wait_secs)
            for ordinal in ordinals
        ]
        answers = await asyncio.gather(*(self._try_start(each, request) for each in wanted))
        return StartAllReply(
            started=tuple(answer for answer in answers if isinstance(answer, StartReply)),
            refused=tuple(answer for answer in answers if isinstance(answer, Refusal)),
        )

    async def _try_start(self, call: StartRequest, request: str) -> StartReply | Refusal:
        try:
            return await self._start(call, request)
        except SamplyOperatorError as error:
            return Refusal(call.ordinal, describe_error(error))

    async def _start(self, call: StartRequest, request: str | None = None) -> StartReply:
        started = await self._requests.start(
            call.pipeline, call.ordinal, call.duration_secs, call.namespace, call.wait_secs, request=request
        )
        self._check_free(started.failure, started.namespace, call)
        reply = describe_started(started, self._engine.context.now())
        return msgspec.structs.replace(reply, ordinal=call.ordinal)

    async def _preflight(self, call: StartRequest) -> PreflightReply:
        profile = await self._requests.preflight(
            call.pipeline, call.ordinal, call.duration_secs, call.namespace, call.wait_secs
        )
        reply = describe_preflight(profile)
        self._check_free(reply.failure, profile.namespace, call)
        return reply

    def _check_free(self, failure: Failure | None, namespace: str, call: StartRequest) -> None:
        """Refused because another one records: the caller is told which and how long."""
        if failure is None or failure.reason != "AlreadyRecording":
            return
        run = self._engine.find_run(namespace, call.pipeline, call.ordinal)
        raise ProfilingInProgress(
            failure.message,
            remedy=failure.remedy,
            details=self._engine.describe_run(run) if run else {"profile": None, "retry_after_secs": 1},
        )

    async def _gather_evidence(self, call: EvidenceRequest) -> EvidenceReply:
        found = await evidence.gather(self._engine, call.namespace, call.pipeline)
        return EvidenceReply(found.objects, found.pods, found.events, found.missing)

    async def _stop(self, call: ActRequest) -> ActReply:
        await self._acts.stop(call.id)
        return ActReply(call.id, "Stopping")

    async def _delete(self, call: ActRequest) -> ActReply:
        return ActReply(call.id, await self._acts.delete(call.id))

    def _check_time(self, request: web.Request) -> None:
        """Nothing begins for a caller who was told already that it didn't."""
        if self._engine.context.now() >= float(request.headers.get(GIVE_UP_AT, "inf")):
            raise OperatorUnavailable("The caller has given up.")


async def _stream(request: web.Request, changes: Changes, build: Callable[[], msgspec.Struct]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    while True:
        # The count is taken before the picture: what changes in between makes another picture.
        count = changes.count
        await response.write(msgspec.json.encode(build()) + b"\n")
        await changes.wait(count, BEAT_SECS)


def parse_call(body: bytes, kind: type[Call]) -> Call:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InvalidParam(f"The call can't be read: {error}.") from error


def build_error(error: SamplyOperatorError) -> web.Response:
    status = 503 if error.is_transient else 400 if isinstance(error, RequestError) else 500
    return _build_answer(status, describe_error(error))


def describe_error(error: SamplyOperatorError) -> ErrorReply:
    return ErrorReply(error_code=error.code, message=error.message, remedy=error.remedy, details=error.details)


def _build_answer(status: int, message: msgspec.Struct) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(message), content_type="application/json")
