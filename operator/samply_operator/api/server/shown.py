"""The credentials that a request shows: in `Authorization`, or in the header in which an authenticating proxy passes
its user's token. What is shown there is checked like any other token: nothing is believed of whoever sets the header.
"""

from __future__ import annotations

from aiohttp import hdrs, web

TOKEN_HEADER = web.AppKey("token_header", str)
"""That of the settings, or empty. The port of metrics and probes has none: nobody shows credentials there."""


def list_shown(request: web.Request) -> list[str]:
    """As values of `Authorization`."""
    shown = request.headers.getall(hdrs.AUTHORIZATION, [])
    header = request.app.get(TOKEN_HEADER, "")
    return shown or [f"Bearer {token}" for token in request.headers.getall(header, []) if header]


def find_shown(request: web.Request) -> str | None:
    """The first of them."""
    return next(iter(list_shown(request)), None)
