"""GET /v0/pipelines: the pipelines, their ordinals, and the last profile of each."""

from __future__ import annotations

from aiohttp import web

from samply_operator.api.auth import permissions
from samply_operator.api.content import representations

routes = web.RouteTableDef()


@routes.get("/v0/pipelines")
async def get_pipelines(request: web.Request) -> web.StreamResponse:
    """All that the caller may read; `complete` is false while the operator is away."""
    caller = await permissions.admit(request)
    view = permissions.view_of(request)
    keys = sorted(key for key in view.list_keys() if caller.may_read(key[0]))
    pipelines = [representations.render_pipeline(view, namespace, name) for namespace, name in keys]
    return representations.build_json({"pipelines": pipelines, "complete": view.is_certain})
