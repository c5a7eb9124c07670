"""The aiohttp application: parts and routes put together, no behaviour of its own."""

from __future__ import annotations

from aiohttp import web

from samply_operator.api import parts, pipelines, problems, samply_profile, samply_profiles, service
from samply_operator.api.board import Board
from samply_operator.control.client import OperatorClient
from samply_operator.settings import Identity, Settings
from samply_operator.store.volume import Volume

TABLES = (samply_profile.routes, samply_profiles.routes, pipelines.routes, service.routes)


def build_app(
    settings: Settings, identity: Identity, *, volume: Volume, board: Board, operator: OperatorClient
) -> web.Application:
    """All routes over the given parts, whose lives are the caller's care."""
    app = web.Application(middlewares=[problems.answer])
    app[parts.SETTINGS] = settings
    app[parts.IDENTITY] = identity
    app[parts.VOLUME] = volume
    app[parts.BOARD] = board
    app[parts.OPERATOR] = operator
    app.on_response_prepare.append(problems.mark)
    for table in TABLES:
        app.add_routes(table)
    return app
