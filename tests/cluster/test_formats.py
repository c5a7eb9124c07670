"""One real recording in every format, fetched over HTTP and read by the program that each format is for.

Firefox Profiler's own code and speedscope's page need `tests/readers/install` (Node.js) and Chromium, pprof needs Go.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cluster.pipelines import Pipeline
from cluster.release import Install, Service
from cluster.test_http import SHARES, TOLERANCE, fetch, post
from readers import test_readers as readers

pytestmark = pytest.mark.cluster

WORKERS = ("dbsp-worker-0", "dbsp-worker-1")
SVG = "{http://www.w3.org/2000/svg}"
ROUNDING = 0.05
"""Positions and widths have two digits after the point: where one ends, the next may begin 0.01 before it."""


@pytest.fixture(scope="module")
def fetched(
    install: Install, pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Path]]:
    """By format, one file each of the same profile; `profile` is the stored one."""
    folder = tmp_path_factory.mktemp("formats")
    with install.open() as service:
        assert post(service, pipeline, 0, secs=8).status == 202
        paths = {"profile": folder / "profile.json.gz"}
        paths["profile"].write_bytes(fetch(service, pipeline).body)
        for name, suffix in (("folded", ".txt"), ("speedscope", ".json"), ("pprof", ".pb.gz"), ("svg", ".svg")):
            answer = service.profile(pipeline.name, f"?format={name}")
            assert answer.status == 200, answer
            paths[name] = folder / f"{name}{suffix}"
            paths[name].write_bytes(answer.body)
        yield paths


def assert_split(selves: dict[str, float]) -> None:
    """What was spent in the functions themselves divides as the CPU time did."""
    total = sum(selves.values())
    assert total > 100, selves
    assert {name: 100 * selves.get(name, 0.0) / total for name in SHARES} == pytest.approx(SHARES, abs=TOLERANCE)


@readers.needs_node
def test_firefox_profiler_shows_names_and_the_split(fetched: dict[str, Path], pipeline: Pipeline) -> None:
    """As stored, without a symbol server."""
    with tempfile.TemporaryDirectory() as home:
        viewer = readers.Viewer(Path(home))
        try:
            viewer.load(fetched["profile"])
            assert f"Name: {pipeline.name} ordinal 0" in viewer.run("profile", "info").stdout
            threads = {each["name"]: each["threadHandle"] for each in viewer.ask("thread", "list")["threads"]}
            for worker in WORKERS:
                found = viewer.ask("thread", "functions", "--thread", threads[worker], "--limit", "0", "--include-idle")
                assert_split({each["name"]: each["selfSamples"] for each in found["functions"]})
        finally:
            viewer.close()


@readers.needs_go
@pytest.mark.parametrize("worker", WORKERS)
@pytest.mark.parametrize("measure", ["samples", "cpu"])
def test_pprof_shows_the_split(measure: str, worker: str, fetched: dict[str, Path]) -> None:
    """Google's own program."""
    options = ("-nodecount=1000", "-nodefraction=0", "-edgefraction=0", f"-sample_index={measure}", "-unit=us")
    table = readers.run_pprof("-top", *options, f"-tagfocus=thread={worker}", str(fetched["pprof"]))
    rows = re.findall(r"^\s*([\d.]+)(?:us)?\s+\S+%\s+\S+%\s+[\d.]+(?:us)?\s+\S+%\s+(\S+)", table, re.MULTILINE)
    assert_split({name: float(own) for own, name in rows})


@pytest.mark.parametrize("worker", WORKERS)
def test_folded_stacks_show_the_split(worker: str, fetched: dict[str, Path]) -> None:
    """By the few lines of awk that its readers are."""
    script = """
        { n = $NF; sub(/ [^ ]*$/, ""); k = split($0, f, ";"); if (f[2] == w) s[f[k]] += n }
        END { for (x in s) print s[x], x }
    """
    done = subprocess.run(
        ["awk", "-v", f"w={worker}", script, str(fetched["folded"])], capture_output=True, text=True, check=True
    )
    assert_split(
        {name: float(number) for number, _, name in (line.partition(" ") for line in done.stdout.splitlines())}
    )


@pytest.mark.parametrize("worker", WORKERS)
def test_speedscope_s_events_show_the_split(worker: str, fetched: dict[str, Path]) -> None:
    """Replayed as its format says: between two events, time belongs to the innermost open frame."""
    document = json.loads(fetched["speedscope"].read_text())
    frames = [frame["name"] for frame in document["shared"]["frames"]]
    (found,) = (each for each in document["profiles"] if f": {worker} (" in each["name"])
    selves: dict[str, float] = defaultdict(float)
    stack: list[int] = []
    last = found["startValue"]
    for event in found["events"]:
        if stack:
            selves[frames[stack[-1]]] += event["at"] - last
        last = event["at"]
        if event["type"] == "O":
            stack.append(event["frame"])
        else:
            assert stack.pop() == event["frame"]
    assert stack == []
    assert_split(selves)


@readers.needs_chromium
def test_speedscope_shows_the_split(fetched: dict[str, Path], tmp_path: Path) -> None:
    """Its own importer, in its own page."""
    shown = readers.read_speedscope(fetched["speedscope"].read_bytes(), tmp_path)
    for worker in WORKERS:
        (selves,) = (found for title, found in shown.items() if f": {worker} (" in title)
        assert_split(selves)


@pytest.mark.parametrize("worker", WORKERS)
def test_the_flame_graph_shows_the_split(worker: str, fetched: dict[str, Path]) -> None:
    """By the widths that are drawn: of a function, less those of what lies on it."""
    boxes = []
    for group in ElementTree.parse(fetched["svg"]).iter(f"{SVG}g"):
        rect, title = group.find(f"{SVG}rect"), group.findtext(f"{SVG}title")
        if rect is not None and title and group.get("class") == "b":
            x, y, width = (float(rect.get(key) or 0) for key in ("x", "y", "width"))
            boxes.append((title.split(" [")[0], x, y, width))
    (root,) = (box for box in boxes if re.match(rf"{worker} \(", box[0]))
    rows = sorted({box[2] for box in boxes}, reverse=True)
    above = dict(itertools.pairwise(rows))
    selves: dict[str, float] = defaultdict(float)
    for name, x, y, width in boxes:
        if x >= root[1] - ROUNDING and x + width <= root[1] + root[3] + ROUNDING:
            start, stop = x - ROUNDING, x + width - ROUNDING
            on_it = sum(box[3] for box in boxes if box[2] == above.get(y) and start <= box[1] < stop)
            selves[name] += width - on_it
    assert_split(selves)


def test_the_summary_shows_the_split(service: Service, fetched: dict[str, Path], pipeline: Pipeline) -> None:
    """As JSON, over HTTP."""
    assert fetched
    newest = service.list_stored(pipeline.name)[0]["id"]
    found = json.loads(service.stored(pipeline.name, newest, "/summary?limit=100").body)
    for worker in WORKERS:
        (thread,) = (each for each in found["threads"] if each["name"] == worker)
        assert_split({cost["name"]: cost["self_weight"] for cost in thread["by_self"]})
