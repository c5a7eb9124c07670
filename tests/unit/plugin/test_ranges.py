"""Ranges of time on the plugin's command line: what is asked of the service, and what is refused."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from samply_operator.plugin import main, moments, service

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
SINCE, UNTIL = "2026-01-31T08:00:00Z", "2026-01-31T09:00:00.000Z"
ID = "0b5c2f6e-7a51-4c1e-9d3b-2f1f5a1c9e10"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1h", "2026-01-31T08:30:00.000Z"),
        ("90m", "2026-01-31T08:00:00.000Z"),
        ("1d2h30m5s", "2026-01-30T06:59:55.000Z"),
        ("0s", "2026-01-31T09:30:00.000Z"),
        ("2026-01-31T09:00:00Z", "2026-01-31T09:00:00.000Z"),
        ("2026-01-31T10:00:00.25+01:00", "2026-01-31T09:00:00.250Z"),
    ],
)
def test_moments(text: str, expected: str) -> None:
    assert moments.parse(text, NOW) == expected


@pytest.mark.parametrize(
    "text", ["", "1", "h", "1h1d", "-1h", "1 h", "2026-01-31", "2026-01-31T09:00:00", "yesterday", "9999d9999999999s"]
)
def test_no_moments(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="2h30m"):
        moments.parse(text, NOW)


class Client:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []

    def read_view(self, path: str, query: Mapping[str, str]) -> bytes:
        self.asked.append((path, dict(query)))
        return b'{"measure": "cpu"}' if query["output"] == "json" else b"a table\n"

    def save_view(self, path: str, query: Mapping[str, str], out: Path) -> int:
        self.asked.append((path, dict(query)))
        return out.write_bytes(b"<svg/>")


PROFILE: dict[str, Any] = {
    "metadata": {"name": "profile-1", "namespace": "feldera", "uid": ID, "creationTimestamp": "2026-01-31T09:00:00Z"},
    "spec": {"pipeline": "orders"},
    "status": {
        "phase": "Succeeded",
        "conditions": [{"type": "Finished", "status": "True"}, {"type": "Succeeded", "status": "True"}],
        "profile": {"id": ID},
    },
}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Client:
    found = Client()

    @contextmanager
    def open_client(*arguments: object) -> Iterator[Client]:
        yield found

    monkeypatch.setattr(service, "open_client", open_client)
    monkeypatch.setattr(main.Plugin, "_list", lambda self: [PROFILE])
    monkeypatch.chdir(tmp_path)
    return found


def run(*arguments: str) -> int:
    return main.main([*arguments, "--namespace", "feldera", "--token", "t"])


def test_top(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("top", "orders", "--since", SINCE, "--until", UNTIL, "--ordinal", "1", "--limit", "5") == 0
    assert client.asked == [
        (
            "/v0/pipelines/orders/summary",
            {
                "since": "2026-01-31T08:00:00.000Z",
                "until": UNTIL,
                "namespace": "feldera",
                "by": "function",
                "ordinal": "1",
                "limit": "5",
                "output": "text",
            },
        )
    ]
    assert capsys.readouterr().out == "a table\n"
    assert run("top", "orders", "--since", "1h", "-o", "json") == 0
    assert json.loads(capsys.readouterr().out) == {"measure": "cpu"}
    assert "ordinal" not in client.asked[1][1]


def test_diff_of_two_ranges(client: Client) -> None:
    assert run("diff", "orders", "--before-since", SINCE, "--before-until", UNTIL, "--after-since", UNTIL) == 0
    ((path, query),) = client.asked
    assert path == "/v0/pipelines/orders/diff"
    assert query["before_since"].startswith("2026-01-31T08:00:00")
    assert (query["before_until"], query["after_since"]) == (UNTIL, UNTIL)
    assert query.keys().isdisjoint({"before", "after", "after_until", "since"})


@pytest.mark.parametrize("which", [("orders",), ("orders", "profile-1"), ("orders", "orders")])
def test_diff_of_a_range_and_a_profile(client: Client, which: tuple[str, ...]) -> None:
    """The other side is a profile by its name, or the newest one."""
    assert run("diff", *which, "--before-since", SINCE) == 0
    ((path, query),) = client.asked
    assert (path, query["after"]) == ("/v0/pipelines/orders/diff", ID)
    assert "before" not in query


def test_the_profile_beside_a_range_is_of_the_same_pod(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    """The newest one of the pipeline is of ordinal 0."""
    assert run("diff", "orders", "--before-since", SINCE, "--ordinal", "7") == 1
    assert "ordinal 7" in capsys.readouterr().err
    assert client.asked == []


def test_a_flame_graph(client: Client, tmp_path: Path) -> None:
    assert run("flamegraph", "orders", "--since", SINCE, "--by", "group") == 0
    assert run("flamegraph", "profile-1", "-O", str(tmp_path / "one.svg")) == 0
    (of_range, of_one) = client.asked
    assert of_range[0] == "/v0/pipelines/orders/samply_profile"
    assert (of_range[1]["format"], of_range[1]["by"], of_range[1]["namespace"]) == ("svg", "group", "feldera")
    path = f"/v0/pipelines/orders/samply_profiles/{ID}/profile"
    assert of_one == (path, {"format": "svg", "by": "function"})
    assert (tmp_path / "orders.svg").read_bytes() == (tmp_path / "one.svg").read_bytes() == b"<svg/>"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("top", "orders", "--since", "1h", "--per-thread"), "--per-thread does not work on a range of time"),
        (("top", "orders", "--since", "1h", "--rules", "own.toml"), "--rules does not work on a range of time"),
        (("diff", "orders"), "What is it compared with? Name a second profile, or give --after-since TIME."),
        (("diff", "orders", "profile-1", "--ordinal", "1"), "--ordinal is of a range of time."),
        (("diff", "others", "profile-1", "--before-since", "1h"), "different pipelines: orders, others."),
    ],
)
def test_what_is_refused(
    client: Client, arguments: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wrong usage: status 2."""
    assert run(*arguments) == 2
    assert said in capsys.readouterr().err
    assert client.asked == []


def test_a_time_that_is_none_is_wrong_usage(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run("top", "orders", "--since", "yesterday")
    assert caught.value.code == 2
    assert "expected how long ago, such as 90m" in capsys.readouterr().err
