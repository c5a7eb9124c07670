"""CORS: which pages of other origins may read responses. Never allows a browser's credentials (cookies).

A signed link can be used from any page, because the link itself is the permission. Everything else is limited to the
origins in the settings.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection

from aiohttp import hdrs, web

from samply_operator import errors
from samply_operator.api.app_keys import SETTINGS
from samply_operator.api.auth import signed_links
from samply_operator.api.server import problems

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

ANY = "*"
EXPOSED = ", ".join((
    hdrs.CONTENT_DISPOSITION, hdrs.RETRY_AFTER, hdrs.CONTENT_LENGTH, hdrs.ETAG, hdrs.LAST_MODIFIED, hdrs.ACCEPT_RANGES,
    hdrs.CONTENT_RANGE, hdrs.LOCATION, "X-Request-Id", "Samply-Last-Failure", "Samply-Missing-Ordinals",
))  # fmt: skip
METHODS = "GET, HEAD, POST, PUT, DELETE"
HEADERS = ", ".join((
    hdrs.AUTHORIZATION, hdrs.CONTENT_TYPE, hdrs.RANGE, hdrs.IF_RANGE, hdrs.IF_MATCH, hdrs.IF_NONE_MATCH,
    "Feldera-Tenant", "X-Request-Id",
))  # fmt: skip
SITE = "Sec-Fetch-Site"
"""Set by the browser; no page can change it."""
READING = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
MAX_AGE_SECS = 600
"""How long a browser may cache the answer to a preflight request."""


@web.middleware
def check_origin(request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
    """Answers a browser's preflight request, which has no token, before authentication. Refuses requests that change
    something and that a page of another site caused: a proxy adds credentials to these too."""
    # Returns the handler's own coroutine if there is nothing to do: each request passes here.
    if request.method in READING:
        return handler(request)
    if request.method == hdrs.METH_OPTIONS:
        is_asked = hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        return _answer_preflight(request, handler) if is_asked else handler(request)
    asked_from = request.headers.get(SITE, "none")
    if asked_from in {"same-origin", "none"} or _is_listed(request):
        return handler(request)
    raise errors.Forbidden(
        "Pages of other sites may not change anything here.",
        remedy="List the page's origin in config.api.cors.allowOrigins.",
        details={"site": asked_from},
    )


async def _answer_preflight(request: web.Request, handler: Handler) -> web.StreamResponse:
    if find_allowed(request, find_origins(request)) is None:
        return await handler(request)
    headers: dict[str, str] = {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS,
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: HEADERS,
        hdrs.ACCESS_CONTROL_MAX_AGE: str(MAX_AGE_SECS),
        **problems.NO_STORE,
    }
    return web.Response(status=204, headers=headers)


def _is_listed(request: web.Request) -> bool:
    origins = find_origins(request)
    return ANY in origins or request.headers.get(hdrs.ORIGIN) in origins


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Added to each response, including errors: otherwise the page would see a network error."""
    origins = find_origins(request)
    if not origins and hdrs.ORIGIN not in request.headers:
        return
    allowed = find_allowed(request, origins)
    if allowed is not None:
        response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = allowed
        response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED
    if is_by_origin(request, origins):
        varied = response.headers.get(hdrs.VARY)
        response.headers[hdrs.VARY] = f"{varied}, {hdrs.ORIGIN}" if varied else hdrs.ORIGIN


def find_origins(request: web.Request) -> Collection[str]:
    """The allowed origins."""
    return request.app[SETTINGS].api.cors.allow_origins


def find_allowed(request: web.Request, origins: Collection[str]) -> str | None:
    """The value of Access-Control-Allow-Origin; None: no header."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        return None
    if ANY in origins or signed_links.is_used(request):
        return ANY
    return origin if origin in origins else None


def is_by_origin(request: web.Request, origins: Collection[str]) -> bool:
    """Whether the response depends on the origin, which caches must know even without an Origin header."""
    return bool(origins) and ANY not in origins and not signed_links.is_used(request)
