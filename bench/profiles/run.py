"""Measures reading, summarising and baking a big profile, next to simpler ways and to the floor.

    python bench/profiles/run.py FOLDER [--rounds 3] [--by operator] [--by group] [--range 12]

FOLDER holds what `generate.py` wrote. Each way runs in a process of its own, in turns, so that a busy machine is busy
for all of them; printed are medians of wall time, CPU time and peak memory, and ratios to the floor: `gzip -d` for
reading, `gzip -d | gzip -1` for baking, which has to write gzip as well (and then reads back what it wrote).
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PYTHON = sys.executable
PIPE = "gzip -d, gzip -1"
OURS = "import sys; from pathlib import Path; from samply_operator import profiles; "

BY_LABEL = """
from samply_operator.profiles.analysis import breakdown
from samply_operator.profiles.attribution.choosing import Choice
profile = profiles.read(Path(sys.argv[1]))
breakdown.break_down(profile, Choice(sys.argv[2]).build(profile), by=sys.argv[2])
"""

RANGE = """
from samply_operator.profiles.analysis import ranges
from samply_operator.profiles.analysis.ranges import Adding, Source
path = Path(sys.argv[1])
ranges.merge(Adding([Source(str(n), str(n), lambda: profiles.read(path)) for n in range(int(sys.argv[2]))]))
"""

SIMPLE_TOP = """
import gzip, sys
from collections import Counter
{load}
selves, totals = Counter(), Counter()
for thread in profile["threads"]:
    stacks, frames, funcs = thread["stackTable"], thread["frameTable"], thread["funcTable"]
    for stack, count in Counter(thread["samples"]["stack"]).items():
        names, leaf = set(), None
        while stack is not None:
            name = thread["stringArray"][funcs["name"][frames["func"][stacks["frame"][stack]]]]
            leaf = leaf or name
            names.add(name)
            stack = stacks["prefix"][stack]
        selves[leaf] += count
        for name in names:
            totals[name] += count
print(selves.most_common(20)[0], file=sys.stderr)
"""

JSON_LOAD = "import json; profile = json.loads(gzip.open(sys.argv[1]).read())"
ORJSON_LOAD = "import orjson; profile = orjson.loads(gzip.open(sys.argv[1]).read())"


@dataclass(frozen=True, slots=True)
class Way:
    """One thing to measure: a command, and the way that it is compared with."""

    name: str
    command: list[str]
    floor: str


@dataclass(frozen=True, slots=True)
class Run:
    wall_secs: float
    cpu_secs: float
    peak_mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip", action="append", default=[], help="name of a way to leave out")
    parser.add_argument(
        "--by", action="append", default=[], choices=("operator", "group"), help="compared with by function"
    )
    parser.add_argument(
        "--range", type=int, default=0, metavar="N", help="N profiles as a range of time, compared with N summaries"
    )
    options = parser.parse_args()
    ways = [way for way in build_ways(options.folder, options.by, options.range) if way.name not in options.skip]
    runs: dict[str, list[Run]] = {way.name: [] for way in ways}
    for _ in range(options.rounds):
        for way in ways:
            runs[way.name].append(measure(way.command))
            print(f"{way.name}: {runs[way.name][-1]}", file=sys.stderr, flush=True)
    report(options.folder / "profile.json.gz", ways, runs)


def build_ways(folder: Path, by_labels: list[str], in_range: int) -> list[Way]:
    """Baking comes first: the summaries are of the baked file, as in real use."""
    raw, sidecar, baked = (
        str(folder / name) for name in ("profile.json.gz", "profile.json.syms.json", "baked.json.gz")
    )
    bake = OURS + "profiles.bake(*map(Path, sys.argv[1:4]), label=profiles.Label('x'))"
    facts = OURS + "profiles.facts(profiles.read(Path(sys.argv[1])))"
    top = OURS + "profiles.top(profiles.read(Path(sys.argv[1])))"
    by = OURS + BY_LABEL
    return [
        Way("bake", [PYTHON, "-c", bake, raw, sidecar, baked], PIPE),
        Way(PIPE, ["sh", "-c", 'gzip -dc "$0" | gzip -1 > /dev/null', raw], PIPE),
        Way("gzip -d", ["sh", "-c", 'gzip -dc "$0" > /dev/null', baked], "gzip -d"),
        Way("read and facts", [PYTHON, "-c", facts, baked], "gzip -d"),
        Way("read and top", [PYTHON, "-c", top, baked], "gzip -d"),
        *(Way(f"read and top by {each}", [PYTHON, "-c", by, baked, each], "read and top") for each in by_labels),
        *(_build_range(in_range, top, baked) if in_range else ()),
        Way("orjson and a plain loop", [PYTHON, "-c", SIMPLE_TOP.format(load=ORJSON_LOAD), baked], "gzip -d"),
        Way("json and a plain loop", [PYTHON, "-c", SIMPLE_TOP.format(load=JSON_LOAD), baked], "gzip -d"),
    ]


def _build_range(count: int, top: str, baked: str) -> list[Way]:
    """One process that merges them, and a process for each."""
    loop = f'for n in $(seq {count}); do "$0" -c "$1" "$2"; done'
    alone = f"{count} times read and top"
    return [
        Way(alone, ["sh", "-c", loop, PYTHON, top, baked], alone),
        Way(f"range of {count}", [PYTHON, "-c", OURS + RANGE, baked, str(count)], alone),
    ]


def measure(command: list[str]) -> Run:
    """Peak memory is that of the largest process in the command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    stderr = process.stderr.read() if process.stderr else b""
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        sys.exit(f"{command[:3]} failed: {stderr.decode(errors='replace')}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, cpu, usage.ru_maxrss / 1024)


def report(profile: Path, ways: list[Way], runs: dict[str, list[Run]]) -> None:
    raw = subprocess.run(["sh", "-c", 'gzip -dc "$0" | wc -c', str(profile)], capture_output=True, check=True)
    raw_mib = int(raw.stdout) / (1 << 20)
    print(f"{profile.stat().st_size / (1 << 20):.0f} MiB packed, {raw_mib:.0f} MiB raw, {os.cpu_count()} CPUs\n")
    print("| way | wall s | CPU s | times the floor (CPU) | peak MiB | peak / raw |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    cpu = {name: statistics.median(run.cpu_secs for run in each) for name, each in runs.items()}
    for way in ways:
        wall = statistics.median(run.wall_secs for run in runs[way.name])
        peak = statistics.median(run.peak_mib for run in runs[way.name])
        ratio = f"{cpu[way.name] / cpu[way.floor]:.2f}" if way.floor in cpu else "-"
        print(
            f"| {way.name} | {wall:.2f} | {cpu[way.name]:.2f} | {ratio} | {peak:.0f} | {peak / raw_mib:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
