"""Attempts, recordings and pipelines as JSON for clients: snake_case, times in RFC 3339, links relative to the host."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec
from aiohttp import web

from samply_operator.api.server import base_path
from samply_operator.api.state import View
from samply_operator.control.messages import RecordingState
from samply_operator.model.manifest import Attachment, Manifest

Json = dict[str, Any]

_encoder = msgspec.json.Encoder()


def build_json(body: Json, *, status: int = 200) -> web.Response:
    response = web.Response(status=status, body=_encoder.encode(body), content_type="application/json")
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def build_href(pipeline: str, profile_id: str) -> str:
    return f"{base_path.current.get()}/v0/pipelines/{quote(pipeline, safe='')}/samply_profiles/{profile_id}"


def render_reference(manifest: Manifest) -> Json:
    """A short description of a profile, inside of another response."""
    return {
        "id": manifest.id,
        "finished_at": manifest.finished_at,
        "coverage": manifest.quality.coverage,
        "verdict": manifest.quality.verdict or None,
        "href": build_href(manifest.pipeline, manifest.id),
    }


def render_failure(manifest: Manifest) -> Json:
    """Why an attempt failed: the details of SamplyProfilingFailure."""
    failure = manifest.failure
    return {
        "reason": failure.reason if failure else "Unknown",
        "remedy": failure.remedy if failure else "",
        "log": failure.log if failure else "",
    }


def render_attempt(manifest: Manifest, view: View) -> Json:
    """An attempt that ended."""
    href = build_href(manifest.pipeline, manifest.id)
    body: Json = {
        "id": manifest.id,
        "namespace": manifest.namespace,
        "name": manifest.name,
        "pipeline_name": manifest.pipeline,
        "ordinal": manifest.ordinal,
        "state": manifest.outcome,
        "requested_at": manifest.requested_at,
        "started_at": manifest.started_at or None,
        "finished_at": manifest.finished_at,
        "duration_secs": manifest.duration_secs,
        "rate_hz": manifest.rate_hz,
        "requested_by": manifest.requested_by or None,
        "target": _snake(msgspec.structs.asdict(manifest.target)),
        "quality": _snake(msgspec.structs.asdict(manifest.quality)),
        "warnings": list(manifest.warnings),
        "pinned": view.is_pinned(manifest.id),
        "href": href,
    }
    if manifest.file:
        body["file"] = {**msgspec.structs.asdict(manifest.file), "href": f"{href}/profile"}
    if manifest.attachments:
        body["attachments"] = [_render_attachment(each, href) for each in manifest.attachments]
    if manifest.trigger:
        body["trigger"] = msgspec.structs.asdict(manifest.trigger)
    if manifest.failure:
        body["failure"] = {"message": manifest.failure.message, **render_failure(manifest)}
    return body


def _render_attachment(attachment: Attachment, href: str) -> Json:
    """With a file, or with the reason why there is none."""
    file, name = attachment.file, attachment.name
    body: Json = {"kind": attachment.kind, "taken_at": attachment.taken_at or None, "problem": attachment.problem}
    if file is not None:
        body["name"] = name
        body["file"] = {**msgspec.structs.asdict(file), "href": f"{href}/attachments/{name}"}
    return body


def render_recording(recording: RecordingState, view: View) -> Json:
    """A recording that hasn't ended."""
    ends_at = recording.ends_at
    return {
        "id": recording.id,
        "namespace": recording.namespace,
        "name": recording.name,
        "pipeline_name": recording.pipeline,
        "ordinal": recording.ordinal,
        "state": recording.phase,
        "requested_at": recording.requested_at,
        "ends_at": None if ends_at is None else _render_time(ends_at),
        "duration_secs": recording.duration_secs,
        "preflight_only": recording.preflight_only,
        "queue_position": view.find_queue_position(recording),
        "href": build_href(recording.pipeline, recording.id),
    }


def render_pipeline(view: View, namespace: str, name: str) -> Json:
    """A pipeline and its ordinals: those in the cluster, and those that only profiles are left of."""
    state = view.find_pipeline(namespace, name)
    stored = view.catalog.list_ordinals(namespace, name)
    ordinals = sorted({*stored, *(o.ordinal for o in (state.ordinals if state else ()))})
    return {
        "name": name,
        "namespace": namespace,
        "status": _render_status(view, state.is_running if state else None),
        "ordinals": [_render_ordinal(view, namespace, name, ordinal) for ordinal in ordinals],
    }


def _render_ordinal(view: View, namespace: str, name: str, ordinal: int) -> Json:
    state = view.find_pipeline(namespace, name)
    found = next((o for o in (state.ordinals if state else ()) if o.ordinal == ordinal), None)
    facts = view.gather(namespace, name, ordinal)
    return {
        "ordinal": ordinal,
        "pod": (found.pod or None) if found else None,
        "node": (found.node or None) if found else None,
        "status": _render_status(view, found.is_running if found else None),
        "in_progress": facts.running.id if facts.running else None,
        "last_profile": render_reference(facts.last_good) if facts.last_good else None,
    }


def _render_status(view: View, is_running: bool | None) -> str:
    """Gone: only its profiles are left. Unknown: the operator is away."""
    if is_running is None:
        return "Gone" if view.is_certain else "Unknown"
    return "Running" if is_running else "Stopped"


def _render_time(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _snake(facts: Json) -> Json:
    """Structs keep their field names; unknown values become null."""
    return {key: None if value == "" else value for key, value in facts.items()}
