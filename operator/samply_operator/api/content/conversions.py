"""Conversions of stored profiles on demand: only a child process with limits reads the profile.

The response is completed in a file before its head is sent: errors have their own status, and slow clients do not block
others.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib import resources

import msgspec
from aiohttp import hdrs, web

from samply_operator import __version__, errors
from samply_operator.api.auth import permissions
from samply_operator.api.content import conditional, files, spool
from samply_operator.api.content.conversion_slots import ConversionQueue
from samply_operator.api.content.open_files import FILES
from samply_operator.api.server.listener import while_connected
from samply_operator.model.manifest import Manifest
from samply_operator.profiles.worker import bounded, jobs

CPU_SECS = 60
WALL_SECS = 90.0
MAX_RAW_BYTES = 1 << 30
TAKE_SECS = 300.0
"""A client that has not read its response by then is disconnected, because it uses space that others need."""
NO_RANGES = "HEAD"
"""Ranges are of files that are stored: here each one would be another conversion."""

JSON, TEXT, SVG = "application/json", "text/plain; charset=utf-8", "image/svg+xml"


@dataclass(frozen=True, slots=True)
class Made:
    """The job, and its profiles. `filename` empty: it is displayed, not saved."""

    job: jobs.AnyJob
    sources: tuple[Manifest, ...]
    media_type: str
    filename: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further ones."""


class Conversions:
    """Shared by all conversions: the queue, the space, and the limits of each."""

    def __init__(self, memory_bytes: int, spool_bytes: int) -> None:
        self.queue = ConversionQueue()
        self.spool = spool.Spool(spool_bytes)
        self.limits = bounded.Limits(memory_bytes, CPU_SECS, WALL_SECS, self.spool.answer_bytes, MAX_RAW_BYTES)


CONVERSIONS = web.AppKey("conversions", Conversions)


async def send(request: web.Request, made: Made) -> web.StreamResponse:
    """Respond with the result. Raises ProfileError, UnknownProfile, TooManyRequests before the head is sent."""
    for manifest in made.sources:
        await files.check_there(request, manifest)
    headers, tag, modified = _build_headers(made), _build_tag(made), _find_modified(made)
    plan = conditional.decide(request.headers, tag=tag, modified=modified, size_bytes=0, method=NO_RANGES)
    if isinstance(plan, conditional.NotModified | conditional.PreconditionFailed):
        return files.build_unsent(plan, headers)
    with ExitStack() as kept:
        answer = await while_connected(request, _make(request, made, kept))
        return await files.transmit(request, 200, headers, ((answer.file, 0, answer.size_bytes),), TAKE_SECS)


async def _make(request: web.Request, made: Made, kept: ExitStack) -> spool.Answer:
    """`kept` holds the space that the response uses."""
    conversions, caller = request.app[CONVERSIONS], permissions.find_caller(request)
    async with conversions.queue.take(caller):
        with ExitStack() as room:  # after a failure the space is free before the next one starts
            answer = room.enter_context(conversions.spool.open(caller))
            try:
                async with request.app[FILES].use(made.sources):
                    await bounded.write(made.job, conversions.limits, answer.file)
            except errors.ProfileError:
                for manifest in made.sources:  # one may have been removed in the meantime
                    await files.check_there(request, manifest)
                raise
            answer.shrink_to(os.fstat(answer.file.fileno()).st_size)
            kept.enter_context(room.pop_all())
    return answer


def _build_headers(made: Made) -> dict[str, str]:
    headers: dict[str, str] = {
        hdrs.CONTENT_TYPE: made.media_type,
        hdrs.ETAG: f'"{_build_tag(made)}"',
        hdrs.LAST_MODIFIED: conditional.render_date(_find_modified(made)),
        hdrs.CACHE_CONTROL: files.REVALIDATE,
        hdrs.VARY: "Accept",
        **made.headers,
    }
    if made.filename:
        headers[hdrs.CONTENT_DISPOSITION] = f'attachment; filename="{made.filename}"'
    if made.media_type == SVG:
        headers["Content-Security-Policy"] = build_policy()
    return headers


def _build_tag(made: Made) -> str:
    """The same job on the same bytes by the same program gives the same answer."""
    job = {**msgspec.structs.asdict(made.job), "profile": "", "profiles": "", "before": "", "after": ""}
    facts = [__version__, type(made.job).__name__, job, [m.file.sha256 for m in made.sources if m.file]]
    return hashlib.sha256(msgspec.json.encode(facts)).hexdigest()


def _find_modified(made: Made) -> datetime:
    return max(files.parse_modified(manifest.finished_at) for manifest in made.sources)


@cache
def build_policy() -> str:
    """Of an SVG: names in it come from an untrusted binary. It has no origin, loads nothing, and runs the one script
    that a flame graph has (which profiles/output/flamegraph.py puts behind a line break)."""
    script = resources.files("samply_operator.profiles.output").joinpath("flamegraph.js").read_bytes()
    digest = base64.b64encode(hashlib.sha256(b"\n" + script).digest()).decode()
    return f"sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
