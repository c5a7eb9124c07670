"""POST …/samply_profile/preflight: the operator checks whether a recording would work; nothing is recorded."""

from __future__ import annotations

from dataclasses import asdict

from aiohttp import web

from samply_operator.api import params
from samply_operator.api.app_keys import OPERATOR
from samply_operator.api.auth import permissions
from samply_operator.api.content import representations
from samply_operator.api.routes.profiles import samply_profile
from samply_operator.control.messages import PreflightReply, StartRequest

WAIT_SECS = 30.0
"""Longer ones are reported as unreachable; the image for an ephemeral container may have to be pulled first."""

PATH = samply_profile.PATH + "/preflight"

routes = web.RouteTableDef()


@routes.post(PATH)
async def post(request: web.Request) -> web.StreamResponse:
    """The verdict and the findings."""
    name = params.parse_pipeline(request.match_info)
    query = params.parse_preflight_query(request.rel_url.raw_query_string)
    caller = await permissions.admit(request)
    namespace = samply_profile.find_start_namespace(request, caller, name, query.namespace)
    ordinal = 0 if query.ordinal == params.ALL else query.ordinal
    wanted = StartRequest(
        name, ordinal, query.duration_secs, namespace, WAIT_SECS, rate_hz=query.rate_hz, mode=query.mode
    )
    asked = request.app[OPERATOR].preflight(caller.login, wanted)
    reply = await samply_profile.retry_with_stored(request, caller, name, query.namespace, asked)
    return representations.build_json(_render(name, reply))


def _render(name: str, reply: PreflightReply) -> representations.Json:
    failure = reply.failure
    return {
        "verdict": reply.verdict,
        "pipeline_name": name,
        "namespace": reply.namespace,
        "ordinal": reply.ordinal,
        "profile": reply.id,
        "object": reply.name,
        "pod": reply.pod or None,
        "container": reply.container or None,
        "mode": reply.mode or None,
        "facts": reply.facts,
        "findings": [asdict(finding) for finding in reply.findings],
        "failure": None if failure is None else asdict(failure),
    }
