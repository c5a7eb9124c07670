"""However a profile is shown, the sums are the same."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings

from samply_operator import profiles
from samply_operator.profiles.analysis import weighing
from samply_operator.profiles.analysis.weighing import Measure
from samply_operator.profiles.output import folded, pprof, speedscope
from support import pprof_reader, profile_maker, profile_versions
from support.profile_maker import THREADS, Sample

Threads = list[list[Sample]]

WITH_TMP = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(threads: Threads, tmp_path: Path, version: int = 55) -> profiles.Profile:
    document = profile_versions.rewrite(profile_maker.build(threads), version)
    return profiles.read(profile_maker.save(document, tmp_path / "p.json.gz"))


def expect(threads: Threads, measure: Measure) -> Counter[tuple[str, ...]]:
    """What each stack must add up to, straight from what the profile was made of."""
    sums: Counter[tuple[str, ...]] = Counter()
    for samples in threads:
        for sample in samples:
            if sample.path:
                sums[sample.path] += sample.weight if measure == "samples" else sample.cpu_us
    return +sums


@WITH_TMP
@given(threads=THREADS)
def test_top_adds_up_to_the_samples(threads: Threads, tmp_path: Path) -> None:
    for version in (55, 66):
        summary = profiles.top(read(threads, tmp_path, version), limit=1000)
        for measure, key, unit in (("samples", "weight", 1.0), ("cpu", "cpu_ms", 1e-3)):
            expected = expect(threads, measure)
            selves: Counter[str] = Counter()
            totals: Counter[str] = Counter()
            for path, value in expected.items():
                selves[path[-1]] += value
                for name in set(path):
                    totals[name] += value
            for cost in summary.all_threads.by_total:
                assert abs((getattr(cost, f"self_{key}") or 0) - unit * selves[cost.name]) < 1e-6
                assert abs((getattr(cost, f"total_{key}") or 0) - unit * totals[cost.name]) < 1e-6


@WITH_TMP
@given(threads=THREADS)
def test_folded_stacks_add_up_to_the_samples(threads: Threads, tmp_path: Path) -> None:
    profile = read(threads, tmp_path)
    for measure in weighing.MEASURES:
        sums: Counter[str] = Counter()
        for line in b"".join(folded.convert(profile, measure=measure)).decode().splitlines():
            stack, _, value = line.rpartition(" ")
            sums[stack.split(";", 2)[2]] += int(value)
        assert sum(sums.values()) == sum(expect(threads, measure).values())
        assert all(chr(27) not in stack for stack in sums)


@WITH_TMP
@given(threads=THREADS)
def test_pprof_adds_up_to_the_samples(threads: Threads, tmp_path: Path) -> None:
    parsed = pprof_reader.parse(gzip.decompress(b"".join(pprof.convert(read(threads, tmp_path)))))
    assert parsed.sample_types == [("samples", "count"), ("cpu", "nanoseconds")]
    for column, measure, unit in ((0, "samples", 1), (1, "cpu", 1000)):
        sums: Counter[tuple[str, ...]] = Counter()
        for stack, values in parsed.samples:
            sums[stack] += values[column]
        assert +sums == Counter({path: unit * value for path, value in expect(threads, measure).items()})


@WITH_TMP
@given(threads=THREADS)
def test_speedscope_adds_up_to_the_samples(threads: Threads, tmp_path: Path) -> None:
    profile = read(threads, tmp_path)
    for measure in weighing.MEASURES:
        document = json.loads(b"".join(speedscope.convert(profile, measure=measure)))
        sums: Counter[tuple[str, ...]] = Counter()
        for each in document["profiles"]:
            sums.update(replay(each, document["shared"]["frames"]))
        assert +sums == expect(threads, measure)


def replay(evented: dict[str, Any], frames: list[dict[str, str]]) -> Counter[tuple[str, ...]]:
    """The self widths of an evented profile, with speedscope's own rules: in order, and last opened first closed."""
    sums: Counter[tuple[str, ...]] = Counter()
    path: list[int] = []
    at = evented["startValue"]
    for event in evented["events"]:
        assert event["at"] >= at
        sums[tuple(frames[frame]["name"] for frame in path)] += round(event["at"] - at)
        at = event["at"]
        if event["type"] == "O":
            path.append(event["frame"])
        else:
            assert path.pop() == event["frame"]
    assert path == []
    assert evented["endValue"] == at
    del sums[()]
    return sums


@WITH_TMP
@given(threads=THREADS)
def test_a_part_of_the_time_and_the_rest_add_up_to_all(threads: Threads, tmp_path: Path) -> None:
    profile = read(threads, tmp_path)
    parts = [
        profiles.top(profile, time_range=profiles.TimeRange(start, end)).all_threads
        for start, end in ((0, 3), (3, float("inf")))
    ]
    whole = profiles.top(profile).all_threads
    assert sum(part.weight for part in parts) == whole.weight
    assert sum(part.samples for part in parts) == whole.samples
