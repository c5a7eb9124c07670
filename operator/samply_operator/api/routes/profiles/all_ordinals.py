"""`ordinal=all`: one recording for each ordinal of a pipeline, and the last profile of each in one zip file."""

from __future__ import annotations

import time

from aiohttp import web

from samply_operator import errors
from samply_operator.api.app_keys import OPERATOR
from samply_operator.api.auth import permissions
from samply_operator.api.content import files, representations, zips
from samply_operator.api.server import problems
from samply_operator.api.state import STATE, View
from samply_operator.control.client import build_error
from samply_operator.control.messages import StartAllReply, StartAllRequest, StartReply
from samply_operator.model.manifest import Manifest
from samply_operator.rules.serving import serve, serve_all

MISSING = "Samply-Missing-Ordinals"
"""Header of a zip: ordinals that have no profile, such as `2, 5`."""
UNREACHABLE = "Unreachable"
"""The failure's reason (rules/recording/failures.py)."""
SEEN_SECS = 1.0
"""How long a POST waits until a GET shows the recording."""

Refused = tuple[int, errors.SamplyOperatorError]


def decide(view: View, namespace: str, name: str, *, latest: bool) -> serve_all.ServeAll | serve.Decision:
    state = view.find_pipeline(namespace, name)
    seen = [o.ordinal for o in state.ordinals] if state else ()
    ordinals = serve_all.choose_ordinals(seen, view.catalog.list_ordinals(namespace, name))
    facts = [view.gather(namespace, name, ordinal) for ordinal in ordinals]
    return serve_all.decide_all(facts, latest=latest, now=time.time())


async def send(request: web.Request, found: serve_all.ServeAll, headers: dict[str, str]) -> web.StreamResponse:
    """The zip; its members are named for pipeline and ordinal."""
    entries = [
        zips.Entry(f"{m.pipeline}-{m.ordinal}.json.gz", m, files.parse_modified(m.finished_at)) for m in found.manifests
    ]
    newest = max(found.manifests, key=lambda m: m.finished_at)
    body = await zips.build_body(request, entries, filename=f"{build_stamp(newest)}-samply_profiles.zip")
    missing = {MISSING: ", ".join(map(str, found.missing))} if found.missing else {}
    return await files.send(
        request, files.Body(body.pieces, body.tag, body.modified, {**body.headers, **headers, **missing})
    )


def build_stamp(manifest: Manifest) -> str:
    """A time as part of a file name."""
    return files.parse_modified(manifest.finished_at).strftime("%Y-%m-%dT%H:%M:%SZ")


async def start(request: web.Request, caller: permissions.Caller, wanted: StartAllRequest) -> web.StreamResponse:
    """202 with the ordinals that were started and those that were refused; the refusal itself if none started."""
    reply = await request.app[OPERATOR].start_all(caller.login, wanted)
    started = [each for each in reply.started if each.state != "Failed"]
    refused = _list_refused(reply, wanted.pipeline)
    if not started:
        raise _build_refusal(refused)
    await request.app[STATE].wait_for(lambda view: _are_seen(view, started), SEEN_SECS)
    body = {
        "started": [_render_started(wanted.pipeline, each) for each in started],
        "refused": [_render_refused(*each) for each in refused],
    }
    return representations.build_json(body, status=202)


def build_start_failure(reply: StartReply, pipeline: str) -> errors.SamplyOperatorError:
    """A recording that failed immediately. If its pod was unreachable it is a 503, which clients retry."""
    failure = reply.failure
    if failure and failure.reason == UNREACHABLE:
        details = {"pipeline_name": pipeline, "request": "exec", "error": failure.message, "profile": reply.id}
        return errors.PipelineUnreachable(failure.message, remedy=failure.remedy, details=details)
    message = failure.message if failure else "The recording failed at once."
    details = {
        "reason": failure.reason if failure else "Unknown",
        "remedy": failure.remedy if failure else "",
        "log": failure.log if failure else "",
        "profile": reply.id,
    }
    return errors.ProfilingFailed(message, remedy=failure.remedy if failure else "", details=details)


def _list_refused(reply: StartAllReply, pipeline: str) -> list[Refused]:
    failed = [(each.ordinal, build_start_failure(each, pipeline)) for each in reply.started if each.state == "Failed"]
    refused_starts = [(each.ordinal, build_error(each.error)) for each in reply.refused]
    return sorted([*failed, *refused_starts], key=lambda refused: refused[0])


def _build_refusal(refused: list[Refused]) -> errors.SamplyOperatorError:
    chosen = serve_all.pick_refusal([error for _, error in refused])
    details = {**chosen.details, "refused": [_render_refused(*each) for each in refused]}
    return type(chosen)(chosen.message, remedy=chosen.remedy, details=details)


def _are_seen(view: View, started: list[StartReply]) -> bool:
    return all(r.state == "Pending" or view.find_recording(r.id) or view.get(r.id) for r in started)


def _render_started(name: str, reply: StartReply) -> representations.Json:
    return {
        "ordinal": reply.ordinal,
        "profile": reply.id,
        "state": reply.state,
        "href": representations.build_href(name, reply.id),
    }


def _render_refused(ordinal: int, error: errors.SamplyOperatorError) -> representations.Json:
    return {"ordinal": ordinal, **problems.render_error(error)}
