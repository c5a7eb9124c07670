#!/usr/bin/env python3
"""How long from POST, or from an alert, to a running recording, and from its end to the file being served; floors
beside them.

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
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from samply_operator.kube.client import KubeClient
from samply_operator.model import names


def kubectl(*arguments: str) -> str:
    return subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=True).stdout


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


class HttpListener:
    def __init__(self, address: str, pipeline: str, token: str) -> None:
        self._address, self._profile = address, f"/v0/pipelines/{pipeline}/samply_profile"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def call(self, method: str, query: str) -> tuple[int, dict[str, str]]:
        """About the pipeline's profiles."""
        status, headers, _ = self._ask(method, self._profile + query)
        return status, headers

    def send_alert(self, labels: dict[str, str]) -> Any:
        """As Alertmanager does; its outcome."""
        alert = {"status": "firing", "labels": labels, "fingerprint": uuid.uuid4().hex[:16]}
        alert |= {"startsAt": datetime.now(UTC).isoformat()}
        status, _, body = self._ask("POST", "/v0/alerts", json.dumps({"version": "4", "alerts": [alert]}))
        assert status == 200, (status, body)
        return json.loads(body)["outcomes"][0]

    def _ask(self, method: str, path: str, body: str | None = None) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(self._address, timeout=60)
        connection.request(method, path, body, headers=self._headers)
        answer = connection.getresponse()
        found = answer.read()
        connection.close()
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, found


def read_time(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def record(listener: HttpListener, namespace: str, duration: int) -> tuple[float, float, float]:
    """Seconds from the POST to samply's own word that it records, as answered and as the status says, and from the end
    of sampling to the 200."""
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
    return answered, read_time(found["startedAt"]) - posted, served - read_time(found["endsAt"])


def fire(listener: HttpListener, namespace: str, trigger: str) -> float:
    """Seconds from an alert to samply's own word that it records, as the status says."""
    posted = time.time()
    outcome = listener.send_alert({"alertname": trigger})
    assert outcome["state"] == "Fired", outcome
    (name,) = outcome["profiles"]
    found: dict[str, Any] = {}
    while found.get("phase") != "Succeeded":
        assert found.get("phase") != "Failed", found
        time.sleep(0.2)
        found = json.loads(kubectl("-n", namespace, "get", "sprof", name, "-o", "json")).get("status", {})
    return read_time(found["startedAt"]) - posted


def find_pod(namespace: str, pipeline: str) -> str:
    """That of the last profile."""
    items = json.loads(kubectl("-n", namespace, "get", "sprof", "-o", "json"))["items"]
    mine = [item["status"] for item in items if item["spec"]["pipeline"] == pipeline and "startedAt" in item["status"]]
    pod: str = max(mine, key=lambda status: status["startedAt"])["target"]["pod"]
    return pod


@contextmanager
def trigger(namespace: str, pipeline: str, duration: int) -> Iterator[str]:
    """A SamplyTrigger without limits that waits for an alert of its name."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    spec = {
        "pipelines": {"names": [pipeline], "ordinals": [0]},
        "when": {"alert": {"matchLabels": {"alertname": name}}},
        "template": {"durationSeconds": duration},
        "limits": {"cooldownSeconds": 0, "maxFirings": 1000, "maxSampledPercent": 100},
    }
    kind = {"apiVersion": names.API_VERSION, "kind": names.TRIGGER_KIND}
    body = json.dumps({**kind, "metadata": {"name": name}, "spec": spec})
    subprocess.run(["kubectl", "-n", namespace, "create", "-f", "-"], input=body, text=True, check=True, stdout=2)
    try:
        while not kubectl("-n", namespace, "get", "strigger", name, "-o", "jsonpath={.status.when}"):
            time.sleep(0.1)
        yield name
    finally:
        kubectl("-n", namespace, "delete", "strigger", name)
        kubectl("-n", namespace, "delete", "sprof", "-l", f"{names.MADE_BY}={name}")


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
    listener = HttpListener(address, options.pipeline, options.token)
    record(listener, space, 1)
    pod = find_pod(space, options.pipeline)
    answered, started, alerted, served, tool, bare = [], [], [], [], [], []
    with trigger(space, options.pipeline, options.duration) as name:
        for _ in range(options.rounds):
            # In turn, so that a slow minute of the machine hits all of them.
            for times, secs in zip((answered, started, served), record(listener, space, options.duration), strict=True):
                times.append(secs)
            alerted.append(fire(listener, space, name))
            print(
                f"{answered[-1]:.3f} {started[-1]:.3f} {alerted[-1]:.3f} {served[-1]:.3f}", file=sys.stderr, flush=True
            )
            tool.append(timed(lambda: kubectl("-n", space, "exec", pod, "--", "true")))
            bare += asyncio.run(bare_exec(space, pod, 2))[1:]
    print(f"{options.rounds} rounds of {options.duration} s; medians (least to most), milliseconds\n")
    print("| what | median | range | × bare exec |\n|---|---|---|---|")
    floor = statistics.median(bare)
    for name, times in (
        ("POST → its answer that samply records", answered),
        ("POST → samply records", started),
        ("alert → samply records", alerted),
        ("end of sampling → served", served),
        ("floor: `kubectl exec true`", tool),
        ("floor: one exec over the operator's own client", bare),
    ):
        middle = statistics.median(times)
        span = f"{min(times) * 1000:.0f}–{max(times) * 1000:.0f}"
        print(f"| {name} | {middle * 1000:.0f} | {span} | {middle / floor:.1f} |")


if __name__ == "__main__":
    main()
