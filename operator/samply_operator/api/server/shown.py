"""The credentials of a request: in `Authorization`, or in the header in which an authenticating proxy passes its user's
token.

Tokens there are checked like any other: the sender of the header is not trusted.
"""

from __future__ import annotations

from aiohttp import hdrs, web

TOKEN_HEADER = web.AppKey("token_header", str)
"""That of the settings, or empty. Not used on the port of metrics and probes."""


def list_shown(request: web.Request) -> list[str]:
    """As values of `Authorization`."""
    shown: list[str] | None = request.headers.getall(hdrs.AUTHORIZATION, None)
    if shown is not None:
        return shown
    header = request.app.get(TOKEN_HEADER, "")
    return [f"Bearer {token}" for token in request.headers.getall(header, [])] if header else []


def find_shown(request: web.Request) -> str | None:
    """The first of them."""
    shown = request.headers.get(hdrs.AUTHORIZATION)
    return next(iter(list_shown(request)), None) if shown is None else shown
