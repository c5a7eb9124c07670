"""A corpus of damaged and unusual files: each is read, or refused with a remedy, in bounded memory and time."""

from __future__ import annotations

import json
import random
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from samply_operator import profiles
from samply_operator.errors import SamplyOperatorError
from samply_operator.profiles.worker import bounded, commands, jobs
from support import profile_maker, profile_mutations
from support.profile_maker import Sample
from support.profile_mutations import mutate

CPU_SECS = 3.0
MEMORY_BYTES = 64 << 20
QUICK, MANY, BATCH = 6, 100, 20
"""Batches of so many files."""


def list_jobs(path: Path, out: Path) -> Iterator[jobs.AnyJob]:
    """Everything that is done with a file."""
    file = str(path)
    yield jobs.Facts(profile=file)
    yield jobs.Bake(profile=file, sidecar=None, out=str(out), label=profiles.Label("x", "host"))
    for output in ("json", "text"):
        yield jobs.Top(profile=file, output=output)
        yield jobs.Merge(profiles=(file, file), output=output)
        yield jobs.Diff(before=file, after=file, output=output)
    yield jobs.Top(profile=file, time_range=profiles.TimeRange(0, 3))
    yield jobs.Top(profile=file, by="operator")
    yield jobs.Top(profile=file, by="group", output="text")
    yield jobs.Diff(before=file, after=file, output="svg")
    for kind in jobs.FORMATS:
        yield jobs.Convert(profile=file, format=kind)
        yield jobs.Convert(profile=file, format=kind, measure="cpu")


def run(job: jobs.AnyJob) -> bytes:
    """The answer, which is whole; empty for an error, which has a message."""
    try:
        answer = b"".join(commands.run(job))
    except SamplyOperatorError as error:
        said = str(error).strip()
        answer = b""
    else:
        said = "an answer"
    assert 0 < len(said) < 2000
    if not answer:
        return answer
    if getattr(job, "format", getattr(job, "output", "")) == "svg":
        ElementTree.fromstring(answer)
    elif not hasattr(job, "output") and getattr(job, "format", "speedscope") == "speedscope":
        json.loads(answer)
    return answer


def check(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "p"
    path.write_bytes(mutate(random.Random(seed)))
    for job in list_jobs(path, tmp_path / "out"):
        started = time.process_time()
        try:
            run(job)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(job).__name__}: {error!r}") from error
        assert time.process_time() - started < CPU_SECS, f"seed {seed}: {job}"


def test_the_files_that_the_corpus_starts_from_are_good(tmp_path: Path) -> None:
    """Or the damage would prove nothing."""
    answers = 0
    for seed in range(20):
        path = tmp_path / "p"
        path.write_text(json.dumps(profile_mutations.build_good(random.Random(seed))))
        profiles.facts(profiles.read(path))
        answers += sum(bool(run(job)) for job in list_jobs(path, tmp_path / "out"))
    assert answers > 300


@pytest.mark.parametrize("batch", range(QUICK))
def test_a_damaged_file_is_read_or_refused(batch: int, tmp_path: Path) -> None:
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        check(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("batch", range(QUICK, MANY))
def test_a_larger_corpus(batch: int, tmp_path: Path) -> None:
    """In bounded memory, too."""
    tracemalloc.start()
    try:
        for seed in range(batch * BATCH, (batch + 1) * BATCH):
            tracemalloc.reset_peak()
            check(seed, tmp_path)
            assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES, f"seed {seed}"
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_sidecar_is_used_or_refused(seed: int, sidecar: Path, tmp_path: Path) -> None:
    dice = random.Random(seed)
    document = json.loads(sidecar.read_bytes())
    for _ in range(dice.randint(1, 4)):
        profile_mutations.change_document(document, dice)
    path = tmp_path / "p.syms.json"
    path.write_text(json.dumps(document))
    raw = sidecar.with_name("demo-v55.json.gz")
    run(jobs.Bake(profile=str(raw), sidecar=str(path), out=str(tmp_path / "out"), label=profiles.Label("x")))


@pytest.mark.parametrize("seed", range(1000, 1006))
async def test_the_child_never_crashes_on_one(seed: int, tmp_path: Path) -> None:
    """As a service reads it, with little memory: an error of ours, or an answer."""
    path = tmp_path / "p"
    path.write_bytes(mutate(random.Random(seed)))
    limits = bounded.Limits(memory_bytes=512 << 20, cpu_secs=10, wall_secs=60)
    reason: object = None
    try:
        await bounded.top(path, limits)
    except SamplyOperatorError as error:
        reason = error.details.get("reason")
    assert reason not in ("Crashed", "OutOfMemory", "Timeout")


def test_a_very_long_chain_of_calls_takes_no_time_of_its_square(tmp_path: Path) -> None:
    """Each function calls the next: 100,000 of them."""
    depth = 100_000
    document = profile_maker.build([[Sample(("f0",))]])
    (thread,) = document["threads"]
    rows = list(range(depth))
    thread["stringArray"] = [f"f{row}" for row in rows]
    thread["stackTable"] = {"length": depth, "prefix": [None, *rows[:-1]], "frame": rows}
    frames, funcs = thread["frameTable"], thread["funcTable"]
    thread["frameTable"] = {key: rows if key in ("func", "address") else [None] * depth for key in frames}
    thread["funcTable"] = {"name": rows, "resource": [0] * depth, "fileName": [None] * depth}
    thread["frameTable"]["length"] = funcs["length"] = thread["funcTable"]["length"] = depth
    thread["samples"]["stack"] = [depth - 1]
    profile = profiles.read(profile_maker.save(document, tmp_path / "p.json.gz"))
    started = time.process_time()
    assert profiles.top(profile, limit=1).all_threads.functions_total == depth
    assert time.process_time() - started < 20
