"""GET …/{profile_id}/summary: what took most of the time, and GET …/diff: what changed between two profiles."""

from __future__ import annotations

from aiohttp import web

from samply_operator.api import access, formats, params, samply_profiles, views
from samply_operator.profiles import jobs
from samply_operator.profiles.tally import TimeRange

SUMMARY = samply_profiles.PATH + "/{profile_id}/summary"
DIFF = "/v0/pipelines/{pipeline_name}/diff"
FOREVER_MS = 1e12

MEDIA_TYPES = {"json": views.JSON, "text": views.TEXT, "svg": views.SVG}

routes = web.RouteTableDef()


@routes.get(SUMMARY)
async def get_summary(request: web.Request) -> web.StreamResponse:
    """The functions that took most, as JSON or as a table."""
    query = params.parse_summary_query(request.rel_url.raw_query_string)
    manifest = samply_profiles.find_stored(request, await access.admit(request), request.match_info["profile_id"])
    output = query.output or _accept(request)
    job = jobs.Top(
        profile=formats.find_path(request, manifest),
        limit=query.limit,
        thread=query.thread,
        time_range=_build_range(query),
        output=output,
    )
    return await views.send(request, views.Made(job, (manifest,), MEDIA_TYPES[output]))


@routes.get(DIFF)
async def get_diff(request: web.Request) -> web.StreamResponse:
    """What changed between two profiles of one pipeline, as JSON, a table or a flame graph."""
    query = params.parse_diff_query(request.rel_url.raw_query_string)
    caller = await access.admit(request)
    before, after = (samply_profiles.find_stored(request, caller, each) for each in (query.before, query.after))
    output = query.output or _accept(request)
    paths = formats.find_path(request, before), formats.find_path(request, after)
    job = jobs.Diff(before=paths[0], after=paths[1], limit=query.limit, output=output)
    return await views.send(request, views.Made(job, (before, after), MEDIA_TYPES[output]))


def _accept(request: web.Request) -> jobs.Output:
    """Text for who asks for it and not for JSON."""
    accepted = request.headers.get("Accept", "")
    return "text" if "text/plain" in accepted and "json" not in accepted else "json"


def _build_range(query: params.SummaryQuery) -> TimeRange | None:
    """In milliseconds since the recording's start."""
    if query.start_secs is None and query.end_secs is None:
        return None
    end_ms = 1000 * query.end_secs if query.end_secs is not None else FOREVER_MS
    return TimeRange(1000 * (query.start_secs or 0.0), end_ms)
