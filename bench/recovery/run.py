#!/usr/bin/env python3
"""How soon recordings are in hand again: after the operator was killed, and after the API server was away.

    bench/recovery/run.py [--rounds N]

Needs KUBECONFIG and PATH of a native cluster (hack/cluster up) with the images loaded; makes a release and a pipeline
in a namespace of its own. Prints a Markdown table. About 1 min per round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))

from cluster import pipelines, profiles, programs, release
from cluster.node import Node
from cluster.pipelines import Pipeline
from cluster.release import Install
from support import kubectl

LONG_SECS, SHORT_SECS = 15, 2
ADOPTED = "going on at step"


def measure_operator(install: Install, pipeline: Pipeline, node: Node) -> tuple[float, float]:
    """Seconds from the kill to the adoption, and from the end of sampling to the stored profile."""
    # A new pod each time: the kubelet waits longer before each further restart of the same one.
    kubectl.succeed("-n", install.namespace, "delete", "pod", "-l", install.selector)
    install.wait()
    name = profiles.make(pipeline, durationSeconds=LONG_SECS)
    profiles.wait(pipeline, name, "Recording")
    before = install.container("operator")
    pids = node.find_processes(before["containerID"])
    killed = time.time()
    node.run('kill -KILL "$@"', *pids)
    killed = (killed + time.time()) / 2
    status = profiles.wait_succeeded(pipeline, name, timeout=90)["status"]
    log = kubectl.succeed("-n", install.namespace, "logs", install.deployment, "-c", "operator", "--timestamps")
    adopted = next(line.split()[0] for line in log.splitlines() if ADOPTED in line)
    return parse(adopted) - killed, parse(status["finishedAt"]) - parse(status["endsAt"])


def measure_api_server(pipeline: Pipeline) -> tuple[float, float, float, float]:
    """Seconds that it was away; from its return to the start of a recording that is asked for at that instant, on an
    ordinal that has none, and to its profile, without its own time; from its return to the profile that ran meanwhile,
    or from that one's end, whatever came later."""
    name = profiles.make(pipeline, durationSeconds=LONG_SECS)
    status = profiles.wait(pipeline, name, "Recording")["status"]
    killed = time.time()
    programs.kill("kube-apiserver")
    starting = threading.Thread(target=programs.start_again)
    starting.start()
    kubectl.poll(programs.answers, timeout=60, what="the API server is ready", pause=0.1)
    back = time.time()
    begun, stored = measure_next(pipeline, since=back, ordinal=1)
    starting.join()
    old = profiles.wait_succeeded(pipeline, name, timeout=90)["status"]
    assert old["startedAt"] == status["startedAt"], "it was taken once"
    return back - killed, begun, stored, parse(old["finishedAt"]) - max(back, parse(old["endsAt"]))


def measure_next(pipeline: Pipeline, *, since: float = 0.0, ordinal: int = 0) -> tuple[float, float]:
    """Ask now. Seconds from `since` (0: now) to the start of sampling, and to the profile, without its own time."""
    since = since or time.time()
    name = kubectl.poll(lambda: try_to_make(pipeline, ordinal), timeout=30, what="a SamplyProfile is taken", pause=0.1)
    status = profiles.wait_succeeded(pipeline, name, timeout=60)["status"]
    return parse(status["startedAt"]) - since, parse(status["finishedAt"]) - since - SHORT_SECS


def try_to_make(pipeline: Pipeline, ordinal: int) -> str:
    """A new object's name; empty if the API server doesn't take it yet: it is ready before it knows all kinds."""
    try:
        return profiles.make(pipeline, ordinal, durationSeconds=SHORT_SECS)
    except AssertionError:
        return ""


def parse(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def show(what: str, found: list[float]) -> None:
    print(f"| {what} | {statistics.median(found):.1f} | {min(found):.1f} to {max(found):.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with release.installed("recovery", config={"recording": {"mode": "InPlace"}}) as install:
        node = Node(install.namespace)
        node.start()
        pipeline = pipelines.start(install.namespace, "demo", replicas=2)
        pipeline.wait_ready()
        for ordinal in (0, 1):
            profiles.wait_succeeded(pipeline, profiles.make(pipeline, ordinal, durationSeconds=1))
        usual = [measure_next(pipeline) for _ in range(options.rounds)]
        operator = [measure_operator(install, pipeline, node) for _ in range(options.rounds)]
        server = [measure_api_server(pipeline) for _ in range(options.rounds)]
        for ordinal in (0, 1):
            pipeline.wait_untouched(ordinal)
    print("\n| what | seconds (median) | range |\n| --- | --- | --- |")
    show("operator killed → its recording adopted by the next one", [first for first, _ in operator])
    show("end of that recording → its profile stored", [second for _, second in operator])
    show("API server killed → ready again", [away for away, *_ in server])
    show(
        "API server back → a recording asked for at that instant, on another ordinal, samples",
        [b for _, b, *_ in server],
    )
    show(f"API server back → its profile stored, without its own {SHORT_SECS} s", [s for _, _, s, _ in server])
    show(
        "API server back (or the recording's end, if later) → the profile that ran meanwhile stored",
        [old for *_, old in server],
    )
    show("nothing killed: asked for → it samples", [begun for begun, _ in usual])
    show(f"nothing killed: asked for → stored, without its own {SHORT_SECS} s", [stored for _, stored in usual])


if __name__ == "__main__":
    main()
