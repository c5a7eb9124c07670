"""What percentages are of: one rule for all tables and flame graphs, by function, operator and group, and its name."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from samply_operator.profiles.attribution.labels import BYS
from support import circuit_recording, marker_maker, profile_maker
from support.cli_files import Files
from support.marker_maker import evaluate
from support.profile_maker import Sample

MEASURED = ("dbsp::trace::spine", "tokio::park")
"""Two functions, of two groups."""


def make(files: Files, name: str = "p", **how: Any) -> str:
    """Of as many samples, of which one takes three times as much CPU time; two operators."""
    samples = [Sample(("main", MEASURED[0]), cpu_us=3001.5), Sample(("main", MEASURED[1]), cpu_us=1000.5)]
    document = profile_maker.build([samples], **how)
    marker_maker.add(document, 0, [evaluate(1, 2, "Map nn1"), evaluate(2, 3, "Join nn2")])
    return files.save(document, name)


def find_shares(answer: Any) -> list[float]:
    """The two largest own shares of any answer."""
    if "changes" in answer:
        rows = [each["self_before_percent"] for each in answer["changes"]]
    else:
        table = answer.get("all_threads") or answer.get("all_profiles") or {}
        rows = [each["self_percent"] for each in answer.get("labels") or table["by_self"]]
    return sorted((round(each, 1) for each in rows), reverse=True)[:2]


@pytest.mark.parametrize("by", BYS)
@pytest.mark.parametrize(
    ("how", "measure", "words", "shares"),
    [
        ({}, "cpu", "CPU time", [75.0, 25.0]),
        ({"has_cpu": False}, "samples", "samples", [50.0, 50.0]),
        ({"weight_type": "bytes"}, "bytes", "bytes", [50.0, 50.0]),
    ],
)
def test_all_tables_and_flame_graphs_have_one_measure(
    how: dict[str, Any], measure: str, words: str, shares: list[float], by: str, files: Files
) -> None:
    path = make(files, **how)
    for command in (("top", path), ("merge", path), ("merge", path, path), ("diff", path, path)):
        answer = files.ask(*command, "--by", by)
        assert (answer["measure"], find_shares(answer)) == (measure, shares), command
        table = files.run(*command, "--by", by)
        assert re.search(rf"(in %|ercentages are) of the {words}", table), command
        assert f"{shares[0]:.1f}" in table
    graph = files.convert(path, "svg", "--by", by).decode()
    drawn = re.findall(r"<title>([^<]*)</title>", graph)
    assert drawn[0] == f"made, by {words}"
    assert sum(f", {shares[0]:.2f} %" in each for each in drawn) >= 1
    assert f"made → made, by {words}" in files.run("diff", path, path, "--format", "svg", "--by", by)


def test_the_measure_that_was_asked_for_is_named(files: Files) -> None:
    path = make(files)
    assert "<title>made, by samples</title>" in files.convert(path, "svg", "--measure", "samples").decode()
    assert "<title>made, by CPU time</title>" in files.convert(path, "svg", "--measure", "cpu").decode()
    lines = files.convert(path, "folded").decode().splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == ["1", "1"], "files for other programs count samples"


def test_each_command_has_the_same_share_of_a_real_operator(files: Files) -> None:
    path = str(circuit_recording.SAMPLED_FILE)
    found = [
        next(each["self_percent"] for each in rows if each["name"].startswith("JoinTrace nn24"))
        for rows in (
            files.ask("top", path, "--by", "operator")["labels"],
            files.ask("merge", path, "--by", "operator")["all_profiles"]["by_self"],
        )
    ]
    assert found[0] == pytest.approx(found[1])
    table = files.run("merge", path, "--by", "operator")
    assert re.search(rf"^ +{found[0]:.1f} .* JoinTrace nn24 ", table, re.MULTILINE)


def test_a_time_below_a_millisecond_is_not_shown_as_none(files: Files) -> None:
    samples = [Sample(("a",), cpu_us=1002), Sample(("b",), cpu_us=498)]
    table = files.run("top", files.save(profile_maker.build([samples])))
    assert "2 samples, 1.5 ms of CPU" in table
    assert re.search(r"66\.8 +66\.8 +1\.002 +a ", table)
    assert re.search(r"33\.2 +33\.2 +0\.498 +b ", table)


def test_threads_have_the_measure_of_the_whole(files: Files) -> None:
    """One without CPU times makes it samples in all tables; the order, too, is that of the measure."""
    document = profile_maker.build([[Sample(("a",), cpu_us=9000)], [Sample(("b",), cpu_us=1000)] * 3])
    path = files.save(document)
    found = files.ask("top", path)
    assert [each["name"] for each in found["threads"]] == ["thread-0", "thread-1"]
    assert [each["name"] for each in found["all_threads"]["by_self"]] == ["a", "b"]
    document["threads"][1]["samples"]["threadCPUDelta"] = None
    path = files.save(document)
    found = files.ask("top", path)
    assert (found["measure"], [each["name"] for each in found["threads"]]) == ("samples", ["thread-1", "thread-0"])
    table = files.run("top", path, "--per-thread")
    assert "self ms" not in table
    assert "of the CPU time" not in table
    assert files.ask("top", path, "--thread", "thread-0")["measure"] == "cpu"


@pytest.mark.parametrize("by", BYS)
def test_where_a_part_used_no_cpu_time_samples_are_shown(by: str, files: Files) -> None:
    samples = [Sample(("main", "a"), cpu_us=1000), Sample(("main", "b"), cpu_us=0), Sample(("main", "b"), cpu_us=0)]
    document = profile_maker.build([samples])
    marker_maker.add(document, 0, [evaluate(1, 4, "Map nn1")])
    path = files.save(document)
    found = files.ask("top", path, "--from", "0.001", "--by", by)
    assert (found["measure"], find_shares(found)[0]) == ("samples", 100.0)
    assert files.ask("top", path, "--by", by)["measure"] == "cpu"


def test_cpu_time_without_a_stack_is_in_no_share(files: Files) -> None:
    path = files.save(profile_maker.build([[Sample(("a",), cpu_us=0), Sample((), cpu_us=5000)]]))
    for command in (("top", path), ("merge", path), ("diff", path, path)):
        found = files.ask(*command)
        assert (found["measure"], find_shares(found)[0]) == ("samples", 100.0), command
    assert "<title>made, by samples</title>" in files.convert(path, "svg").decode()


def test_a_profile_without_cpu_times_makes_a_sum_one_of_samples(files: Files) -> None:
    paths = make(files, "with"), make(files, "without", has_cpu=False)
    found = files.ask("merge", *paths)
    assert found["measure"] == "samples"
    assert [find_shares({"all_threads": each}) for each in found["profiles"]] == [[50.0, 50.0]] * 2
    assert found["notes"][0] == "Percentages are of samples: profile 2 (without.json.gz) has no CPU times."
    assert json.dumps(found).count("NaN") == 0
