"""Every format version gives the same results for the same recording."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from samply_operator import profiles
from samply_operator.profiles.errors import BrokenProfile, UnsupportedVersion
from samply_operator.profiles.output import folded
from support import profile_maker, profile_versions
from support.profile_maker import Sample

VERSIONS = [49, 55, 57, 58, 60, 66, 70, 71, 75]


def load(path: Path) -> dict[str, Any]:
    return json.loads(gzip.decompress(path.read_bytes()))


def rewrite(path: Path, version: int, tmp_path: Path) -> Path:
    return profile_maker.save(profile_versions.rewrite(load(path), version), tmp_path / f"v{version}.json.gz")


@pytest.mark.parametrize("version", VERSIONS)
def test_top_is_the_golden_one(version: int, baked: Path, tmp_path: Path, data: Path) -> None:
    summary = profiles.top(profiles.read(rewrite(baked, version, tmp_path)), limit=5)
    golden = msgspec.json.decode((data / "demo.top.json").read_bytes(), type=profiles.Summary)
    assert summary == golden


@pytest.mark.parametrize("version", VERSIONS)
def test_folded_stacks_are_the_golden_ones(version: int, baked: Path, tmp_path: Path, data: Path) -> None:
    lines = b"".join(folded.convert(profiles.read(rewrite(baked, version, tmp_path))))
    assert sorted(lines.splitlines()) == sorted((data / "demo.folded.txt").read_bytes().splitlines())


@pytest.mark.parametrize("version", VERSIONS)
def test_facts_differ_in_nothing_but_version_and_size(version: int, baked: Path, tmp_path: Path) -> None:
    expected = profiles.facts(profiles.read(baked))
    facts = profiles.facts(profiles.read(rewrite(baked, version, tmp_path)))
    assert facts.version == version
    same = replace(facts, version=55, raw_bytes=expected.raw_bytes, duration_ms=expected.duration_ms)
    assert same == expected
    assert facts.duration_ms == pytest.approx(expected.duration_ms)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_sidecar_names_the_same_functions(
    version: int, raw: Path, sidecar: Path, tmp_path: Path, label: profiles.Label
) -> None:
    out = tmp_path / "out.json.gz"
    result = profiles.bake(rewrite(raw, version, tmp_path), sidecar, out, label=label)
    names = {cost.name for cost in profiles.top(profiles.read(out), limit=99).all_threads.by_total}
    assert result.facts.version == version
    assert {"worker", "step", "hash_rows", "sort_batch", "descend", "main"} <= names
    assert "loop_body" in names, "an inlined one"


@pytest.mark.parametrize("version", VERSIONS)
def test_baked_in_any_version_the_stacks_are_the_golden_ones(
    version: int, raw: Path, sidecar: Path, tmp_path: Path, data: Path, label: profiles.Label
) -> None:
    """Inlined functions among them, also where all threads share one table of stacks."""
    out = tmp_path / "out.json.gz"
    profiles.bake(rewrite(raw, version, tmp_path), sidecar, out, label=label)
    lines = b"".join(folded.convert(profiles.read(out)))
    assert sorted(lines.splitlines()) == sorted((data / "demo.folded.txt").read_bytes().splitlines())


def test_a_real_recording_of_version_49_gives_the_golden_stacks(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json.gz"
    result = profiles.bake(data / "demo-v49.json.gz", data / "demo-v49.syms.json", out, label=profiles.Label("demo"))
    assert (result.facts.version, result.facts.samples, result.facts.symbolicated) == (49, 748, True)
    lines = b"".join(folded.convert(profiles.read(out)))
    assert sorted(lines.splitlines()) == sorted((data / "demo-v49.folded.txt").read_bytes().splitlines())


@pytest.mark.parametrize("version", [46, 76, 1000])
def test_a_version_that_is_not_known_is_refused_by_name(version: int, raw: Path, tmp_path: Path) -> None:
    document = load(raw)
    document["meta"]["preprocessedProfileVersion"] = version
    with pytest.raises(UnsupportedVersion, match=f"version {version}; 47 to 75"):
        profiles.read(profile_maker.save(document, tmp_path / "x.json.gz"))


def test_an_unknown_version_is_told_even_if_nothing_else_fits(tmp_path: Path) -> None:
    document = {"meta": {"preprocessedProfileVersion": 99}, "threads": "moved elsewhere"}
    with pytest.raises(UnsupportedVersion):
        profiles.read(profile_maker.save(document, tmp_path / "x.json.gz"))


def test_a_gecko_profile_is_no_processed_profile(tmp_path: Path) -> None:
    with pytest.raises(BrokenProfile, match="preprocessedProfileVersion"):
        profiles.read(profile_maker.save({"meta": {"version": 30}, "threads": []}, tmp_path / "x.json.gz"))


@pytest.mark.parametrize("version", [70, 71, 75])
def test_frames_of_one_function_may_be_of_several_libraries(version: int, tmp_path: Path) -> None:
    """Since version 70 the library is the frame's."""
    document = profile_maker.build([[Sample(("main", "a"))] * 3 + [Sample(("main", "b"))]])
    document["libs"].append({**document["libs"][0], "name": "other", "path": "/other", "breakpadId": "B0"})
    document = profile_versions.rewrite(document, version)
    document["shared"]["frameTable"]["lib"] = [0, 0, 1]
    document["shared"]["funcTable"]["name"][2] = document["shared"]["funcTable"]["name"][1]
    document["shared"]["frameTable"]["func"][2] = 1
    profile = profiles.read(profile_maker.save(document, tmp_path / "p.json.gz"))
    costs = {(cost.name, cost.lib): cost.self_weight for cost in profiles.top(profile).all_threads.by_self}
    assert costs == {("a", "app"): 3, ("a", "other"): 1, ("main", "app"): 0}
    assert {share.lib: share.samples for share in profiles.facts(profile).unresolved_by_lib} == {"app": 3, "other": 1}


@pytest.mark.parametrize("version", [71, 75])
def test_flags_of_frames_follow_what_is_baked_in(
    version: int, raw: Path, sidecar: Path, tmp_path: Path, label: profiles.Label
) -> None:
    out = tmp_path / "out.json.gz"
    profiles.bake(rewrite(raw, version, tmp_path), sidecar, out, label=label)
    shared = load(out)["shared"]
    frames, natives = shared["frameTable"], shared["nativeSymbols"]
    assert {len(column) for column in frames.values() if isinstance(column, list)} == {frames["length"]}
    lines = [bool(flags & 16) for flags in frames["flags"]]
    assert lines == [line != 0 for line in frames["line"]]
    assert any(flags & 1 for flags in frames["flags"]), "inlined"
    assert any(lines)
    assert any(flags & 8 for flags in frames["flags"])
    assert None not in natives["functionSize"]
