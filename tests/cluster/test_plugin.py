"""`kubectl samply`, found by kubectl itself, on real recordings."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from cluster import profiles as objects
from cluster.pipelines import Pipeline
from cluster.release import CALLER, Install
from samply_operator import profiles
from support import kubectl

pytestmark = pytest.mark.cluster

HOTTEST = "join"
"""Half of each worker's CPU time: demo/pipeline/pipeline.c."""


@pytest.fixture(autouse=True)
def _found_by_kubectl(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin is installed beside this Python."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def samply(install: Install, pipeline: Pipeline, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    service = f"{install.namespace}/{install.name}"
    where = ("-n", pipeline.namespace, "--service", service, "--service-account", CALLER)
    return kubectl.run("samply", command, *where, *arguments)


def succeed(install: Install, pipeline: Pipeline, command: str, *arguments: str) -> str:
    done = samply(install, pipeline, command, *arguments)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module", autouse=True)
def _caller(install: Install) -> None:
    """The ServiceAccount that the plugin makes a token of."""
    install.make_caller()


@pytest.fixture(scope="module")
def recorded(install: Install, pipeline: Pipeline) -> Iterator[list[dict[str, Any]]]:
    """One of each ordinal, as the plugin lists them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        yield json.loads(
            succeed(install, pipeline, "record", pipeline.name, "--ordinal", "all", "--duration", "5s", "-o", "json")
        )


def test_record_takes_one_of_each_ordinal(recorded: list[dict[str, Any]]) -> None:
    """And waits for them."""
    assert sorted(raw["spec"]["ordinal"] for raw in recorded) == [0, 1]
    assert {raw["status"]["phase"] for raw in recorded} == {"Succeeded"}
    assert all(raw["spec"]["durationSeconds"] == 5 for raw in recorded)


def test_a_terminal_sees_a_bar(install: Install, pipeline: Pipeline) -> None:
    """That grows, and then the row of the profile."""
    ours, theirs = pty.openpty()
    command = ["kubectl", "samply", "record", pipeline.name, "-n", pipeline.namespace, "--duration", "4s",
               "--service", f"{install.namespace}/{install.name}"]  # fmt: skip
    drawn = b""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, text=True) as process:
        os.close(theirs)
        with contextlib.suppress(OSError):  # its other end is closed: it has ended
            while piece := os.read(ours, 65536):
                drawn += piece
        table = process.stdout.read() if process.stdout else ""
    os.close(ours)
    assert process.returncode == 0, drawn
    done = [match.count(b"#") for match in re.findall(rb"\[([#.]{30})\]", drawn)]
    assert len(done) >= 3, drawn
    assert done == sorted(done)
    assert done[-1] > done[0]
    assert re.search(rb"\d s left", drawn)
    assert re.search(rf"{re.escape(pipeline.name)} +0 +Succeeded +\d+ +\d+%", table), table


def test_list_shows_them(recorded: list[dict[str, Any]], install: Install, pipeline: Pipeline) -> None:
    table = succeed(install, pipeline, "list", pipeline.name)
    assert table.splitlines()[0].split()[:4] == ["NAME", "PIPELINE", "ORDINAL", "PHASE"]
    for raw in recorded:
        assert raw["metadata"]["name"] in table
    listed = json.loads(succeed(install, pipeline, "list", pipeline.name, "-o", "json"))
    assert {raw["metadata"]["name"] for raw in recorded} <= {raw["metadata"]["name"] for raw in listed}


def test_get_saves_the_very_file(
    recorded: list[dict[str, Any]], install: Install, pipeline: Pipeline, tmp_path: Path
) -> None:
    raw = recorded[0]
    out = tmp_path / "p.json.gz"
    said = json.loads(succeed(install, pipeline, "get", raw["metadata"]["name"], "-O", str(out), "-o", "json"))
    assert said["size_bytes"] == out.stat().st_size == raw["status"]["profile"]["sizeBytes"]
    assert profiles.facts(profiles.read(out)).symbolicated


def test_top_shows_the_hottest_function(recorded: list[dict[str, Any]], install: Install, pipeline: Pipeline) -> None:
    table = succeed(install, pipeline, "top", pipeline.name, "--ordinal", "0", "--limit", "3")
    assert recorded
    rows = re.findall(r"^ +(\d+\.\d) +\d+\.\d +\S+ +(\w+)", table, re.MULTILINE)
    assert rows[0][1] == HOTTEST, table
    assert re.match(r"coverage \d+%, \d+ lost events?", table.splitlines()[1]), table
    found = json.loads(succeed(install, pipeline, "top", pipeline.name, "--ordinal", "0", "-o", "json"))
    assert found["all_threads"]["by_self"][0]["name"] == HOTTEST


def test_diff_of_two_ordinals(recorded: list[dict[str, Any]], install: Install, pipeline: Pipeline) -> None:
    """Ordinal 1 has a function that ordinal 0 does not have."""
    names = [raw["metadata"]["name"] for raw in sorted(recorded, key=lambda raw: raw["spec"]["ordinal"])]
    found = json.loads(succeed(install, pipeline, "diff", *names, "-o", "json"))
    new = [change["name"] for change in found["changes"] if change["total_before"] == 0 and change["total_after"] > 0]
    assert any("1" in name for name in new), found["changes"]
    assert names[0] != names[1]
    assert HOTTEST in succeed(install, pipeline, "diff", *names)


def test_preflight_records_nothing(install: Install, pipeline: Pipeline) -> None:
    """Good news ends with 0, bad news with 1 and a cure."""
    text = succeed(install, pipeline, "preflight", pipeline.name)
    assert "verdict: Go" in text
    refused = samply(install, pipeline, "preflight", pipeline.name, "--process", "nobody")
    assert refused.returncode == 1
    assert "cure:" in refused.stdout
    assert not [raw for raw in objects.find(pipeline) if raw["spec"].get("process") == "nobody"
                and raw["status"].get("profile")]  # fmt: skip


def test_open_hands_the_file_to_the_viewer(
    recorded: list[dict[str, Any]], install: Install, pipeline: Pipeline, tmp_path: Path
) -> None:
    """The link is printed; the file is available there until it was fetched."""
    service = f"{install.namespace}/{install.name}"
    command = ["kubectl", "samply", "open", recorded[0]["metadata"]["name"], "-n", pipeline.namespace, "--no-browser",
               "--service", service, "--service-account", CALLER]  # fmt: skip
    out = tmp_path / "p.json.gz"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        link = process.stdout.readline().strip() if process.stdout else ""
        assert link.startswith("https://profiler.firefox.com/from-url/http%3A%2F%2F127.0.0.1%3A")
        url = unquote(link.split("/from-url/")[1].split("/?")[0])
        curl = ["curl", "--noproxy", "*", "--silent", "--fail", "--output", str(out), url]
        subprocess.run(curl, check=True, timeout=30)
    assert out.stat().st_size == recorded[0]["status"]["profile"]["sizeBytes"]
    assert process.returncode == 0


def test_export_is_a_bundle_with_events(
    recorded: list[dict[str, Any]], install: Install, pipeline: Pipeline, tmp_path: Path
) -> None:
    """Profiles, manifests, objects with their preflight, pods, Events."""
    out = tmp_path / "bundle.zip"
    succeed(install, pipeline, "export", pipeline.name, "-O", str(out))
    with zipfile.ZipFile(out) as found:
        assert found.testzip() is None
        names = found.namelist()
        for raw in recorded:
            uid = raw["metadata"]["uid"]
            assert f"{pipeline.name}/manifests/{uid}.json" in names
            (stored,) = (name for name in names if name.endswith(f"{uid}.json.gz"))
            assert found.getinfo(stored).file_size == raw["status"]["profile"]["sizeBytes"]
        events = json.loads(found.read(f"{pipeline.name}/events.json"))
        assert any(event["object"].startswith("SamplyProfile/") for event in events)
        assert {event["object"] for event in events} >= {f"Pod/{pipeline.pod(0)}"}
        kept = json.loads(found.read(f"{pipeline.name}/objects.json"))
        assert all(each["status"]["preflight"]["verdict"] for each in kept if each["status"]["phase"] == "Succeeded")
        assert [pod["name"] for pod in json.loads(found.read(f"{pipeline.name}/pods.json"))] == [
            pipeline.pod(0), pipeline.pod(1)
        ]  # fmt: skip
        assert "MISSING" not in found.read(f"{pipeline.name}/README.txt").decode()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["get", "nobody"], 1, "See `kubectl samply list`"),
        (["record", "nobody", "--duration", "1s"], 1, ""),
        (["record"], 2, "usage: kubectl samply record"),
        (["top", "x", "--no-such"], 2, "usage:"),
    ],
)
def test_exit_status_and_cure(
    arguments: list[str], status: int, said: str, install: Install, pipeline: Pipeline
) -> None:
    done = kubectl.run("samply", arguments[0], "-n", pipeline.namespace, *arguments[1:])
    assert done.returncode == status, done
    assert said in done.stderr
    assert done.stderr


def test_kubectl_completes_it(recorded: list[dict[str, Any]], pipeline: Pipeline) -> None:
    """By kubectl's own completion, through the program that is installed beside the plugin."""
    assert "record" in kubectl.succeed("__complete", "samply", "rec").splitlines()
    flags = ("samply", "top", "-n", pipeline.namespace, "")
    assert recorded[0]["metadata"]["name"] in kubectl.succeed("__complete", *flags).splitlines()
