#!/usr/bin/env python3
"""What a large cluster costs the operator: two source trees side by side, and kopf alone.

    git worktree add /tmp/before 5141e46
    .venv/bin/python bench/scale/run.py --before /tmp/before --rounds 3

Starts an API server of its own on a loopback port (etcd and kube-apiserver of hack/native/build, no kubelet), writes
5,000 pods of 500 pipelines straight to it, and lets 200 of them restart each second, once for each tree in each round.
Then 500 objects wait for their turn, and 10,000 profiles are stored. Prints Markdown tables; numbers as JSON to --out.
About 15 min for one round and both trees.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from samply_operator.kube import objects
from support.scale import control_plane, phases, processes, stored
from support.scale.control_plane import ControlPlane
from support.scale.fleet import Fleet, Writer
from support.scale.phases import Load, Numbers

HERE = Path(__file__).resolve().parent
FLEET, STORED, WAITING = "pipelines", "stored", "waiting"
ROWS = {
    "synced_secs": "start → first lists, s",
    "shown_secs": "start → the API shows all pipelines, s",
    "rest_mib": "operator resident at rest, MiB",
    "changing_mib": "the most while pods change, MiB",
    "most_mib": "the most of its life, MiB",
    "idle_cores": "CPU at rest, cores",
    "changes_per_sec": "changes/s that the API server took",
    "cores": "CPU while pods change, cores",
    "cpu_ms_per_change": "CPU per change, ms",
    "behind_secs": "last change → quiet again, s",
    "rest_lag_95_ms": "loop lag at rest, 95 %, ms",
    "lag_median_ms": "loop lag while pods change, median, ms",
    "lag_95_ms": "the same, 95 %, ms",
    "lag_most_ms": "the same, most, ms",
    "piece_95_ms": "CPU of its loop from one call to the next (10 ms), 95 %, ms",
    "piece_most_ms": "the same, most, ms",
    "lag_other_95_ms": "the same of the loop of kopf, where it has its own, 95 %, ms",
    "api_rest_mib": "api resident, MiB",
    "api_most_mib": "the most of its life, MiB",
}
STORED_ROWS = {
    "served_secs": "start → a stored profile is served, s",
    "synced_secs": "start → first lists, s",
    "operator_mib": "operator resident, MiB",
    "api_mib": "api resident, MiB",
    "lag_most_ms": "loop lag of the operator, most, ms",
    "piece_most_ms": "CPU of its loop from one call to the next (10 ms), most, ms",
}


@dataclass(slots=True)
class Results:
    fleet: dict[str, list[Numbers]] = field(default_factory=dict)
    waiting: dict[str, dict[int, Numbers]] = field(default_factory=dict)
    stored: dict[str, list[Numbers]] = field(default_factory=dict)


class Bench:
    """`trees` by what they are called."""

    def __init__(
        self, options: argparse.Namespace, plane: ControlPlane, writer: Writer, trees: dict[str, Path]
    ) -> None:
        self.options = options
        self.plane = plane
        self.writer = writer
        self.trees = trees
        self.fleet = Fleet(FLEET, options.pipelines, options.pods // options.pipelines)
        self.load = Load(per_sec=options.per_sec, secs=options.secs, rest_secs=options.rest_secs)
        self.results = Results()

    async def run(self) -> None:
        await self._define(next(iter(self.trees)))
        if "fleet" in self.options.phases:
            say(f"writing {self.options.pods} pods")
            await self.fleet.create(self.writer)
            for _ in range(self.options.rounds):
                await self._measure_fleets()
        if "waiting" in self.options.phases:
            await self._measure_waiting()
        if "stored" in self.options.phases:
            await self._measure_stored()

    async def _define(self, name: str) -> None:
        await self.writer.apply_definition(self.trees[name] / "manifests" / "crd.yaml")

    async def _measure_fleets(self) -> None:
        for name, tree in self.trees.items():
            await self._define(name)
            with (
                fresh_folder() as folder,
                processes.installed(self.plane, folder, FLEET, tree=tree / "operator") as install,
            ):
                found = await phases.measure_fleet(install, self.writer, self.fleet, self.load)
            self._keep(self.results.fleet, name, found)
        with fresh_folder() as folder:
            environment = processes.build_environment(self.plane.kubeconfig)
            with processes.measured("kopf", folder, [str(HERE / "kopf_alone.py"), FLEET], environment) as process:
                found = await phases.measure_changes(process, self.writer, self.fleet, self.load)
        self._keep(self.results.fleet, "kopf alone", found)

    def _keep(self, into: dict[str, list[Numbers]], name: str, found: Numbers) -> None:
        into.setdefault(name, []).append(found)
        say(f"{name}: {json.dumps({key: round(value, 3) for key, value in found.items()})}")

    async def _measure_waiting(self) -> None:
        fleet = Fleet(WAITING, 1 + max(self.options.waiting) // 10, 10, has_nodes=False)
        await fleet.create(self.writer)
        for name, tree in self.trees.items():
            await self._define(name)
            with fresh_folder() as folder:
                found = await phases.measure_waiting(
                    self.plane,
                    folder,
                    self.writer,
                    fleet,
                    self.options.waiting,
                    self.options.limit_secs,
                    tree=tree / "operator",
                )
            self.results.waiting[name] = found
            say(f"{name}: {json.dumps(found)}")

    async def _measure_stored(self) -> None:
        with fresh_folder() as made:
            say(f"storing {self.options.stored} profiles")
            await stored.store(self.writer, made / "data", STORED, self.options.stored)
            for _ in range(self.options.rounds):
                for name, tree in self.trees.items():
                    await self._define(name)
                    await self.writer.settle(objects.samply_profiles(STORED))
                    with fresh_folder() as folder:
                        found = await asyncio.to_thread(
                            phases.measure_stored,
                            self.plane,
                            folder,
                            made / "data",
                            STORED,
                            "orders-0000",
                            tree=tree / "operator",
                        )
                    self._keep(self.results.stored, name, found)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def fresh_folder() -> Iterator[Path]:
    """Its path is short: a unix socket is in it."""
    folder = Path(tempfile.mkdtemp(prefix="scale-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def render(rows: dict[str, str], found: dict[str, list[Numbers]]) -> str:
    medians = {name: phases.fold(rounds) for name, rounds in found.items()}
    compared = "before" in medians and "after" in medians
    head = ["", *medians, *(["before ÷ after"] if compared else [])]
    lines = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]
    for key, title in rows.items():
        cells = [tell(numbers.get(key)) for numbers in medians.values()]
        if compared:
            cells.append(divide(medians["before"].get(key), medians["after"].get(key)))
        lines.append(f"| {' | '.join([title, *cells])} |")
    return "\n".join(lines)


def tell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def divide(before: float | None, after: float | None) -> str:
    return f"{before / after:.1f}" if before is not None and after else ""


def render_waiting(found: dict[str, dict[int, Numbers]]) -> str:
    lines = ["| | objects | requests | for each | writes of a status, each | seconds | not ended |"]
    lines.append("| --- |" + " ---: |" * 6)
    for name, counts in found.items():
        for count, numbers in counts.items():
            each = (numbers["requests"] / count, numbers["status_writes"] / count, numbers["secs"])
            cells = [name, str(count), f"{numbers['requests']:.0f}", *map(tell, each), f"{numbers['unfinished']:.0f}"]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def print_tables(results: Results, options: argparse.Namespace) -> None:
    load = os.getloadavg()
    print(f"{os.cpu_count()} CPUs, load {load[0]:.1f}, {options.rounds} rounds (medians)")
    if results.fleet:
        print(f"\n{options.pods} pods in {options.pipelines} pipelines, {options.per_sec:g} changes/s for", end=" ")
        print(f"{options.secs:g} s:\n\n{render(ROWS, results.fleet)}")
    if results.waiting:
        print(f"\nObjects of which 2 may be under way at once:\n\n{render_waiting(results.waiting)}")
    if results.stored:
        print(f"\n{options.stored} stored profiles:\n\n{render(STORED_ROWS, results.stored)}")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--before", type=Path, metavar="TREE", help="a checkout to compare with")
    parser.add_argument("--after", type=Path, default=HERE.parents[1], metavar="TREE", help="default: this one")
    parser.add_argument("--only", choices=("before", "after"), help="measure one of both")
    parser.add_argument("--phases", nargs="+", default=("fleet", "waiting", "stored"), metavar="PHASE")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--pipelines", type=int, default=500)
    parser.add_argument("--per-sec", type=float, default=200)
    parser.add_argument("--secs", type=float, default=120)
    parser.add_argument("--rest-secs", type=float, default=80)
    parser.add_argument("--waiting", type=int, nargs="+", default=(25, 50, 100, 500))
    parser.add_argument("--limit-secs", type=float, default=180, help="longest time for one number of waiting objects")
    parser.add_argument("--stored", type=int, default=10_000)
    parser.add_argument("--out", type=Path, help="file for all numbers")
    return parser.parse_args(arguments)


async def measure(options: argparse.Namespace, plane: ControlPlane) -> Results:
    trees = {"before": options.before, "after": options.after}
    chosen = {
        name: tree.resolve() for name, tree in trees.items() if tree and (options.only is None or options.only == name)
    }
    async with Writer(plane.url) as writer:
        bench = Bench(options, plane, writer, chosen)
        try:
            await bench.run()
        finally:
            if options.out:
                kept = {"fleet": bench.results.fleet, "waiting": bench.results.waiting, "stored": bench.results.stored}
                options.out.write_text(json.dumps(kept, indent=1))
        return bench.results


def main() -> None:
    options = parse()
    if missing := control_plane.find_missing():
        sys.exit(f"{', '.join(missing)}: not built; run hack/native/build")
    with fresh_folder() as folder, control_plane.running(folder) as plane:
        results = asyncio.run(measure(options, plane))
    print_tables(results, options)


if __name__ == "__main__":
    main()
