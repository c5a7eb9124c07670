"""GET …/{profile_id}/attachments/{name}: what Feldera said of the pipeline in the seconds of the recording."""

from __future__ import annotations

from aiohttp import web

from samply_operator import errors
from samply_operator.api.auth import permissions
from samply_operator.api.content import files
from samply_operator.api.content.stored_files import Extra
from samply_operator.api.routes.profiles import samply_profiles
from samply_operator.model.manifest import Manifest

PATH = samply_profiles.PATH + "/{profile_id}/attachments/{attachment_name}"

routes = web.RouteTableDef()


@routes.get(PATH)
async def get(request: web.Request) -> web.StreamResponse:
    """One of them, by its name in the profile's facts. These bytes never change."""
    caller = await permissions.admit(request)
    view, profile_id = permissions.view_of(request), request.match_info["profile_id"]
    manifest = samply_profiles.find_stored(request, view, caller, profile_id)
    return await files.send_extra(request, _find(manifest, request.match_info["attachment_name"]))


def _find(manifest: Manifest, name: str) -> Extra:
    for each in manifest.attachments:
        if each.file is not None and each.name == name:
            return Extra(manifest, each.name, each.file)
    raise errors.UnknownProfile(
        f"Profile '{manifest.id}' has no attachment '{name[:64]}'.",
        remedy="Its facts list the attachments that it has, and why others are missing.",
        details={"profile": manifest.id},
    )
