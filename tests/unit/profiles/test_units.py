"""What sums are in, and how often samples were taken: the same in every output, by function, operator and group."""

from __future__ import annotations

import json

import pytest

from samply_operator.profiles.attribution.labels import BYS
from support import marker_maker, profile_maker
from support.cli_files import Files
from support.marker_maker import evaluate
from support.profile_maker import Document, Sample

# Units


@pytest.mark.parametrize(
    ("weight_type", "shown", "pprof_type", "speedscope_unit"),
    [
        ("bytes", "bytes", ("space", "bytes"), "bytes"),
        ("tracing-ms", "ms", ("time", "nanoseconds"), "milliseconds"),
        ("parcels", "parcels", ("parcels", "parcels"), "none"),
    ],
)
def test_the_unit_goes_to_every_output(
    weight_type: str, shown: str, pprof_type: tuple[str, str], speedscope_unit: str, files: Files
) -> None:
    samples = [Sample(("main", "parse"), weight=1048576), Sample(("main", "join"), weight=524288)]
    path = files.save(profile_maker.build([samples], weight_type=weight_type, has_cpu=False))
    assert f"1,572,864 {shown}" in files.run("top", path)
    assert files.ask("top", path)["weight_type"] == weight_type
    assert f"1,572,864 {shown}" in files.run("merge", path, path).replace("3,145,728", "1,572,864")
    assert files.ask("merge", path, path)["weight_type"] == weight_type
    assert files.ask("diff", path, path)["measure"] == weight_type
    assert f"1,572,864 {shown}" in files.run("diff", path, path)
    assert f"1,572,864 {shown}" in files.run("diff", path, path, "--format", "svg")
    assert f"1,572,864 {shown}" in files.convert(path, "svg").decode()
    assert files.pprof(path).sample_types == [pprof_type]
    assert json.loads(files.convert(path, "speedscope"))["profiles"][0]["unit"] == speedscope_unit
    assert f"weighed in {shown}" in files.run("check", path)


def test_fractions_of_a_unit_are_kept(files: Files) -> None:
    samples = [Sample(("main", "a"), weight=0.25), Sample(("main", "b"), weight=1.5)]
    path = files.save(profile_maker.build([samples], weight_type="bytes", has_cpu=False))
    assert "1.75 bytes" in files.run("top", path)
    assert files.convert(path, "folded").decode().split("\n")[:2] == [
        "app;thread-0;main;a 0.25",
        "app;thread-0;main;b 1.5",
    ]
    parsed = files.pprof(path)
    assert parsed.sample_types == [("space", "1/1000 bytes")]
    assert [values for _, values in parsed.samples] == [[250], [1500]]
    assert "1.75 bytes" in files.convert(path, "svg").decode()


def test_values_too_large_for_a_format_are_reported(files: Files) -> None:
    samples = [Sample(("a",), weight=1e18)] * 20
    path = files.save(profile_maker.build([samples], weight_type="bytes", has_cpu=False))
    assert "2e+19 bytes" in files.run("top", path)
    files.run("convert", path, "--format", "pprof", "--out", str(files.folder / "out"), status=1)
    assert "samples.weight: a sum has more than the 64 bits" in files.err


def test_cpu_times_too_large_for_a_format_are_reported_as_such(files: Files) -> None:
    path = files.save(profile_maker.build([[Sample(("a",), cpu_us=1e17)]]))
    files.run("convert", path, "--format", "pprof", "--out", str(files.folder / "out"), status=1)
    assert "samples.threadCPUDelta: a sum has more than the 64 bits" in files.err


def test_different_units_are_never_added_up_nor_compared(files: Files) -> None:
    samples = files.make("samples", {"a": 3})
    space = files.make("bytes", {"a": 3}, weight_type="bytes", has_cpu=False)
    for arguments in (("merge", samples, space), ("merge", space, samples), ("diff", samples, space)):
        assert files.run(*arguments, status=1) == ""
        assert "bytes" in files.err
        assert "samples" in files.err
    files.run("diff", samples, space, "--format", "svg", status=1)


def test_threads_of_different_units_are_shown_apart(files: Files) -> None:
    document = profile_maker.build([[Sample(("a",))], [Sample(("b",))]])
    document["threads"][1]["samples"]["weightType"] = "bytes"
    path = files.save(document)
    for arguments in (("top", path), ("merge", path), ("convert", path, "--format", "folded")):
        files.run(*arguments, status=1)
        assert "cannot be added up: samples (thread-0), bytes (thread-1)" in files.err
    assert files.ask("top", path, "--thread", "thread-1")["weight_type"] == "bytes"
    assert [each["unit"] for each in json.loads(files.convert(path, "speedscope"))["profiles"]] == ["none", "bytes"]
    assert files.convert(path, "folded", "--measure", "cpu")


def test_bytes_are_not_scaled_by_an_interval(files: Files) -> None:
    paths = [files.make(f"p{ms}", {"a": 2}, weight_type="bytes", interval_ms=ms, has_cpu=False) for ms in (1, 4)]
    assert files.ask("merge", *paths)["all_profiles"]["weight"] == 4


# Intervals


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_profile_without_an_interval_never_vanishes_from_a_sum(order: tuple[int, int], files: Files) -> None:
    paths = [files.make("int1", {"a": 1000}), files.make("int0", {"b": 100}, interval_ms=0)]
    assert files.run("merge", *(paths[at] for at in order), status=1) == ""
    assert "int0.json.gz" in files.err
    assert "no interval" in files.err.lower()


def test_profiles_without_intervals_are_added_up_as_they_are(files: Files) -> None:
    paths = [files.make("x", {"a": 10}, interval_ms=0), files.make("y", {"a": 5}, interval_ms=0)]
    assert files.ask("merge", *paths)["all_profiles"]["weight"] == 15
    assert "at an unknown interval" in files.run("top", paths[0])


# By operator and by group


def build(**how: object) -> Document:
    """7 samples in one operator, 3 in another; each weighs 100."""
    samples = [Sample(("main", "work"), weight=100)] * 10
    document = profile_maker.build([samples], **how)  # type: ignore[arg-type]
    marker_maker.add(document, 0, [evaluate(1, 8, "Map nn1"), evaluate(8, 11, "Join nn2")])
    return document


@pytest.mark.parametrize("by", BYS)
@pytest.mark.parametrize(
    ("unit", "head", "sum_"),
    [("bytes", "weighed in bytes", "1,000 bytes"), ("tracing-ms", "weighed in ms", "1,000 ms"),
     ("allocations", "weighed in allocations", "1,000 allocations")],
)  # fmt: skip
def test_a_unit_is_named_by_operator_and_group_too(unit: str, head: str, sum_: str, by: str, files: Files) -> None:
    """Also where the samples have CPU times beside it: percentages are of one measure in all tables."""
    path = files.save(build(weight_type=unit))
    table = files.run("top", path, "--by", by)
    assert head in table
    assert sum_ in table
    assert f"self {sum_.split()[1]}" in table
    assert "self ms" not in table or unit == "tracing-ms"
    assert "every" not in table
    for command in (("diff", path, path), ("merge", path, path)):
        table = files.run(*command, "--by", by)
        assert f"  {by}\n" in table
        assert sum_.split()[1] in table


def test_shares_by_operator_are_of_the_unit(files: Files) -> None:
    found = files.ask("top", files.save(build(weight_type="bytes")), "--by", "operator")
    assert found["measure"] == "bytes"
    shown = {each["name"]: (each["self_percent"], each["difference_points"]) for each in found["labels"]}
    assert shown == {"Map nn1": (70, None), "Join nn2": (30, None)}


def test_without_cpu_times_samples_are_shown_by_operator(files: Files) -> None:
    table = files.run("top", files.save(build(has_cpu=False)), "--by", "operator")
    assert "10 samples in 1 thread, every 1 ms, 1,000 samples by weight" in table
    assert "self samples" in table
    assert "    70.0     70.0           700" in table


@pytest.mark.parametrize("by", BYS)
@pytest.mark.parametrize("interval_ms", [0, -1, 1e300])
def test_an_unknown_interval_is_unknown_in_every_table(interval_ms: float, by: str, files: Files) -> None:
    path = files.save(build(interval_ms=interval_ms))
    assert "10 samples in 1 thread, at an unknown interval" in files.run("top", path, "--by", by)
    assert files.pprof(path).period == 0
    assert files.ask("check", path)[0]["facts"]["interval_ms"] == 0
