"""A pipeline answers to Feldera's id of it too, whatever it is called."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable

from aiohttp import hdrs, web

from samply_operator.api.app_keys import BOARD, GATE
from samply_operator.feldera.answers import UUID

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def resolve(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Routes see the name. Of a caller whom Feldera knows the path stays as it is: what they may see, and how it is
    called, is for Feldera to say."""
    asked = request.match_info.get("pipeline_name", "")
    if re.fullmatch(UUID, asked) and not request.app[GATE].is_felderas(request.headers.getall(hdrs.AUTHORIZATION, ())):
        request.match_info["pipeline_name"] = request.app[BOARD].view.find_name(asked) or asked
    return await handler(request)
