#!/usr/bin/env python3
"""The same CPU-limited pod recorded with its own, stock samply and with this project's: samples due and taken.

    bench/blindness/run.py [--rounds N] [--secs SECS]

Needs KUBECONFIG and PATH of a cluster (hack/cluster up) with the images loaded, and kernel.perf_event_paranoid 1; makes
a release and a pod in a namespace of its own. Due is the CPU time of each thread while it was sampled, as the kernel
counts it, times the rate. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from cluster import pipelines, profiles, release
from cluster.node import Node
from cluster.pipelines import Pipeline
from cluster.release import Service

HELPER_IMAGE = "docker.io/library/samply-operator-samply:dev"
RATE_HZ = 1000
TICKS_PER_SEC = 100
WAYS = {"InPlace": "its own samply 0.13.1", "Ephemeral": "this project's"}
# `now uptime`, then `uptime ticks name` of each thread, five times a second.
WATCH = """
for pid; do [ "$(cat "/proc/$pid/comm")" = pipeline ] && break; done
read -r up _ </proc/uptime
echo "$(date +%s.%N) $up"
while [ -d "/proc/$pid" ]; do
    read -r up _ </proc/uptime
    for task in /proc/$pid/task/*; do
        IFS= read -r line 2>/dev/null <"$task/stat" || continue
        name=${line#*(}; name=${name%)*}
        set -- ${line##*) }
        echo "$up $((${12} + ${13})) $name"
    done
    sleep 0.2
done
"""


def watch(node: Node, container_id: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            "kubectl",
            "-n",
            node.namespace,
            "exec",
            "hand",
            "--",
            "sh",
            "-c",
            WATCH,
            "sh",
            *node.find_processes(container_id),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )


def count_due(lines: Iterable[str], began: float, ended: float) -> dict[str, float]:
    """Samples due per thread between two instants (Unix time): its ticks there, by interpolation."""
    first, *rest = lines
    now, uptime = map(float, first.split())
    marks: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for line in rest:
        at, ticks, name = line.split(maxsplit=2)
        marks[name].append((float(at) + now - uptime, int(ticks)))
    return {
        name: (interpolate(found, ended) - interpolate(found, began)) / TICKS_PER_SEC * RATE_HZ
        for name, found in marks.items()
    }


def interpolate(marks: list[tuple[float, int]], at: float) -> float:
    for (low, before), (high, after) in itertools.pairwise(marks):
        if low <= at <= high:
            return before + (after - before) * (at - low) / (high - low)
    raise ValueError(f"not watched at {at}")


def count_taken(body: bytes) -> Counter[str]:
    threads = json.loads(gzip.decompress(body))["threads"]
    return Counter({thread["name"]: 0 for thread in threads}) + Counter(
        {thread["name"]: thread["samples"]["length"] for thread in threads}
    )


def record(pipeline: Pipeline, node: Node, service: Service, way: str, secs: int) -> dict[str, tuple[float, int]]:
    """Due and taken by thread."""
    (status,) = pipeline.get_pod()["status"]["containerStatuses"]
    watching = watch(node, status["containerID"])
    try:
        name = profiles.make(pipeline, mode=way, durationSeconds=secs, rateHz=RATE_HZ)
        found = profiles.wait(pipeline, name, timeout=secs + 60)["status"]
    finally:
        watching.terminate()
    lines = watching.communicate()[0].splitlines()
    stored = found.get("profile", {}).get("id")
    taken: Counter[str] = Counter()
    if stored:
        taken = count_taken(service.stored(pipeline.name, stored, "/profile").body)
    due = count_due(lines[: len(lines) - 1], parse(found["startedAt"]), parse(found["endsAt"]))
    return {thread: (expected, taken[thread]) for thread, expected in due.items() if expected >= 1 or taken[thread]}


def parse(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--secs", type=int, default=10)
    options = parser.parse_args()
    # Whatever came is to be seen: a coverage of 1 % is enough.
    config = {"ephemeral": {"image": HELPER_IMAGE}, "recording": {"minCoverage": 0.0}}
    rows: list[tuple[int, str, dict[str, tuple[float, int]]]] = []
    with release.installed("blind", config=config) as install:
        node = Node(install.namespace)
        node.start()
        limited = {"requests": {"cpu": "150m"}, "limits": {"cpu": "1"}}
        pipeline = pipelines.start(install.namespace, "demo", replicas=1, resources=limited, load="40")
        pipeline.wait_ready()
        with install.open() as service:
            for number in range(1, options.rounds + 1):
                for way in WAYS:
                    rows.append((number, way, record(pipeline, node, service, way, options.secs)))
        pipeline.wait_untouched()
    print(f"\nlimits.cpu 1 on a node of more, {options.secs} s at {RATE_HZ} Hz, taken of due:\n")
    threads = sorted({thread for *_, found in rows for thread in found})
    print(f"| round | samply | {' | '.join(threads)} | in all |\n|{' --- |' * (len(threads) + 3)}")
    for number, way, found in rows:
        cells = [f"{found[t][1]} of {found[t][0]:.0f}" if t in found else "" for t in threads]
        due, taken = (sum(pair[i] for pair in found.values()) for i in (0, 1))
        print(f"| {number} | {WAYS[way]} | {' | '.join(cells)} | {taken / due:.0%} |")


if __name__ == "__main__":
    main()
