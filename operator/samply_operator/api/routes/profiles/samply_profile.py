"""GET, HEAD and POST /v0/pipelines/{pipeline_name}/samply_profile: the endpoint that Feldera's clients know."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Collection
from typing import Any, TypeVar

from aiohttp import web

from samply_operator import errors
from samply_operator.api import params
from samply_operator.api.app_keys import OPERATOR, SETTINGS
from samply_operator.api.auth import permissions
from samply_operator.api.content import files, representations
from samply_operator.api.routes.profiles import all_ordinals, formats, ranges, stale_index
from samply_operator.api.server.problems import NO_STORE
from samply_operator.api.state import STATE, View
from samply_operator.control.messages import StartAllRequest, StartReply, StartRequest
from samply_operator.model.manifest import Manifest
from samply_operator.rules.serving import serve, serve_all

PATH = "/v0/pipelines/{pipeline_name}/samply_profile"
LAST_FAILURE = "Samply-Last-Failure"
"""Header of a profile that is older than the last attempt, which failed: `<id>; reason=<Reason>`."""
SEEN_SECS = 1.0
"""How long a POST waits until a GET would see what it started."""

FORMAT_OF_ALL = {"parameter": "ordinal", "value": "all", "expected": "one ordinal, if a format is given"}

Result = TypeVar("Result")

routes = web.RouteTableDef()


@routes.get(PATH)
async def get(request: web.Request) -> web.StreamResponse:
    """The last profile of one ordinal, or why there is none; all of a range of time in one other format."""
    name = params.parse_pipeline(request.match_info)
    query = params.parse_profile_query(request.rel_url.raw_query_string)
    shape = params.parse_last_query(request.rel_url.raw_query_string)
    caller = await permissions.admit(request)

    def answer(view: View) -> Awaitable[web.StreamResponse]:
        if shape.wanted:
            return ranges.convert(request, view, caller, shape, shape.wanted, query.namespace)
        namespace = permissions.find_namespace(view, caller, name, query.namespace)
        return _answer(request, _decide(view, namespace or "", name, query), name, query, shape)

    return await stale_index.answer(request, answer)


async def _answer(
    request: web.Request,
    decision: serve_all.ServeAll | serve.Decision,
    name: str,
    query: params.ProfileQuery,
    shape: params.FormatQuery,
) -> web.StreamResponse:
    match decision:
        case serve.Serve(manifest, last_failure):
            if shape.format:
                return await formats.send(request, manifest, shape)
            return await _send(request, manifest, (last_failure,) if last_failure else ())
        case serve_all.ServeAll():
            if shape.format:
                raise errors.InvalidParam("Formats are of one ordinal, not of all.", details=FORMAT_OF_ALL)
            return await _send(request, decision, decision.last_failures)
        case serve.InProgress(_, retry_after_secs):
            return web.Response(status=204, headers={"Retry-After": str(retry_after_secs), **NO_STORE})
        case _:
            raise build_error(decision, name, query.ordinal)


def _decide(view: View, namespace: str, name: str, query: params.ProfileQuery) -> serve_all.ServeAll | serve.Decision:
    if query.ordinal == params.ALL:
        return all_ordinals.decide(view, namespace, name, latest=query.latest)
    return serve.decide(view.gather(namespace, name, query.ordinal), latest=query.latest, now=time.time())


@routes.post(PATH)
async def post(request: web.Request) -> web.StreamResponse:
    """Start a recording; answers when it runs or was refused."""
    name = params.parse_pipeline(request.match_info)
    query = params.parse_start_query(request.rel_url.raw_query_string)
    caller = await permissions.admit(request)
    namespace = find_start_namespace(request, caller, name, query.namespace)
    wait_secs = request.app[SETTINGS].api.start_wait_secs
    if query.ordinal == params.ALL:
        everything = StartAllRequest(
            name,
            query.duration_secs,
            namespace,
            wait_secs,
            rate_hz=query.rate_hz,
            mode=query.mode,
            attachments=query.attachments,
        )
        return await retry_with_stored(
            request, caller, name, query.namespace, all_ordinals.start(request, caller, everything)
        )
    wanted = StartRequest(
        name,
        query.ordinal,
        query.duration_secs,
        namespace,
        wait_secs,
        rate_hz=query.rate_hz,
        mode=query.mode,
        attachments=query.attachments,
    )
    reply = await retry_with_stored(request, caller, name, query.namespace, _start(request, caller, wanted))
    if reply.state == "Failed":
        raise all_ordinals.build_start_failure(reply, name)
    headers = {"Location": representations.build_href(name, reply.id), **NO_STORE}
    return web.Response(status=202, headers=headers)


async def _send(
    request: web.Request, found: Manifest | serve_all.ServeAll, last_failures: Collection[Manifest]
) -> web.StreamResponse:
    headers = {LAST_FAILURE: ", ".join(map(_describe_failure, last_failures))} if last_failures else {}
    if isinstance(found, Manifest):
        return await files.send_profile(request, found, cache=files.REVALIDATE, headers=headers)
    return await all_ordinals.send(request, found, headers)


def _describe_failure(attempt: Manifest) -> str:
    reason = attempt.failure.reason if attempt.failure else "Unknown"
    return f"{attempt.id}; reason={''.join(filter(str.isalnum, ascii(reason)))}"


def find_start_namespace(request: web.Request, caller: permissions.Caller, name: str, asked: str | None) -> str | None:
    """Only what is in the cluster can be started: stored profiles of the same name elsewhere don't count."""
    live = permissions.view_of(request).live
    found = serve.decide_namespace(live.find_namespaces(name) if live else (), readable=caller.readable, asked=asked)
    return asked if found is None else permissions.require_one(found, name)


async def retry_with_stored(
    request: web.Request, caller: permissions.Caller, name: str, asked: str | None, work: Awaitable[Result]
) -> Result:
    """A pipeline that the operator doesn't know, but readable profiles are stored of, isn't unknown: no pod runs."""
    try:
        return await work
    except errors.UnknownPipeline:
        stored = permissions.view_of(request).catalog.find_namespaces(name)
        if any(caller.may_read(namespace) and asked in (None, namespace) for namespace in stored):
            raise _build_not_deployed(name) from None
        raise


async def _start(request: web.Request, caller: permissions.Caller, wanted: StartRequest) -> StartReply:
    reply = await request.app[OPERATOR].start(caller.login, wanted)
    if reply.state != "Pending":  # otherwise it is queued: nothing to see yet
        state = request.app[STATE]
        await state.wait_for(lambda view: bool(view.find_recording(reply.id) or view.get(reply.id)), SEEN_SECS)
    return reply


def build_error(decision: serve.Decision, name: str, ordinal: params.Ordinal) -> errors.SamplyOperatorError:
    """The error for a decision other than Serve."""
    match decision:
        case serve.LastFailed(attempt, last_good):
            return _build_last_failed(attempt, last_good)
        case serve.NoneYet(running, retry_after_secs):
            return _build_none_yet(name, running, retry_after_secs)
        case serve.NoSuchOrdinal(ordinals):
            expected = f"one of {', '.join(map(str, ordinals))}"
            return errors.InvalidParam(
                f"Invalid parameter 'ordinal': expected {expected}, got '{ordinal}'",
                details={
                    "parameter": "ordinal",
                    "value": str(ordinal),
                    "expected": expected,
                    "ordinals": list(ordinals),
                },
            )
        case serve.NotDeployed(is_desired):
            return _build_not_deployed(name, is_desired=is_desired)
        case serve.Unknown():
            return params.build_unknown_pipeline(name)
        case _:
            return errors.OperatorUnavailable(
                f"The operator is away: what it knows of pipeline '{name}' can't be told now.",
                remedy="Try again in a few seconds; stored profiles are served without latest=true.",
                details={"pipeline_name": name},
            )


def _build_last_failed(attempt: Manifest, last_good: Manifest | None) -> errors.ProfilingFailed:
    failure = attempt.failure
    details: dict[str, Any] = {**representations.render_failure(attempt), "profile": attempt.id}
    if last_good:
        details["last_good"] = representations.render_reference(last_good)
    return errors.ProfilingFailed(
        failure.message if failure else "The last recording failed.",
        remedy=failure.remedy if failure else "",
        details=details,
    )


def _build_none_yet(name: str, running: serve.Running | None, retry_after_secs: int | None) -> errors.NoSamplyProfile:
    start = f"POST /v0/pipelines/{name}/samply_profile?duration_secs=30"
    if running is None:
        return errors.NoSamplyProfile(f"No samply profile exists for the pipeline, create one by calling `{start}`")
    return errors.NoSamplyProfile(
        f"No samply profile exists for the pipeline yet: the first one, from `{start}`, is in progress",
        details={"profile": running.id, "state": running.phase, "retry_after_secs": retry_after_secs},
    )


def _build_not_deployed(name: str, *, is_desired: bool = False) -> errors.PipelineNotDeployed:
    return errors.PipelineNotDeployed(
        f"Pipeline '{name}' is not deployed: no pod of it runs.",
        remedy="Start the pipeline and try again.",
        details={"pipeline_name": name, "status": "Stopped", "desired_status": "Running" if is_desired else "Stopped"},
    )
