"""The aiohttp application: parts and routes put together, no behaviour of its own."""

from __future__ import annotations

from aiohttp import web

from samply_operator.api import (
    acts,
    base,
    cors,
    describing,
    export,
    links,
    parts,
    pipelines,
    preflight,
    problems,
    samply_profile,
    samply_profiles,
    service,
    summaries,
)
from samply_operator.api.board import Board
from samply_operator.api.gate import Gate
from samply_operator.api.open_files import OpenFiles
from samply_operator.api.rates import Rates
from samply_operator.api.turns import Turns
from samply_operator.control.client import OperatorClient
from samply_operator.rules.rates import Limit
from samply_operator.settings import Identity, Settings

MAX_BODY_BYTES = 64 * 1024
"""No route wants a body; aiohttp reads at most this much of one."""
TABLES = (
    samply_profile.routes,
    preflight.routes,
    samply_profiles.routes,
    acts.routes,
    links.routes,
    summaries.routes,
    export.routes,
    pipelines.routes,
    service.routes,
    describing.routes,
)


def build_app(
    settings: Settings, identity: Identity, *, files: OpenFiles, board: Board, operator: OperatorClient, gate: Gate
) -> web.Application:
    """All routes over the given parts, whose lives are the caller's care."""
    app = web.Application(middlewares=[problems.answer, cors.answer_preflight], client_max_size=MAX_BODY_BYTES)
    app.on_response_prepare.append(cors.add_headers)
    app[parts.SETTINGS] = settings
    app[parts.BASE_PATH] = settings.api.base_path
    app[parts.IDENTITY] = identity
    app[parts.FILES] = files
    app[parts.BOARD] = board
    app[parts.RATES] = Rates(Limit(settings.api.requests_per_sec, settings.api.request_burst))
    app[parts.TURNS] = Turns(settings.api.view_memory_bytes)
    app[parts.OPERATOR] = operator
    app[parts.GATE] = gate
    for table in TABLES:
        app.add_routes(base.mount(table, settings.api.base_path))
    return app
