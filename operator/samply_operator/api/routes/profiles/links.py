"""POST …/{profile_id}/links: an expiring link to one stored profile, for viewers in a browser, which send no token."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from aiohttp import web

from samply_operator import errors
from samply_operator.api import params
from samply_operator.api.app_keys import SETTINGS
from samply_operator.api.auth import permissions, signed_links
from samply_operator.api.content import files, representations
from samply_operator.api.routes.profiles import samply_profiles, stale_index
from samply_operator.api.state import STATE, View
from samply_operator.control import audit
from samply_operator.rules.access import links

PATH = samply_profiles.PATH + "/{profile_id}/links"
DEFAULT_SECS = 3600
"""Default validity of a link; never more than the installation allows."""

routes = web.RouteTableDef()


@routes.post(PATH)
async def post(request: web.Request) -> web.StreamResponse:
    """Make a link. Nothing is stored: anyone with the URL may read that one file until it expires."""
    api = request.app[SETTINGS].api
    settings = api.links
    query = params.parse_link_query(request.rel_url.raw_query_string, settings.max_secs)
    caller = await permissions.admit(request)
    return await stale_index.answer(request, lambda view: _answer(request, view, caller, query))


async def _answer(
    request: web.Request, view: View, caller: permissions.Caller, query: params.LinkQuery
) -> web.StreamResponse:
    settings = request.app[SETTINGS].api.links
    manifest = samply_profiles.find_stored(request, view, caller, request.match_info["profile_id"])
    await files.check_there(request, manifest)
    expires = int(time.time()) + (query.expires_secs or min(DEFAULT_SECS, settings.max_secs))
    link = links.build(signed_links.list_keys(request)[0], manifest.namespace, manifest.id, expires)
    # The link is opened without a token, so under the name that the pipeline has here.
    public = request.app[STATE].view.get(manifest.id) or manifest
    path = representations.build_href(public.pipeline, manifest.id)
    href = f"{path}/profile?expires={expires}&signature={link.signature}"
    url = f"{settings.public_url.rstrip('/') or _find_origin(request)}{href}"
    stamp = files.parse_modified(manifest.finished_at).strftime("%Y-%m-%d %H:%M:%SZ")
    title, viewer = (
        f"{manifest.pipeline} {manifest.ordinal}, {stamp}",
        request.app[SETTINGS].api.console.firefox_profiler_url,
    )
    body = {
        "profile": manifest.id,
        "expires_at": datetime.fromtimestamp(expires, UTC).isoformat().replace("+00:00", "Z"),
        "href": href,
        "url": url,
        "firefox_profiler": links.build_viewer_url(url, title, viewer),
    }
    place = {"pipeline": manifest.pipeline, "namespace": manifest.namespace, "profile": manifest.id}
    audit.write("Allow", "get", who=caller.who, reason=f"link until {body['expires_at']}", **place)
    return representations.build_json(body)


def _find_origin(request: web.Request) -> str:
    """From the request. (`request.url` raises for an invalid Host header.)"""
    origin = links.build_origin(request.scheme, request.host)
    if origin is None:
        raise errors.RequestError("The Host header is no name or address.", remedy="Or set config.api.links.publicUrl.")
    return origin
