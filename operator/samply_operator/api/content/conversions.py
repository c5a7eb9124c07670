"""What is made of stored profiles on demand, streamed: a child process with limits reads the profile, nobody else does.

The first bytes come before the head, so that what fails at once has a status of its own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import logging
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib import resources

import msgspec
from aiohttp import hdrs, web

from samply_operator import __version__, errors
from samply_operator.api.app_keys import FILES, TURNS
from samply_operator.api.content import conditional, files
from samply_operator.api.content.sending import Sender
from samply_operator.api.server import problems
from samply_operator.api.server.access_log import SENT_BYTES
from samply_operator.model.manifest import Manifest
from samply_operator.profiles.worker import bounded, jobs

logger = logging.getLogger(__name__)

STALL_SECS = 20.0
"""A client that takes nothing for this long is cut off: others wait."""

JSON, TEXT, SVG = "application/json", "text/plain; charset=utf-8", "image/svg+xml"


@dataclass(frozen=True, slots=True)
class Made:
    """What is to be made, of which profiles. `filename` empty: it is shown, not saved."""

    job: jobs.AnyJob
    sources: tuple[Manifest, ...]
    media_type: str
    filename: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Further ones."""


async def send(request: web.Request, made: Made) -> web.StreamResponse:
    """Answer with it. Raises ProfileError, UnknownProfile, TooManyRequests before the head is sent."""
    headers, tag, modified = _build_headers(made), _build_tag(made), _find_modified(made)
    given = {name: value for name, value in request.headers.items() if name in {"If-None-Match", "If-Modified-Since"}}
    if isinstance(conditional.decide(given, tag=tag, modified=modified, size_bytes=0), conditional.NotModified):
        return web.Response(status=304, headers={k: v for k, v in headers.items() if k not in files.OF_THE_BODY})
    if request.method == hdrs.METH_HEAD:
        return web.StreamResponse(headers=headers)
    turns = request.app[TURNS]
    async with (
        turns.take(),
        request.app[FILES].hold(made.sources),
        contextlib.aclosing(bounded.stream(made.job, turns.limits)) as pieces,
    ):
        try:
            first = await anext(pieces, b"")
        except errors.ProfileError:
            await _check_there(request, made)
            raise
        return await _stream(request, headers, first, pieces)


async def _check_there(request: web.Request, made: Made) -> None:
    """Raises UnknownProfile if one was removed."""
    for manifest in made.sources:
        await files.check_there(request, manifest)


async def _stream(
    request: web.Request, headers: dict[str, str], first: bytes, pieces: AsyncGenerator[bytes, None]
) -> web.StreamResponse:
    problems.mark(headers)
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    sender = Sender(request, response)
    try:
        await _write(sender, first)
        async for piece in pieces:
            await _write(sender, piece)
        await response.write_eof()
    except (ConnectionError, TimeoutError):
        sender.abort()
    except errors.ProfileError as error:
        logger.warning("an answer was cut off: %s", error)
        sender.abort()
    request[SENT_BYTES] = sender.sent_bytes
    return response


async def _write(sender: Sender, piece: bytes) -> None:
    async with asyncio.timeout(STALL_SECS):
        await sender.send_bytes(piece)


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
    """Of an SVG: names in it come from a stranger's binary. It is of no origin, loads nothing, and runs the one script
    that a flame graph has (which profiles/output/flamegraph.py puts behind a line break)."""
    script = resources.files("samply_operator.profiles.output").joinpath("flamegraph.js").read_bytes()
    digest = base64.b64encode(hashlib.sha256(b"\n" + script).digest()).decode()
    return f"sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
