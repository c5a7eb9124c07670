"""The operator's side of the unix socket: its state as a stream, and calls that change something.

Only the `api` container of the same pod can open the socket: its volume is mounted nowhere else. It faces the network,
so its claims about callers are not trusted: each call that changes something is authorized here, from the bearer token.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from samply_operator import logs
from samply_operator.control import audit, metrics, snapshots
from samply_operator.control.auth.authorizer import Authorizer
from samply_operator.control.auth.credentials import CredentialSource
from samply_operator.control.calls import Call, build_answer, build_error, describe_error, parse_call, read_login
from samply_operator.control.leadership import Leadership
from samply_operator.control.messages import (
    GIVE_UP_AT,
    REQUEST_ID,
    ActReply,
    ActRequest,
    AlertsReply,
    AlertsRequest,
    ExamineRequest,
    LeaderState,
    PreflightReply,
    Refusal,
    ReviewReply,
    ReviewRequest,
    StartAllReply,
    StartAllRequest,
    StartReply,
    StartRequest,
    SupportBundleReply,
    SupportBundleRequest,
)
from samply_operator.errors import (
    Forbidden,
    OperatorUnavailable,
    ProfilingInProgress,
    RequestError,
    SamplyOperatorError,
    Unauthenticated,
)
from samply_operator.feldera.client import Login
from samply_operator.model.check import Check, Report
from samply_operator.model.pipeline import Pipeline
from samply_operator.model.profile import Failure, Spec
from samply_operator.recorder.calls import support_bundle
from samply_operator.recorder.calls.actions import Acts
from samply_operator.recorder.calls.requests import Requests, build_unknown_pipeline
from samply_operator.recorder.engine import Engine
from samply_operator.rules.access import permissions
from samply_operator.rules.access.permissions import NOBODY, Decision, Who
from samply_operator.rules.installation import checks
from samply_operator.settings import Verb
from samply_operator.triggers.alerts import Alerts

logger = logging.getLogger(__name__)

BEAT_SECS = 4.0
"""Something goes out at least this often, so that silence means that the operator is away."""
UPDATES_PER_SEC = 4
"""What changes faster goes out together."""
MAX_BODY_BYTES = 768 * 1024

Handler = Callable[[web.Request], Awaitable[web.Response]]


Examiner = Callable[[], Awaitable[tuple[Check, ...]]]


async def _examine_nothing() -> tuple[Check, ...]:
    return ()


@dataclass(slots=True)
class Note:
    """What is known for the audit log so far."""

    namespace: str
    who: Who = NOBODY


class ControlServer:
    def __init__(
        self,
        engine: Engine,
        requests: Requests,
        socket_path: str,
        source: CredentialSource,
        authorizer: Authorizer,
        *,
        namespaces: tuple[str, ...] = (),
        examiner: Examiner = _examine_nothing,
        leadership: Leadership | None = None,
        alerts: Alerts,
    ) -> None:
        """`namespaces` are those that are watched, none: all of them; `examiner` checks the installation; `leadership`
        None: this process is the only one."""
        self._alerts = alerts
        self._namespaces = namespaces
        self._examiner = examiner
        self._leadership = leadership
        self._engine = engine
        self._source = source
        self._authorizer = authorizer
        self._requests = requests
        self._acts = Acts(engine)
        self._path = Path(socket_path)
        self._streams: set[asyncio.Task[Any]] = set()
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.on_shutdown.append(self._end_streams)
        app.router.add_get("/v1/metrics", self._tell_metrics)
        app.router.add_get("/v1/watch", self._watch)
        app.router.add_get("/v1/credentials", self._watch_credentials)
        app.router.add_get("/v1/leader", self._watch_leader)
        app.router.add_post("/v1/review", self._answer(ReviewRequest, self._review))
        app.router.add_post("/v1/start", self._answer(StartRequest, self._start))
        app.router.add_post("/v1/start-all", self._answer(StartAllRequest, self._start_all))
        app.router.add_post("/v1/preflight", self._answer(StartRequest, self._preflight))
        app.router.add_post("/v1/support-bundle", self._answer(SupportBundleRequest, self._gather_support_bundle))
        app.router.add_post("/v1/alerts", self._answer(AlertsRequest, self._take_alerts))
        app.router.add_post("/v1/doctor", self._answer(ExamineRequest, self._examine))
        app.router.add_post("/v1/stop", self._answer(ActRequest, self._stop))
        app.router.add_post("/v1/delete", self._answer(ActRequest, self._delete))
        app.router.add_post("/v1/pin", self._answer(ActRequest, self._pin))
        app.router.add_post("/v1/unpin", self._answer(ActRequest, self._unpin))
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

    async def _end_streams(self, app: web.Application) -> None:
        """They have no end of their own, which the end of the process would wait for."""
        for task in self._streams:
            task.cancel()

    async def _watch_leader(self, request: web.Request) -> web.StreamResponse:
        response = await self._open_stream(request)
        while True:
            await _write(response, self._leadership.state if self._leadership else LeaderState())
            if self._leadership:
                await self._leadership.wait(BEAT_SECS)
            else:
                await asyncio.sleep(BEAT_SECS)

    def _check_leads(self) -> None:
        """Raises OperatorUnavailable: whoever stands by acts for nobody."""
        if self._leadership is not None and not self._leadership.state.leads:
            raise OperatorUnavailable("This pod stands by: another one leads, or is about to.")

    async def _open_stream(self, request: web.Request) -> web.StreamResponse:
        task = asyncio.current_task()
        if task is not None:
            self._streams.add(task)
            task.add_done_callback(self._streams.discard)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        return response

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response, changes = await self._open_stream(request), self._engine.changes
        sent: deque[float] = deque(maxlen=UPDATES_PER_SEC)
        with changes.feed() as feed:
            count, generation = changes.count, changes.store_generation
            await _write(response, snapshots.build_snapshot(self._engine))
            while True:
                await changes.wait(count, BEAT_SECS)
                await self._await_turn(sent, generation)
                count, generation = changes.count, changes.store_generation
                await _write(response, snapshots.build_update(self._engine, feed))

    async def _await_turn(self, sent: deque[float], generation: int) -> None:
        """Until another update may be sent; stored and removed profiles are sent at once, so that readers of an ended
        object find its file."""
        loop, changes = asyncio.get_running_loop(), self._engine.changes
        while len(sent) == sent.maxlen and (left := sent[0] + 1 - loop.time()) > 0:
            if changes.store_generation != generation:
                break
            await changes.wait(changes.count, left)
        sent.append(loop.time())

    async def _watch_credentials(self, request: web.Request) -> web.StreamResponse:
        response, changes = await self._open_stream(request), self._source.changes
        while True:
            # The count is taken before the picture: what changes in between makes another picture.
            count = changes.count
            await _write(response, self._source.current)
            await changes.wait(count, BEAT_SECS)

    async def _tell_metrics(self, request: web.Request) -> web.Response:
        waiting = sum(snapshots.is_waiting(profile, self._engine) for profile in self._engine.world.unended.values())
        store = self._engine.context.volume
        free_bytes, backlog = await asyncio.to_thread(lambda: (store.free_bytes(), store.measure_backlog()))
        return web.Response(body=metrics.render(self._engine, waiting, free_bytes, backlog), content_type="text/plain")

    def _answer(self, kind: type[Call], work: Callable[[Login, Call], Awaitable[msgspec.Struct]]) -> Handler:
        """A route: read the call, do it, return the outcome."""

        async def handle(request: web.Request) -> web.Response:
            logs.request_id.set(request.headers.get(REQUEST_ID, "")[: logs.MAX_ID])
            try:
                call = parse_call(await request.read(), kind)
                self._check_time(request)
                if kind is not ReviewRequest:
                    self._check_leads()
                answer = build_answer(200, await work(read_login(request), call))
                logger.info("%s: done", request.path)
            except SamplyOperatorError as error:
                logger.info("%s: %s: %s", request.path, error.code, error.message)
                answer = build_error(error)
            return answer

        return handle

    async def _review(self, login: Login, call: ReviewRequest) -> ReviewReply:
        who = await self._authorizer.identify(login, call.verbs, call.namespaces)
        allowed = {verb: tuple(n for n in call.namespaces if who.may(verb, n)) for verb in call.verbs}
        return ReviewReply(who.subject, allowed)

    async def _start_all(self, login: Login, call: StartAllRequest) -> StartAllReply:
        """At the same time, and as one request."""
        who, pipeline = await self._admit_start(login, call.pipeline, call.namespace)
        ordinals = sorted({*pipeline.ordinals, *pipeline.pods}) or [0]
        request = call.request or uuid.uuid4()
        wanted = [
            StartRequest(
                pipeline.name,
                ordinal,
                call.duration_secs,
                pipeline.namespace,
                call.wait_secs,
                request,
                call.rate_hz,
                call.mode,
                call.attachments,
            )
            for ordinal in ordinals
        ]
        answers = await asyncio.gather(*(self._try_start(who, pipeline, each) for each in wanted))
        return StartAllReply(
            started=tuple(answer for answer in answers if isinstance(answer, StartReply)),
            refused=tuple(answer for answer in answers if isinstance(answer, Refusal)),
        )

    async def _admit_start(self, login: Login, name: str, namespace: str | None) -> tuple[Who, Pipeline]:
        """Who calls, and which pipeline they mean. Raises Unauthenticated, UnknownPipeline, Forbidden, …"""
        candidates = self._requests.list_namespaces(name, namespace)
        with self._audit("create", pipeline=name, namespace=namespace or "") as note:
            note.who = await self._authorizer.identify(login, ("get", "create"), candidates, pipeline=name)
            if note.who.visible is None:
                pipeline = self._requests.find_pipeline(name, namespace, readable=note.who.readable)
            else:
                pipeline = self._requests.find_visible(name, namespace, note.who.visible)
                note.who = permissions.limit_namespaces(note.who, {pipeline.namespace})
            note.namespace = pipeline.namespace
            permissions.check(note.who, "create", pipeline.namespace)
        return note.who, pipeline

    async def _try_start(self, who: Who, pipeline: Pipeline, call: StartRequest) -> StartReply | Refusal:
        try:
            return await self._begin(who, pipeline, call)
        except SamplyOperatorError as error:
            return Refusal(call.ordinal, describe_error(error))

    async def _start(self, login: Login, call: StartRequest) -> StartReply:
        who, pipeline = await self._admit_start(login, call.pipeline, call.namespace)
        return await self._begin(who, pipeline, call)

    async def _begin(self, who: Who, pipeline: Pipeline, call: StartRequest) -> StartReply:
        started = await self._requests.start(
            pipeline, _build_spec(pipeline, call), call.wait_secs, who.describe(), request=call.request
        )
        self._check_free(started.failure, started.namespace, call)
        reply = snapshots.describe_started(started, self._engine.context.now())
        return msgspec.structs.replace(reply, ordinal=call.ordinal)

    async def _preflight(self, login: Login, call: StartRequest) -> PreflightReply:
        who, pipeline = await self._admit_start(login, call.pipeline, call.namespace)
        spec = _build_spec(pipeline, call, preflight_only=True)
        profile = await self._requests.preflight(pipeline, spec, call.wait_secs, who.describe())
        reply = snapshots.describe_preflight(profile)
        self._check_free(reply.failure, profile.namespace, call)
        return reply

    def _check_free(self, failure: Failure | None, namespace: str, call: StartRequest) -> None:
        """Refused because another recording runs: the caller gets its id and remaining time."""
        if failure is None or failure.reason != "AlreadyRecording":
            return
        run = self._engine.runs.find(namespace, call.pipeline, call.ordinal)
        raise ProfilingInProgress(
            failure.message,
            remedy=failure.remedy,
            details=self._engine.describe_run(run) if run else {"profile": None, "retry_after_secs": 1},
        )

    async def _gather_support_bundle(self, login: Login, call: SupportBundleRequest) -> SupportBundleReply:
        with self._audit("get", pipeline=call.pipeline, namespace=call.namespace) as note:
            note.who = await self._authorizer.identify(login, ("get",), [call.namespace], pipeline=call.pipeline)
            if note.who.visible is not None:
                pipeline = self._requests.find_visible(call.pipeline, call.namespace, note.who.visible)
                call = msgspec.structs.replace(call, pipeline=pipeline.name)
                note.who = permissions.limit_namespaces(note.who, {pipeline.namespace})
            if not note.who.may("get", call.namespace):
                raise build_unknown_pipeline(call.pipeline)
        found = await support_bundle.gather(self._engine, call.namespace, call.pipeline)
        return SupportBundleReply(found.objects, found.pods, found.events, found.missing)

    async def _examine(self, login: Login, call: ExamineRequest) -> Report:
        """For callers who may read everything that is watched: the checks contain names of all objects."""
        places = self._namespaces or ("",)
        with self._audit("get", namespace="") as note:
            note.who = await self._authorizer.identify(login, ("get",), places)
            for place in places:
                if not note.who.may("get", place):
                    raise Forbidden(
                        "The checks need permission to read profiles in every watched namespace.",
                        remedy=f"It needs `get` on samplyprofiles in {place or 'all namespaces'}.",
                        details={"verb": "get", "namespace": place},
                    )
        return checks.build_report(await self._examiner())

    async def _take_alerts(self, login: Login, call: AlertsRequest) -> AlertsReply:
        """In all namespaces where the sender may start recordings. Raises Forbidden if there is none."""
        candidates = self._alerts.list_namespaces()
        with self._audit("create", namespace="") as note:
            note.who = who = await self._authorizer.identify(login, ("get", "create"), candidates)
            if candidates and not any(who.may("create", namespace) for namespace in candidates):
                raise Forbidden(
                    "You are not allowed to start recordings in any namespace with SamplyTriggers for alerts.",
                    remedy="This needs the verbs `get` and `create` on samplyprofiles there.",
                    details={"verb": "create", "namespace": ""},
                )
        return AlertsReply(await self._alerts.take(call.alerts, lambda namespace: who.may("create", namespace)))

    async def _stop(self, login: Login, call: ActRequest) -> ActReply:
        await self._admit_act(login, "create", call.id)
        await self._acts.stop(call.id)
        return ActReply(call.id, "Stopping")

    async def _delete(self, login: Login, call: ActRequest) -> ActReply:
        await self._admit_act(login, "delete", call.id)
        return ActReply(call.id, await self._acts.delete(call.id))

    async def _pin(self, login: Login, call: ActRequest) -> ActReply:
        who = await self._admit_act(login, "create", call.id)
        await self._acts.pin(call.id, who.describe())
        return ActReply(call.id, "Pinned")

    async def _unpin(self, login: Login, call: ActRequest) -> ActReply:
        """Retention may remove it from now on."""
        await self._admit_act(login, "delete", call.id)
        await self._acts.pin(call.id, None)
        return ActReply(call.id, "Unpinned")

    async def _admit_act(self, login: Login, verb: Verb, profile_id: str) -> Who:
        """Raises Unauthenticated, UnknownProfile, Forbidden, …"""
        namespace = await self._acts.find_namespace(profile_id)
        with self._audit(verb, profile=profile_id, namespace=namespace or "") as note:
            note.who = await self._authorizer.identify(login, ("get", verb), [namespace] if namespace else ())
            if note.who.visible is not None and namespace is not None:
                is_theirs = await self._acts.find_pipeline_id(profile_id) in note.who.visible
                note.who = permissions.limit_namespaces(note.who, {namespace} if is_theirs else ())
            if namespace is None or not note.who.may("get", namespace):
                raise self._acts.build_unknown(profile_id)
            permissions.check(note.who, verb, namespace)
        return note.who

    @contextlib.contextmanager
    def _audit(self, verb: Verb, *, namespace: str, pipeline: str = "", profile: str = "") -> Iterator[Note]:
        """One line, whatever was decided inside."""
        note = Note(namespace=namespace)
        decision: Decision = "Allow"
        try:
            yield note
        except Unauthenticated:
            decision = "Unauthenticated"
            raise
        except Forbidden:
            decision = "Forbid"
            raise
        except RequestError:
            decision = "Hide"
            raise
        except SamplyOperatorError:
            decision = "Undecided"
            raise
        finally:
            audit.write(decision, verb, who=note.who, pipeline=pipeline, namespace=note.namespace, profile=profile)

    def _check_time(self, request: web.Request) -> None:
        """Starts nothing for a caller who already got an error."""
        if self._engine.context.now() >= float(request.headers.get(GIVE_UP_AT, "inf")):
            raise OperatorUnavailable("The caller has given up.")


def _build_spec(pipeline: Pipeline, call: StartRequest, *, preflight_only: bool = False) -> Spec:
    return Spec(
        pipeline=pipeline.name,
        ordinal=call.ordinal,
        duration_secs=call.duration_secs,
        rate_hz=call.rate_hz,
        mode=call.mode,
        preflight_only=preflight_only,
        attachments=call.attachments,
    )


async def _write(response: web.StreamResponse, message: msgspec.Struct) -> None:
    await response.write(msgspec.json.encode(message) + b"\n")
