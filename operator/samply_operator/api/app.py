"""The aiohttp application: combines parts and routes, without behaviour of its own."""

from __future__ import annotations

from aiohttp import web

from samply_operator.api import app_keys
from samply_operator.api.auth import aliases, cors
from samply_operator.api.auth.authentication import AUTHENTICATOR, Authenticator
from samply_operator.api.auth.sign_in import SIGN_IN, Provider
from samply_operator.api.content.conversions import CONVERSIONS, Conversions
from samply_operator.api.content.open_files import FILES, OpenFiles
from samply_operator.api.forwarding import Forwarding
from samply_operator.api.routes import alerts, api_docs, console, console_sign_in, doctor, pipelines, service
from samply_operator.api.routes.profiles import (
    actions,
    attachments,
    export,
    links,
    preflight,
    samply_profile,
    samply_profiles,
    summaries,
    trees,
)
from samply_operator.api.server import base_path, problems, shown
from samply_operator.api.server.rate_limits import RATES, Rates
from samply_operator.api.state import STATE, ServiceState
from samply_operator.control.client import OperatorClient
from samply_operator.rules.access.rates import Limit
from samply_operator.settings import Identity, Settings

MAX_BODY_BYTES = 512 * 1024
"""Only alerts have a body; aiohttp reads at most this much of one."""
TABLES = (
    samply_profile.routes,
    preflight.routes,
    samply_profiles.routes,
    actions.routes,
    alerts.routes,
    links.routes,
    summaries.routes,
    trees.routes,
    export.routes,
    attachments.routes,
    pipelines.routes,
    service.routes,
    doctor.routes,
    api_docs.routes,
)


def build_app(
    settings: Settings,
    identity: Identity,
    *,
    files: OpenFiles,
    state: ServiceState,
    operator: OperatorClient,
    authenticator: Authenticator,
    sign_in: Provider,
    forwarding: Forwarding | None = None,
) -> web.Application:
    """All routes on the given parts. The caller opens and closes the parts."""
    forward = [forwarding.middleware] if forwarding is not None else []
    app = web.Application(
        middlewares=[problems.answer, cors.check_origin, *forward, aliases.resolve],
        client_max_size=MAX_BODY_BYTES,
    )
    app.on_response_prepare.append(cors.add_headers)
    app[app_keys.SETTINGS] = settings
    app[shown.TOKEN_HEADER] = settings.auth.oidc.token_header
    app[app_keys.BASE_PATH] = settings.api.base_path
    app[app_keys.IDENTITY] = identity
    app[FILES] = files
    app[STATE] = state
    app[RATES] = Rates(Limit(settings.api.requests_per_sec, settings.api.request_burst))
    app[CONVERSIONS] = Conversions(settings.api.view_memory_bytes, settings.api.view_spool_bytes)
    app[app_keys.OPERATOR] = operator
    app[AUTHENTICATOR] = authenticator
    app[SIGN_IN] = sign_in
    # Last: every other path below it is a page of the console.
    pages = (*((console_sign_in.routes,) if sign_in.is_enabled else ()), console.routes)
    for table in (*TABLES, *(pages if settings.api.console.enabled else ())):
        app.add_routes(base_path.mount(table, settings.api.base_path))
    return app
