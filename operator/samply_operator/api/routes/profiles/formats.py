"""`?format=` where a profile is served: the same profile for other programs."""

from __future__ import annotations

from aiohttp import web

from samply_operator import errors
from samply_operator.api import params
from samply_operator.api.content import conversions, files
from samply_operator.api.content.open_files import FILES
from samply_operator.model.manifest import Manifest
from samply_operator.plural import count
from samply_operator.profiles.worker import jobs


async def send(request: web.Request, manifest: Manifest, query: params.FormatQuery) -> web.StreamResponse:
    """The profile in another format. An SVG is shown, the others are saved."""
    if query.format is None:
        raise errors.InvalidParam("No format is requested.")
    note = describe_quality(manifest) if query.format == "svg" else ""
    job = jobs.Convert(
        profile=find_path(request, manifest), format=query.format, measure=query.measure, note=note, by=query.by
    )
    stamp = files.parse_modified(manifest.finished_at).strftime("%Y-%m-%dT%H:%M:%SZ")
    filename = "" if query.format == "svg" else f"{stamp}-samply_profile{jobs.SUFFIXES[query.format]}"
    return await conversions.send(request, conversions.Made(job, (manifest,), jobs.MEDIA_TYPES[query.format], filename))


def describe_quality(manifest: Manifest) -> str:
    """Quality and time of the profile, shown with it."""
    quality = manifest.quality
    return " · ".join(
        (
            *([] if quality.coverage is None else [f"coverage {quality.coverage:.0%}"]),
            *([count(quality.lost_events, "lost event")] if quality.lost_events else []),
            f"{files.parse_modified(manifest.finished_at):%Y-%m-%d %H:%M} UTC",
        )
    )


def find_path(request: web.Request, manifest: Manifest) -> str:
    if manifest.file is None:
        raise errors.UnknownProfile(f"Profile '{manifest.id}' has no file.", details={"profile": manifest.id})
    return str(request.app[FILES].find_path(manifest.id))
