"""The sums of a profile are the same in every output."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import sampled_from

from samply_operator import profiles
from samply_operator.profiles.analysis import comparing, flametree, merging
from samply_operator.profiles.analysis.selection import MEASURES, Measure
from samply_operator.profiles.errors import NotInProfile
from samply_operator.profiles.output import folded, pprof, speedscope
from support import pprof_reader, profile_maker, profile_versions
from support.profile_maker import THREADS, Sample

Threads = list[list[Sample]]
Sums = dict[tuple[str, ...], float]

WITH_TMP = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WEIGHT_TYPES = sampled_from(["samples", "bytes", "tracing-ms"])
"""Weights and CPU times of THREADS are whole numbers and fractions, which all formats can hold."""


def read(threads: Threads, tmp_path: Path, version: int = 55, weight_type: str = "samples") -> profiles.Profile:
    document = profile_versions.rewrite(profile_maker.build(threads, weight_type=weight_type), version)
    return profiles.read(profile_maker.save(document, tmp_path / "p.json.gz"))


def expect(threads: Threads, measure: Measure) -> Sums:
    """What each stack must add up to, straight from what the profile was made of."""
    sums: dict[tuple[str, ...], float] = defaultdict(float)
    for samples in threads:
        for sample in samples:
            sums[sample.path] += sample.weight if measure == "samples" else sample.cpu_us
    return {path: value for path, value in sums.items() if path and value}


def has_sums(threads: Threads, measure: Measure) -> bool:
    """Whether there is something to add up, in which case each format must have it all."""
    has_stacks = any(sample.path for samples in threads for sample in samples)
    return has_stacks and (
        measure == "samples" or any(sample.cpu_us for samples in threads for sample in samples if sample.path)
    )


def ask(
    convert: Callable[..., Iterable[bytes]], threads: Threads, profile: profiles.Profile, measure: Measure
) -> bytes:
    """The converted profile; empty, and an error, where there is nothing to add up."""
    if has_sums(threads, measure):
        return b"".join(convert(profile, measure=measure))
    with pytest.raises(NotInProfile):
        b"".join(convert(profile, measure=measure))
    return b""


@WITH_TMP
@given(threads=THREADS)
def test_top_adds_up_to_the_samples(threads: Threads, tmp_path: Path) -> None:
    for version in (55, 66, 75):
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
    for measure in MEASURES:
        sums: dict[str, float] = defaultdict(float)
        for line in ask(folded.convert, threads, profile, measure).decode().splitlines():
            stack, _, value = line.rpartition(" ")
            sums[stack.split(";", 2)[2]] += float(value)
        assert sum(sums.values()) == sum(expect(threads, measure).values())
        assert all(chr(27) not in stack for stack in sums)


@WITH_TMP
@given(threads=THREADS, weight_type=WEIGHT_TYPES)
def test_pprof_adds_up_to_the_samples(threads: Threads, weight_type: str, tmp_path: Path) -> None:
    profile = read(threads, tmp_path, weight_type=weight_type)
    if not has_sums(threads, "samples"):
        with pytest.raises(NotInProfile):
            next(pprof.convert(profile))
        return
    parsed = pprof_reader.parse(gzip.decompress(b"".join(pprof.convert(profile))))
    kind, unit = parsed.sample_types[0]
    assert kind == {"samples": "samples", "bytes": "space", "tracing-ms": "time"}[weight_type]
    per_unit = {"count": 1, "bytes": 1, "nanoseconds": 1e6}.get(unit, 1000)
    columns = [(0, "samples", per_unit), (1, "cpu", 1000)]
    assert (len(parsed.sample_types) == 2) == has_sums(threads, "cpu")
    for column, measure, factor in columns[: len(parsed.sample_types)]:
        sums: dict[tuple[str, ...], float] = defaultdict(float)
        for stack, values in parsed.samples:
            sums[stack] += values[column] / factor
        assert {stack: value for stack, value in sums.items() if value} == expect(threads, measure)


@WITH_TMP
@given(threads=THREADS)
def test_speedscope_adds_up_to_the_samples(threads: Threads, tmp_path: Path) -> None:
    profile = read(threads, tmp_path)
    for measure in MEASURES:
        if text := ask(speedscope.convert, threads, profile, measure):
            document = json.loads(text)
            sums: dict[tuple[str, ...], float] = defaultdict(float)
            for each in document["profiles"]:
                for stack, value in replay(each, document["shared"]["frames"]).items():
                    sums[stack] += value
            assert {stack: value for stack, value in sums.items() if value} == expect(threads, measure)


def replay(evented: dict[str, Any], frames: list[dict[str, str]]) -> Sums:
    """The self widths of an evented profile, with speedscope's own rules: in order, and last opened first closed."""
    sums: dict[tuple[str, ...], float] = defaultdict(float)
    path: list[int] = []
    at = evented["startValue"]
    for event in evented["events"]:
        assert event["at"] >= at
        sums[tuple(frames[frame]["name"] for frame in path)] += event["at"] - at
        at = event["at"]
        if event["type"] == "O":
            path.append(event["frame"])
        else:
            assert path.pop() == event["frame"]
    assert path == []
    assert evented["endValue"] == at
    sums.pop((), None)
    return sums


@WITH_TMP
@given(threads=THREADS, weight_type=WEIGHT_TYPES)
def test_the_flame_graph_a_sum_and_a_comparison_have_the_whole(
    threads: Threads, weight_type: str, tmp_path: Path
) -> None:
    """Of each the sum of all, in its own unit."""
    profile = read(threads, tmp_path, weight_type=weight_type)
    whole = sum(expect(threads, "samples").values())
    assert flametree.build([profile], measure="samples").sum(0) == whole
    merged = merging.merge([profile, profile]).all_profiles
    assert merged.weight == 2 * whole
    assert profiles.top(profile).all_threads.weight == whole
    if has_sums(threads, "samples"):
        comparison = comparing.compare(profile, profile)
        is_cpu = comparison.measure == "cpu"
        assert is_cpu == (weight_type == "samples" and has_sums(threads, "cpu"))
        expected = sum(expect(threads, "cpu").values()) / 1000 if is_cpu else whole
        assert comparison.whole_before == comparison.whole_after == pytest.approx(expected)


@WITH_TMP
@given(threads=THREADS, cut=sampled_from([2, 3, 7]))
def test_a_part_of_the_time_and_the_rest_add_up_to_all(threads: Threads, cut: int, tmp_path: Path) -> None:
    profile = read(threads, tmp_path)
    whole = profiles.top(profile).all_threads
    weight = samples = 0.0
    for start, end in ((0, cut), (cut, float("inf"))):
        try:
            part = profiles.top(profile, time_range=profiles.TimeRange(start, end)).all_threads
        except NotInProfile:
            continue
        weight, samples = weight + part.weight, samples + part.samples
    assert (weight, samples) == (whole.weight, whole.samples)
