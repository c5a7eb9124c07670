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


def measure_api_server(pipeline: Pipeline) -> tuple[float, float, float]:
    """Seconds that it was away; from its return to the next good profile; and to the one that ran meanwhile, or from
    that one's end, whatever came later."""
    name = profiles.make(pipeline, durationSeconds=LONG_SECS)
    status = profiles.wait(pipeline, name, "Recording")["status"]
    killed = time.time()
    programs.kill("kube-apiserver")
    starting = threading.Thread(target=programs.start_again)
    starting.start()
    kubectl.poll(programs.answers, timeout=60, what="the API server is ready")
    back = time.time()
    starting.join()
    old = profiles.wait_succeeded(pipeline, name, timeout=90)["status"]
    assert old["startedAt"] == status["startedAt"], "it was taken once"
    stored = parse(old["finishedAt"]) - max(back, parse(old["endsAt"]))
    return back - killed, measure_next(pipeline), stored


def measure_next(pipeline: Pipeline) -> float:
    """Seconds from asking to a good profile, its own time not counted."""
    asked = time.time()
    profile = profiles.wait_succeeded(pipeline, profiles.make(pipeline, durationSeconds=SHORT_SECS), timeout=60)
    return parse(profile["status"]["finishedAt"]) - asked - SHORT_SECS


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
        pipeline = pipelines.start(install.namespace, "demo", replicas=1)
        pipeline.wait_ready()
        profiles.wait_succeeded(pipeline, profiles.make(pipeline, durationSeconds=1))
        usual = [measure_next(pipeline) for _ in range(options.rounds)]
        operator = [measure_operator(install, pipeline, node) for _ in range(options.rounds)]
        server = [measure_api_server(pipeline) for _ in range(options.rounds)]
        pipeline.wait_untouched()
    print("\n| what | seconds (median) | range |\n| --- | --- | --- |")
    show("operator killed → its recording adopted by the next one", [first for first, _ in operator])
    show("end of that recording → its profile stored", [second for _, second in operator])
    show("API server killed → ready again", [away for away, _, _ in server])
    show(
        "API server back (or the recording's end, if later) → the profile that ran meanwhile stored",
        [s for *_, s in server],
    )
    show(
        f"a good profile right afterwards: asked for to stored, without its own {SHORT_SECS} s",
        [n for _, n, _ in server],
    )
    show("the same when nothing was killed", usual)


if __name__ == "__main__":
    main()
