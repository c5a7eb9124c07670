"""A job in a child process ends within its limits, and reports why it failed."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from isal import igzip

from samply_operator import profiles, settings
from samply_operator.model.comparison import KINDS, Kind
from samply_operator.profiles import errors
from samply_operator.profiles.analysis import comparing
from samply_operator.profiles.attribution.choosing import Choice
from samply_operator.profiles.worker import bounded, commands, jobs
from samply_operator.profiles.worker.bounded import Limits

DATA = Path(__file__).parents[2] / "data" / "profiles"
LIMITS = Limits(memory_bytes=256 << 20, cpu_secs=30, wall_secs=60)


async def collect(job: jobs.AnyJob, limits: Limits = LIMITS) -> bytes:
    async with contextlib.aclosing(bounded.stream(job, limits)) as pieces:
        return b"".join([piece async for piece in pieces])


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_facts_are_those_of_this_process(raw: Path) -> None:
    assert await bounded.facts(raw, LIMITS) == profiles.facts(profiles.read(raw))


async def test_baking_gives_the_same_file(
    raw: Path, sidecar: Path, baked: Path, tmp_path: Path, label: profiles.Label
) -> None:
    out = tmp_path / "out.json.gz"
    result = await bounded.bake(raw, sidecar, out, label=label, limits=LIMITS)
    assert result.sha256 == digest(baked)
    assert result.facts == profiles.facts(profiles.read(baked))


@pytest.mark.parametrize(
    "job", ["Facts(profile=sys.argv[1])", "Bake(profile=sys.argv[1], sidecar=None, out=sys.argv[2], label=Label('x'))"]
)
def test_a_child_imports_only_what_its_job_needs(job: str, raw: Path, tmp_path: Path) -> None:
    script = f"""
import sys
from samply_operator.profiles.symbols.label import Label
from samply_operator.profiles.worker import child, commands
from samply_operator.profiles.worker.jobs import Bake, Facts
assert list(commands.run({job}))
print(*sys.modules)
"""
    command = [sys.executable, "-c", script, str(raw), str(tmp_path / "out")]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    package = profiles.__name__
    assert f"{package}.analysis.fact_sheet" in loaded
    others = (f"{package}.analysis.calltree", f"{package}.attribution.", f"{package}.output", "asyncio", "tomllib")
    unneeded = [name for name in loaded if name.startswith(others)]
    assert unneeded == [f"{package}.attribution.labels"]


async def test_top_and_diff_come_back_typed(baked: Path) -> None:
    assert await bounded.top(baked, LIMITS, limit=3) == profiles.top(profiles.read(baked), limit=3)
    comparison = await bounded.diff(baked, baked, LIMITS)
    assert {change.self_difference for change in comparison.changes} == {0.0}


async def test_an_answer_as_large_as_the_profile_is_refused(baked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process decodes it: only the child may be harmed by a profile whose names are megabytes."""
    monkeypatch.setattr(bounded, "MAX_ANSWER_BYTES", 200)
    with pytest.raises(errors.ProfileJobFailed, match="answer has more than"):
        await bounded.top(baked, LIMITS)


@pytest.mark.parametrize(("name", "expected"), [("dbsp-sampled-v57", KINDS), ("demo-v55", KINDS[:2])])
async def test_two_profiles_are_compared_by_each_kind_that_both_have(name: str, expected: tuple[Kind, ...]) -> None:
    """Each as alone."""
    path = DATA / f"{name}.json.gz"
    found = await bounded.diff_kinds(path, path, LIMITS, KINDS, limit=5)
    profile = profiles.read(path)
    assert found == {kind: comparing.compare(profile, profile, limit=5, choice=Choice(kind)) for kind in expected}


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("dbsp-sampled-v57", "740EDAFF632831E1363BCB7A4AEF541D0"),
        ("demo-v55", "C15B719470FF2F5965FF5051189CAE000"),
        ("dbsp-v57", ""),
    ],
)
async def test_the_facts_have_the_build_of_the_program(name: str, build: str) -> None:
    """And not that of a library; a pipeline's own file names no libraries."""
    assert (await bounded.facts(DATA / f"{name}.json.gz", LIMITS)).program_build == build


@pytest.mark.parametrize("format_", jobs.FORMATS)
async def test_a_format_streams_the_same_bytes(format_: jobs.Format, baked: Path) -> None:
    job = jobs.Convert(profile=str(baked), format=format_)
    assert await collect(job) == b"".join(commands.run(job))


async def test_an_error_of_the_child_arrives_as_the_same_error(tmp_path: Path) -> None:
    path = tmp_path / "p.json.gz"
    path.write_bytes(b"\x1f\x8bnonsense")
    with pytest.raises(errors.UnreadableProfile) as caught:
        await bounded.facts(path, LIMITS)
    assert caught.value.details == {"path": "p.json.gz"}
    assert caught.value.remedy


async def test_a_raw_file_is_packed_whatever_is_in_it(tmp_path: Path) -> None:
    path, out = tmp_path / "p.json", tmp_path / "out.json.gz"
    path.write_bytes(b"no JSON at all")
    written = await bounded.pack(path, out, LIMITS)
    assert gzip.decompress(out.read_bytes()) == b"no JSON at all"
    assert written.size_bytes == out.stat().st_size


async def test_the_least_memory_that_can_be_set_is_enough_for_a_small_profile(
    baked: Path, raw: Path, sidecar: Path, tmp_path: Path, label: profiles.Label
) -> None:
    (least,) = (meta for meta in get_args(settings.ChildBytes)[1:])
    limits = Limits(memory_bytes=least.ge)
    assert (await bounded.top(baked, limits)).all_threads.samples > 0
    await bounded.bake(raw, sidecar, tmp_path / "o.gz", label=label, limits=limits)


@pytest.mark.parametrize("memory_mib", [48, 64, 96])
async def test_too_little_memory_to_start_is_reported_as_such(memory_mib: int, baked: Path) -> None:
    with pytest.raises(errors.ProfileJobFailed) as caught:
        await bounded.top(baked, Limits(memory_bytes=memory_mib << 20))
    assert caught.value.details["reason"] == "OutOfMemory"


async def test_exceeding_the_memory_limit_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "p.json.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(300):
            file.write(b" " * (1 << 20))
    with pytest.raises(errors.ProfileJobFailed) as caught:
        await bounded.facts(path, LIMITS)
    assert caught.value.details["reason"] == "OutOfMemory"


def write_big(path: Path, threads: int, samples: int) -> int:
    """A profile of that many samples, each of the one stack that there is; its raw size."""
    size = 0
    column = b",".join([b"0"] * 100_000)
    # Level 0 would be as large as the raw file; isal takes a second for what gzip takes ten.
    with igzip.open(path, "wb", compresslevel=0) as file:

        def put(data: bytes) -> None:
            nonlocal size
            size += file.write(data)

        put(b'{"meta":{"interval":1,"preprocessedProfileVersion":55},"threads":[')
        for number in range(threads):
            put(b"," if number else b"")
            put(
                b'{"name":"t","stackTable":{"length":1,"frame":[0],"prefix":[null]},"frameTable":{"length":1,"func":[0]},'
                b'"funcTable":{"length":1,"name":[0],"resource":[-1]},"resourceTable":{"length":0,"lib":[]},'
                b'"stringArray":["f"],"samples":{"length":%d,"stack":[' % samples
            )
            for row in range(samples // 100_000):
                put(b"," if row else b"")
                put(column)
            put(b"]}}")
        put(b"]}")
    return size


@pytest.mark.parametrize(
    ("threads", "memory_mib", "reason"), [(8, 1024, None), (1, 700, "OutOfMemory")], ids=["it fits", "it doesn't"]
)
async def test_500_mb_raw_are_answered_or_refused_within_bounds(
    threads: int, memory_mib: int, reason: str | None, tmp_path: Path
) -> None:
    """250 million samples: a sum, or the reason; in both cases soon, and this process holds none of it."""
    path = tmp_path / "big.json.gz"
    samples = 250_000_000 // threads // 100_000 * 100_000
    assert write_big(path, threads, samples) > 490_000_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    limits = Limits(memory_bytes=memory_mib << 20, cpu_secs=60, wall_secs=100)
    if reason is None:
        assert (await bounded.facts(path, limits)).samples == threads * samples
    else:
        with pytest.raises(errors.ProfileJobFailed) as caught:
            await bounded.facts(path, limits)
        assert caught.value.details["reason"] == reason
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


async def test_millions_of_empty_threads_do_not_get_past_the_memory_limit(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(
        b'{"meta":{"interval":1,"preprocessedProfileVersion":55},"threads":[' + b"{}," * 5_000_000 + b"{}]}"
    )
    with pytest.raises(errors.ProfileError) as caught:
        await bounded.facts(path, LIMITS)
    assert isinstance(caught.value, errors.ProfileJobFailed | errors.BrokenProfile)


async def test_wall_time_is_up(raw: Path) -> None:
    with pytest.raises(errors.ProfileJobFailed) as caught:
        await bounded.facts(raw, Limits(wall_secs=0.01))
    assert caught.value.details["reason"] == "Timeout"


async def test_cpu_time_is_up(tmp_path: Path) -> None:
    path = tmp_path / "p.json.gz"
    # One deep chain of stacks, walked from each of its samples up.
    count = 60_000
    numbers = ",".join(map(str, range(count)))
    parents = ",".join(["null", *map(str, range(count - 1))])
    zeros = ",".join(["0"] * count)
    thread = (
        f'{{"name":"t","samples":{{"length":{count},"stack":[{numbers}]}},'
        f'"stackTable":{{"length":{count},"frame":[{zeros}],"prefix":[{parents}]}},'
        '"frameTable":{"length":1,"func":[0]},"funcTable":{"length":1,"name":[0],"resource":[-1]},'
        '"resourceTable":{"length":0,"lib":[]},"stringArray":["f"]}'
    )
    document = f'{{"meta":{{"interval":1,"preprocessedProfileVersion":55}},"threads":[{thread}]}}'
    path.write_bytes(gzip.compress(document.encode()))
    with pytest.raises(errors.ProfileJobFailed) as caught:
        await collect(jobs.Convert(profile=str(path), format="folded"), Limits(cpu_secs=1, wall_secs=60))
    assert caught.value.details["reason"] == "Timeout"


async def test_writing_more_than_allowed_is_stopped(
    raw: Path, sidecar: Path, tmp_path: Path, label: profiles.Label
) -> None:
    with pytest.raises(errors.ProfileJobFailed) as caught:
        await bounded.bake(raw, sidecar, tmp_path / "o.gz", label=label, limits=Limits(out_bytes=1000))
    assert caught.value.details["reason"] == "OutOfSpace"


async def test_who_stops_reading_leaves_no_child_behind(baked: Path) -> None:
    before = count_children()
    stream = bounded.stream(jobs.Convert(profile=str(baked), format="speedscope"), LIMITS)
    assert await anext(stream)
    await stream.aclose()
    assert count_children() == before


async def test_a_cancelled_job_leaves_no_child_behind(raw: Path) -> None:
    before = count_children()
    task = asyncio.create_task(bounded.facts(raw, LIMITS))
    while count_children() == before:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert count_children() == before


def count_children() -> int:
    own = os.getpid()
    return len(Path(f"/proc/{own}/task/{own}/children").read_text().split())


@pytest.mark.parametrize(
    ("status", "stderr", "reason"),
    [
        (4, b"", "OutOfMemory"),
        (5, b"", "OutOfSpace"),
        (-9, b"", "OutOfMemory"),
        (1, b"Traceback\nMemoryError", "OutOfMemory"),
        (-24, b"", "Timeout"),
        (-11, b"", "Crashed"),
        (3, b"cut o", "Crashed"),
    ],
)
def test_exit_statuses_are_explained(status: int, stderr: bytes, reason: str) -> None:
    assert bounded.explain(status, stderr).details["reason"] == reason


def test_every_error_class_survives_the_way_out_of_the_child() -> None:
    declared = {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.ProfileError) and kind is not errors.ProfileError
    }
    assert set(bounded.KINDS.values()) == declared
