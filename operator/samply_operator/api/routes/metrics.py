"""GET /metrics, on a separate port: the metrics of this container, followed by the operator's. The kubelet's probes are
there too, so that connections to the other port cannot block them.

The port has no authentication and contains no names; the chart's NetworkPolicy limits access to it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from aiohttp import web

from samply_operator import errors, measures
from samply_operator.api.routes import service
from samply_operator.api.server import problems
from samply_operator.api.server.connection_limits import ConnectionLimits
from samply_operator.api.server.measures import CONNECTED, SNAPSHOT_SECS
from samply_operator.api.server.rate_limits import RATES, Rates
from samply_operator.api.state import STATE, ServiceState
from samply_operator.control.client import OperatorClient
from samply_operator.rules.access.rates import Limit

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
KEEP_SECS = 1.0
"""Requests within this time get the same text: gathering it takes both containers some milliseconds."""
LIMIT = Limit(per_sec=20, burst=40)
"""Of one address. Prometheus asks a few times a minute; probes are not limited."""
MOST, MOST_OF_ONE = 128, 16
"""Connections, in all and of one address."""
IDLE_SECS = 5.0

routes = web.RouteTableDef()


def build_app(operator: OperatorClient, state: ServiceState) -> web.Application:
    """Nothing but metrics and probes."""
    app = web.Application(middlewares=[problems.answer])
    app[NUMBERS] = Numbers(operator)
    app[STATE] = state
    app[RATES] = Rates(LIMIT)
    app.add_routes(routes)
    app.add_routes(service.probes)
    return app


def build_connection_limits() -> ConnectionLimits:
    """One client cannot use all connections: the kubelet's come from another address."""
    return ConnectionLimits(MOST, MOST_OF_ONE, is_counted=False)


class Numbers:
    """Both containers' metrics as a text, at most KEEP_SECS old."""

    def __init__(self, operator: OperatorClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._operator = operator
        self._clock = clock
        self._turn = asyncio.Lock()
        self._text = b""
        self._until = float("-inf")

    async def get(self) -> bytes:
        async with self._turn:
            if self._clock() >= self._until:
                self._text = await self._gather()
                self._until = self._clock() + KEEP_SECS
        return self._text

    async def _gather(self) -> bytes:
        """While the operator is away its part is left out, and `samply_operator_operator_connected` is 0."""
        try:
            theirs = await self._operator.get_metrics()
        except errors.OperatorUnavailable:
            theirs = b""
        live = self._operator.live
        CONNECTED.set(bool(theirs))
        SNAPSHOT_SECS.set(time.time() - live.sent_at if live else float("nan"))
        return measures.render(measures.API) + theirs


NUMBERS = web.AppKey("numbers", Numbers)


@routes.get("/metrics")
async def get_metrics(request: web.Request) -> web.StreamResponse:
    return web.Response(body=await request.app[NUMBERS].get(), headers={"Content-Type": CONTENT_TYPE})
