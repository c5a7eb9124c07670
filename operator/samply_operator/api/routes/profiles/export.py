"""GET …/export: a support bundle of one pipeline in one zip.

The operator's part is requested from it; while it is down the zip lacks that part and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import msgspec
from aiohttp import web

from samply_operator import __version__, errors
from samply_operator.api import params
from samply_operator.api.app_keys import OPERATOR
from samply_operator.api.auth import permissions
from samply_operator.api.content import files, representations, zips
from samply_operator.api.content.stored_files import Extra
from samply_operator.api.routes.profiles import all_ordinals, samply_profiles, stale_index
from samply_operator.api.state import View
from samply_operator.control.messages import SupportBundleReply, SupportBundleRequest
from samply_operator.model.manifest import Manifest
from samply_operator.plural import count
from samply_operator.store import documents

PATH = "/v0/pipelines/{pipeline_name}/export"
MAX_FILES = params.MAX_EXPORT
"""Files in one zip: all are open while it is sent (server/descriptors.py)."""

README = """\
samply-operator {version}: all that is known of pipeline {name} in namespace {namespace}.

profiles/ORDINAL/   the stored profiles: open them at profiler.firefox.com, or with `samply load`
attachments/ID/     what Feldera said of the pipeline in the seconds of that recording
manifests/          one for each attempt: what was asked, of which pod, how it ended, how good the profile is
pipeline.json       its ordinals, and the last profile of each
recordings.json     what had not ended yet
objects.json        the SamplyProfile objects with their status; status.preflight is what was found before recording
pods.json           the pods, and how often their containers restarted
events.json         recent Events on all of these; Kubernetes keeps them for an hour

{attempts}, {profiles}. {left_out}{unattached}
{missing}
Profiles hold names of functions, files and threads of the pipeline; attachments, names of its tables, views and
connectors, and messages of errors, as Feldera's API gives them. Nothing else in here was read from its data.
"""

UNATTACHED = (
    " Attachments of {} older profiles are not in here: lower ?limit=, or fetch them by "
    "…/samply_profiles/ID/attachments/NAME."
)

Attachments = Mapping[str, tuple[Extra, ...]]
"""Files by the id of their profile."""

routes = web.RouteTableDef()


@routes.get(PATH)
async def get(request: web.Request) -> web.StreamResponse:
    """The zip; its members are stored as they are, so that its length is known and a download can go on."""
    name = params.parse_pipeline(request.match_info)
    query = params.parse_export_query(request.rel_url.raw_query_string)
    caller = await permissions.admit(request)
    return await stale_index.answer(request, lambda view: _answer(request, view, caller, name, query))


async def _answer(
    request: web.Request, view: View, caller: permissions.Caller, name: str, query: params.ExportQuery
) -> web.StreamResponse:
    namespace = permissions.find_namespace(view, caller, name, query.namespace)
    if namespace is None:
        raise samply_profiles.build_absent(view, name)
    history = view.catalog.list_history(namespace, name)
    reply = await _ask(request, caller, namespace, name)
    attempts = history[: query.limit]
    chosen, unattached = choose_attached(attempts)
    attached, lost = await _leave_out_lost(request, chosen)
    reply = msgspec.structs.replace(reply, missing=(*reply.missing, *lost))
    entries = list(build_entries(view, namespace, name, attempts, len(history), reply, attached, unattached))
    stamp = all_ordinals.build_stamp(history[0]) if history else "empty"
    body = await zips.build_body(request, entries, filename=f"{stamp}-samply_export.zip")
    return await files.send(request, body)


async def _ask(request: web.Request, caller: permissions.Caller, namespace: str, name: str) -> SupportBundleReply:
    try:
        return await request.app[OPERATOR].gather_evidence(caller.login, SupportBundleRequest(name, namespace))
    except errors.SamplyOperatorError as error:
        return SupportBundleReply(missing=(f"Objects, pods and Events: {error}",))


async def _leave_out_lost(request: web.Request, chosen: Attachments) -> tuple[Attachments, list[str]]:
    """The attachments whose files are as they were stored, and what is wrong with the others: a damaged one must not
    cost its profile, or the whole zip. Raises StoreUnavailable: a retry helps."""
    kept: dict[str, tuple[Extra, ...]] = {}
    lost: list[str] = []
    for profile_id, extras in chosen.items():
        for extra in extras:
            try:
                await files.check_there(request, extra)
            except errors.StoreUnavailable:
                raise
            except errors.UnknownProfile:
                lost.append(f"attachments/{profile_id}/{extra.name}: the file is gone from the store.")
            except errors.StoreError as error:
                lost.append(f"attachments/{profile_id}/{extra.name}: {error}")
            else:
                kept[profile_id] = (*kept.get(profile_id, ()), extra)
    return kept, lost


def build_entries(
    view: View,
    namespace: str,
    name: str,
    attempts: Sequence[Manifest],
    total: int,
    reply: SupportBundleReply,
    attached: Attachments,
    unattached: int,
) -> Iterator[zips.Entry]:
    """In one folder, named for the pipeline. Names in it are the server's own. Of `unattached` profiles the attachments
    are left out."""
    newest = files.parse_modified(attempts[0].finished_at if attempts else "")
    left_out = f"Of {total - len(attempts)} older attempts nothing is in here: raise ?limit=." * (total > len(attempts))
    readme = README.format(
        version=__version__,
        name=name,
        namespace=namespace,
        attempts=count(len(attempts), "attempt"),
        profiles=count(sum(manifest.file is not None for manifest in attempts), "profile"),
        left_out=left_out,
        unattached=UNATTACHED.format(unattached) * (unattached > 0),
        missing="".join(f"MISSING: {what}\n" for what in reply.missing),
    )
    recordings = [representations.render_recording(each, view) for each in view.list_recordings(namespace, name)]
    for path, value in (
        ("pipeline.json", representations.render_pipeline(view, namespace, name)),
        ("recordings.json", recordings),
        ("objects.json", reply.objects),
        ("pods.json", reply.pods),
        ("events.json", reply.events),
    ):
        yield _build_text(name, path, msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n", newest)
    yield _build_text(name, "README.txt", readme.encode(), newest)
    for manifest in attempts:
        time = files.parse_modified(manifest.finished_at)
        yield _build_text(name, f"manifests/{manifest.id}.json", documents.encode(manifest), time)
        if manifest.file is not None:
            stamp = time.strftime("%Y-%m-%dT%H-%M-%SZ")  # no colon: Windows can't have one in a file's name
            place = f"{name}/profiles/{manifest.ordinal}/{stamp}-{manifest.id}.json.gz"
            yield zips.Entry(place, manifest, time)
        for extra in attached.get(manifest.id, ()):
            yield zips.Entry(f"{name}/attachments/{manifest.id}/{extra.name}", extra, time)


def choose_attached(attempts: Sequence[Manifest]) -> tuple[Attachments, int]:
    """Attachments of the newest profiles first, as far as MAX_FILES allows; and of how many profiles they are left
    out."""
    room = MAX_FILES - sum(manifest.file is not None for manifest in attempts)
    chosen: dict[str, tuple[Extra, ...]] = {}
    left_out = 0
    for manifest in attempts:
        found = tuple(Extra(manifest, each.name, each.file) for each in manifest.attachments if each.file)
        if left_out or len(found) > room:
            left_out += bool(found)
            continue
        chosen[manifest.id] = found
        room -= len(found)
    return chosen, left_out


def _build_text(name: str, path: str, data: bytes, time: datetime) -> zips.Entry:
    return zips.Entry(f"{name}/{path}", data, time)
