"""GET /metrics, on a port of its own: what this container counted, and behind it what the operator did.

The port has no authentication and tells no names; the chart's NetworkPolicy says who reaches it.
"""

from __future__ import annotations

import time

from aiohttp import web

from samply_operator import errors, measures
from samply_operator.api.app_keys import OPERATOR
from samply_operator.api.server import problems
from samply_operator.api.server.measures import CONNECTED, SNAPSHOT_SECS
from samply_operator.control.client import OperatorClient

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

routes = web.RouteTableDef()


def build_app(operator: OperatorClient) -> web.Application:
    """Nothing but the metrics."""
    app = web.Application(middlewares=[problems.answer])
    app[OPERATOR] = operator
    app.add_routes(routes)
    return app


@routes.get("/metrics")
async def get_metrics(request: web.Request) -> web.StreamResponse:
    """While the operator is away its part is left out, and `samply_operator_operator_connected` is 0."""
    operator = request.app[OPERATOR]
    try:
        theirs = await operator.get_metrics()
    except errors.OperatorUnavailable:
        theirs = b""
    snapshot = operator.snapshot
    CONNECTED.set(bool(theirs))
    SNAPSHOT_SECS.set(time.time() - snapshot.sent_at if snapshot else float("nan"))
    return web.Response(body=measures.render(measures.API) + theirs, headers={"Content-Type": CONTENT_TYPE})
