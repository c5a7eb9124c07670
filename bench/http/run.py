"""Measures the api beside nginx and aiohttp's FileResponse, in one run of about 4 minutes; prints a Markdown report.

`.venv/bin/python bench/http/run.py`; needs nginx, wrk and curl. `--rounds 1 --secs 1` to try it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "tests")]

import load  # noqa: E402 - beside this file
import servers  # noqa: E402
from load import Result  # noqa: E402
from server import API_KEY, KUBERNETES_TOKEN, NEW_TOKEN  # noqa: E402
from servers import Field, Server  # noqa: E402

from samply_operator.model.manifest import Manifest, StoredFile  # noqa: E402
from samply_operator.store.volume import Volume  # noqa: E402
from support import certificates  # noqa: E402

MIB = 2**20
SIZES = {"big": 100 * MIB, "small": 200 * 1024, "huge": 300 * MIB}
CROWD = 100


def put(volume: Volume, number: int, pipeline: str, size: int) -> str:
    """Store a profile of random bytes; returns its SHA-256."""
    profile_id = f"00000000-0000-4000-8000-{number:012x}"
    path = volume.tmp_path(profile_id, "profile")
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for left in range(size, 0, -MIB):
            piece = os.urandom(min(left, MIB))
            digest.update(piece)
            file.write(piece)
    manifest = Manifest(
        id=profile_id,
        namespace="feldera",
        name=pipeline,
        pipeline=pipeline,
        ordinal=0,
        outcome="Succeeded",
        requested_at="2026-01-31T09:00:00.000Z",
        finished_at="2026-01-31T09:00:30.000Z",
        file=StoredFile(size, digest.hexdigest()),
    )
    volume.publish(manifest, path)
    os.link(volume.root / "profiles" / profile_id / "profile.json.gz", volume.root / pipeline)
    return digest.hexdigest()


def prepare(folder: Path) -> str:
    """The volume, and the certificate; returns the small file's entity tag."""
    folder.chmod(0o755)
    volume = Volume(folder)
    volume.prepare()
    tags = {name: put(volume, number, name, size) for number, (name, size) in enumerate(SIZES.items(), start=1)}
    certificates.write_pair(folder / "tls")
    for path in folder.rglob("*"):
        path.chmod(0o755)
    return tags["small"]


def show(title: str, unit: str, results: dict[str, Result], goal: str, *, with_p99: bool = False) -> None:
    tail, line = (" p99 |", " ---: |") if with_p99 else ("", "")
    print(f"\n### {title}\n\nGoal: {goal}.\n\n| server | {unit} | of nginx | server's CPU per request |{tail}")
    print(f"| --- | ---: | ---: | ---: |{line}")
    floor = results["nginx"].rate if "nginx" in results else None
    for name, result in results.items():
        ratio = f"{result.rate / floor:.2f}" if floor else ""
        p99 = f" {result.p99_ms:.1f} ms |" if with_p99 else ""
        print(f"| {name} | {result.rate:,.0f} | {ratio} | {result.cpu_usecs:,.0f} µs |{p99}")
    sys.stdout.flush()


def show_memory(title: str, found: load.Memory) -> None:
    grown = found.most_mib - found.before_mib
    print(
        f"| {title} | {found.before_mib:.0f} MiB | {found.most_mib:.0f} MiB | {grown:+.0f} MiB | {found.secs:.1f} s |"
    )
    sys.stdout.flush()


def run(field: Field, folder: Path, tag: str, rounds: int, secs: float) -> None:
    key, known = f"Authorization: Bearer {API_KEY}", f"Authorization: Bearer {KUBERNETES_TOKEN}"
    open_ = field.ours
    ours, ours_tls = replace(field.ours, headers=(key,)), replace(field.ours_tls, headers=(key,))
    reviewed = replace(field.ours, headers=(known,))

    def get(server: Server, scheme: str = "http") -> Callable[[], Result]:
        return lambda: load.download(server, "big", SIZES["big"], 5, scheme=scheme)

    def ask(server: Server, name: str, connections: int = 8, **how: object) -> Callable[[], Result]:
        return lambda: load.hammer(server, name, connections, secs, **how)  # type: ignore[arg-type]

    big = {"nginx": get(field.nginx), "ours": get(ours), "aiohttp FileResponse": get(field.aiohttp)}
    # More of them: the speed of one connection is luck, by a factor of 1.7 with the same server.
    show("100 MiB, one stream", "MiB/s", load.measure(3 * rounds, big), "not slower than nginx")
    tls = {"nginx": get(field.nginx_tls, "https"), "ours": get(ours_tls, "https")}
    show("100 MiB, one stream, TLS", "MiB/s", load.measure(rounds, tls), "0.6 of nginx")
    small = {name: ask(each, "small") for name, each in (("nginx", field.nginx), ("ours", ours))}
    small["aiohttp FileResponse"] = ask(field.aiohttp, "small")
    show(
        "200 KiB, 8 connections", "requests/s", load.measure(rounds, small), "0.35 of nginx, API key and ETag included"
    )
    same = (f'If-None-Match: "{tag}"',)
    polls = {
        "nginx, 204": ask(field.nginx, "poll", 16),
        "ours, 204": ask(ours, "poll", 16),
        "ours, 304": ask(ours, "small", 16, headers=same),
        "aiohttp, a bare 204": ask(field.aiohttp, "poll", 16),
    }
    found = load.measure(rounds, polls)
    show("Polls, 16 connections", "requests/s", found, "8,000/s with a warm cache, p99 below 20 ms", with_p99=True)
    mine = {name: act for name, act in polls.items() if name.startswith("ours")}
    with load.copying(folder, SIZES["huge"]):
        busy = load.measure(rounds, mine)
    show("Polls while 300 MiB are copied to the volume", "requests/s", busy, "p99 below 20 ms", with_p99=True)
    with load.downloading(ours, "huge"):
        busy = load.measure(rounds, mine)
    show("Polls while one client downloads 300 MiB", "requests/s", busy, "p99 below 20 ms", with_p99=True)
    ways = {
        "API key": ask(ours, "poll"),
        "Kubernetes, reviewed before (warm)": ask(reviewed, "poll"),
        "Kubernetes, each a new token (cold)": ask(open_, "poll", lua=NEW_TOKEN),
    }
    title = "Cost of authentication: 204 polls, 8 connections"
    show(title, "requests/s", load.measure(rounds, ways), "none; a script behind the socket answers the reviews")
    print(f"\n### Memory of the process: {CROWD} downloads at once, of 50 MiB each\n\nGoal: flat.\n")
    print("| | before | maximum | growth | time |\n| --- | ---: | ---: | ---: | ---: |")
    show_memory("plain TCP", load.crowd(ours, "big", 50 * MIB, CROWD))
    show_memory("TLS", load.crowd(ours_tls, "big", 50 * MIB, CROWD, tls=True))


def compare(stack: ExitStack, folder: Path, tag: str, before: Path, rounds: int, secs: float) -> None:
    """The api of another checkout beside this one: ratios of what a request costs, and of requests per second."""
    trees = {"before": before, "now": HERE.parents[1]}
    started = {name: servers.start_ours(stack, folder, tree.resolve()) for name, tree in trees.items()}
    key, known = f"Authorization: Bearer {API_KEY}", f"Authorization: Bearer {KUBERNETES_TOKEN}"
    same = (f'If-None-Match: "{tag}"',)
    acts: dict[str, Callable[[Server], Result]] = {
        "204, API key": lambda it: load.hammer(replace(it, headers=(key,)), "poll", 16, secs),
        "204, Kubernetes token": lambda it: load.hammer(replace(it, headers=(known,)), "poll", 16, secs),
        "304": lambda it: load.hammer(replace(it, headers=(key,)), "small", 16, secs, headers=same),
        "200 KiB": lambda it: load.hammer(replace(it, headers=(key,)), "small", 8, secs),
        "100 MiB": lambda it: load.download(replace(it, headers=(key,)), "big", SIZES["big"], 5),
    }
    print("\n### This checkout of the one before\n\n| | CPU per request | requests per second | memory |")
    print("| --- | ---: | ---: | ---: |")
    for title, act in acts.items():
        found = load.measure(rounds, {name: partial(act, server) for name, server in started.items()})
        old, new = found["before"], found["now"]
        memory = started["now"].read_resident_mib() / started["before"].read_resident_mib()
        print(f"| {title} | {new.cpu_usecs / old.cpu_usecs:.2f} | {new.rate / old.rate:.2f} | {memory:.2f} |")
        sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--secs", type=float, default=2)
    parser.add_argument("--before", type=Path, metavar="TREE", help="compare only with the api of this checkout")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="so-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        tag = prepare(folder)
        how = f"{options.rounds} rounds of {options.secs:g} s; {os.cpu_count()} cores"
        print(f"Python {platform.python_version()}; {how}; load {os.getloadavg()[0]:.1f}")
        if options.before:
            compare(stack, folder, tag, options.before, options.rounds, options.secs)
        else:
            run(servers.start(stack, folder), folder, tag, options.rounds, options.secs)
        print(f"\nLoad at the end {os.getloadavg()[0]:.1f}; {time.monotonic() - started:.0f} s in all.")


if __name__ == "__main__":
    main()
