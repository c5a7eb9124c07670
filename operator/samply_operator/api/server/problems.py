"""Errors as responses: HTTP status and headers of each class, and the format of every error body.

Other exceptions become `InternalError` without details; the log has the rest.
"""

from __future__ import annotations

import itertools
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping, MutableMapping

import msgspec
from aiohttp import hdrs, web

from samply_operator import errors, logs
from samply_operator.api.app_keys import BASE_PATH
from samply_operator.api.server import base_path
from samply_operator.api.server.measures import ROUTE, count_decision, find_way
from samply_operator.api.server.rate_limits import RATES
from samply_operator.control.messages import REQUEST_ID

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

RETRY = {"Retry-After": "5"}
NO_STORE = {"Cache-Control": "no-store"}
CHALLENGE = {"WWW-Authenticate": "Bearer"}

STATUS: Mapping[type[errors.SamplyOperatorError], int] = {
    errors.SamplyOperatorError: 500,
    errors.SettingsError: 500,
    errors.RequestError: 400,
    errors.InvalidParam: 400,
    errors.InvalidSpec: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.UnknownPipeline: 404,
    errors.UnknownProfile: 404,
    errors.AmbiguousPipeline: 400,
    errors.NoSamplyProfile: 400,
    errors.ProfilingInProgress: 409,
    errors.NotRecording: 409,
    errors.ProfilingNotEnabled: 400,
    errors.LinksNotEnabled: 400,
    errors.InvalidLink: 403,
    errors.RangeNotSatisfiable: 416,
    errors.TooManyRequests: 429,
    errors.ProfilingFailed: 500,
    errors.PipelineNotDeployed: 503,
    errors.PipelineUnreachable: 503,
    errors.AccessUndecided: 503,
    errors.OperatorUnavailable: 503,
    errors.StoreError: 500,
    errors.StoreFull: 507,
    errors.StoreUnavailable: 503,
    errors.StoreConflict: 503,
    errors.StoreFenced: 503,
    errors.CorruptManifest: 500,
    errors.ProfileError: 500,
    errors.KubeError: 500,
    errors.ObjectRefused: 422,
    errors.KubeNotFound: 500,
    errors.KubeConflict: 500,
    errors.KubeForbidden: 500,
    errors.KubeDenied: 500,
    errors.KubeInvalid: 500,
    errors.KubeUnavailable: 503,
    errors.ExecFailed: 503,
    errors.FelderaError: 500,
    errors.FelderaUnauthenticated: 500,
    errors.FelderaForbidden: 500,
    errors.FelderaNotFound: 500,
    errors.FelderaRejected: 500,
    errors.FelderaUnavailable: 503,
}
"""A class that is not listed uses its nearest base. Never 502: Feldera's SDK interprets that as an upgrade of the
platform, and a user's script would wait for minutes before it reports the error."""

HEADERS: Mapping[int, Mapping[str, str]] = {401: CHALLENGE, 429: RETRY, 503: RETRY}

CONTINUE = "100-continue"
INTERNAL = "Something went wrong in the service; its log has the request's id."

_encoder = msgspec.json.Encoder()
_GIVEN = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
"""Characters that can neither break a log line or a header nor fake a field."""
_boot = secrets.token_hex(4)
_count = itertools.count(1)


def find_status(kind: type[errors.SamplyOperatorError]) -> int:
    return next(STATUS[base] for base in kind.__mro__ if base in STATUS)


def build_response(
    status: int, code: str, message: str, details: Mapping[str, object], headers: Mapping[str, str] | None = None
) -> web.Response:
    """The body of every error: message, error_code, details (always an object)."""
    request_id = logs.request_id.get() or make_request_id()
    body = _encoder.encode(_render(code, message, {**details, "request_id": request_id}))
    all_headers = {REQUEST_ID: request_id, **NO_STORE, **HEADERS.get(status, {}), **(headers or {})}
    mark(all_headers)
    return web.Response(status=status, body=body, content_type="application/json", headers=all_headers)


def render_error(error: errors.SamplyOperatorError) -> dict[str, object]:
    """The same three fields, inside of another response."""
    return _render(error.code, str(error), error.details)


def _render(code: str, message: str, details: Mapping[str, object]) -> dict[str, object]:
    return {"message": message, "error_code": code, "details": dict(details)}


def build_problem(error: errors.SamplyOperatorError) -> web.Response:
    """The response for an error of this project. Its remedy is part of the message."""
    retry = error.details.get("retry_after_secs") if isinstance(error, errors.TooManyRequests) else None
    headers = None if retry is None else {"Retry-After": str(retry)}
    return build_response(find_status(type(error)), error.code, str(error), error.details, headers)


def build_internal() -> web.Response:
    return build_response(500, errors.SamplyOperatorError.code, INTERNAL, {})


def build_bad_http() -> web.Response:
    return build_response(400, "BadRequest", "The request is no valid HTTP.", {})


def make_request_id() -> str:
    """Practically unique in the cluster, and short in a log."""
    return f"{_boot}-{next(_count):x}"


def name_request(given: str | None = None) -> str:
    """The id of the request that begins, for logs and answers: the one that a proxy gave it, if that is well-formed."""
    chosen = given if given is not None and _GIVEN.fullmatch(given) else make_request_id()
    logs.request_id.set(chosen)
    return chosen


@web.middleware
async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Outermost: errors in the project's format. Others are passed to `listener.Connection.handle_error`."""
    name_request(request.headers.get(REQUEST_ID))
    app = request.app
    limits = app.get(RATES)
    base_path.current.set(app.get(BASE_PATH, ""))
    if resource := request.match_info.route.resource:
        request[ROUTE] = resource
    try:
        if limits is not None:
            limits.admit(request)
        response = await handler(request)
    except errors.SamplyOperatorError as error:
        if isinstance(error, errors.Forbidden):  # the operator decides about calls that change something
            count_decision(find_way(request), "forbidden")
        response = build_problem(error)
        if response.status == 500 and not isinstance(error, errors.ProfilingFailed):
            logger.error("a request failed: %s", error, exc_info=error)
    except web.HTTPException as error:
        response = _translate(request, error)
    if limits is not None and response.status == 401:
        limits.distrust(request)
    if not response.prepared:
        mark(response.headers)
    return response


def answer_first(handler: Serve) -> Serve:
    """Before aiohttp and its middlewares: what they would answer in a shape of their own, or not at all. An `Expect`
    that nobody can meet; and CONNECT, whose body would be taken for the next request."""

    def handle(request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        if hdrs.EXPECT in request.headers or request.method == hdrs.METH_CONNECT:
            return handle_special(request)
        return handler(request)  # without a stack frame of its own: a poll costs 70 µs in total

    async def handle_special(request: web.BaseRequest) -> web.StreamResponse:
        expected = request.headers.get(hdrs.EXPECT, CONTINUE)
        if expected.lower() != CONTINUE:
            name_request(request.headers.get(REQUEST_ID))
            return build_response(417, errors.RequestError.code, "No such expectation can be met here.", {})
        response = await handler(request)
        if request.method == hdrs.METH_CONNECT:
            response.force_close()
        return response

    return handle


def _translate(request: web.Request, error: web.HTTPException) -> web.Response:
    """aiohttp's own errors, in the project's format."""
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        message = f"{request.method[:32]} is not possible here, only {allowed}."
        return build_response(405, "MethodNotAllowed", message, {"allowed": allowed.split(", ")}, {"Allow": allowed})
    if error.status == 404:
        return build_response(404, "UnknownRoute", "There is nothing at this path.", {})
    return build_response(error.status, "BadRequest", error.reason, {})


def mark(headers: MutableMapping[str, str]) -> None:
    """Added to each response: an id to find it in the log, and no software versions."""
    headers.setdefault(REQUEST_ID, logs.request_id.get() or make_request_id())
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Server"] = "samply-operator"
