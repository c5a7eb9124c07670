"""GET /v0/doctor: the checks of this installation by the operator, for callers who may read everything that it
watches."""

from __future__ import annotations

import msgspec
from aiohttp import web

from samply_operator.api.app_keys import OPERATOR
from samply_operator.api.auth import permissions
from samply_operator.api.content import representations

PATH = "/v0/doctor"

routes = web.RouteTableDef()


@routes.get(PATH)
async def get(request: web.Request) -> web.StreamResponse:
    """The report; the operator authorizes the caller."""
    caller = await permissions.admit(request)
    report = await request.app[OPERATOR].examine(caller.login)
    return representations.build_json(msgspec.to_builtins(report))
