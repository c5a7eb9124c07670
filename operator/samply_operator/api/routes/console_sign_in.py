"""/console/auth/…: signing in at an identity provider, in two steps.

`login` sends the browser to the provider, which sends it back to /console/auth/callback, a page of the console. That
shows `token` the code, and gets what the API is to be shown.
"""

from __future__ import annotations

import hmac

import msgspec
from aiohttp import hdrs, web

from samply_operator import errors
from samply_operator.api.app_keys import SETTINGS
from samply_operator.api.auth.sign_in import SIGN_IN, Attempt
from samply_operator.api.content import representations
from samply_operator.api.server import base_path
from samply_operator.api.server.problems import NO_STORE
from samply_operator.rules.access import links

COOKIE = "samply-console-sign-in"
COOKIE_SECS = 600

routes = web.RouteTableDef()


class Answer(msgspec.Struct, frozen=True):
    """Parameters of the provider's callback."""

    code: str
    state: str


@routes.get("/console/auth/login")
async def login(request: web.Request) -> web.StreamResponse:
    """To the provider."""
    attempt, redirect = Attempt.begin(), _find_redirect(request)
    address = await request.app[SIGN_IN].build_address(attempt, redirect)
    response = web.Response(status=302, headers={hdrs.LOCATION: address, **NO_STORE})
    response.set_cookie(
        COOKIE,
        attempt.render(),
        max_age=COOKIE_SECS,
        path=f"{base_path.current.get()}/console/auth",
        httponly=True,
        samesite="Lax",
        secure=redirect.startswith("https:"),
    )
    return response


@routes.post("/console/auth/token")
async def exchange(request: web.Request) -> web.StreamResponse:
    """The token for an authorization code, returned to the browser that requested it."""
    try:
        answer = msgspec.json.decode(await request.read(), type=Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise errors.RequestError("The body has to be JSON with code and state.") from error
    attempt = Attempt.parse(request.cookies.get(COOKIE, ""))
    if attempt is None or not hmac.compare_digest(attempt.state.encode(), answer.state.encode()):
        raise errors.RequestError("This browser began no such sign-in, or too long ago.", remedy="Sign in again.")
    token = await request.app[SIGN_IN].exchange(attempt, answer.code, _find_redirect(request))
    response = representations.build_json({"token": token})
    response.del_cookie(COOKIE, path=f"{base_path.current.get()}/console/auth")
    return response


def _find_redirect(request: web.Request) -> str:
    """The redirect URI, as registered at the provider."""
    origin = request.app[SETTINGS].api.links.public_url.rstrip("/") or links.build_origin(request.scheme, request.host)
    if origin is None:
        raise errors.RequestError("The Host header is no name or address.", remedy="Or set config.api.links.publicUrl.")
    return f"{origin}{base_path.current.get()}/console/auth/callback"
