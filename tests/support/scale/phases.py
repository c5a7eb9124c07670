"""The measurements of one source tree: a changing fleet, waiting objects, stored profiles.

Each phase starts the processes anew, on a volume of their own, and ends them. Times are seconds, memory is MiB.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.scale import fleet as fleets
from support.scale.control_plane import ControlPlane
from support.scale.fleet import Fleet, Writer
from support.scale.processes import Install, Lag, Process, installed, pick

READY_SECS = 180
QUIET_SHARE = 0.05
QUIET_SECS = 120
"""How long the work that was left behind may take before it isn't waited for any more."""
SEEN_SECS = 5
"""The last event may be so much older than the last change."""
OPERATOR_LOOP = "MainThread"
"""The thread that records and answers."""
RECORDING = {"mode": "InPlace"}

Numbers = dict[str, float]


@dataclass(frozen=True, slots=True)
class Load:
    """`rest_secs`: from ready until the changes begin; the last `window` seconds of it are measured."""

    per_sec: float = 200
    secs: float = 120
    rest_secs: float = 80
    window: float = 20


async def watch_memory(process: Process, highest: list[float]) -> None:
    """Looks every second, since a peak of the whole life includes the start."""
    while True:
        highest.append(process.read_memory())
        await asyncio.sleep(1)


async def wait_quiet(process: Process) -> float:
    """Until it takes less than 5 % of a CPU, for a second."""
    began = time.monotonic()
    while time.monotonic() - began < QUIET_SECS:
        before = process.read_cpu()
        await asyncio.sleep(1)
        if process.read_cpu() - before <= QUIET_SHARE:
            break
    return time.monotonic() - began


def read_lags(process: Process, since: float, until: float) -> Numbers:
    """Of the operator's loop, and, where there are others, of the one that lags most."""
    lags = process.read_lags(since, until)
    own = lags.pop(OPERATOR_LOOP, Lag([], []))
    found = {f"lag_{name}_ms": pick(own.late, share) for name, share in (("median", 0.5), ("95", 0.95), ("most", 1.0))}
    found |= {f"piece_{name}_ms": pick(own.used, share) for name, share in (("95", 0.95), ("most", 1.0))}
    if lags:
        found["lag_other_95_ms"] = max(pick(lag.late, 0.95) for lag in lags.values())
    return found


async def measure_changes(process: Process, writer: Writer, fleet: Fleet, load: Load) -> Numbers:
    """At rest, then while pods change."""
    await asyncio.sleep(load.rest_secs - load.window)
    cpu, at = process.read_cpu(), time.time()
    await asyncio.sleep(load.window)
    idle = (process.read_cpu() - cpu) / load.window
    found = {"rest_mib": process.read_memory(), "idle_cores": idle}
    found |= {f"rest_{name}": value for name, value in read_lags(process, at, time.time()).items()}
    highest: list[float] = []
    watching = asyncio.create_task(watch_memory(process, highest))
    cpu, at = process.read_cpu(), time.time()
    changes = await fleet.change(writer, per_sec=load.per_sec, secs=load.secs)
    until = time.time()
    cores = (process.read_cpu() - cpu) / (until - at)
    behind = await wait_quiet(process)
    spent = process.read_cpu() - cpu
    watching.cancel()
    return found | read_lags(process, at, until) | {
        "changes_per_sec": changes / (until - at),
        "cores": cores,
        "behind_secs": behind,
        "cpu_ms_per_change": 1000 * spent / max(1, changes),
        "changing_mib": max(highest),
        "most_mib": process.read_peak(),
    }  # fmt: skip


async def measure_fleet(install: Install, writer: Writer, fleet: Fleet, load: Load) -> Numbers:
    """From the start until the API shows every pipeline; then what changes cost."""
    loop = asyncio.get_running_loop()

    def wait_ready() -> Numbers:
        synced = install.wait("the first lists", install.is_synced, READY_SECS)
        shown = install.wait("all pipelines", lambda: install.count_pipelines() == fleet.pipelines, READY_SECS)
        return {"synced_secs": synced, "shown_secs": shown}

    found = await loop.run_in_executor(None, wait_ready)
    found |= await measure_changes(install.operator, writer, fleet, load)
    seen = (await asyncio.to_thread(install.read_metrics))["samply_operator_last_event_timestamp_seconds"]
    if seen < fleet.changed_at - SEEN_SECS:
        raise RuntimeError(f"the operator saw nothing of the last {fleet.changed_at - seen:.0f} s of changes")
    return found | {"api_rest_mib": install.api.read_memory(), "api_most_mib": install.api.read_peak()}


async def count_waiting(plane: ControlPlane, writer: Writer, fleet: Fleet, count: int, limit_secs: float) -> Numbers:
    """Requests that `count` objects cost from the first to their ends, none of which can record: the pods have no
    node. Few may be under way at once, so most wait."""
    since = plane.audit_log.stat().st_size
    began = time.monotonic()
    await fleets.ask_for_profiles(writer, fleet, count, mode="InPlace")
    left = count
    while left and time.monotonic() - began < limit_secs:
        await asyncio.sleep(1)
        left = await fleets.count_unfinished(writer, fleet.namespace)
    requests = plane.count_requests(since)
    writes = sum(number for what, number in requests.items() if what.startswith("patch samplyprofiles/status"))
    found = {"requests": float(requests.total()), "status_writes": float(writes), "unfinished": float(left)}
    await fleets.delete_profiles(writer, fleet.namespace)
    return found | {"secs": time.monotonic() - began}


async def measure_waiting(
    plane: ControlPlane, folder: Path, writer: Writer, fleet: Fleet, counts: list[int], limit_secs: float, **where: Any
) -> dict[int, Numbers]:
    found = {}
    recording = RECORDING | {"maxConcurrent": 2, "unreachableSecs": 0.5}
    with installed(plane, folder, fleet.namespace, recording=recording, **where) as install:
        await asyncio.to_thread(install.wait, "the first lists", install.is_synced, READY_SECS)
        for count in counts:
            found[count] = await count_waiting(plane, writer, fleet, count, limit_secs)
            if found[count]["unfinished"]:
                break
    return found


def measure_stored(
    plane: ControlPlane, folder: Path, stored: Path, namespace: str, pipeline: str, **where: Any
) -> Numbers:
    """From the start until a stored profile is served and the operator has its first lists."""
    shutil.copytree(stored, folder / "data")
    keep = {"maxTotal": 1_000_000, "maxAgeSecs": 1e9, "maxPerOrdinal": 1000, "maxVolumePercent": 100}
    with installed(plane, folder, namespace, retention=keep, **where) as install:
        path = f"/v0/pipelines/{pipeline}/samply_profiles"
        served = install.wait("a stored profile", lambda: '"id"' in install.get(path), READY_SECS)
        synced = install.wait("the first lists", install.is_synced, READY_SECS)
        at = time.time()
        time.sleep(5)
        found = {"served_secs": served, "synced_secs": synced, "operator_mib": install.operator.read_memory()}
        found |= read_lags(install.operator, install.operator.began, at + 5)
        return found | {"api_mib": install.api.read_memory()}


def fold(rounds: list[Mapping[str, float]]) -> Numbers:
    """Medians over rounds."""
    keys = dict.fromkeys(key for found in rounds for key in found)
    return {key: statistics.median(found[key] for found in rounds if key in found) for key in keys}
