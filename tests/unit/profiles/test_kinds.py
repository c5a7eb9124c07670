"""Kinds of files that were once read incorrectly: each gives correct numbers in every output, or an explanation."""

from __future__ import annotations

import copy
import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from samply_operator.profiles.format import reading
from samply_operator.profiles.worker import jobs
from support import profile_maker, profile_versions
from support.cli_files import Files
from support.profile_maker import Document, Sample

LIB = {"name": "libcodec.so", "debugName": "libcodec.so", "codeId": None}


def changes(comparison: Any) -> dict[str, float]:
    return {each["name"]: round(each["self_difference"], 1) for each in comparison["changes"]}


# Stacks of any depth


@pytest.mark.parametrize("depth", [501, 700, 3000])
def test_every_format_takes_any_depth_that_top_takes(depth: int, files: Files) -> None:
    path = files.save(profile_maker.build([[Sample(tuple(f"f{n}" for n in range(depth)))]]))
    assert files.ask("top", path)["all_threads"]["functions_total"] == depth
    for kind in jobs.FORMATS:
        assert files.convert(path, kind)
    files.run("diff", path, path, "--format", "svg", "--out", str(files.folder / "diff.svg"))


# Without CPU times


@pytest.mark.parametrize("has_cpu", [(False, False), (True, False), (False, True)])
def test_where_one_lacks_cpu_times_samples_are_compared_in_every_output(
    has_cpu: tuple[bool, bool], files: Files
) -> None:
    before = files.make("before", {"parse": 60, "join": 40}, has_cpu=has_cpu[0])
    after = files.make("after", {"parse": 30, "join": 70}, has_cpu=has_cpu[1])
    found = files.ask("diff", before, after)
    assert (found["measure"], changes(found)) == ("samples", {"join": 30.0, "parse": -30.0, "main": 0.0})
    assert bool(found["notes"]) == any(has_cpu), "a fallback is told"
    assert "+30.0" in files.run("diff", before, after)
    svg = files.run("diff", before, after, "--format", "svg")
    assert "70 samples, 70.00 %, before 60, self +30.00 points" not in svg
    assert "join [app] 70 samples, 70.00 %, before 40, self +30.00 points" in svg


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda samples: samples.pop("threadCPUDelta"), id="absent"),
        pytest.param(lambda samples: samples.update(threadCPUDelta=None), id="null"),
        pytest.param(lambda samples: samples.update(threadCPUDelta=[None] * 10), id="nulls"),
        pytest.param(lambda samples: samples.update(threadCPUDelta=[0] * 10), id="zeros"),
    ],
)
def test_without_cpu_times_they_are_not_counted(change: Callable[[Document], None], files: Files) -> None:
    document = profile_maker.build([[Sample(("main", "run"))] * 10])
    change(document["threads"][0]["samples"])
    path = files.save(document)
    assert files.ask("top", path)["all_threads"]["cpu_ms"] is None
    assert files.pprof(path).sample_types == [("samples", "count")]
    for kind in ("folded", "speedscope", "svg"):
        out = files.folder / kind
        files.run("convert", path, "--format", kind, "--measure", "cpu", "--out", str(out), status=1)
        assert "no CPU times" in files.err
        assert not out.exists()


def test_cpu_times_of_some_threads_are_not_those_of_all(files: Files) -> None:
    document = profile_maker.build([[Sample(("a",))] * 4, [Sample(("b",))] * 6])
    del document["threads"][1]["samples"]["threadCPUDelta"]
    path = files.save(document)
    found = files.ask("top", path)
    assert found["all_threads"]["cpu_ms"] is None
    assert [row["cpu_ms"] for row in found["threads"]] == [None, 4.0]
    assert files.ask("diff", path, path)["measure"] == "samples"
    files.run("convert", path, "--format", "folded", "--measure", "cpu", status=1)


def test_a_thread_without_any_cpu_time_costs_the_others_nothing(files: Files) -> None:
    """It has been sampled once, at its end."""
    path = files.save(profile_maker.build([[Sample(("a",), cpu_us=4000)], [Sample(("b",), cpu_us=0)]]))
    assert files.ask("top", path)["all_threads"]["cpu_ms"] == 4.0
    assert files.convert(path, "folded", "--measure", "cpu") == b"app;thread-0;a 4000\n"
    shown = json.loads(files.convert(path, "speedscope", "--measure", "cpu"))["profiles"]
    assert [each["endValue"] for each in shown] == [4000, 0]
    assert b"4,000 \xc2\xb5s of CPU" in files.convert(path, "svg", "--measure", "cpu")


def test_a_unit_of_cpu_time_that_is_no_time_is_none(files: Files) -> None:
    document = profile_maker.build([[Sample(("a",))]])
    document["meta"]["sampleUnits"]["threadCPUDelta"] = "variable CPU cycles"
    assert files.ask("top", files.save(document))["all_threads"]["cpu_ms"] is None


# Symbols of another build


def test_a_sidecar_of_another_build_names_nothing_and_says_so(raw: Path, sidecar: Path, files: Files) -> None:
    document = json.loads(sidecar.read_bytes())
    for entry in document["data"]:
        entry["debug_id"] = "deadbeef-dead-beef-dead-beefdeadbeef"
    other = files.folder / "other.syms.json"
    other.write_text(json.dumps(document))
    out = str(files.folder / "out.json.gz")
    found = files.ask("bake", str(raw), "--symbols", str(other), "--out", out)
    assert "No library matched" in files.err
    assert "another build of" in files.err
    assert found["named_frames"] == 0
    assert found["facts"]["symbolicated"] is False
    assert json.loads(gzip.decompress(Path(out).read_bytes()))["meta"]["symbolicated"] is False


def test_a_sidecar_of_which_one_library_is_of_another_build_names_the_rest(
    raw: Path, sidecar: Path, files: Files
) -> None:
    document = json.loads(sidecar.read_bytes())
    other = next(entry for entry in document["data"] if entry["debug_name"] != "demo")
    other["debug_id"] = "deadbeef-dead-beef-dead-beefdeadbeef"
    path = files.folder / "other.syms.json"
    path.write_text(json.dumps(document))
    found = files.ask("bake", str(raw), "--symbols", str(path), "--out", str(files.folder / "out"))
    assert f"Not used: the sidecar has symbols of another build of {other['debug_name']}" in files.err
    assert found["facts"]["symbolicated"] is True


def test_a_library_that_is_mapped_by_two_paths_is_named_in_both(
    raw_document: Document, sidecar: Path, files: Files
) -> None:
    """Stacks of the second thread are of the second path."""
    document = copy.deepcopy(raw_document)
    demo = next(index for index, lib in enumerate(document["libs"]) if lib["name"] == "demo")
    document["libs"].append({**document["libs"][demo], "path": "/elsewhere/demo"})
    resources = document["threads"][1]["resourceTable"]
    resources["lib"] = [len(document["libs"]) - 1 if lib == demo else lib for lib in resources["lib"]]
    out = str(files.folder / "out.json.gz")
    files.run("bake", files.save(document), "--symbols", str(sidecar), "--out", out)
    names = {(cost["name"], cost["lib"]) for cost in files.ask("top", out, "--limit", "99")["all_threads"]["by_total"]}
    libs = {lib for name, lib in names if name == "worker"}
    assert any("/elsewhere/demo" in lib for lib in libs)


# What is less than nothing


@pytest.mark.parametrize("column", ["weight", "threadCPUDelta"])
@pytest.mark.parametrize("values", [[4096, -4096, 1024], [1, -0.5, 1], [1e3, -1e-3, 1]])
def test_negative_costs_are_refused(column: str, values: list[float], files: Files) -> None:
    document = profile_maker.build([[Sample(("main", "alloc")), Sample(("main", "free")), Sample(("main", "alloc"))]])
    document["threads"][0]["samples"][column] = values
    path = files.save(document)
    measure = "cpu" if column == "threadCPUDelta" else "samples"
    asked = [("top", path), ("merge", path), ("diff", path, path), ("diff", path, path, "--format", "svg")]
    asked += [("convert", path, "--format", kind, "--measure", measure) for kind in jobs.FORMATS]
    for arguments in asked:
        assert files.run(*arguments, status=1) == ""
        assert "below zero" in files.err
        assert column in files.err
    assert "BAD" in files.run("check", path, status=1)


def test_negative_zero_is_accepted(files: Files) -> None:
    document = profile_maker.build([[Sample(("a",)), Sample(("b",))]])
    document["threads"][0]["samples"]["weight"] = [-0.0, 5e-1]
    assert files.ask("top", files.save(document))["all_threads"]["weight"] == 0.5


# Threads that stand for CPUs


def make_per_cpu(label: str = "") -> Document:
    document = profile_maker.build([[Sample(("main", "join"))] * 6 + [Sample(("main", "parse"))] * 4])
    (thread,) = document["threads"]
    for number, name in enumerate((f"CPU{label}", "CPU 0", "CPU 1")):
        changed = {
            "name": name,
            "processName": f"CPU{label}",
            "pid": "0",
            "tid": str(number),
            "isMainThread": not number,
        }
        document["threads"].append(copy.deepcopy(thread) | changed)
    return document


@pytest.mark.parametrize("version", [49, 55, 60, 66, 75])
@pytest.mark.parametrize("label", ["", " (orders-0)"])
def test_the_process_of_the_cpus_repeats_what_the_threads_hold(version: int, label: str, files: Files) -> None:
    path = files.save(profile_versions.rewrite(make_per_cpu(label), version))
    found = files.ask("top", path)
    assert (found["all_threads"]["samples"], found["all_threads"]["cpu_ms"]) == (10, 10.0)
    assert "3 threads that stand for CPUs" in found["notes"][0]
    assert sum(int(line.split()[-1]) for line in files.convert(path, "folded").splitlines()) == 10
    assert sum(values[0] for _, values in files.pprof(path).samples) == 10
    assert len(json.loads(files.convert(path, "speedscope"))["profiles"]) == 1
    svg = files.convert(path, "svg")
    assert b"10 ms of CPU \xc2\xb7 1 thread \xc2\xb7 3 threads of CPUs not counted" in svg
    assert files.ask("merge", path)["all_profiles"]["samples"] == 10
    assert files.ask("diff", path, path)["notes"]
    facts = files.ask("check", path)[0]["facts"]
    assert (facts["samples"], facts["samples_by_pid"]) == (10, [["1", 10]])


def test_they_can_be_asked_for_by_name_and_are_baked_as_all_others(files: Files, raw: Path) -> None:
    path = files.save(make_per_cpu())
    assert files.ask("top", path, "--thread", "CPU 1")["all_threads"]["samples"] == 10
    out = str(files.folder / "out.json.gz")
    files.run("bake", path, "--out", out)
    assert len(json.loads(gzip.decompress(Path(out).read_bytes()))["threads"]) == 4


def test_without_other_threads_that_of_all_cpus_counts(files: Files) -> None:
    document = make_per_cpu()
    del document["threads"][0]
    assert files.ask("top", files.save(document))["all_threads"]["samples"] == 10


@pytest.mark.parametrize("change", [{"pid": "7"}, {"processName": "CPUburn"}, {"processName": "GPU"}])
def test_a_program_of_that_name_is_a_program(change: Document, files: Files) -> None:
    document = profile_maker.build([[Sample(("a",))], [Sample(("a",))]])
    document["threads"][1] |= {"name": "CPU", "processName": "CPU", "pid": "0"} | change
    assert files.ask("top", files.save(document))["all_threads"]["samples"] == 2


# Libraries


def make_two_libraries(**changed: str) -> Document:
    """`decode` of two libraries of one base name, 7 and 3 samples."""
    document = profile_maker.build([[Sample(("main", "one"))] * 7 + [Sample(("main", "two"))] * 3])
    first = {**LIB, "path": "/opt/v1/libcodec.so", "breakpadId": "B" * 32 + "0"}
    second = {**LIB, "path": "/opt/v2/libcodec.so", "breakpadId": "C" * 32 + "0"} | changed
    document["libs"] += [first, second]
    thread = document["threads"][0]
    thread["resourceTable"] = {"length": 3, "lib": [0, 1, 2], "name": [0] * 3, "host": [None] * 3, "type": [1] * 3}
    thread["funcTable"]["resource"] = [0, 1, 2]
    thread["stringArray"] += ["decode"]
    thread["funcTable"]["name"] = [0, 3, 3]
    return document


@pytest.mark.parametrize("changed", [{}, {"path": "/opt/v1/libcodec.so"}, {"breakpadId": "B" * 32 + "0"}])
def test_a_library_is_its_path_and_its_build(changed: dict[str, str], files: Files) -> None:
    path = files.save(make_two_libraries(**changed))
    costs = files.ask("top", path)["all_threads"]["by_self"]
    assert [cost["self_weight"] for cost in costs if cost["name"] == "decode"] == [7, 3]
    assert len({cost["lib"] for cost in costs}) == 3
    parsed = files.pprof(path)
    by_file = Counter[tuple[str, str]]()
    for mapping, (_, values) in zip(parsed.leaf_mappings, parsed.samples, strict=True):
        by_file[mapping] += values[0]
    assert sorted(by_file.values()) == [3, 7]
    shares = {share["lib"]: share["samples"] for share in files.ask("check", path)[0]["facts"]["unresolved_by_lib"]}
    assert sorted(shares.values()) == [3, 7]


def test_one_library_listed_twice_is_one(files: Files) -> None:
    path = files.save(make_two_libraries(path="/opt/v1/libcodec.so", breakpadId="B" * 32 + "0"))
    costs = [cost for cost in files.ask("top", path)["all_threads"]["by_self"] if cost["name"] == "decode"]
    assert [(cost["lib"], cost["self_weight"]) for cost in costs] == [("libcodec.so", 10)]


# Different builds


@pytest.mark.parametrize("name", ["0x1000", "fun_1000"])
def test_an_address_means_nothing_in_another_build(name: str, files: Files) -> None:
    before = files.make("before", {name: 80, "named": 20}, build_id="A" * 32 + "0")
    after = files.make("after", {name: 20, "named": 80}, build_id="B" * 32 + "0")
    found = files.ask("diff", before, after)
    assert sorted(
        (each["name"], each["lib"], each["self_difference"]) for each in found["changes"] if each["name"] == name
    ) == [(name, "app, build aaaaaaaa", -80.0), (name, "app, build bbbbbbbb", 20.0)]
    assert changes(found)["named"] == 60.0
    assert "Different builds of app (aaaaaaaa, bbbbbbbb)" in files.run("diff", before, after)
    assert "Different builds of app" in files.run("diff", before, after, "--format", "svg")
    merged = files.ask("merge", before, after)
    assert [cost["self_weight"] for cost in merged["all_profiles"]["by_self"]] == [100, 80, 20, 0]
    assert "Different builds of app" in merged["notes"][0]


def test_of_one_build_addresses_are_paired(files: Files) -> None:
    before, after = (
        files.make("before", {"0x1000": 80, "0x2000": 20}),
        files.make("after", {"0x1000": 60, "0x2000": 40}),
    )
    found = files.ask("diff", before, after)
    assert changes(found) == {"0x1000": -20.0, "0x2000": 20.0, "main": 0.0}
    assert found["notes"] == []


# Nothing to answer


@pytest.mark.parametrize("arguments", [("--from", "5", "--to", "9"), ("--from", "5"), ("--to", "0")])
def test_an_empty_part_of_the_time_is_told(arguments: tuple[str, ...], files: Files) -> None:
    path = files.make("p", {"a": 100})
    assert files.run("top", path, *arguments, status=1) == ""
    assert "it lasts 0.099 s" in files.err


def test_a_part_of_offsets_is_no_time(files: Files) -> None:
    """A profile of sizes counts them where others have times."""
    document = profile_maker.build([[Sample(("a",))]], weight_type="bytes", has_cpu=False)
    document["meta"]["sampleUnits"]["time"] = "bytes"
    path = files.save(document)
    files.run("top", path, "--from", "0", "--to", "5", status=1)
    assert "it has no times" in files.err
    assert files.ask("check", path)[0]["facts"]["duration_ms"] == 0


def test_a_profile_without_samples_is_not_compared(files: Files) -> None:
    files.run("diff", files.make("a", {}), files.make("b", {"x": 1}), status=1)
    assert "no samples in the first profile (a.json.gz)" in files.err


def test_a_profile_without_samples_is_named_in_a_sum(files: Files) -> None:
    notes = files.ask("merge", files.make("a", {"x": 1}), files.make("b", {}))["notes"]
    assert notes == ["In profile 2 (b.json.gz): There are no samples: nothing used the CPU meanwhile, or samply saw "
                     "none of it."]  # fmt: skip


# Processes


def test_processes_of_one_name_are_told_apart(files: Files) -> None:
    document = profile_maker.build([[Sample(("main", "task1"))] * 4, [Sample(("main", "task2"))] * 4])
    for thread, pid in zip(document["threads"], ("100", "200"), strict=True):
        thread |= {"name": "MainThread", "processName": "worker", "pid": pid, "tid": pid}
    path = files.save(document)
    assert files.convert(path, "folded").decode().splitlines() == [
        "worker (100);MainThread;main;task1 4",
        "worker (200);MainThread;main;task2 4",
    ]
    assert "worker (100): MainThread (100)" in files.convert(path, "svg").decode()
    assert {labels["pid"] for labels in files.pprof(path).labels} == {"100", "200"}
    titles = [each["name"] for each in json.loads(files.convert(path, "speedscope"))["profiles"]]
    assert titles == ["worker 100: MainThread (100)", "worker 200: MainThread (200)"]


# Names


def test_a_name_is_the_same_text_in_every_output(files: Files) -> None:
    document = profile_maker.build([[Sample(("main", "NAME"))]])
    data = json.dumps(document).replace("NAME", "x\\ud800y")
    path = files.folder / "p.json"
    path.write_text(data)
    shown = "x\ufffdy"
    assert shown in files.run("top", str(path))
    assert shown in files.convert(str(path), "folded").decode()
    assert shown in files.convert(str(path), "svg").decode()
    assert shown in {name for stack, _ in files.pprof(str(path)).samples for name in stack}
    assert shown in {f["name"] for f in json.loads(files.convert(str(path), "speedscope"))["shared"]["frames"]}
    out = files.folder / "baked.json.gz"
    files.run("bake", str(path), "--out", str(out))
    assert reading.read(out).threads[0].load_tables().strings[1] == shown
