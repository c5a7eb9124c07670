"""`kubectl samply record`: the object that it makes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from samply_operator.plugin import main
from samply_operator.plugin.kubectl import Kubectl


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    """The objects that kubectl is to create."""
    found: list[Mapping[str, Any]] = []

    def run(self: Kubectl, *arguments: str, body: Mapping[str, Any] | None = None) -> str:
        assert body is not None
        found.append(body)
        return json.dumps(body)

    monkeypatch.setattr(Kubectl, "run", run)
    return found


def record(*arguments: str) -> int:
    return main.main(["record", "orders", "--namespace", "feldera", "--no-wait", *arguments])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), {}),
        (("--attach", "Stats"), {"attachments": ["Stats"]}),
        (("--attach", "HeapProfile", "--attach=Stats", "--attach", "Stats"), {"attachments": ["HeapProfile", "Stats"]}),
    ],
    ids=["none", "one", "several"],
)
def test_attachments(arguments: tuple[str, ...], expected: dict[str, Any], made: list[Mapping[str, Any]]) -> None:
    assert record(*arguments) == 0
    (body,) = made
    spec = json.loads(json.dumps(body))["spec"]
    assert spec == {"pipeline": "orders", "ordinal": 0, "durationSeconds": 30} | expected


def test_an_unknown_attachment_is_refused(made: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        record("--attach", "stats")
    assert "CircuitProfile" in capsys.readouterr().err
    assert made == []
