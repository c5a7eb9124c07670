#!/usr/bin/env python3
"""How much samply slows a program with a fixed amount of work, at several rates, beside `perf record`.

    bench/slowdown/run.py [--samply PROGRAM] [--rounds N] [--secs SECS]

Root on Linux with gcc, perf events and perf (Debian: linux-perf). Each tool is measured in ABBA order: without, with,
with, without. The program waits until the tool says that it records, then does its work and tells how long that took.
Prints a Markdown table of medians. Less than 8 min with the defaults.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

BUILD = Path(__file__).parents[2] / "images" / "samply" / "build"
RATES = (100, 250, 1000)
THREADS = 2
TARGET = """
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static volatile unsigned long sink;
static unsigned long rounds;
static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }
__attribute__((noinline)) static unsigned long step(unsigned long x) { return x * 6364136223846793005UL + 1; }
__attribute__((noinline)) static unsigned long deep(int n, unsigned long x) { return n ? deep(n - 1, step(x)) + 1 : x; }
static void *work(void *nothing) {
    for (unsigned long i = 0; i < rounds; i++) sink = deep(30, i);
    return nothing;
}
int main(int argc, char **argv) {
    rounds = strtoul(argv[1], NULL, 10);
    getchar();
    double began = now();
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    printf("%.6f\\n", now() - began);
    return argc > 9;
}
"""


@dataclass(frozen=True)
class Tool:
    name: str
    rate: int
    command: Callable[[int, Path], list[str]]
    """From the target's pid and a folder for its output."""
    ready: str
    """What it says, or the name of the file that it makes, when it records."""


def compile_target(folder: Path) -> Path:
    (folder / "target.c").write_text(TARGET)
    command = ["gcc", "-O1", "-fno-omit-frame-pointer", "-g", f"-DTHREADS={THREADS}", "-pthread", "-o"]
    subprocess.run([*command, str(folder / "target"), str(folder / "target.c")], check=True)
    return folder / "target"


def measure(target: Path, rounds: int, tool: Tool | None) -> float:
    """Seconds that the work took."""
    process = subprocess.Popen([target, str(rounds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with recording(tool, process.pid):
        out, _ = process.communicate("\n", timeout=120)
    return float(out)


@contextlib.contextmanager
def recording(tool: Tool | None, pid: int) -> Iterator[None]:
    if tool is None:
        yield
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(tool.command(pid, folder), stdout=log, stderr=log)
            try:
                until = time.monotonic() + 30
                while tool.ready not in (folder / "log").read_text() and not _has_grown(folder / tool.ready):
                    assert process.poll() is None, (folder / "log").read_text()
                    assert time.monotonic() < until, f"{tool.name} doesn't begin"
                    time.sleep(0.01)
                yield
                # The target has ended: the tool ends by itself.
                assert process.wait(120) == 0, (folder / "log").read_text()
            finally:
                process.kill()
                process.wait()


def _has_grown(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def build_tools(samply: Path, perf: str) -> list[Tool]:
    def drive_samply(rate: int) -> Callable[[int, Path], list[str]]:
        return lambda pid, folder: [
            *(str(samply), "record", "-p", str(pid), "-o", str(folder / "profile.json.gz"), "--save-only"),
            *("-r", str(rate), "--unstable-presymbolicate"),
        ]

    def drive_perf(rate: int, graph: str) -> Callable[[int, Path], list[str]]:
        # --buildid-all and -N: no second pass over the file at the end.
        return lambda pid, folder: [
            *(perf, "record", "-e", "cpu-clock", "-F", str(rate), "--call-graph", graph, "-p", str(pid)),
            *("-N", "-B", "-o", str(folder / "perf.data")),
        ]

    tools = []
    for rate in RATES:
        tools.append(Tool("samply", rate, drive_samply(rate), "Recording process"))
        tools.append(Tool("perf, frame pointers", rate, drive_perf(rate, "fp"), "perf.data"))
        # As samply does it: 32,000 bytes of stack with each sample (perf wants a multiple of 8).
        tools.append(Tool("perf, stack copies", rate, drive_perf(rate, "dwarf,32000"), "perf.data"))
    return tools


def calibrate(target: Path, secs: float) -> int:
    """Rounds that take about so long."""
    rounds = 100_000
    while (took := measure(target, rounds, None)) < 0.5:
        rounds *= 4
    return int(rounds * secs / took)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samply", type=Path, help="default: what images/samply/build prints")
    parser.add_argument("--perf", default=shutil.which("perf") or "")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--secs", type=float, default=2.5)
    options = parser.parse_args()
    samply = options.samply or Path(subprocess.run([BUILD], capture_output=True, text=True, check=True).stdout.strip())
    tools = [tool for tool in build_tools(samply, options.perf) if tool.name == "samply" or options.perf]
    with tempfile.TemporaryDirectory() as folder:
        target = compile_target(Path(folder))
        work = calibrate(target, options.secs)
        ratios: dict[tuple[str, int], list[float]] = {(tool.name, tool.rate): [] for tool in tools}
        bare: list[float] = []
        for _ in range(options.rounds):
            for tool in tools:
                first, with_1, with_2, last = (measure(target, work, one) for one in (None, tool, tool, None))
                bare += [first, last]
                ratios[tool.name, tool.rate].append((with_1 + with_2) / (first + last))
    print(f"{os.cpu_count()} CPUs, {THREADS} busy threads, {options.rounds} × ABBA; load {os.getloadavg()[0]:.1f}.")
    print(f"The work alone: {statistics.median(bare):.2f} s ({min(bare):.2f} to {max(bare):.2f}).\n")
    print("| tool | Hz | slower by (median) | range |\n| --- | --- | --- | --- |")
    for (name, rate), found in ratios.items():
        low, high = min(found), max(found)
        print(f"| {name} | {rate} | {statistics.median(found) - 1:.1%} | {low - 1:.1%} to {high - 1:.1%} |")


if __name__ == "__main__":
    main()
