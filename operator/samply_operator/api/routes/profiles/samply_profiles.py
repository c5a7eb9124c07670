"""GET /v0/pipelines/{pipeline_name}/samply_profiles: the history, one profile's facts, and its file."""

from __future__ import annotations

from aiohttp import web

from samply_operator import errors
from samply_operator.api import params
from samply_operator.api.auth import permissions, signed_links
from samply_operator.api.content import files, representations
from samply_operator.api.routes.profiles import formats, stale_index
from samply_operator.api.state import View
from samply_operator.control.messages import RecordingState
from samply_operator.model.manifest import Manifest
from samply_operator.rules.serving import history

PATH = "/v0/pipelines/{pipeline_name}/samply_profiles"

routes = web.RouteTableDef()


@routes.get(PATH)
async def get_history(request: web.Request) -> web.StreamResponse:
    """Attempts of one pipeline, newest first; on the first page those that run come before."""
    name = params.parse_pipeline(request.match_info)
    query = params.parse_history_query(request.rel_url.raw_query_string)
    caller = await permissions.admit(request)
    view = permissions.view_of(request)
    namespace = permissions.find_namespace(view, caller, name, query.namespace)
    if namespace is None:
        raise build_absent(view, name)
    ended = [m for m in view.catalog.list_history(namespace, name) if history.is_attempt_wanted(query.wanted, m)]
    running = [r for r in view.list_recordings(namespace, name) if is_recording_wanted(query.wanted, r)]
    page, following = cut_page(ended, query.after, query.limit)
    shown = [] if query.after else [representations.render_recording(recording, view) for recording in running]
    return representations.build_json(
        {"profiles": shown + [representations.render_attempt(m, view) for m in page], "next": following}
    )


@routes.get(PATH + "/{profile_id}")
async def get_facts(request: web.Request) -> web.StreamResponse:
    """One attempt, or one recording that hasn't ended."""
    found = find(request, await permissions.admit(request))
    view = permissions.view_of(request)
    if isinstance(found, Manifest):
        return representations.build_json(representations.render_attempt(found, view))
    return representations.build_json(representations.render_recording(found, view))


@routes.get(PATH + "/{profile_id}/profile")
async def get_file(request: web.Request) -> web.StreamResponse:
    """The file of one profile. These bytes never change."""
    profile_id = request.match_info["profile_id"]
    if signed_links.is_used(request):
        return await stale_index.answer(request, lambda view: _send_linked(request, view, profile_id))
    query = params.parse_format_query(request.rel_url.raw_query_string)
    caller = await permissions.admit(request)

    async def answer(view: View) -> web.StreamResponse:
        manifest = find_stored(request, view, caller, profile_id)
        if query.format:
            return await formats.send(request, manifest, query)
        return await files.send_profile(request, manifest, cache=files.FOREVER)

    return await stale_index.answer(request, answer)


async def _send_linked(request: web.Request, view: View, profile_id: str) -> web.StreamResponse:
    return await files.send_profile(request, signed_links.admit(request, view, profile_id), cache=files.FOREVER)


def find(request: web.Request, caller: permissions.Caller) -> Manifest | RecordingState:
    """The attempt or recording that the path names. Raises UnknownProfile, OperatorUnavailable,
    StoreUnavailable."""
    name, profile_id = params.parse_pipeline(request.match_info), request.match_info["profile_id"]
    view = permissions.view_of(request)
    for found in (view.get(profile_id), view.find_recording(profile_id)):
        if found and found.pipeline == name and caller.may_read(found.namespace):
            return found
    raise _build_unknown(view, caller, name, profile_id)


def find_stored(request: web.Request, view: View, caller: permissions.Caller, profile_id: str) -> Manifest:
    """The attempt of the path's pipeline that ended. Raises UnknownProfile, OperatorUnavailable, StoreUnavailable."""
    return find_stored_of(view, caller, params.parse_pipeline(request.match_info), profile_id)


def find_stored_of(view: View, caller: permissions.Caller, name: str, profile_id: str) -> Manifest:
    """The same of a pipeline that isn't the path's."""
    manifest = view.get(profile_id)
    if manifest is None or manifest.pipeline != name or not caller.may_read(manifest.namespace):
        raise _build_unknown(view, caller, name, profile_id)
    return manifest


def is_recording_wanted(wanted: history.Filter, found: RecordingState) -> bool:
    return history.is_wanted(wanted, found.ordinal, "Running", found.requested_at, (found.id, found.name))


def cut_page(attempts: list[Manifest], after: str | None, limit: int) -> tuple[list[Manifest], str | None]:
    """At most `limit` attempts behind the one named `after`, and the name to go on from. Unknown: from the start."""
    ids = [manifest.id for manifest in attempts]
    start = ids.index(after) + 1 if after in ids else 0
    page = attempts[start : start + limit]
    return page, page[-1].id if start + limit < len(attempts) else None


def build_absent(view: View, name: str) -> errors.SamplyOperatorError:
    if view.is_certain:
        return params.build_unknown_pipeline(name)
    return errors.OperatorUnavailable(
        f"The operator is away: whether pipeline '{name}' exists can't be told now.",
        remedy="Try again in a few seconds.",
        details={"pipeline_name": name},
    )


def _build_unknown(view: View, caller: permissions.Caller, name: str, profile_id: str) -> errors.SamplyOperatorError:
    profile_id = profile_id[:64]
    unread = view.unread.get(profile_id)
    is_unread = unread is not None and unread.pipeline == name and caller.may_read(unread.namespace)
    if is_unread or view.may_lack_profiles:
        return errors.StoreUnavailable(
            f"Whether profile '{profile_id}' is stored is not known yet: the list of stored profiles is being read.",
            remedy="Try again in a few seconds.",
            details={"profile": profile_id},
        )
    if view.is_certain:
        return errors.UnknownProfile(f"Unknown profile '{profile_id}'", details={"profile": profile_id})
    return errors.OperatorUnavailable(
        f"Profile '{profile_id}' is not stored, and the operator, which knows those that run, is away.",
        remedy="Try again in a few seconds.",
        details={"profile": profile_id},
    )
