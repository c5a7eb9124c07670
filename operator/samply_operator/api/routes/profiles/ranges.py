"""The profiles of a pipeline in a range of time, for routes that merge them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from samply_operator import errors
from samply_operator.api import params
from samply_operator.api.auth import permissions
from samply_operator.api.content import conversions, files
from samply_operator.api.routes.profiles import formats, samply_profiles
from samply_operator.api.state import View
from samply_operator.model.manifest import Manifest
from samply_operator.profiles.analysis.left_out import LeftOut
from samply_operator.profiles.errors import ProfileJobFailed
from samply_operator.profiles.worker import jobs
from samply_operator.profiles.worker.jobs import Parts
from samply_operator.rules.serving import profile_range
from samply_operator.rules.serving.history import Filter

AT_ONCE = 8
"""Files of a bucket are looked for so many at a time."""


@dataclass(frozen=True, slots=True)
class Range:
    """Those that have a file, newest first, with their paths; `parts` names them, and the others."""

    manifests: tuple[Manifest, ...]
    paths: tuple[str, ...]
    parts: Parts


async def find(
    request: web.Request,
    view: View,
    caller: permissions.Caller,
    wanted: Filter,
    asked: str | None,
    prefix: str = "",
) -> Range:
    """`prefix` is that of the parameters since and until. Raises InvalidParam if they are too many, NoSamplyProfile if
    there are none, UnknownProfile or StoreError if no file of them is there, UnknownPipeline, StoreUnavailable."""
    name = params.parse_pipeline(request.match_info)
    namespace = permissions.find_namespace(view, caller, name, asked)
    if namespace is None:
        raise samply_profiles.build_absent(view, name)
    found = profile_range.choose(view.catalog.list_history(namespace, name), wanted, prefix)
    if not found:
        raise errors.NoSamplyProfile(
            f"Pipeline '{name}' has no stored profile that ended in this time.",
            remedy=f"GET /v0/pipelines/{name}/samply_profiles lists all, with the time at which they ended.",
            details={"pipeline_name": name},
        )
    gone = await _find_gone(request, found)
    there = tuple(each for each in found if each.id not in gone)
    if not there:
        raise next(iter(gone.values()))
    left_out = (
        LeftOut(each.id, _name(each), gone[each.id].code, gone[each.id].message) for each in found if each.id in gone
    )
    parts = Parts(tuple(each.id for each in there), tuple(map(_name, there)), tuple(left_out), name)
    return Range(there, tuple(formats.find_path(request, each) for each in there), parts)


async def _find_gone(request: web.Request, found: Sequence[Manifest]) -> dict[str, errors.SamplyOperatorError]:
    """By id: those whose file is not there, or not as long as it was."""
    gone: dict[str, errors.SamplyOperatorError] = {}
    limit = asyncio.Semaphore(AT_ONCE)

    async def check(manifest: Manifest) -> None:
        async with limit:
            try:
                await files.check_there(request, manifest)
            except errors.StoreUnavailable:
                raise  # it concerns all of them
            except (errors.UnknownProfile, errors.StoreError) as error:
                gone[manifest.id] = error

    try:
        async with asyncio.TaskGroup() as group:
            for manifest in found:
                group.create_task(check(manifest))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return gone


def build_single(request: web.Request, manifest: Manifest) -> Range:
    """One profile as the other side of a comparison."""
    parts = Parts((manifest.id,), (_name(manifest),))
    return Range((manifest,), (formats.find_path(request, manifest),), parts)


async def convert(
    request: web.Request,
    view: View,
    caller: permissions.Caller,
    shape: params.FormatQuery,
    wanted: Filter,
    asked: str | None,
) -> web.StreamResponse:
    """All of a range in one of `params.RANGE_FORMATS`. An SVG is shown, the others are saved."""
    found = await find(request, view, caller, wanted, asked)
    kind = next(each for each in params.RANGE_FORMATS if each == shape.format)
    job = jobs.ConvertRange(profiles=found.paths, parts=found.parts, format=kind, measure=shape.measure, by=shape.by)
    stamp = _show_time(found.manifests[0])
    filename = "" if kind == "svg" else f"{stamp}-samply_profiles{jobs.SUFFIXES[kind]}"
    return await send(request, conversions.Made(job, found.manifests, jobs.MEDIA_TYPES[kind], filename))


async def send(request: web.Request, made: conversions.Made) -> web.StreamResponse:
    """As conversions.send; names the cure that a range has."""
    try:
        return await conversions.send(request, made)
    except ProfileJobFailed as error:
        if len(made.sources) == 1:
            raise
        remedy = "Choose a narrower range or one ordinal, or allow more memory (config.api.viewMemoryBytes)."
        raise ProfileJobFailed(error.message, remedy=remedy, details=error.details) from error


def _name(manifest: Manifest) -> str:
    return f"{_show_time(manifest)} ordinal {manifest.ordinal}"


def _show_time(manifest: Manifest) -> str:
    return files.parse_modified(manifest.finished_at).strftime("%Y-%m-%dT%H:%M:%SZ")
