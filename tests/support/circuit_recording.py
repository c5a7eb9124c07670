"""A real circuit's markers (tests/data/profiles), read independently of the code under test. Samples are added where
the markers report CPU time: the recording itself has none."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

STEP_US = 200
"""CPU time between two samples."""
FOLDER = Path(__file__).parents[1] / "data" / "profiles"
FILE = FOLDER / "dbsp-v57.json.gz"
SAMPLED_FILE = FOLDER / "dbsp-sampled-v57.json.gz"
"""Another one, with its own samples."""

GRAPH: dict[str, Any] = {
    "calcite_plan": {},
    "mir": {"s1": {"operation": "join", "view": "totals", "inputs": [], "positions": [], "persistent_id": "bb"}},
}
CIRCUIT: dict[str, Any] = {
    "worker_profiles": [{"metadata": {"nn2": {"entries": [{"metric_id": "persistent_id", "value": "bb"}]}}}],
    "graph": {
        "nodes": {"id": "n", "label": "", "nodes": [{"Simple": {"id": "nn2", "label": "Map @ f.rs:1"}}]},
        "edges": [],
    },
}
"""What Feldera would tell of it: one node is the view `totals`."""


def load() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(gzip.decompress(FILE.read_bytes()))
    return document


def make() -> bytes:
    """The whole file, in gzip, with samples of both workers."""
    document = load()
    document["meta"]["interval"] = STEP_US / 1000
    for thread in document["threads"]:
        if thread["name"].startswith("dbsp-worker"):
            put_samples(document, thread)
    return gzip.compress(json.dumps(document).encode())


def read_evaluations(document: dict[str, Any], thread: dict[str, Any]) -> list[tuple[float, float, str, int]]:
    """Start, end, node with its name, and CPU time in microseconds: read plainly, apart from the code under test."""
    strings, markers, out = document["shared"]["stringArray"], thread["markers"], []
    for row in range(markers["length"]):
        if strings[markers["name"][row]] == "eval":
            node, _, used = strings[markers["data"][row]["name"]].partition(" used ")
            cpu_us = int(used.split("real time, ")[1].removesuffix("μs CPU time"))
            out.append((markers["startTime"][row], markers["endTime"][row], node, cpu_us))
    return sorted(out)


def put_samples(document: dict[str, Any], thread: dict[str, Any]) -> None:
    """One for each STEP_US of CPU time, somewhere in the evaluation that used it."""
    times: list[float] = []
    left = STEP_US / 2
    for start, end, _, cpu_us in read_evaluations(document, thread):
        at = left
        while at < cpu_us:
            times.append(start + (end - start) * at / cpu_us)
            at += STEP_US
        left = at - cpu_us
    times.sort()
    count = len(times)
    document["shared"]["stringArray"].append("work")
    name = len(document["shared"]["stringArray"]) - 1
    thread["funcTable"] = {"length": 1, "name": [name], "resource": [-1], "fileName": [None]}
    thread["frameTable"] = {"length": 1, "func": [0], "address": [-1], "line": [None]}
    thread["stackTable"] = {"length": 1, "frame": [0], "prefix": [None]}
    thread["resourceTable"] = {"length": 0, "lib": [], "name": [], "host": [], "type": []}
    thread["samples"] = {
        "length": count,
        "weightType": "samples",
        "stack": [0] * count,
        "time": times,
        "threadCPUDelta": [STEP_US] * count,
    }
