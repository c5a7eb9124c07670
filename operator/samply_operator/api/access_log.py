"""One line of JSON per request. Paths are logged without their query, which may hold a signature."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import msgspec
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

REQUEST_ID = "X-Request-Id"
SENT_BYTES = web.RequestKey("sent_bytes", int)
"""Set by whoever sends a body past aiohttp's writer (sendfile)."""
QUIET = frozenset({"/healthz", "/readyz"})
"""The kubelet's probes: logged only when they fail."""

logger = logging.getLogger("samply_operator.api.access")

_encoder = msgspec.json.Encoder()


class AccessLogger(AbstractAccessLogger):
    """Called by aiohttp at the end of each request, also of one that was cut off."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        if not logger.isEnabledFor(logging.INFO) or (response.status < 400 and request.path in QUIET):
            return
        logger.info("%s", _render(request, response, time))


def _render(request: web.BaseRequest, response: web.StreamResponse, duration_secs: float) -> str:
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": "info",
        "event": "request",
        "request_id": response.headers.get(REQUEST_ID, ""),
        "method": request.method,
        "path": request.rel_url.raw_path[:512],
        "status": response.status,
        "sent_bytes": request.get(SENT_BYTES, response.body_length if response.prepared else 0),
        "duration_ms": round(duration_secs * 1000, 2),
        "client": request.remote or "",
        "user_agent": request.headers.get("User-Agent", "")[:128],
    }
    return _encoder.encode(line).decode()


def write_to_stdout() -> None:
    """Send access lines to stdout as they are, apart from the other logs."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO)
