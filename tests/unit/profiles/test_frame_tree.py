"""The call tree for the viewer, compared with one that is built sample by sample."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from samply_operator import profiles
from samply_operator.profiles.analysis import frame_tree, timeline
from samply_operator.profiles.analysis.frame_tree import FrameTree
from samply_operator.profiles.analysis.selection import Query
from samply_operator.profiles.analysis.tally import TimeRange
from support import profile_maker, profile_versions
from support.profile_maker import THREADS, Sample

Path_ = tuple[str, ...]
Threads = list[list[Sample]]

WITH_TMP = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
VERSIONS = st.sampled_from([55, 60, 66])
LIB = "app"


def read(threads: Sequence[Sequence[Sample]], tmp_path: Path, version: int = 55) -> profiles.Profile:
    document = profile_versions.rewrite(profile_maker.build(threads), version)
    return profiles.read(profile_maker.save(document, tmp_path / "p.json.gz"))


def build(threads: Threads, tmp_path: Path, query: Query, version: int = 55) -> FrameTree:
    return frame_tree.build([read(threads, tmp_path, version)], query)


def list_paths(tree: FrameTree, column: int = 0) -> tuple[Counter[Path_], Counter[Path_]]:
    """By path of names from the root down: what is in each node itself, and in it and below."""
    nodes = tree.nodes
    paths: list[Path_] = []
    for parent, number in zip(nodes.parent, nodes.function, strict=True):
        assert parent < len(paths), "parents come first"
        name = tree.groups[-2 - number] if number < -1 else tree.functions.name[number]
        paths.append((*(paths[parent] if parent >= 0 else ()), name))
    assert len(set(paths)) == len(paths), "each path is one node"
    selves = Counter(dict(zip(paths, nodes.selves[column], strict=True)))
    totals = Counter(dict(zip(paths, nodes.totals[column], strict=True)))
    return +selves, +totals


def sum_prefixes(paths: Iterable[tuple[Path_, float]]) -> Counter[Path_]:
    found: Counter[Path_] = Counter()
    for path, value in paths:
        for depth in range(1, len(path) + 1):
            found[path[:depth]] += value  # type: ignore[assignment]
    return +found


def weigh(threads: Threads, measure: str = "samples") -> list[tuple[Path_, int]]:
    return [
        (sample.path, sample.weight if measure == "samples" else sample.cpu_us)
        for samples in threads
        for sample in samples
        if sample.path
    ]


@WITH_TMP
@given(threads=THREADS, version=VERSIONS, measure=st.sampled_from(["samples", "cpu"]))
def test_top_down(threads: Threads, tmp_path: Path, version: int, measure: str) -> None:
    weighed = weigh(threads, measure)
    tree = build(threads, tmp_path, Query(measure=measure), version)  # type: ignore[arg-type]
    selves, totals = list_paths(tree)
    assert totals == sum_prefixes(weighed)
    expected: Counter[Path_] = Counter()
    for path, value in weighed:
        expected[path] += value
    assert selves == +expected
    assert tree.sums[0] == sum(value for _, value in weighed)
    assert tree.nodes.total == len(totals)
    assert not any(tree.nodes.cut)


@WITH_TMP
@given(threads=THREADS, version=VERSIONS)
def test_bottom_up(threads: Threads, tmp_path: Path, version: int) -> None:
    _, totals = list_paths(build(threads, tmp_path, Query(view="bottom-up"), version))
    assert totals == sum_prefixes((path[::-1], value) for path, value in weigh(threads))


@WITH_TMP
@given(threads=THREADS)
def test_functions(threads: Threads, tmp_path: Path) -> None:
    """A recursive call counts once."""
    table = build(threads, tmp_path, Query()).functions
    selves: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for path, value in weigh(threads):
        selves[path[-1]] += value
        for name in set(path):
            totals[name] += value
    assert +Counter(dict(zip(table.name, table.selves[0], strict=True))) == +selves
    assert +Counter(dict(zip(table.name, table.totals[0], strict=True))) == +totals
    assert table.total == len(+totals)


@WITH_TMP
@given(threads=THREADS)
def test_by_thread(threads: Threads, tmp_path: Path) -> None:
    _, totals = list_paths(build(threads, tmp_path, Query(by="thread")))
    named = [(f"thread-{at} ({at})", samples) for at, samples in enumerate(threads)]
    rows = [((name, *s.path), s.weight) for name, samples in named for s in samples if s.path]
    assert totals == sum_prefixes(rows)


@WITH_TMP
@given(threads=THREADS, name=profile_maker.NAMES)
def test_callers_and_callees(threads: Threads, tmp_path: Path, name: str) -> None:
    """Of all calls of one function; what it calls through itself is below the outermost call."""
    key = frame_tree.find_key(name, LIB)
    inside = [(path, value) for path, value in weigh(threads) if name in path]
    _, callees = list_paths(build(threads, tmp_path, Query(view="callees", function=key)))
    assert callees == sum_prefixes((path[path.index(name) :], value) for path, value in inside)
    _, callers = list_paths(build(threads, tmp_path, Query(view="callers", function=key)))
    assert callers == sum_prefixes((path[: path.index(name) + 1][::-1], value) for path, value in inside)


@WITH_TMP
@given(threads=THREADS, limit=st.integers(1, 8), view=st.sampled_from(["top-down", "bottom-up"]))
def test_what_is_left_out_is_marked_and_can_be_had(threads: Threads, tmp_path: Path, limit: int, view: str) -> None:
    """With the path of a cut node as the root all of it comes; nothing is summed up under another name."""
    whole = build(threads, tmp_path, Query(view=view))  # type: ignore[arg-type]
    part = build(threads, tmp_path, Query(view=view, limit=limit))  # type: ignore[arg-type]
    _, all_totals = list_paths(whole)
    _, totals = list_paths(part)
    assert totals.items() <= all_totals.items()
    assert len(part.nodes.parent) == min(limit, whole.nodes.total)
    assert part.nodes.total == whole.nodes.total
    children = Counter(path[:-1] for path in all_totals)
    kept = Counter(path[:-1] for path in totals)
    for node, cut in enumerate(part.nodes.cut):
        path = find_path(part, node)
        assert cut == (kept[path] < children[path])
        if cut:
            keys = tuple(frame_tree.find_key(name, LIB) for name in path)
            again = build(threads, tmp_path, Query(view=view, path=keys))  # type: ignore[arg-type]
            _, found = list_paths(again)
            assert again.path_found == len(path)
            assert {each: value for each, value in found.items() if each[: len(path)] == path} == {
                each: value for each, value in all_totals.items() if each[: len(path)] == path
            }


def find_path(tree: FrameTree, node: int) -> Path_:
    names: list[str] = []
    while node >= 0:
        names.append(tree.functions.name[tree.nodes.function[node]])
        node = tree.nodes.parent[node]
    return tuple(reversed(names))


@WITH_TMP
@given(threads=THREADS, chosen=st.sets(st.integers(0, 5)))
def test_chosen_threads(threads: Threads, tmp_path: Path, chosen: set[int]) -> None:
    _, totals = list_paths(build(threads, tmp_path, Query(threads=tuple((at, at) for at in chosen))))
    assert totals == sum_prefixes(weigh([samples for at, samples in enumerate(threads) if at in chosen]))


def test_a_part_of_the_time(tmp_path: Path) -> None:
    """Samples are 1 ms apart: from 2 ms up to, not including, 5 ms."""
    rows = [[Sample(("main", f"f{at}")) for at in range(8)]]
    _, totals = list_paths(build(rows, tmp_path, Query(time_range=TimeRange(2, 5))))
    assert set(totals) == {("main",), ("main", "f2"), ("main", "f3"), ("main", "f4")}


@WITH_TMP
@given(before=THREADS, after=THREADS)
def test_two_profiles(before: Threads, after: Threads, tmp_path: Path) -> None:
    """The same nodes, a column for each."""
    tree = frame_tree.build([read(after, tmp_path), read(before, tmp_path)], Query())
    assert list_paths(tree)[1] == sum_prefixes(weigh(after))
    assert list_paths(tree, 1)[1] == sum_prefixes(weigh(before))


def test_by_library(tmp_path: Path) -> None:
    """The library is that of the innermost function; a caller of both is in both."""
    document = profile_maker.build([[Sample(("main", "inner"))] * 3 + [Sample(("main",))] * 2])
    document["libs"].append({**document["libs"][0], "name": "libc", "breakpadId": "B0"})
    thread = document["threads"][0]
    thread["resourceTable"] = {"length": 2, "lib": [0, 1], "name": [None, None], "host": [None] * 2, "type": [1, 1]}
    thread["funcTable"]["resource"] = [0, 1]
    tree = frame_tree.build([profiles.read(profile_maker.save(document, tmp_path / "p.json.gz"))], Query(by="library"))
    assert list_paths(tree)[1] == {
        ("libc",): 3,
        ("libc", "main"): 3,
        ("libc", "main", "inner"): 3,
        ("app",): 2,
        ("app", "main"): 2,
    }


@pytest.mark.parametrize("view", ["top-down", "bottom-up"])
def test_nothing_at_all(tmp_path: Path, view: str) -> None:
    tree = build([], tmp_path, Query(view=view))  # type: ignore[arg-type]
    assert (tree.sums, tree.nodes.total, tree.functions.total) == ([0], 0, 0)


def test_a_path_that_is_not_there_is_found_as_far_as_it_goes(tmp_path: Path) -> None:
    keys = (frame_tree.find_key("main", LIB), "00000000")
    tree = build([[Sample(("main", "inner"))]], tmp_path, Query(path=keys))
    assert tree.path_found == 1
    assert set(list_paths(tree)[1]) == {("main",), ("main", "inner")}


def test_a_name_without_end_is_cut(tmp_path: Path) -> None:
    [name] = build([[Sample(("x" * 10_000,))]], tmp_path, Query()).functions.name
    assert len(name) == frame_tree.MAX_NAME


def test_lanes_say_when_a_thread_was_busy(tmp_path: Path) -> None:
    """One ms of CPU in each ms, for the first half of the time; the busiest thread comes first."""
    rows = [[Sample(("idle",), cpu_us=0)] * 100, [Sample(("work",), cpu_us=1000)] * 50]
    found = timeline.build(read(rows, tmp_path), buckets=10, limit=5)
    assert [lane.name for lane in found.lanes] == ["thread-1", "thread-0"]
    assert found.lanes[0].busy == pytest.approx([1.0] * 5 + [0.0] * 5)
    assert found.lanes[1].busy == [0.0] * 10
    assert (found.span_ms, found.threads_total, found.lanes[0].cpu_ms) == (100, 2, 50)


def test_lanes_are_bounded_and_say_so(tmp_path: Path) -> None:
    found = timeline.build(read([[Sample(("f",))]] * 7, tmp_path), buckets=3, limit=2)
    assert (len(found.lanes), found.threads_total) == (2, 7)


@WITH_TMP
@given(threads=THREADS, by=st.sampled_from(["group", "library"]), view=st.sampled_from(["top-down", "bottom-up"]))
def test_splitting_does_not_change_the_sums(threads: Threads, tmp_path: Path, by: str, view: str) -> None:
    """Each sample is in one part, whatever the tree is split by."""
    _, whole = list_paths(build(threads, tmp_path, Query(view=view)))  # type: ignore[arg-type]
    _, parted = list_paths(build(threads, tmp_path, Query(view=view, by=by)))  # type: ignore[arg-type]
    joined: Counter[Path_] = Counter()
    for path, value in parted.items():
        joined[path[1:]] += value
    del joined[()]
    assert joined == whole
