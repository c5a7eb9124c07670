"""`kubectl samply record`: the objects that it makes, and what it says of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from samply_operator.errors import KubeForbidden
from samply_operator.plugin import main, service
from samply_operator.plugin.kubectl import Kubectl

ENDED = {
    "phase": "Succeeded",
    "conditions": [{"type": "Finished", "status": "True"}, {"type": "Succeeded", "status": "True"}],
    "attachments": [{"kind": "Stats", "name": "s"}, {"kind": "HeapProfile", "problem": "No\x1b[2J heap profile."}],
}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Mapping[str, Any]]:
    """The objects that kubectl is to create; that of ordinal 7 is refused, the others end at once, and with ordinal 5
    the user presses Ctrl-C."""
    found: list[Mapping[str, Any]] = []

    def run(self: Kubectl, *arguments: str, body: Mapping[str, Any] | None = None) -> str:
        if body is not None:
            if body["spec"]["ordinal"] == 7:
                raise KubeForbidden("No quota.")
            found.append(body)
            return json.dumps(body)
        (raw,) = (each for each in found if each["metadata"]["name"] in arguments)
        if raw["spec"]["ordinal"] == 5:
            raise KeyboardInterrupt
        return json.dumps({**raw, "status": ENDED})

    class Client:
        def list_ordinals(self, pipeline: str, namespace: str) -> list[int]:
            return [0, 1, 7, 8]

    @contextmanager
    def open_client(*arguments: object) -> Iterator[Client]:
        yield Client()

    monkeypatch.setattr(Kubectl, "run", run)
    monkeypatch.setattr(service, "open_client", open_client)
    return found


def record(*arguments: str) -> int:
    return main.main(["record", "orders", "--namespace", "feldera", *arguments])


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
    assert record("--no-wait", *arguments) == 0
    (body,) = made
    spec = json.loads(json.dumps(body))["spec"]
    assert spec == {"pipeline": "orders", "ordinal": 0, "durationSeconds": 30} | expected


def test_an_unknown_attachment_is_refused(made: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        record("--attach", "stats")
    assert "CircuitProfile" in capsys.readouterr().err
    assert made == []


@pytest.mark.parametrize("output", ["text", "json"])
def test_an_attachment_that_is_missing_is_told(
    output: str, made: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    """The profile is good: it is no failure."""
    assert record("--attach", "HeapProfile", "-o", output) == 0
    name = made[0]["metadata"]["name"]
    assert capsys.readouterr().err == f"{name}: the attachment HeapProfile is missing: No[2J heap profile.\n"


@pytest.mark.parametrize(
    ("ordinal", "said", "count"),
    [("all", "kubectl samply: No quota.", 2), ("5", "", 1), ("7", "kubectl samply: No quota.", 0)],
    ids=["the third is refused", "Ctrl-C", "the first is refused"],
)
def test_what_was_made_is_named_where_the_command_ends_early(
    ordinal: str, said: str, count: int, made: list[Mapping[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert record("--ordinal", ordinal) == 1
    first, *more = capsys.readouterr().err.splitlines()
    assert (first, len(made)) == (said, count)
    names = ", ".join(each["metadata"]["name"] for each in made)
    told = f"Created before that: {names}. Recordings continue without this command: kubectl samply list."
    assert more == ([told] if made else [])


def test_ctrl_c_of_another_command_tells_of_no_recording(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(self: Kubectl, *arguments: str) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(Kubectl, "run", interrupt)
    assert main.main(["list", "--namespace", "feldera"]) == 1
    assert capsys.readouterr().err == "\n"
