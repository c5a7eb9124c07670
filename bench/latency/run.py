#!/usr/bin/env python3
"""How long from POST to a running recording, and from its end to the file being served; floors beside them.

    bench/latency/run.py NAMESPACE PIPELINE [--rounds N] [--duration SECS] [--service NAME]

Needs KUBECONFIG, kubectl on the PATH, and a release of the chart with a running pipeline in NAMESPACE. Runs where the
Service's address can be reached (on a node), so that no port-forward is measured. Prints a Markdown table of medians.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import statistics
import subprocess
import time
from collections.abc import Callable
from datetime import datetime

from samply_operator.kube.client import KubeClient


def kubectl(*arguments: str) -> str:
    return subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=True).stdout


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


class HttpListener:
    def __init__(self, address: str, path: str, token: str) -> None:
        self._address, self._path = address, path
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def call(self, method: str, query: str) -> tuple[int, dict[str, str]]:
        connection = http.client.HTTPConnection(self._address, timeout=60)
        connection.request(method, self._path + query, headers=self._headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}


def record(listener: HttpListener, namespace: str, duration: int) -> tuple[float, float]:
    """Seconds from the POST to samply's own word that it records, and from the end of sampling to the 200."""
    posted = time.time()
    status, headers = listener.call("POST", f"?duration_secs={duration}")
    assert status == 202, status
    answered = time.time() - posted
    profile_id = headers["location"].rsplit("/", 1)[1]
    while listener.call("GET", "?latest=true")[0] == 204:
        time.sleep(0.02)
    served = time.time()
    items = json.loads(kubectl("-n", namespace, "get", "sprof", "-o", "json"))["items"]
    found = next(item for item in items if item["metadata"]["uid"] == profile_id)["status"]
    assert found["phase"] == "Succeeded", found
    ends = datetime.fromisoformat(found["endsAt"].replace("Z", "+00:00")).timestamp()
    return answered, served - ends


async def bare_exec(namespace: str, pod: str, rounds: int) -> list[float]:
    times = []
    async with KubeClient() as client:
        for _ in range(rounds):
            began = time.perf_counter()
            await client.run(namespace, pod, "pipeline", ["true"], deadline_secs=30)
            times.append(time.perf_counter() - began)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("namespace")
    parser.add_argument("pipeline")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--duration", type=int, default=3)
    parser.add_argument("--service", default="samply-operator")
    parser.add_argument("--token", default="", help="bearer token, where the release asks for one")
    options = parser.parse_args()
    space = options.namespace
    address = kubectl("-n", space, "get", "service", options.service, "-o", "jsonpath={.spec.clusterIP}")
    pods = json.loads(
        kubectl("-n", space, "get", "pods", "-l", "app.kubernetes.io/name=feldera-pipeline", "-o", "json")
    )
    pod = sorted(item["metadata"]["name"] for item in pods["items"])[0]
    listener = HttpListener(address, f"/v0/pipelines/{options.pipeline}/samply_profile", options.token)
    record(listener, space, 1)
    started, served, tool, bare = [], [], [], []
    for _ in range(options.rounds):
        # In turn, so that a slow minute of the machine hits all of them.
        first, last = record(listener, space, options.duration)
        started.append(first)
        served.append(last)
        tool.append(timed(lambda: kubectl("-n", space, "exec", pod, "--", "true")))
        bare += asyncio.run(bare_exec(space, pod, 2))[1:]
    print(f"{options.rounds} rounds of {options.duration} s; medians (least to most), milliseconds\n")
    print("| what | median | range | × bare exec |\n|---|---|---|---|")
    floor = statistics.median(bare)
    for name, times in (
        ("POST → samply records", started),
        ("end of sampling → served", served),
        ("floor: `kubectl exec true`", tool),
        ("floor: one exec over the operator's own client", bare),
    ):
        middle = statistics.median(times)
        span = f"{min(times) * 1000:.0f}–{max(times) * 1000:.0f}"
        print(f"| {name} | {middle * 1000:.0f} | {span} | {middle / floor:.1f} |")


if __name__ == "__main__":
    main()
