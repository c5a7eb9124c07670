"""A pipeline can also be addressed by Feldera's id."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from aiohttp import web

from samply_operator.api.auth.authentication import AUTHENTICATOR
from samply_operator.api.server.shown import list_shown
from samply_operator.api.state import STATE
from samply_operator.errors import OperatorUnavailable, UnknownPipeline
from samply_operator.feldera.answers import UUID

_ID = re.compile(UUID)
ID_LENGTH = 36

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
def resolve(request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
    """Routes see the name. A refusal contains only the requested text: the name may be hidden from the caller."""
    asked = request.match_info.get("pipeline_name", "")
    # Returns the handler's own coroutine if there is nothing to do: each request passes here.
    return _resolve(request, handler, asked) if _is_id(asked) else handler(request)


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
    """The name of the pipeline that has this id. Unknown ids are returned unchanged; so is the id in a request with
    Feldera's key, because Feldera decides what that caller may see under which name."""
    if not _is_id(asked) or request.app[AUTHENTICATOR].is_felderas(list_shown(request)):
        return asked
    return request.app[STATE].view.find_name(asked) or asked


def _is_id(asked: str) -> bool:
    return len(asked) == ID_LENGTH and _ID.fullmatch(asked) is not None
