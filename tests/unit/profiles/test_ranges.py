"""Profiles of a range of time as one: their sums, what is left out, and that one alone answers as it does by itself."""

from __future__ import annotations

import gc
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from samply_operator import profiles
from samply_operator.profiles.analysis import comparing, ranges
from samply_operator.profiles.analysis.merging import Merged
from samply_operator.profiles.analysis.ranges import Adding, Source
from samply_operator.profiles.attribution.choosing import Choice
from samply_operator.profiles.errors import NotInProfile, UnreadableProfile
from samply_operator.profiles.output import flamegraph, folded, text
from support import marker_maker, profile_maker
from support.marker_maker import evaluate
from support.profile_maker import THREADS, Document, Sample

WITH_TMP = settings(
    max_examples=40,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
Threads = list[list[Sample]]


@pytest.fixture
def source(tmp_path: Path) -> Callable[[Document | bytes], Source]:
    """A new file on each call."""
    numbers = iter(range(1000))

    def make(content: Document | bytes) -> Source:
        number = next(numbers)
        path = tmp_path / f"{number}.json.gz"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            profile_maker.save(content, path)
        return Source(str(number), f"profile {number}", lambda: profiles.read(path))

    return make


Make = Callable[[Document | bytes], Source]


def build(counts: dict[str, int], **how: object) -> Document:
    samples = [Sample(("main", function), cpu_us=500) for function, count in counts.items() for _ in range(count)]
    return profile_maker.build([samples], **how)  # type: ignore[arg-type]


def list_reasons(merged: Merged) -> list[tuple[str, str]]:
    return [(each.profile, each.reason) for each in merged.left_out]


@WITH_TMP
@given(threads=THREADS)
def test_one_profile_answers_as_it_does_by_itself(threads: Threads, tmp_path: Path) -> None:
    path = profile_maker.save(profile_maker.build(threads), tmp_path / "p.json.gz")
    alone = profiles.top(profiles.read(path), limit=1000)
    merged = ranges.merge(Adding([Source("0", "first", lambda: profiles.read(path))]), limit=1000)
    assert merged.all_profiles == alone.all_threads
    assert (merged.measure, merged.weight_type, merged.interval_ms, merged.notes) == (
        alone.measure,
        alone.weight_type,
        alone.interval_ms,
        alone.notes,
    )
    assert (merged.ids, merged.left_out) == (("0",), ())


@WITH_TMP
@given(first=THREADS, second=THREADS, third=THREADS)
def test_sums_are_those_of_the_parts(first: Threads, second: Threads, third: Threads, tmp_path: Path) -> None:
    """Of each function, by self and total, in CPU time and in samples."""
    paths = [
        profile_maker.save(profile_maker.build(threads), tmp_path / f"{number}.json.gz")
        for number, threads in enumerate((first, second, third))
    ]
    added = [threads for threads in (first, second, third) if any(sample.path for part in threads for sample in part)]
    sources = [Source(path.name, path.name, lambda path=path: profiles.read(path)) for path in paths]
    if not added:
        with pytest.raises(NotInProfile):
            ranges.merge(Adding(sources))
        return
    merged = ranges.merge(Adding(sources), limit=1000)
    assert len(merged.ids) == len(added)
    assert {each.reason for each in merged.left_out} <= {"Samples"}
    is_timed = all(any(sample.cpu_us for part in threads for sample in part if sample.path) for threads in added)
    assert (merged.all_profiles.cpu_ms is not None) == is_timed
    assert merged.measure == ("cpu" if is_timed else "samples")
    for key, unit in (("weight", 1), ("cpu_us", 1000)) if is_timed else (("weight", 1),):
        selves, totals = sum_by_function(added, key)
        shown = key.replace("_us", "_ms")
        for cost in merged.all_profiles.by_total:
            assert getattr(cost, f"self_{shown}") * unit == pytest.approx(selves[cost.name])
            assert getattr(cost, f"total_{shown}") * unit == pytest.approx(totals[cost.name])
        assert getattr(merged.all_profiles, shown) * unit == pytest.approx(sum(selves.values()))
        assert sum(getattr(row, shown) for row in merged.profiles) * unit == pytest.approx(sum(selves.values()))


def sum_by_function(profiles_added: list[Threads], key: str) -> tuple[Counter[str], Counter[str]]:
    """Self and total, straight from what the profiles were made of."""
    selves: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for sample in (sample for threads in profiles_added for part in threads for sample in part if sample.path):
        value = getattr(sample, key)
        selves[sample.path[-1]] += value
        for name in set(sample.path):
            totals[name] += value
    return selves, totals


def list_boxes(graph: Iterable[bytes]) -> list[str]:
    """The frames with their values; not those of threads, whose names have their numbers only in one profile."""
    titles = re.findall(r"<title>(.*?)</title>", b"".join(graph).decode())
    return [title for title in titles if "[thread]" not in title]


@WITH_TMP
@given(threads=THREADS)
def test_one_profile_has_the_same_stacks_in_every_output(threads: Threads, tmp_path: Path) -> None:
    path = profile_maker.save(profile_maker.build(threads), tmp_path / "p.json.gz")
    profile = profiles.read(path)

    def add() -> Adding:
        return Adding([Source("0", "first", lambda: profiles.read(path))], needs_samples=True)

    if not any(sample.path for samples in threads for sample in samples):
        for convert in (folded.convert_range, flamegraph.convert_range):
            with pytest.raises(NotInProfile):
                b"".join(convert(add()))
        return
    lines = [b"".join(each).splitlines() for each in (folded.convert(profile), folded.convert_range(add()))]
    assert sorted(lines[0]) == sorted(lines[1])
    assert list_boxes(flamegraph.convert_range(add())) == list_boxes(flamegraph.convert(profile))
    alone = comparing.compare(profile, profile, limit=1000)
    ranged = comparing.compare_ranges(add(), add(), limit=1000)
    assert (ranged.changes, ranged.measure, ranged.whole_after) == (alone.changes, alone.measure, alone.whole_after)
    assert list_boxes(flamegraph.compare_ranges(add(), add())) == list_boxes(flamegraph.compare(profile, profile))


@WITH_TMP
@given(first=THREADS, second=THREADS)
def test_folded_stacks_are_those_of_the_parts(first: Threads, second: Threads, tmp_path: Path) -> None:
    paths = [
        profile_maker.save(profile_maker.build(threads), tmp_path / f"{number}.json.gz")
        for number, threads in enumerate((first, second))
        if any(sample.path for samples in threads for sample in samples)
    ]
    if not paths:
        return
    expected: Counter[bytes] = Counter()
    for path in paths:
        for line in b"".join(folded.convert(profiles.read(path))).splitlines():
            stack, _, value = line.rpartition(b" ")
            expected[stack] += float(value)  # type: ignore[assignment]
    sources = [Source(path.name, path.name, lambda path=path: profiles.read(path)) for path in paths]
    found: dict[bytes, float] = {}
    for line in b"".join(folded.convert_range(Adding(sources))).splitlines():
        stack, _, value = line.rpartition(b" ")
        assert stack not in found
        found[stack] = float(value)
    assert found == pytest.approx(expected)


def test_a_damaged_profile_is_in_no_flame_graph(source: Make) -> None:
    """Not even with the threads that could be read."""
    broken = profile_maker.build([[Sample(("main", "a"))] * 4, [Sample(("main", "b"))] * 4])
    broken["threads"][1]["samples"]["stack"] = [999] * 4
    sides = [source(build({"a": 3})), source(broken), source(build({"a": 2}))]
    assert b"".join(folded.convert_range(Adding(sides))) == b"app;thread-0;main;a 5\n"


def test_two_ranges_are_compared_by_their_shares(source: Make) -> None:
    before = Adding([source(build({"a": 1, "b": 1})), source(build({"a": 1, "b": 1}, interval_ms=2))])
    after = Adding([source(build({"a": 1, "b": 3})), source(b"nothing")])
    found = comparing.compare_ranges(before, after)
    assert {each.name: each.self_difference for each in found.changes} == {"a": -25, "b": 25, "main": 0}
    assert (found.ids_before, found.ids_after) == (("0", "1"), ("2",))
    assert ([each.profile for each in found.left_out_after], found.left_out_before) == (["3"], ())
    assert any("In the first range: Samples were taken every 1, 2 ms" in note for note in found.notes)


def test_ranges_of_different_units_are_not_compared(source: Make) -> None:
    space = Adding([source(build({"a": n}, weight_type="bytes", has_cpu=False)) for n in (2, 3)])
    with pytest.raises(NotInProfile, match="the first range counts samples, the second range counts bytes"):
        comparing.compare_ranges(Adding([source(build({"a": 9})), source(build({"a": 9}))]), space)


def test_a_range_and_a_profile_without_cpu_times_are_compared_by_samples(source: Make) -> None:
    mixed = Adding([source(build({"a": 3})), source(build({"a": 1}, has_cpu=False))])
    found = comparing.compare_ranges(mixed, Adding([source(build({"a": 3}))]))
    assert found.measure == "samples"
    assert any("the first range (profile 1) has no CPU times" in note for note in found.notes)
    graph = b"".join(
        flamegraph.compare_ranges(
            Adding([source(build({"a": 3})), source(build({"a": 1}, has_cpu=False))]), Adding([source(build({"a": 3}))])
        )
    )
    assert b"by samples" in graph


def test_cpu_times_that_are_asked_for_leave_out_those_without(source: Make) -> None:
    side = Adding([source(build({"a": 3})), source(build({"a": 1}, has_cpu=False))], measure="cpu")
    assert b"".join(folded.convert_range(side, measure="cpu")) == b"app;thread-0;main;a 1500\n"
    assert [each.reason for each in side.left_out] == ["CpuTimes"]


def test_what_cannot_be_added_is_left_out_with_its_reason(source: Make) -> None:
    good = [source(build({"a": 3})), source(build({"a": 1, "b": 2}))]
    bad = [
        source(b"no profile at all"),
        source(build({"a": 5}, weight_type="bytes", has_cpu=False)),
        source(build({})),
        source(build({"a": 7}, interval_ms=0)),
        Source("gone", "gone", lambda: profiles.read(Path("/nonexistent/profile.json.gz"))),
    ]
    broken = build({"a": 5})
    broken["threads"][0]["samples"]["stack"] = [999] * 5
    bad.append(source(broken))
    merged = ranges.merge(Adding([bad[0], good[0], *bad[1:], good[1]]))
    assert merged.ids == tuple(each.id for each in good)
    assert list_reasons(merged) == [
        (bad[0].id, "UnreadableProfile"),
        (bad[1].id, "Unit"),
        (bad[2].id, "Samples"),
        (bad[3].id, "Unit"),
        ("gone", "UnreadableProfile"),
        (bad[5].id, "BrokenProfile"),
    ]
    assert merged.all_profiles.samples == 6
    assert {cost.name: cost.self_cpu_ms for cost in merged.all_profiles.by_self} == {"a": 2.0, "b": 1.0, "main": 0.0}
    table = text.render_range(merged)
    assert table.startswith("2 profiles: 6 samples\n")
    assert "profile 0: 3 samples, 1.5 ms of CPU\n" in table
    assert f"{bad[1].title}: left out (Unit): It counts bytes, profile 0 counts samples" in table


def test_the_first_that_can_be_read_sets_the_unit(source: Make) -> None:
    space = [source(build({"a": n}, weight_type="bytes", has_cpu=False)) for n in (2, 3)]
    merged = ranges.merge(Adding([space[0], source(build({"a": 9})), space[1]]))
    assert (merged.weight_type, merged.measure, merged.all_profiles.weight) == ("bytes", "bytes", 5)


def test_samples_of_different_rates_stand_for_the_same_time(source: Make) -> None:
    """Each is worth two of those that were taken twice as often; CPU times stay what they are."""
    merged = ranges.merge(Adding([source(build({"a": 10})), source(build({"a": 10}, interval_ms=2))]))
    assert (merged.all_profiles.weight, merged.all_profiles.cpu_ms) == (30, 10)
    assert any("every 1, 2 ms" in note and "brought to 1 ms" in note for note in merged.notes)


def test_without_cpu_times_of_one_percentages_are_of_samples(source: Make) -> None:
    merged = ranges.merge(Adding([source(build({"a": 3})), source(build({"a": 1}, has_cpu=False))]))
    assert (merged.measure, merged.all_profiles.cpu_ms) == ("samples", None)
    assert [note for note in merged.notes if "profile 1 has no CPU times" in note]


def test_different_builds_are_noted(source: Make) -> None:
    other = build({"a": 3})
    other["libs"][0]["breakpadId"] = "F" * 33
    merged = ranges.merge(Adding([source(build({"a": 3})), source(other)]))
    assert any("Different builds" in note for note in merged.notes)
    assert merged.all_profiles.by_self[0].self_cpu_ms == 3.0


def test_if_nothing_can_be_added_the_newest_one_says_why(source: Make) -> None:
    with pytest.raises(UnreadableProfile, match="None of the 2 profiles"):
        ranges.merge(Adding([source(b"nothing"), source(build({}))]))
    with pytest.raises(NotInProfile, match="None of the 2 profiles"):
        ranges.merge(Adding([source(build({})), source(build({}))]))
    with pytest.raises(UnreadableProfile) as caught:
        ranges.merge(Adding([source(b"nothing")]))
    assert "None of" not in str(caught.value)


def test_by_operator_those_without_markers_are_left_out(source: Make) -> None:
    def mark(first: int) -> Source:
        document = profile_maker.build([[Sample(("main", "work"))] * 10])
        marker_maker.add(document, 0, [evaluate(1, first, "Map nn2"), evaluate(first, 11, "Join nn3")])
        return source(document)

    merged = ranges.merge(Adding([mark(4), source(build({"a": 3})), mark(6)]), choice=Choice("operator"))
    assert {cost.name: cost.self_weight for cost in merged.all_profiles.by_self} == {"Map nn2": 8, "Join nn3": 12}
    assert [reason for _, reason in list_reasons(merged)] == ["NoOperatorMarkers"]


def test_only_one_profile_is_in_memory(source: Make) -> None:
    """Also if some are damaged: an error does not keep what was read."""
    seen: list[int] = []

    def count() -> int:
        gc.collect()
        return sum(type(each) is profiles.Profile for each in gc.get_objects())

    def watch(one: Source) -> Source:
        def read() -> profiles.Profile:
            seen.append(count() - before)
            return one.read()

        return replace(one, read=read)

    broken = build({"a": 5})
    broken["threads"][0]["samples"]["stack"] = [999] * 5
    documents = [build({"a": 3}), broken, build({"a": 3}), build({"b": 3})]
    before = count()
    ranges.merge(Adding([watch(source(each)) for each in documents]))
    b"".join(folded.convert_range(Adding([watch(source(each)) for each in documents])))
    assert seen == [0] * 8
