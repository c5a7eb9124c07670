"""/v0/config, /healthz, /readyz: identity, health and readiness of the service."""

from __future__ import annotations

from aiohttp import web

from samply_operator import __version__
from samply_operator.api.auth.authentication import AUTHENTICATOR
from samply_operator.api.content import representations
from samply_operator.api.server.shown import list_shown
from samply_operator.api.state import STATE
from samply_operator.feldera.client import TENANT

routes = web.RouteTableDef()
probes = web.RouteTableDef()
"""On the metrics' port too, which the chart's probes ask."""


@routes.get("/v0/config")
async def get_config(request: web.Request) -> web.StreamResponse:
    """What Feldera's SDK asks for before anything else. Edition and version are Feldera's own where they are known, so
    that the SDK sees the one it was made for; else it warns, which is harmless."""
    found = await request.app[AUTHENTICATOR].find_platform(list_shown(request), request.headers.get(TENANT, ""))
    return representations.build_json(
        {
            "edition": found.edition if found else "Open source",
            "version": found.version if found else __version__,
            "samply_operator": {"version": __version__},
        }
    )


@routes.get("/")
@routes.get("/healthz")
@probes.get("/healthz")
async def get_health(request: web.Request) -> web.StreamResponse:
    """The process answers. Load balancers of AKS, EKS and GKE ask `/` unless they are told otherwise."""
    return representations.build_json({"status": "ok"})


@routes.get("/readyz")
@probes.get("/readyz")
async def get_readiness(request: web.Request) -> web.StreamResponse:
    """Ready once the volume was read. The operator may be away: stored profiles are served without it, and what
    needs it says 503 by itself, so its absence must not take the whole service out of rotation."""
    state = request.app[STATE]
    view = state.view
    operator = "Connected" if view.is_certain else "Away"
    if view.is_ready and not state.is_closing:
        return representations.build_json({"status": "ok", "operator": operator})
    status = "closing" if state.is_closing else "the volume was not read yet"
    response = representations.build_json({"status": status, "operator": operator})
    response.set_status(503)
    return response
