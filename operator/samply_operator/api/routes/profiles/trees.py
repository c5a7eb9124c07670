"""GET …/{profile_id}/tree: the call tree as a viewer asks for it; GET …/timeline: how busy its threads were."""

from __future__ import annotations

from aiohttp import web

from samply_operator.api import params
from samply_operator.api.auth import aliases, permissions
from samply_operator.api.content import conversions
from samply_operator.api.routes.profiles import formats, samply_profiles, stale_index
from samply_operator.api.state import View
from samply_operator.profiles.worker import jobs

TREE = samply_profiles.PATH + "/{profile_id}/tree"
TIMELINE = samply_profiles.PATH + "/{profile_id}/timeline"

routes = web.RouteTableDef()


@routes.get(TREE)
async def get_tree(request: web.Request) -> web.StreamResponse:
    """A part of the call tree; with `before` that of two profiles, which may be of two pipelines."""
    query = params.parse_tree_query(request.rel_url.raw_query_string)
    name = params.parse_pipeline(request.match_info)
    other = aliases.find_name(request, query.before_pipeline) if query.before_pipeline else name
    caller = await permissions.admit(request, other)

    async def answer(view: View) -> web.StreamResponse:
        chosen = [samply_profiles.find_stored_of(view, caller, name, request.match_info["profile_id"])]
        if query.before:
            chosen.append(samply_profiles.find_stored_of(view, caller, other, query.before))
        job = jobs.Tree(profiles=tuple(formats.find_path(request, each) for each in chosen), query=query.query)
        return await conversions.send(request, conversions.Made(job, tuple(chosen), conversions.JSON))

    return await stale_index.answer(request, answer)


@routes.get(TIMELINE)
async def get_timeline(request: web.Request) -> web.StreamResponse:
    """One lane for each thread."""
    query = params.parse_timeline_query(request.rel_url.raw_query_string)
    caller = await permissions.admit(request)

    async def answer(view: View) -> web.StreamResponse:
        manifest = samply_profiles.find_stored(request, view, caller, request.match_info["profile_id"])
        job = jobs.Timeline(profile=formats.find_path(request, manifest), buckets=query.buckets, limit=query.limit)
        return await conversions.send(request, conversions.Made(job, (manifest,), conversions.JSON))

    return await stale_index.answer(request, answer)
