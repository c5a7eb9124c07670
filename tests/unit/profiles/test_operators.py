"""Samples by operator: profiles whose distribution is known from how they were made."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies

from samply_operator import profiles
from samply_operator.errors import RequestError
from samply_operator.profiles.analysis import breakdown, comparing, flametree, merging, selection
from samply_operator.profiles.analysis.breakdown import Breakdown, LabelCost
from samply_operator.profiles.attribution.choosing import Choice
from samply_operator.profiles.errors import BrokenProfile, NoMarkers
from samply_operator.profiles.output import breakdown_text, folded, pprof, speedscope
from support import marker_maker, pprof_reader, profile_maker, profile_versions
from support.cli_files import Files
from support.marker_maker import Marker, evaluate
from support.profile_maker import Sample

BY_OPERATOR = Choice("operator")
Markers = Mapping[int, Sequence[Marker]]


def make(samples: Sequence[int], markers: Markers, tmp_path: Path, version: int = 55) -> profiles.Profile:
    """Threads of so many samples of 1 ms each, at 1, 2, 3, … ms, all in `work`, with markers."""
    return make_of([[Sample(("main", "work"))] * count for count in samples], markers, tmp_path, version)


def make_of(
    threads: Sequence[Sequence[Sample]], markers: Markers, tmp_path: Path, version: int = 55
) -> profiles.Profile:
    document = profile_maker.build(threads)
    for thread, each in markers.items():
        marker_maker.add(document, thread, each)
    return profiles.read(profile_maker.save(profile_versions.rewrite(document, version), tmp_path / "p.json.gz"))


def split(profile: profiles.Profile, **asked: Any) -> Breakdown:
    attribution = BY_OPERATOR.build(profile)
    assert attribution is not None
    return breakdown.break_down(profile, attribution, by="operator", limit=1000, **asked)


def find_selves(sums: Breakdown) -> dict[str, float]:
    return {label.name: label.self_weight for label in sums.labels if label.self_weight}


def find(sums: Breakdown, name: str) -> LabelCost:
    return next(label for label in sums.labels if label.name == name)


@pytest.mark.parametrize("version", [55, 57, 60, 66, 70])
def test_a_sample_belongs_to_the_evaluation_that_holds_it(tmp_path: Path, version: int) -> None:
    """The start is in it, the end isn't; in every version of the format."""
    markers = {0: [evaluate(1, 4, "Map nn2"), evaluate(4, 9, "Join nn3")]}
    sums = split(make([10], markers, tmp_path, version))
    assert find_selves(sums) == {"Map nn2": 3, "Join nn3": 5, "outside the capture of markers": 2}
    assert (find(sums, "Join nn3").self_percent, sums.outside_percent) == (50.0, 20.0)


def test_nested_circuits_hold_their_inner_nodes(tmp_path: Path) -> None:
    """By their ids: the outer one's total has the inner ones', its own part doesn't; markers tell inclusive times."""
    markers = {0: [evaluate(1, 11, "Recursive nn5"), evaluate(2, 5, "Map nn5_n1"), evaluate(6, 8, "Distinct nn5_n2")]}
    sums = split(make([10], markers, tmp_path))
    assert find_selves(sums) == {"Recursive nn5": 5, "Map nn5_n1": 3, "Distinct nn5_n2": 2}
    outer = find(sums, "Recursive nn5")
    assert (outer.total_weight, outer.marker_cpu_ms, outer.difference_points) == (10, 10.0, 0.0)
    assert find(sums, "Map nn5_n1").difference_points == 0.0


def test_evaluations_that_interleave_go_to_the_one_that_began_last(tmp_path: Path) -> None:
    """One that waits isn't the circuit around another: its total is its own."""
    markers = {0: [evaluate(1, 6, "Exchange nn1"), evaluate(3, 9, "Map nn2")]}
    sums = split(make([10], markers, tmp_path))
    assert find_selves(sums) == {"Exchange nn1": 2, "Map nn2": 6, "outside the capture of markers": 2}
    assert find(sums, "Exchange nn1").total_weight == 2


def test_one_that_waits_goes_on_when_the_other_has_ended(tmp_path: Path) -> None:
    markers = {0: [evaluate(1, 11, "Exchange nn1"), evaluate(3, 5, "Map nn2"), evaluate(5, 6, "Map nn3")]}
    assert find_selves(split(make([10], markers, tmp_path))) == {"Exchange nn1": 7, "Map nn2": 2, "Map nn3": 1}


def test_workers_are_summed_and_their_skew_is_told(tmp_path: Path) -> None:
    markers = {0: [evaluate(1, 10, "Join nn3")], 1: [evaluate(1, 4, "Join nn3"), evaluate(4, 10, "Map nn2")]}
    sums = split(make([9, 9], markers, tmp_path))
    join, other = find(sums, "Join nn3"), find(sums, "Map nn2")
    assert (join.self_weight, join.evaluations, join.skew) == (12, 2, 1.5)
    assert [(worker.thread, worker.self_weight) for worker in join.workers] == [("thread-0", 9), ("thread-1", 3)]
    assert other.skew == 2.0
    assert sums.markers is not None
    assert (sums.markers.evaluations, sums.markers.worker_threads) == (3, 2)


def test_samples_outside_evaluations_are_classified(tmp_path: Path) -> None:
    """By another interval of the engine, by the rules for stacks, as time without markers, or by thread."""
    samples = [
        Sample(("main", "work")),
        Sample(("main", "work")),
        Sample(("main", "dbsp::circuit::schedule::run", "tokio::park::Parker::park")),
        Sample(("main", "elsewhere")),
        Sample(("main", "work")),
        Sample(("main", "work")),
    ]
    merging_text = "Trace nn7 on behalf of worker 0 merged 10 batches (5 -> 5 rows) in 1 steps"
    markers = {
        0: [
            evaluate(1, 2, "Map nn2"),
            Marker(2, 3, "collect (exchange 6)", "Exchange", "broadcast"),
            evaluate(5, 6, "Map nn2"),
        ],
        1: [Marker(1, 2, merging_text, "Spine", "merge-0"), Marker(0, 100, "low", "Other", "memory-pressure")],
    }
    sums = split(make_of([samples, [Sample(("main", "merge"))] * 2], markers, tmp_path))
    assert find_selves(sums) == {
        "Map nn2": 2,
        "Exchange: broadcast": 1,
        "idle between operators": 1,
        "scheduler and others between operators": 1,
        "outside the capture of markers": 1,
        "Spine merge for Trace nn7": 1,
        "thread thread-*": 1,
    }


def test_markers_that_are_no_good_are_counted_and_left_out(tmp_path: Path) -> None:
    """Another text, an end before the start, no end, a type that isn't the engine's."""
    markers = {
        0: [
            evaluate(1, 4, "Map nn2"),
            Marker(4, 6, "Map nn2 took long"),
            Marker(4, 6, "no id used 3μs real time, 3μs CPU time"),
            Marker(4, 6, "x" * 10_000_000 + " nn2 used 3μs real time, 3μs CPU time"),
            Marker(4, 6, "Map nn2 used 3μs real time, ٣x μs CPU time"),
            Marker(9, 6, "Map nn2 used 3μs real time, 3μs CPU time"),
            Marker(6, None, "Map nn2 used 3μs real time, 3μs CPU time"),
            Marker(None, 9, "Map nn2 used 3μs real time, 3μs CPU time"),
            Marker(6, 8, "Map nn2 used 3μs real time, 3μs CPU time", type="mmap"),
        ]
    }
    sums = split(make([9], markers, tmp_path))
    assert find_selves(sums) == {"Map nn2": 3, "outside the capture of markers": 6}
    assert sums.markers is not None
    facts = sums.markers
    assert (facts.evaluations, facts.unparsed, facts.broken, facts.reversed) == (1, 4, 2, 1)
    said = "left out: 4 with another text, 2 without a start or an end, 1 that end before they begin"
    assert said in breakdown_text.render(sums)


def test_an_evaluation_counts_no_more_cpu_time_than_it_lasted(tmp_path: Path) -> None:
    """One thread can't use more; the clocks may differ by a little."""
    markers = [evaluate(1, 4, "Map nn2", 10**12), evaluate(4, 7, "Join nn3"), evaluate(7, 10, "Filter nn4", 3900)]
    sums = split(make([9], {0: markers}, tmp_path))
    assert {label.name: label.marker_cpu_ms for label in sums.labels} == {
        "Map nn2": 3.0, "Join nn3": 3.0, "Filter nn4": 3.9,
    }  # fmt: skip
    assert abs(find(sums, "Join nn3").difference_points or 99) < 5
    assert sums.markers is not None
    assert sums.markers.overclaimed == 1
    assert "; 1 claim more CPU time than they lasted" in breakdown_text.render(sums)


@pytest.mark.parametrize("times", [(2, 1e17), (-1e17, 5), (1e17, 1e17 + 16)])
@pytest.mark.parametrize("category", ["Operator", "Exchange"])
def test_an_interval_far_beyond_the_samples_holds_none(
    times: tuple[float, float], category: str, tmp_path: Path
) -> None:
    text = "Join nn3 used 3μs real time, 3μs CPU time"
    sums = split(make([9], {0: [evaluate(1, 4, "Map nn2"), Marker(*times, text, category)]}, tmp_path))
    assert find_selves(sums) == {"Map nn2": 3, "outside the capture of markers": 6}
    assert sums.markers is not None
    assert (sums.markers.misplaced, sums.markers.last_ms) == (category == "Operator", 4)
    is_told = "1 far outside of the samples' time" in breakdown_text.render(sums)
    assert is_told == (category == "Operator")


def test_a_file_whose_only_evaluation_never_ends_has_none(tmp_path: Path) -> None:
    with pytest.raises(NoMarkers, match=r"1 reach far beyond the samples' time.*take the profile again"):
        split(make([9], {0: [Marker(1, 1e17, "Map nn2 used 3μs real time, 3μs CPU time")]}, tmp_path))


def test_a_worker_without_markers_is_told(tmp_path: Path, files: Files) -> None:
    """In every output by operator, and in a comparison with a profile that has them."""
    markers = [evaluate(1, 10, "Map nn2")]
    whole = make([9, 9], {0: markers, 1: [evaluate(1, 9, "Map nn2")]}, tmp_path).path.rename(tmp_path / "whole.json.gz")
    part = make([9, 9], {0: markers}, tmp_path).path
    gap = "Without evaluations of operators, though others of that name have them: thread-1."
    both = "Evaluations of operators are on 2 threads in the first profile, on 1 in the second one"
    for arguments, notes in (
        (["top", part], [gap]),
        (["merge", whole, part], [f"In profile 2 (p.json.gz): {gap}"]),
        (["diff", whole, part], [f"In the second profile: {gap}", both]),
        (["diff", whole, part, "--format", "svg"], [f"In the second profile: {gap}", both]),
    ):
        said = files.run(*map(str, arguments), "--by", "operator")
        assert all(note in said for note in notes), (arguments, said)
    for arguments in (["top", whole], ["diff", whole, whole]):
        assert "Without evaluations" not in files.run(*map(str, arguments), "--by", "operator")


def test_a_file_without_markers_says_so_and_what_to_do(tmp_path: Path) -> None:
    """It is the request that is wrong, not the file."""
    with pytest.raises(NoMarkers, match=r"no markers of operators\. .*--by group") as caught:
        split(make([3], {}, tmp_path))
    assert isinstance(caught.value, RequestError)
    with pytest.raises(NoMarkers, match=r"the text of 1 has another form.*newer release"):
        split(make([3], {0: [Marker(1, 2, "?")]}, tmp_path))
    with pytest.raises(NoMarkers, match=r"1 end before they begin\..*take the profile again"):
        split(make([3], {0: [Marker(2, 1, "Map nn1")]}, tmp_path))


@pytest.mark.parametrize("column", ["startTime", "endTime", "category", "name", "phase", "data"])
def test_a_table_of_markers_that_is_broken_is_an_error_here_only(tmp_path: Path, column: str) -> None:
    document = profile_maker.build([[Sample(("main",))]])
    marker_maker.add(document, 0, [evaluate(1, 2, "Map nn2")])
    document["threads"][0]["markers"][column] *= 2
    profile = profiles.read(profile_maker.save(document, tmp_path / "p.json.gz"))
    assert profiles.top(profile).all_threads.samples == 1
    with pytest.raises(BrokenProfile, match=rf"threads\[0\]\.markers\.{column}"):
        split(profile)


@pytest.mark.parametrize(
    ("column", "value"), [("category", [99]), ("name", [-1]), ("data", [{"type": "FelderaMarker", "name": 99}])]
)
def test_an_index_that_leads_nowhere_is_an_error(tmp_path: Path, column: str, value: list[Any]) -> None:
    document = profile_maker.build([[Sample(("main",))]])
    marker_maker.add(document, 0, [evaluate(1, 2, "Map nn2")])
    document["threads"][0]["markers"][column] = value
    with pytest.raises(BrokenProfile, match="outside the table"):
        split(profiles.read(profile_maker.save(document, tmp_path / "p.json.gz")))


def test_a_part_of_the_time_and_one_thread(tmp_path: Path) -> None:
    """Times count from the first sample; evaluations are those that began in it."""
    markers = {0: [evaluate(1, 4, "Map nn2"), evaluate(4, 9, "Join nn3")], 1: [evaluate(1, 9, "Map nn2")]}
    profile = make([8, 8], markers, tmp_path)
    sums = split(profile, thread="thread-0", time_range=profiles.TimeRange(3, 100))
    assert find_selves(sums) == {"Join nn3": 5}
    assert {label.name: label.evaluations for label in sums.labels} == {"Join nn3": 1}
    assert (sums.evaluations, sums.markers and sums.markers.evaluations) == (1, 3)
    assert "\n1 evaluation in this part; in the whole file 3 evaluations of 2 ope" in breakdown_text.render(sums)


def test_the_threads_below_each_operator(tmp_path: Path) -> None:
    markers = {0: [evaluate(1, 10, "Join nn3")], 1: [evaluate(1, 4, "Join nn3")]}
    sums = split(make([9, 9], markers, tmp_path))
    lines = breakdown_text.render(sums, per_thread=True).splitlines()
    at = next(number for number, line in enumerate(lines) if line.endswith("  Join nn3"))
    assert [line.strip() for line in lines[at + 2 : at + 4]] == [
        "75 %  thread thread-0 (0): 9 ms",
        "25 %  thread thread-1 (1): 3 ms",
    ]


def test_the_functions_below_each(tmp_path: Path) -> None:
    samples = [Sample(("main", name)) for name in ("seek", "seek", "push", "push", "push", "seek")]
    sums = split(make_of([samples], {0: [evaluate(1, 4, "Join nn3"), evaluate(4, 7, "Map nn2")]}, tmp_path))
    named = {label.name: [(each.name, each.self_weight) for each in label.functions] for label in sums.labels}
    assert named == {"Join nn3": [("seek", 2), ("push", 1)], "Map nn2": [("push", 2), ("seek", 1)]}
    assert [round(each.share_percent) for each in find(sums, "Join nn3").functions] == [67, 33]


def test_diff_and_merge_by_operator(tmp_path: Path) -> None:
    before = make([10], {0: [evaluate(1, 6, "Map nn2"), evaluate(6, 11, "Join nn3")]}, tmp_path)
    after = make([10], {0: [evaluate(1, 3, "Map nn2"), evaluate(3, 11, "Join nn3")]}, tmp_path)
    changes = comparing.compare(before, after, choice=BY_OPERATOR).changes
    assert {(each.name, each.lib): each.self_difference for each in changes} == {
        ("Map nn2", "operator"): -30.0,
        ("Join nn3", "operator"): 30.0,
    }
    merged = merging.merge([before, after], choice=BY_OPERATOR).all_profiles
    assert {each.name: each.self_weight for each in merged.by_self} == {"Map nn2": 7, "Join nn3": 13}


NODES = ("Map nn2", "Join nn3", "Recursive nn5", "Map nn5_n1")
TIMES = strategies.integers(0, 14)
MARKERS = strategies.dictionaries(
    strategies.integers(0, 1),
    strategies.lists(
        strategies.builds(
            lambda ends, node: evaluate(*map(float, sorted(ends)), node),
            strategies.tuples(TIMES, TIMES),
            strategies.sampled_from(NODES),
        ),
        min_size=1,
        max_size=8,
    ),
    min_size=1,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    threads=strategies.lists(strategies.lists(profile_maker.SAMPLES, max_size=12), min_size=2, max_size=3),
    markers=MARKERS,
)
def test_every_output_has_the_same_sums(
    threads: list[list[Sample]], markers: dict[int, list[Marker]], tmp_path: Path
) -> None:
    """By operator and all together, which is what it is by function."""
    profile = make_of(threads, markers, tmp_path)
    sums = split(profile)
    expected = Counter({label.name: label.self_weight for label in sums.labels if label.self_weight})
    assert sum(expected.values()) == profiles.top(profile).all_threads.weight
    assert sum(label.self_cpu_ms or 0 for label in sums.labels) == pytest.approx(
        profiles.top(profile).all_threads.cpu_ms or 0
    )
    assume(expected)  # of nothing there is no file in another format
    assert find_in_folded(profile) == expected
    assert find_in_pprof(profile) == expected
    assert find_in_speedscope(profile) == expected
    assert find_in_tree(profile) == expected
    costs = merging.merge([profile], limit=1000, choice=BY_OPERATOR).all_profiles
    assert Counter({each.name: each.self_weight for each in costs.by_self if each.self_weight}) == expected


def find_innermost_name(path: Sequence[str]) -> str:
    """The label of a stack that begins with labels: the last of them."""
    known = [
        name for name in path if name in NODES or "markers" in name or "operators" in name or name.startswith("thread ")
    ]
    return known[-1]


def find_in_folded(profile: profiles.Profile) -> Counter[str]:
    found: Counter[str] = Counter()
    for line in b"".join(folded.convert(profile, choice=BY_OPERATOR)).decode().splitlines():
        path, _, value = line.rpartition(" ")
        found[find_innermost_name(path.split(";"))] += float(value)  # type: ignore[assignment]
    return found


def find_in_pprof(profile: profiles.Profile) -> Counter[str]:
    parsed = pprof_reader.parse(gzip.decompress(b"".join(pprof.convert(profile, choice=BY_OPERATOR))))
    found: Counter[str] = Counter()
    for labels, (_, values) in zip(parsed.labels, parsed.samples, strict=True):
        found[labels.get("operator") or labels["outside"]] += values[0] / (
            1 if parsed.sample_types[0][1] == "count" else 1000
        )  # type: ignore[assignment]
    return +found


def find_in_speedscope(profile: profiles.Profile) -> Counter[str]:
    document = json.loads(b"".join(speedscope.convert(profile, choice=BY_OPERATOR)))
    found: Counter[str] = Counter()
    for each in document["profiles"]:
        path: list[str] = []
        at = 0
        for event in each["events"]:
            if path:
                found[find_innermost_name(path)] += event["at"] - at
            at = event["at"]
            name = document["shared"]["frames"][event["frame"]]["name"]
            if event["type"] == "O":
                path.append(name)
            else:
                assert path.pop() == name
    return +found


def find_in_tree(profile: profiles.Profile) -> Counter[str]:
    """Of a flame graph, whose roots they are."""
    tree = flametree.build([profile], measure="samples", by_thread=True, choice=BY_OPERATOR)
    found: Counter[str] = Counter()
    for node, value in enumerate(tree.selves[0]):
        path = []
        at = node
        while at != -1:
            path.append(tree.index.functions[tree.func[at]].name)
            at = tree.parent[at]
        if value:
            found[find_innermost_name(path[::-1])] += value  # type: ignore[assignment]
    return found


def test_weights_of_cpu_time_agree_too(tmp_path: Path) -> None:
    profile = make([10], {0: [evaluate(1, 4, "Map nn2"), evaluate(4, 9, "Join nn3")]}, tmp_path)
    for measure, unit in (("samples", 1), ("cpu", 1000)):
        tree = flametree.build([profile], measure=measure, choice=BY_OPERATOR)  # type: ignore[arg-type]
        roots = {tree.index.functions[tree.func[node]].name: tree.totals[0][node] for node in tree.children()[-1]}
        assert roots == {"Map nn2": 3 * unit, "Join nn3": 5 * unit, "outside the capture of markers": 2 * unit}
    assert selection.MEASURES == ("samples", "cpu")
