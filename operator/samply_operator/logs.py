"""Log lines as JSON on stderr, one object a line."""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime

FIELDS = "fields"
"""`logger.info(…, extra={FIELDS: {…}})` puts these beside the message."""
AUDIT = "samply_operator.audit"
"""Logger of the audit log: its lines are written at every level."""


MAX_ID = 64

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Id of the current request: added to each line, in both containers. Empty: none."""


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if named := request_id.get():
            line["request_id"] = named
        fields = getattr(record, FIELDS, None)
        if isinstance(fields, dict):
            line |= fields
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def configure(level: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger(AUDIT).setLevel(logging.INFO)
    logging.getLogger("kopf").setLevel(max(logging.INFO, logging.getLevelName(level)))
    # It logs each handled event: several useless lines per second.
    logging.getLogger("kopf.objects").setLevel(max(logging.WARNING, logging.getLevelName(level)))
