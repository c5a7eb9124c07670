"""A verified copy out of a pod against `kubectl exec cat`, which verifies nothing: same file, same run, in turns.

    KUBECONFIG=$(hack/cluster kubeconfig) .venv/bin/python bench/copy/run.py --size-mib 300 --rounds 7

Prints one line per copy, then a table of medians. Needs a running cluster and an image with sh, dd and sha256sum.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

from samply_operator.kube import channels, transfer
from samply_operator.kube.client import KubeClient

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    namespace: str
    pod: str = "place"
    container: str = "main"
    node: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    secs: float
    cpu_secs: float
    """Of the client alone: user and system."""
    growth_mib: float = 0.0
    """Peak of resident memory above what it was before."""


def read_memory(field: str) -> int:
    """VmRSS or VmHWM of this process, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(field)


def reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def kubectl(*words: str, stdin: str | None = None) -> str:
    return subprocess.run(["kubectl", *words], input=stdin, text=True, capture_output=True, check=True).stdout


def read_children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def run_kubectl(place: Place, command: list[str], out: Path) -> Measured:
    started, cpu = time.perf_counter(), read_children_cpu()
    with out.open("wb") as file:
        subprocess.run(
            ["kubectl", "exec", "-n", place.namespace, place.pod, "-c", place.container, "--", *command],
            stdout=file,
            check=True,
        )
    return Measured(time.perf_counter() - started, read_children_cpu() - cpu)


async def run_copy(
    client: KubeClient, place: Place, out: Path, *, size: int, sha256: str, range_bytes: int
) -> Measured:
    reset_peak()
    before = read_memory("VmRSS")
    started, cpu = time.perf_counter(), time.process_time()
    await transfer.copy_out(
        client, place, "/tmp/big", size=size, sha256=sha256, local_path=out, deadline_secs=600, range_bytes=range_bytes
    )
    secs, cpu_secs = time.perf_counter() - started, time.process_time() - cpu
    return Measured(secs, cpu_secs, (read_memory("VmHWM") - before) / MIB)


async def make_place(image: str) -> Place:
    place = Place(f"bench-copy-{uuid.uuid4().hex[:6]}")
    container = {"name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "36000"]}
    pod = {"metadata": {"name": place.pod}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]}}
    pod |= {"apiVersion": "v1", "kind": "Pod"}
    await asyncio.to_thread(kubectl, "create", "namespace", place.namespace)
    await asyncio.to_thread(kubectl, "create", "-n", place.namespace, "-f", "-", stdin=json.dumps(pod))
    await asyncio.to_thread(
        kubectl, "wait", "-n", place.namespace, f"pod/{place.pod}", "--for=condition=Ready", "--timeout=60s"
    )
    return place


async def make_file(client: KubeClient, place: Place, size: int) -> str:
    script = f"head -c {size} /dev/urandom > /tmp/big && sha256sum < /tmp/big"
    result = await client.run(place.namespace, place.pod, place.container, ["sh", "-c", script], deadline_secs=600)
    return result.text.split()[0]


async def bench(arguments: argparse.Namespace, out: Path) -> dict[str, list[Measured]]:
    size = arguments.size_mib * MIB
    results: dict[str, list[Measured]] = defaultdict(list)
    place = await make_place(arguments.image)
    try:
        async with KubeClient() as client, KubeClient(protocols=(channels.V5,)) as newer:
            sha256 = await make_file(client, place, size)

            async def copy(by: KubeClient) -> Measured:
                range_bytes = arguments.range_mib * MIB
                return await run_copy(by, place, out, size=size, sha256=sha256, range_bytes=range_bytes)

            async def cat() -> Measured:
                return await asyncio.to_thread(run_kubectl, place, ["cat", "/tmp/big"], out)

            async def nothing() -> Measured:
                return await asyncio.to_thread(run_kubectl, place, ["true"], out)

            ways: dict[str, Callable[[], Coroutine[None, None, Measured]]] = {
                "kubectl exec cat": cat,
                "verified copy": lambda: copy(client),
                "verified copy, v5": lambda: copy(newer),
                "kubectl exec true": nothing,
            }
            for number in range(arguments.rounds):
                # The order turns with each round, so that no way always follows the same one.
                names = list(ways)[number % len(ways) :] + list(ways)[: number % len(ways)]
                for name in names:
                    out.unlink(missing_ok=True)  # noqa: ASYNC240 - nothing else runs in this loop
                    measured = await ways[name]()
                    results[name].append(measured)
                    print(f"{name}: {measured.secs:.2f} s, +{measured.growth_mib:.1f} MiB", file=sys.stderr)
    finally:
        await asyncio.to_thread(kubectl, "delete", "namespace", place.namespace, "--wait=false")
    return results


def render(results: dict[str, list[Measured]], size_mib: int) -> str:
    cats = [m.secs for m in results["kubectl exec cat"]]
    lines = [
        "| way | median s | min–max s | MiB/s | cat = 1: medians | of the fastest | CPU s | memory growth, most |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, all_of in results.items():
        secs = [m.secs for m in all_of]
        median, cpu = statistics.median(secs), statistics.median(m.cpu_secs for m in all_of)
        moved = name != "kubectl exec true"
        cells = [
            name,
            f"{median:.2f}",
            f"{min(secs):.2f}–{max(secs):.2f}",
            f"{size_mib / median:.0f}" if moved else "",
            f"{statistics.median(cats) / median:.2f}" if moved else "",
            f"{min(cats) / min(secs):.2f}" if moved else "",
            f"{cpu:.2f}",
            f"{max(m.growth_mib for m in all_of):.1f} MiB" if "copy" in name else "",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size-mib", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--range-mib", type=int, default=transfer.RANGE_BYTES // MIB)
    parser.add_argument("--image", default="docker.io/library/samply-test-bare:dev")
    arguments = parser.parse_args()
    load_before = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        results = asyncio.run(bench(arguments, Path(folder) / "copy"))
    print(
        f"{arguments.size_mib} MiB, {arguments.rounds} rounds, ranges of {arguments.range_mib} MiB, "
        f"{os.cpu_count()} CPUs, load before {load_before[0]:.1f}, resident {read_memory('VmRSS') / MIB:.0f} MiB"
    )
    print(render(results, arguments.size_mib))


if __name__ == "__main__":
    main()
