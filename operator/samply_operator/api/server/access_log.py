"""Metrics and one JSON line at the end of each request. Paths are logged without their query, which may hold a
signature.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import msgspec
from aiohttp import hdrs, web
from aiohttp.abc import AbstractAccessLogger

from samply_operator.api.server import measures
from samply_operator.control.messages import REQUEST_ID

SENT_BYTES = web.RequestKey("sent_bytes", int)
"""Set by code that sends a body without aiohttp's writer (sendfile)."""
QUIET = frozenset({"/", "/healthz", "/readyz", "/metrics"})
"""The kubelet's probes and Prometheus: logged only when they fail."""

BATCH_SECS = 0.05
"""How long a line may be buffered."""

logger = logging.getLogger("samply_operator.api.access")

_encoder = msgspec.json.Encoder()


class Line(msgspec.Struct, gc=False):
    """Log fields of one request."""

    time: datetime
    request_id: str
    method: str
    path: str
    status: int
    sent_bytes: int
    duration_ms: float
    client: str
    user_agent: str
    level: str = "info"
    event: str = "request"


class AccessLogger(AbstractAccessLogger):
    """Called by aiohttp at the end of each request, also of one that was cut off."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        path = request.rel_url.raw_path
        # A look-up of what isn't there is an exception inside of aiohttp, for each poll.
        sent_bytes = None if isinstance(response, web.Response) else request.get(SENT_BYTES)
        if sent_bytes is None:
            sent_bytes = 0 if request.method == hdrs.METH_HEAD else response.content_length or 0
        measures.count_request(request, response.status, time, sent_bytes)
        if response.status >= 400 or path not in QUIET:
            _sink(_build_line(path, request, response, time, sent_bytes))


def _build_line(
    path: str, request: web.BaseRequest, response: web.StreamResponse, duration_secs: float, sent_bytes: int
) -> Line:
    agent = request.headers.get(hdrs.USER_AGENT, "")
    return Line(
        time=datetime.now(UTC),
        request_id=response.headers.get(REQUEST_ID, ""),
        method=request.method,
        path=path[:512] if path.isascii() else _clean(path[:512]),
        status=response.status,
        sent_bytes=sent_bytes,
        duration_ms=round(duration_secs * 1000, 2),
        client=request.remote or "",
        user_agent=agent[:128] if agent.isascii() else _clean(agent[:128]),
    )


def _clean(text: str) -> str:
    """Replaces lone surrogates (from bytes that were not UTF-8), which no encoder accepts."""
    return text.encode("utf-8", "backslashreplace").decode()


def _log(line: Line) -> None:
    """Writes through `logging`, for tests and development."""
    if logger.isEnabledFor(logging.INFO):
        logger.info("%s", _encoder.encode(line).decode())


def _encode(lines: list[Line]) -> bytes:
    """A line that cannot be encoded is dropped alone."""
    try:
        return _encoder.encode_lines(lines)
    except ValueError as error:
        if len(lines) > 1:
            return b"".join(_encode([line]) for line in lines)
        logger.warning("a line of the access log was lost: %s", error)
        return b""


class Batch:
    """Writes the lines of BATCH_SECS with one system call: one line must not cost as much as a poll."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lines: list[Line] = []

    def add(self, line: Line) -> None:
        if not self._lines:
            asyncio.get_running_loop().call_later(BATCH_SECS, self.write)
        self._lines.append(line)

    def write(self) -> None:
        lines, self._lines = self._lines, []
        data = _encode(lines)
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError as error:
            logger.warning("%d bytes of the access log were lost: %s", len(data), error)


_sink: Callable[[Line], None] = _log


@contextmanager
def writing_to_stdout() -> Iterator[None]:
    """Send access lines to stdout as they are, apart from the other logs; at the end the last ones are written."""
    global _sink  # noqa: PLW0603 - one process, one stdout
    batch = Batch(sys.stdout.fileno())
    _sink = batch.add
    try:
        yield
    finally:
        _sink = _log
        batch.write()
