"""Actions on one profile: DELETE …/samply_profiles/{profile_id}, POST …/{profile_id}/stop, PUT and DELETE …/pin.

The operator carries them out; this module only waits until a GET shows the result.
"""

from __future__ import annotations

from aiohttp import web

from samply_operator.api.app_keys import OPERATOR
from samply_operator.api.auth import permissions
from samply_operator.api.content import representations
from samply_operator.api.routes.profiles import samply_profiles
from samply_operator.api.server.problems import NO_STORE
from samply_operator.api.state import STATE

PATH = samply_profiles.PATH + "/{profile_id}"
SEEN_SECS = 1.0
"""How long a request waits until a GET shows its effect."""

routes = web.RouteTableDef()


@routes.delete(PATH)
async def delete(request: web.Request) -> web.StreamResponse:
    """Remove a profile (204), or cancel the recording that would become one (202)."""
    caller = await permissions.admit(request)
    found = samply_profiles.find(request, caller)
    reply = await request.app[OPERATOR].delete(caller.login, found.id)
    if reply.state == "Cancelling":
        return web.Response(status=202, headers={"Retry-After": "1", **NO_STORE})
    state = request.app[STATE]
    await state.wait_for(lambda view: not (view.get(found.id) or view.find_recording(found.id)), SEEN_SECS)
    return web.Response(status=204, headers=NO_STORE)


@routes.post(PATH + "/stop")
async def stop(request: web.Request) -> web.StreamResponse:
    """End sampling now and keep what was sampled (202); it is stored a little later."""
    caller = await permissions.admit(request)
    found = samply_profiles.find(request, caller)
    await request.app[OPERATOR].stop(caller.login, found.id)
    headers = {"Location": representations.build_href(found.pipeline, found.id), "Retry-After": "1", **NO_STORE}
    return web.Response(status=202, headers=headers)


@routes.put(PATH + "/pin")
async def pin(request: web.Request) -> web.StreamResponse:
    """Retention keeps it (204)."""
    return await _pin(request, is_wanted=True)


@routes.delete(PATH + "/pin")
async def unpin(request: web.Request) -> web.StreamResponse:
    """Retention may remove it again (204)."""
    return await _pin(request, is_wanted=False)


async def _pin(request: web.Request, *, is_wanted: bool) -> web.StreamResponse:
    caller = await permissions.admit(request)
    found, operator = samply_profiles.find(request, caller), request.app[OPERATOR]
    await (operator.pin if is_wanted else operator.unpin)(caller.login, found.id)
    await request.app[STATE].wait_for(lambda view: view.is_pinned(found.id) is is_wanted, SEEN_SECS)
    return web.Response(status=204, headers=NO_STORE)
