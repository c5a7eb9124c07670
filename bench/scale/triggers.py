#!/usr/bin/env python3
"""What SamplyTriggers that wait cost the operator, by what they wait for.

    .venv/bin/python bench/scale/triggers.py [--triggers N] [--secs SECS] [--kinds KIND …]

An API server of its own as in run.py, with pipelines that never change. Triggers of a metric ask a small server in this
process, which answers as Feldera does. Prints a Markdown table; about two minutes for each kind.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from aiohttp import web
from run import fresh_folder, say

from samply_operator.kube import objects
from samply_operator.model import names
from support.scale import control_plane, processes
from support.scale.control_plane import ControlPlane
from support.scale.fleet import Fleet, Writer, run_all
from support.scale.processes import Install

Json = dict[str, Any]
HERE = Path(__file__).resolve().parent
NAMESPACE = "pipelines"
READY_SECS = 180.0
STAT = "buffered_input_records"
STATE = {"deployment_status": "Running", "program_version": 1, "platform_version": "0.369.0"}


def build_query(every_secs: int) -> Json:
    return {"metric": {"feldera": {"stat": STAT}, "above": 1000, "recovery": 500, "everySeconds": every_secs}}


KINDS: dict[str, Callable[[int], Json]] = {
    "alert": lambda number: {"when": {"alert": {"matchLabels": {"alertname": f"alert-{number}"}}}},
    "restart": lambda number: {"when": {"restart": {}}, "dryRun": True},
    "cron, once a day": lambda number: {
        "when": {"schedule": {"cron": f"{number % 60} {number // 60 % 24} * * *"}}, "dryRun": True,
    },
    "every 5m, spread by jitter": lambda number: {
        "when": {"schedule": {"every": "5m", "jitterSeconds": 299}}, "dryRun": True,
    },
    "metric of Feldera, every 60 s": lambda number: {"when": build_query(60)},
    "metric of Feldera, every 15 s": lambda number: {"when": build_query(15)},
}  # fmt: skip
"""What the triggers wait for; those that fire meanwhile only count."""


@asynccontextmanager
async def serving(fleet: Fleet) -> AsyncIterator[str]:
    """Feldera's API, as far as a trigger asks it."""
    asked = 0
    rows = [{"id": read_id(name), "name": name, **STATE} for name in fleet.names]

    async def list_pipelines(request: web.Request) -> web.Response:
        return web.json_response(rows)

    async def tell_stats(request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1  # each time another value
        return web.json_response({"global_metrics": {STAT: asked % 400}})

    app = web.Application()
    app.router.add_get("/v0/pipelines", list_pipelines)
    app.router.add_get("/v0/pipelines/{name}/stats", tell_stats)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def read_id(pipeline: str) -> str:
    """Of a pipeline of the fleet."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, pipeline))


async def create(writer: Writer, fleet: Fleet, count: int, build: Callable[[int], Json]) -> None:
    """So many, each about one pipeline."""

    async def create_one(number: int) -> None:
        spec = {"pipelines": {"names": [fleet.names[number % fleet.pipelines]]}} | build(number)
        body = {"apiVersion": names.API_VERSION, "kind": names.TRIGGER_KIND, "metadata": {"name": f"t-{number}"}}
        await writer.create(objects.samply_triggers(fleet.namespace), body | {"spec": spec})

    await run_all(lambda number=number: create_one(number) for number in range(count))


async def wait_known(writer: Writer, count: int) -> None:
    """Until each was decided on."""
    async with asyncio.timeout(READY_SECS):
        while True:
            items = (await writer.ask("GET", objects.samply_triggers(NAMESPACE)))["items"]
            if len(items) == count and all((item.get("status") or {}).get("when") for item in items):
                return
            await asyncio.sleep(1)


async def measure(install: Install, secs: float) -> tuple[float, float]:
    """CPU, in cores, and memory, in MiB, of the operator."""
    before = install.operator.read_cpu()
    await asyncio.sleep(secs)
    return (install.operator.read_cpu() - before) / secs, install.operator.read_memory()


async def run(options: argparse.Namespace, plane: ControlPlane) -> dict[str, tuple[float, float]]:
    fleet, found = Fleet(NAMESPACE, options.pipelines, 2), {}
    async with Writer(plane.url) as writer, serving(fleet) as url:
        await writer.apply_definition(HERE.parents[1] / "manifests" / "crd.yaml")
        await fleet.create(writer)
        with fresh_folder() as folder, processes.installed(plane, folder, NAMESPACE, feldera={"url": url}) as install:
            await asyncio.to_thread(install.wait, "the first lists", install.is_synced, READY_SECS)
            await asyncio.sleep(options.rest_secs)
            found["none"] = await measure(install, options.secs)
            say(f"none: {found['none']}")
            for kind in options.kinds:
                await create(writer, fleet, options.triggers, KINDS[kind])
                await wait_known(writer, options.triggers)
                await asyncio.sleep(options.rest_secs)
                found[kind] = await measure(install, options.secs)
                say(f"{kind}: {found[kind]}, {await count_fired(writer)} fired")
                await writer.ask("DELETE", objects.samply_triggers(NAMESPACE))
                await wait_known(writer, 0)
    return found


async def count_fired(writer: Writer) -> int:
    items = (await writer.ask("GET", objects.samply_triggers(NAMESPACE)))["items"]
    return sum(item["status"].get("wouldHaveFired", 0) + item["status"].get("fired", 0) for item in items)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--triggers", type=int, default=1000)
    parser.add_argument("--pipelines", type=int, default=500)
    parser.add_argument("--secs", type=float, default=60)
    parser.add_argument("--rest-secs", type=float, default=30)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=tuple(KINDS), metavar="KIND")
    options = parser.parse_args()
    if missing := control_plane.find_missing():
        sys.exit(f"{', '.join(missing)}: not built; run hack/native/build")
    with fresh_folder() as folder, control_plane.running(folder) as plane:
        found = asyncio.run(run(options, plane))
    load, (rest, _) = os.getloadavg()[0], found["none"]
    print(f"{os.cpu_count()} CPUs, load {load:.1f}; {options.triggers} triggers, {options.pipelines} pipelines\n")
    print("| triggers | CPU, % of a core | on top of none | resident, MiB |\n| --- | ---: | ---: | ---: |")
    for kind, (cores, mib) in found.items():
        print(f"| {kind} | {cores * 100:.1f} | {(cores - rest) * 100:.1f} | {mib:.0f} |")


if __name__ == "__main__":
    main()
