"""A pipeline answers to Feldera's id of it too, whatever it is called."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from aiohttp import web

from samply_operator.api.app_keys import AUTHENTICATOR, STATE
from samply_operator.api.server.shown import list_shown
from samply_operator.errors import OperatorUnavailable, UnknownPipeline
from samply_operator.feldera.answers import UUID

_ID = re.compile(UUID)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
def resolve(request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
    """Routes see the name. A refusal contains only the requested text: the name may be hidden from the caller."""
    asked = request.match_info.get("pipeline_name", "")
    # No coroutine of its own where there is nothing to do: each request comes through here.
    return handler(request) if _ID.fullmatch(asked) is None else _resolve(request, handler, asked)


async def _resolve(request: web.Request, handler: Handler, asked: str) -> web.StreamResponse:
    name = find_name(request, asked)
    if name == asked:
        return await handler(request)
    request.match_info["pipeline_name"] = name
    try:
        return await handler(request)
    except (UnknownPipeline, OperatorUnavailable) as error:
        message = error.message.replace(f"'{name}'", f"'{asked}'")
        details = {**error.details, "pipeline_name": asked} if "pipeline_name" in error.details else error.details
        raise type(error)(message, remedy=error.remedy, details=details) from error


def find_name(request: web.Request, asked: str) -> str:
    """The name of the pipeline that has this id; what is no known id stays as it is. So does the id that a caller with
    Feldera's key asks for: Feldera says what they may see, and what it is called."""
    if _ID.fullmatch(asked) is None or request.app[AUTHENTICATOR].is_felderas(list_shown(request)):
        return asked
    return request.app[STATE].view.find_name(asked) or asked
