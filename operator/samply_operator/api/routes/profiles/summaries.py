"""GET …/{profile_id}/summary: the most expensive functions, also of several profiles; GET …/diff: a comparison."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
from aiohttp import web

from samply_operator import errors
from samply_operator.api import params
from samply_operator.api.auth import permissions
from samply_operator.api.content import conversions
from samply_operator.api.content.open_files import FILES
from samply_operator.api.routes.profiles import all_ordinals, formats, ranges, samply_profiles, stale_index
from samply_operator.api.server.problems import NO_STORE
from samply_operator.api.state import View
from samply_operator.model.manifest import Manifest
from samply_operator.profiles.attribution import naming
from samply_operator.profiles.worker import jobs
from samply_operator.rules.serving import serve_all
from samply_operator.rules.serving.history import Filter

SUMMARY = samply_profiles.PATH + "/{profile_id}/summary"
OPERATORS = samply_profiles.PATH + "/{profile_id}/operators"
NOT_ASKED = "they were not requested from Feldera when the profile was recorded"
MERGED = "/v0/pipelines/{pipeline_name}/summary"
DIFF = "/v0/pipelines/{pipeline_name}/diff"

MEDIA_TYPES = {"json": conversions.JSON, "text": conversions.TEXT, "svg": conversions.SVG}

routes = web.RouteTableDef()


@routes.get(SUMMARY)
async def get_summary(request: web.Request) -> web.StreamResponse:
    """The functions that took most, as JSON or as a table."""
    query = params.parse_summary_query(request.rel_url.raw_query_string)
    caller = await permissions.admit(request)
    return await stale_index.answer(request, lambda view: _summarise(request, view, caller, query))


async def _summarise(
    request: web.Request, view: View, caller: permissions.Caller, query: params.SummaryQuery
) -> web.StreamResponse:
    manifest = samply_profiles.find_stored(request, view, caller, request.match_info["profile_id"])
    output = query.output or _accept(request)
    job = jobs.Top(
        profile=formats.find_path(request, manifest),
        limit=query.limit,
        thread=query.thread,
        time_range=query.time_range,
        output=output,
        coverage=manifest.quality.coverage,
        lost_events=manifest.quality.lost_events,
        by=query.by,
    )
    return await conversions.send(request, conversions.Made(job, (manifest,), MEDIA_TYPES[output]))


@routes.get(OPERATORS)
async def get_operators(request: web.Request) -> web.StreamResponse:
    """What Feldera called the operators of the circuit when the profile was taken: it never changes."""
    caller = await permissions.admit(request)
    return await stale_index.answer(request, lambda view: _name_operators(request, view, caller))


async def _name_operators(request: web.Request, view: View, caller: permissions.Caller) -> web.StreamResponse:
    manifest = samply_profiles.find_stored(request, view, caller, request.match_info["profile_id"])
    path = Path(formats.find_path(request, manifest))
    async with request.app[FILES].use([manifest]):
        names = await asyncio.to_thread(naming.find_stored_names, path) or naming.NodeNames(problem=NOT_ASKED)
    return web.Response(body=msgspec.json.encode(names), content_type=conversions.JSON, headers=NO_STORE)


@routes.get(MERGED)
async def get_merged(request: web.Request) -> web.StreamResponse:
    """Over the last profile of each ordinal, over those that are named, or over those of a range of time."""
    query = params.parse_merged_query(request.rel_url.raw_query_string)
    caller = await permissions.admit(request)
    return await stale_index.answer(request, lambda view: _merge(request, view, caller, query))


async def _merge(
    request: web.Request, view: View, caller: permissions.Caller, query: params.MergedQuery
) -> web.StreamResponse:
    missing: tuple[int, ...] = ()
    if query.wanted:
        return await _merge_range(request, view, caller, query, query.wanted)
    if query.ids:
        chosen = tuple(samply_profiles.find_stored(request, view, caller, each) for each in query.ids)
    else:
        chosen, missing = _find_last(request, view, caller, query.namespace)
    output = query.output or _accept(request)
    job = jobs.Merge(
        profiles=tuple(formats.find_path(request, each) for each in chosen),
        limit=query.limit,
        output=output,
        by=query.by,
    )
    headers = {all_ordinals.MISSING: ", ".join(map(str, missing))} if missing else {}
    return await conversions.send(request, conversions.Made(job, chosen, MEDIA_TYPES[output], headers=headers))


async def _merge_range(
    request: web.Request, view: View, caller: permissions.Caller, query: params.MergedQuery, wanted: Filter
) -> web.StreamResponse:
    found = await ranges.find(request, view, caller, wanted, query.namespace)
    output = query.output or _accept(request)
    job = jobs.MergeRange(profiles=found.paths, parts=found.parts, limit=query.limit, output=output, by=query.by)
    return await ranges.send(request, conversions.Made(job, found.manifests, MEDIA_TYPES[output]))


def _find_last(
    request: web.Request, view: View, caller: permissions.Caller, asked: str | None
) -> tuple[tuple[Manifest, ...], tuple[int, ...]]:
    """The last good profile of each ordinal that the pipeline has, and the ordinals without one."""
    name = params.parse_pipeline(request.match_info)
    namespace = permissions.find_namespace(view, caller, name, asked)
    if namespace is None:
        raise samply_profiles.build_absent(view, name)
    found = all_ordinals.decide(view, namespace, name, latest=False)
    if isinstance(found, serve_all.ServeAll):
        return found.manifests, found.missing
    raise errors.NoSamplyProfile(
        f"Pipeline '{name}' has no profile to sum up.",
        remedy=f"Take one: POST /v0/pipelines/{name}/samply_profile?ordinal=all.",
        details={"pipeline_name": name},
    )


@routes.get(DIFF)
async def get_diff(request: web.Request) -> web.StreamResponse:
    """What changed between two profiles of one pipeline, or two ranges, as JSON, a table or a flame graph."""
    query = params.parse_diff_query(request.rel_url.raw_query_string)
    caller = await permissions.admit(request)
    return await stale_index.answer(request, lambda view: _compare(request, view, caller, query))


async def _compare(
    request: web.Request, view: View, caller: permissions.Caller, query: params.DiffQuery
) -> web.StreamResponse:
    output = query.output or _accept(request)
    if isinstance(query.before, Filter) or isinstance(query.after, Filter):
        return await _compare_ranges(request, view, caller, query, output)
    before, after = (samply_profiles.find_stored(request, view, caller, each) for each in (query.before, query.after))
    paths = formats.find_path(request, before), formats.find_path(request, after)
    job = jobs.Diff(before=paths[0], after=paths[1], limit=query.limit, output=output, by=query.by)
    return await conversions.send(request, conversions.Made(job, (before, after), MEDIA_TYPES[output]))


async def _compare_ranges(
    request: web.Request,
    view: View,
    caller: permissions.Caller,
    query: params.DiffQuery,
    output: params.DiffOutput,
) -> web.StreamResponse:
    async def find(name: str, side: str | Filter) -> ranges.Range:
        if isinstance(side, Filter):
            return await ranges.find(request, view, caller, side, query.namespace, f"{name}_")
        return ranges.build_single(request, samply_profiles.find_stored(request, view, caller, side))

    before, after = await find("before", query.before), await find("after", query.after)
    job = jobs.DiffRanges(
        before=before.paths,
        after=after.paths,
        before_parts=before.parts,
        after_parts=after.parts,
        limit=query.limit,
        output=output,
        by=query.by,
    )
    manifests = tuple({each.id: each for each in (*before.manifests, *after.manifests)}.values())
    return await ranges.send(request, conversions.Made(job, manifests, MEDIA_TYPES[output]))


def _accept(request: web.Request) -> jobs.Output:
    """Text for clients that accept text and not JSON."""
    accepted = request.headers.get("Accept", "")
    return "text" if "text/plain" in accepted and "json" not in accepted else "json"
