"""Log lines: one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from samply_operator import logs


def make_record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    record = logging.LogRecord("a.b", logging.WARNING, "f.py", 1, message, arguments, None)
    record.__dict__.update(extra)
    return record


def test_a_line_says_when_how_grave_who_and_what() -> None:
    """And no more."""
    line = json.loads(logs.JsonFormatter().format(make_record("%s is %d", "x", 3)))
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "warning", "logger": "a.b", "message": "x is 3"}


def test_fields_stand_beside_the_message() -> None:
    """For machines; what is no JSON value is written as text."""
    line = json.loads(
        logs.JsonFormatter().format(make_record("x", **{logs.FIELDS: {"status": 200, "kind": ValueError}}))
    )
    assert (line["status"], line["kind"]) == (200, "<class 'ValueError'>")


@pytest.mark.parametrize("text", ["two\nlines", 'a "quote"', "\x1b[31mred", "é ✓", "{}"])
def test_foreign_text_stays_on_its_line(text: str) -> None:
    """Nobody can fake a log line by a newline in a name."""
    written = logs.JsonFormatter().format(make_record("%s", text))
    assert "\n" not in written
    assert "\x1b" not in written
    assert json.loads(written)["message"] == text


def test_an_exception_is_in_its_line() -> None:
    """With its traceback, as one value."""
    record = make_record("failed")
    try:
        raise ValueError("why")
    except ValueError:
        record.exc_info = sys.exc_info()
    written = logs.JsonFormatter().format(record)
    assert "\n" not in written
    assert "ValueError: why" in json.loads(written)["exception"]


@pytest.fixture
def restored() -> object:
    root, kopf = logging.getLogger(), logging.getLogger("kopf")
    before = root.handlers[:], root.level, kopf.level
    yield
    root.handlers[:], root.level, kopf.level = before


@pytest.mark.parametrize(
    ("level", "own", "of_kopf"),
    [
        ("DEBUG", logging.DEBUG, logging.INFO),
        ("INFO", logging.INFO, logging.INFO),
        ("ERROR", logging.ERROR, logging.ERROR),
    ],
)
def test_the_level_holds_for_all_but_kopf_never_below_info(
    restored: object, level: str, own: int, of_kopf: int
) -> None:
    """kopf's DEBUG prints whole objects."""
    logs.configure(level)
    assert (logging.getLogger().level, logging.getLogger("kopf").level) == (own, of_kopf)
