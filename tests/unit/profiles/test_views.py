"""Outputs for people: tables, flame graphs, comparisons, merged summaries."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings

from samply_operator import profiles
from samply_operator.profiles.analysis import comparing, merging
from samply_operator.profiles.errors import NotInProfile
from samply_operator.profiles.output import display_names, flamegraph, folded, pprof, speedscope, text
from support import profile_maker
from support.profile_maker import THREADS, Sample

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "\x1b[2J</title><script>alert(1)</script>\u202e\x00\r\n&'\""


def read(threads: list[list[Sample]], tmp_path: Path, name: str = "p", interval_ms: float = 1.0) -> profiles.Profile:
    document = profile_maker.build(threads, interval_ms=interval_ms)
    return profiles.read(profile_maker.save(document, tmp_path / f"{name}.json.gz"))


def boxes(svg: bytes) -> dict[str, tuple[float, float]]:
    """Title -> x and width of each frame drawn."""
    found = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        title, rect = group.find(f"{SVG}title"), group.find(f"{SVG}rect")
        if title is not None and rect is not None:
            found[title.text or ""] = (float(rect.attrib["x"]), float(rect.attrib["width"]))
    return found


def test_a_table_for_the_terminal_has_no_control_characters(tmp_path: Path) -> None:
    table = text.render_summary(profiles.top(read([[Sample((HOSTILE,))]], tmp_path)), per_thread=True)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", table)


@pytest.mark.parametrize("character", ["\x00", "\x1b", "\x7f", "\x9b", "\u202e", "\u2066", "\u2028", "\n", "\ufeff"])
def test_what_a_terminal_would_act_on_is_replaced(character: str) -> None:
    assert display_names.clean(f"a{character}b") == "a\ufffdb"


def test_a_long_name_is_cut() -> None:
    assert display_names.clean("x" * 500, limit=10) == "x" * 9 + "…"


def test_top_lists_as_many_as_asked_and_says_how_many_there_are(tmp_path: Path) -> None:
    summary = profiles.top(read([[Sample((f"f{number}",)) for number in range(30)]], tmp_path), limit=7)
    assert len(summary.all_threads.by_self) == 7
    assert summary.all_threads.functions_total == 30
    assert "… and 23 more" in text.render_summary(summary)


def test_top_of_one_thread_leaves_the_others_out(tmp_path: Path) -> None:
    profile = read([[Sample(("a",))], [Sample(("b",))]], tmp_path)
    assert [cost.name for cost in profiles.top(profile, thread="thread-1").all_threads.by_self] == ["b"]
    with pytest.raises(NotInProfile, match="There are: thread-0, thread-1"):
        profiles.top(profile, thread="nobody")


@pytest.mark.parametrize("threads", [[], [[]], [[Sample(())]]], ids=["no thread", "no sample", "no stack"])
def test_an_empty_profile_has_a_table_that_says_so(threads: list[list[Sample]], tmp_path: Path) -> None:
    table = text.render_summary(profiles.top(read(threads, tmp_path)))
    assert "Note: There are no samples" in table or "Note: None of the samples has a stack" in table


def test_a_flame_graph_of_samples_that_weigh_nothing_says_so(tmp_path: Path) -> None:
    svg = b"".join(flamegraph.convert(read([[Sample(("a",), weight=0)]], tmp_path), measure="samples"))
    assert boxes(svg) == {}
    assert b"nothing to draw: no samples" in svg


@pytest.mark.parametrize("convert", [folded.convert, pprof.convert, speedscope.convert, flamegraph.convert])
@pytest.mark.parametrize("threads", [[], [[]], [[Sample(())]]], ids=["no thread", "no sample", "no stack"])
def test_a_file_of_nothing_is_no_file(convert: Any, threads: list[list[Sample]], tmp_path: Path) -> None:
    """Its reader would say less."""
    with pytest.raises(NotInProfile, match="no samples"):
        next(convert(read(threads, tmp_path)))


def test_a_flame_graph_is_well_formed_and_holds_no_foreign_markup(tmp_path: Path) -> None:
    svg = b"".join(flamegraph.convert(read([[Sample((HOSTILE, "]]>"))]], tmp_path)))
    root = ElementTree.fromstring(svg)
    assert len(list(root.iter(f"{SVG}script"))) == 1
    assert b"alert(1)</script>" not in svg
    assert b"http://" not in re.sub(rb"http://www.w3.org/(2000/svg|1999/xhtml)", b"", svg)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(threads=THREADS)
def test_children_are_within_their_parents_and_the_bottom_is_as_wide_as_the_picture(
    threads: list[list[Sample]], tmp_path: Path
) -> None:
    assume(any(sample.path for thread in threads for sample in thread))
    svg = b"".join(flamegraph.convert(read(threads, tmp_path), by_thread=False, measure="samples"))
    drawn = ElementTree.fromstring(svg)
    rows: dict[float, float] = {}
    frames = [group for group in drawn.iter(f"{SVG}g") if group.get("class") == "b"]
    for rect in [rect for group in frames for rect in group.findall(f"{SVG}rect")]:
        rows[float(rect.attrib["y"])] = rows.get(float(rect.attrib["y"]), 0.0) + float(rect.attrib["width"])
    widths = [rows[y] for y in sorted(rows, reverse=True)]
    if any(sample.path and sample.weight for thread in threads for sample in thread):
        assert widths[0] == pytest.approx(flamegraph.WIDTH, abs=0.1)
        assert all(above <= below + 0.1 for below, above in itertools.pairwise(widths))


def test_frames_too_narrow_to_be_seen_are_left_out_and_counted(tmp_path: Path) -> None:
    samples = [Sample(("wide",), weight=100_000), Sample(("narrow",), weight=1)]
    svg = b"".join(flamegraph.convert(read([samples], tmp_path), by_thread=False, measure="samples"))
    assert [title.split(" ")[0] for title in boxes(svg)] == ["wide"]
    assert b"left out: 1 frame too narrow" in svg


@pytest.mark.parametrize("depth", [700, 1000, 1001, 5000])
def test_stacks_of_any_depth_are_drawn_or_elided_with_a_mark(depth: int, tmp_path: Path) -> None:
    profile = read([[Sample(tuple(f"f{number}" for number in range(depth)))]], tmp_path)
    for svg in (flamegraph.convert(profile, by_thread=False), flamegraph.compare(profile, profile)):
        drawn = boxes(b"".join(svg))
        assert len(drawn) == min(depth, flamegraph.MAX_DEPTH + 1)
        elided = [title for title in drawn if title.startswith("… (deeper calls)")]
        assert len(elided) == (depth > flamegraph.MAX_DEPTH)
    said = b"calls deeper than 1000 functions are elided" in b"".join(flamegraph.convert(profile, by_thread=False))
    assert said == (depth > flamegraph.MAX_DEPTH)


def test_a_comparison_is_of_shares_not_of_durations(tmp_path: Path) -> None:
    before = read([[Sample(("a",)), Sample(("b",))]], tmp_path, "before")
    after = read([[Sample(("a",)), Sample(("b",))] * 10], tmp_path, "after")
    comparison = comparing.compare(before, after)
    assert comparison.measure == "cpu"
    assert (comparison.whole_before, comparison.whole_after) == (2.0, 20.0)
    assert {change.self_difference for change in comparison.changes} == {0.0}


def test_a_function_that_came_and_one_that_went_are_both_listed(tmp_path: Path) -> None:
    before = read([[Sample(("main", "old"), cpu_us=3000), Sample(("main", "kept"), cpu_us=1000)]], tmp_path, "before")
    after = read([[Sample(("main", "new"), cpu_us=1000), Sample(("main", "kept"), cpu_us=3000)]], tmp_path, "after")
    changes = {change.name: change for change in comparing.compare(before, after).changes}
    assert changes["old"].self_difference == -75.0
    assert changes["new"].self_difference == 25.0
    assert changes["kept"].self_difference == 50.0
    assert changes["main"].total_difference == 0.0


def test_without_cpu_times_samples_are_compared(tmp_path: Path) -> None:
    document = profile_maker.build([[Sample(("a",))]])
    document["threads"][0]["samples"]["threadCPUDelta"] = None
    before = profiles.read(profile_maker.save(document, tmp_path / "before.json.gz"))
    after = read([[Sample(("a",))]], tmp_path, "after")
    assert comparing.compare(before, after).measure == "samples"


def test_a_differential_flame_graph_is_coloured_by_what_grew(tmp_path: Path) -> None:
    before = read([[Sample(("grew",)), Sample(("shrank",)), Sample(("shrank",))]], tmp_path, "before")
    after = read([[Sample(("grew",)), Sample(("grew",)), Sample(("shrank",))]], tmp_path, "after")
    svg = b"".join(flamegraph.compare(before, after)).decode()
    found = re.findall(r"<title>(\w+) \[.*?fill=\"rgb\((\d+),(\d+),(\d+)\)\"", svg)
    colours = {name: tuple(map(int, rgb)) for name, *rgb in found}
    assert colours["grew"][0] > 1.5 * colours["grew"][2], "red"
    assert colours["shrank"][2] > 1.5 * colours["shrank"][0], "blue"
    assert "self: −5 points" in svg


def test_merging_brings_samples_to_one_interval(tmp_path: Path) -> None:
    fine = read([[Sample(("a",))] * 10], tmp_path, "fine", interval_ms=1.0)
    coarse = read([[Sample(("a",))] * 5], tmp_path, "coarse", interval_ms=2.0)
    merged = merging.merge([fine, coarse])
    assert merged.all_profiles.weight == 20.0
    assert merged.all_profiles.samples == 15
    assert [row.weight for row in merged.profiles] == [10.0, 10.0]


def test_merging_the_halves_of_a_profile_gives_the_whole(tmp_path: Path) -> None:
    one, other = [Sample(("main", "a"), cpu_us=10)], [Sample(("main", "b"), cpu_us=20), Sample(("main", "a"), cpu_us=1)]
    merged = merging.merge([read([one], tmp_path, "one"), read([other], tmp_path, "other")])
    whole = profiles.top(read([one, other], tmp_path, "whole")).all_threads
    assert merged.all_profiles.by_self == whole.by_self
    assert merged.all_profiles.by_total == whole.by_total
