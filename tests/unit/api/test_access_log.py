"""The access log: a line that cannot be written affects no other line."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from samply_operator.api.server.access_log import Batch, Line


def make_line(number: int, **changes: str) -> Line:
    facts = {"path": f"/{number}", "user_agent": "x", "client": "127.0.0.1", "request_id": "r", "method": "GET"}
    return Line(datetime.now(UTC), status=200, sent_bytes=0, duration_ms=1.0, **{**facts, **changes})


async def write(path: Path, *lines: Line) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    batch = Batch(fd)
    for line in lines:
        batch.add(line)
    batch.write()
    os.close(fd)


def read(path: Path) -> list[str]:
    """Paths of the lines that arrived."""
    return [json.loads(line)["path"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize("field", ["user_agent", "path", "method", "client", "request_id"])
async def test_a_line_that_cannot_be_written_loses_no_other_line(
    tmp_path: Path, field: str, caplog: pytest.LogCaptureFixture
) -> None:
    lines = [make_line(1), make_line(2, **{field: "\udcff"}), make_line(3)]
    await write(tmp_path / "log", *lines)
    assert read(tmp_path / "log") == ["/1", "/3"]
    assert "a line of the access log was lost" in caplog.text


async def test_a_full_disk_is_reported_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    batch = Batch(fd)
    for number in range(2):
        batch.add(make_line(number))
        batch.write()
    os.close(fd)
    assert caplog.text.count("bytes of the access log were lost") == 2
