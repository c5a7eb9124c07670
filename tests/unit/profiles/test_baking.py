"""Baking adds names and changes nothing else."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from samply_operator import profiles
from samply_operator.profiles.analysis import naming
from samply_operator.profiles.errors import UnreadableSymbols
from samply_operator.profiles.format.profile import Lib
from samply_operator.profiles.symbols import baking
from samply_operator.profiles.symbols import sidecar as sidecar_file
from support import marker_maker, profile_maker, profile_versions

Document = dict[str, Any]


def load(path: Path) -> Document:
    return json.loads(gzip.decompress(path.read_bytes()))


def test_names_are_in_and_the_file_says_so(baked: Path) -> None:
    facts = profiles.facts(profiles.read(baked))
    assert facts.symbolicated
    assert facts.unresolved_percent is not None
    assert facts.unresolved_percent < 1


def test_baking_leaves_unrelated_data_unchanged(baked: Path, raw_document: Document) -> None:
    document = load(baked)
    for key in ("libs", "pages", "counters", "profilerOverhead"):
        assert document[key] == raw_document[key]
    for after, before in zip(document["threads"], raw_document["threads"], strict=True):
        assert list(after) == list(before)
        for key in ("markers", "pausedRanges", "pid", "tid", "registerTime", "resourceTable"):
            assert after[key] == before[key]
        for key in before["samples"].keys() - {"stack"}:
            assert after["samples"][key] == before["samples"][key]
    changed = {key for key in raw_document["meta"] if document["meta"][key] != raw_document["meta"][key]}
    assert changed == {"product", "symbolicated"}


def test_keys_that_nobody_knows_are_carried_along(
    raw_document: Document, sidecar: Path, tmp_path: Path, label: profiles.Label
) -> None:
    raw_document["future"] = {"a": [1, {"b": None}]}
    raw_document["meta"]["future"] = "x"
    raw_document["threads"][0]["future"] = 1.5
    raw_document["threads"][0]["funcTable"]["future"] = list(range(raw_document["threads"][0]["funcTable"]["length"]))
    out = tmp_path / "out.json.gz"
    profiles.bake(profile_maker.save(raw_document, tmp_path / "in.json.gz"), sidecar, out, label=label)
    document = load(out)
    assert document["future"] == {"a": [1, {"b": None}]}
    assert document["meta"]["future"] == "x"
    thread = document["threads"][0]
    assert thread["future"] == 1.5
    assert len(thread["funcTable"]["future"]) == thread["funcTable"]["length"]


def test_every_sample_keeps_its_addresses(baked: Path, raw_document: Document) -> None:
    for after, before in zip(load(baked)["threads"], raw_document["threads"], strict=True):
        assert [addresses(after, stack) for stack in after["samples"]["stack"]] == [
            addresses(before, stack) for stack in before["samples"]["stack"]
        ]


def addresses(thread: Document, stack: int | None) -> list[int]:
    """From the root in; an inlined frame has the address of the frame that it is part of."""
    found = []
    while stack is not None:
        frame = thread["stackTable"]["frame"][stack]
        if thread["frameTable"]["inlineDepth"][frame] == 0:
            found.append(thread["frameTable"]["address"][frame])
        stack = thread["stackTable"]["prefix"][stack]
    return found[::-1]


def test_one_function_is_one_row_however_many_addresses_it_has(baked: Path) -> None:
    thread = load(baked)["threads"][1]
    names = [thread["stringArray"][name] for name in thread["funcTable"]["name"]]
    assert len(names) == len(set(names))
    assert names.count("sort_batch") == 1


def test_all_columns_of_all_tables_have_the_tables_length(baked: Path) -> None:
    for thread in load(baked)["threads"]:
        for key in ("frameTable", "funcTable", "stackTable", "nativeSymbols", "resourceTable", "samples"):
            lengths = {len(column) for column in thread[key].values() if isinstance(column, list)}
            assert lengths == {thread[key]["length"]}


def test_native_symbols_tell_where_functions_begin(baked: Path, sidecar: Path) -> None:
    thread = load(baked)["threads"][1]
    natives = thread["nativeSymbols"]
    found = {
        thread["stringArray"][name]: (address, size)
        for name, address, size in zip(natives["name"], natives["address"], natives["functionSize"], strict=True)
    }
    table = json.loads(sidecar.read_bytes())
    demo = next(each for each in table["data"] if each["debug_name"] == "demo")
    expected = {table["string_table"][each["symbol"]]: (each["rva"], each.get("size")) for each in demo["symbol_table"]}
    assert found["sort_batch"] == expected["sort_batch"]


def test_an_inlined_function_is_put_in_where_the_debug_data_is_for_that_address(baked: Path) -> None:
    """`worker` was seen at one address, in the inlined `loop_body`: that is sure."""
    thread = load(baked)["threads"][1]
    names = [thread["stringArray"][name] for name in thread["funcTable"]["name"]]
    inlined = [
        (names[thread["frameTable"]["func"][frame]], thread["frameTable"]["line"][frame], depth)
        for frame, depth in enumerate(thread["frameTable"]["inlineDepth"])
        if depth > 0
    ]
    assert inlined == [("loop_body", 12, 1)]


def symbol(addresses: int) -> sidecar_file.Symbol:
    frames = (sidecar_file.Inlined("inner", "a.c", 3), sidecar_file.Inlined("outer", "b.c", 9))
    return sidecar_file.Symbol("outer", 0, 64, frames, first_address=0, addresses=addresses)


@pytest.mark.parametrize(("addresses", "expected"), [(1, {"outer", "inner"}), (2, {"outer"})])
def test_inlined_functions_that_are_only_a_hint_are_left_out(
    addresses: int, expected: set[str], tmp_path: Path, label: profiles.Label
) -> None:
    document = profile_maker.build([[profile_maker.Sample(("0x0",))]])
    path = profile_maker.save(document, tmp_path / "p.json.gz")
    profile = profiles.read(path)
    outline, named = baking.build_document(
        gzip.decompress(path.read_bytes()), profile, {0: {0: symbol(addresses)}}, label, has_sidecar=True
    )
    thread = json.loads(b"".join(baking.render(outline)))["threads"][0]
    assert {thread["stringArray"][name] for name in thread["funcTable"]["name"]} == expected
    assert named == 1


def test_stacks_stay_as_they_are_where_something_else_points_at_them(
    raw_document: Document, sidecar: Path, tmp_path: Path, label: profiles.Label
) -> None:
    raw_document["threads"][1]["markers"]["data"] = [{"type": "x", "cause": {"stack": 3}}]
    out = tmp_path / "out.json.gz"
    profiles.bake(profile_maker.save(raw_document, tmp_path / "in.json.gz"), sidecar, out, label=label)
    document = load(out)
    assert document["threads"][1]["samples"]["stack"] == raw_document["threads"][1]["samples"]["stack"]
    assert document["threads"][2]["samples"]["stack"] != raw_document["threads"][2]["samples"]["stack"]


def test_viewers_show_which_pipeline_and_host_it_is(baked: Path) -> None:
    document = load(baked)
    assert document["meta"]["product"] == "orders, host 1 of 2"
    assert [thread["name"] for thread in document["threads"]] == ["demo (host 1 of 2)", "worker-0", "worker-1"]
    assert {thread["processName"] for thread in document["threads"]} == {"demo (host 1 of 2)"}
    assert [entry["value"] for entry in document["meta"]["extra"][0]["entries"]] == ["orders", "0"]


def test_baking_twice_gives_the_same_bytes(
    baked: Path, raw: Path, sidecar: Path, tmp_path: Path, label: profiles.Label
) -> None:
    again = tmp_path / "again.json.gz"
    profiles.bake(raw, sidecar, again, label=label)
    assert again.read_bytes() == baked.read_bytes()


def test_the_result_tells_size_and_digest_of_the_file(
    raw: Path, sidecar: Path, tmp_path: Path, label: profiles.Label
) -> None:
    out = tmp_path / "out.json.gz"
    result = profiles.bake(raw, sidecar, out, label=label)
    assert result.sha256 == hashlib.sha256(out.read_bytes()).hexdigest()
    assert result.size_bytes == out.stat().st_size
    assert result.raw_bytes == result.facts.raw_bytes == len(gzip.decompress(out.read_bytes()))


def test_a_baked_file_without_a_sidecar_keeps_its_names(baked: Path, tmp_path: Path) -> None:
    out = tmp_path / "again.json.gz"
    result = profiles.bake(baked, None, out, label=profiles.Label("other"))
    assert result.facts.symbolicated
    assert result.facts.product == "other"
    assert profiles.top(profiles.read(out)).all_threads == profiles.top(profiles.read(baked)).all_threads


def test_without_a_sidecar_a_raw_file_does_not_claim_names(raw: Path, tmp_path: Path, label: profiles.Label) -> None:
    result = profiles.bake(raw, None, tmp_path / "out.json.gz", label=label)
    assert not result.facts.symbolicated
    assert result.facts.unresolved_percent == 100.0


def test_the_names_that_samply_makes_up_for_a_stripped_binary_do_not_count(
    data: Path, tmp_path: Path, label: profiles.Label
) -> None:
    sidecar = data / "stripped-v55.syms.json"
    result = profiles.bake(data / "stripped-v55.json.gz", sidecar, tmp_path / "out.json.gz", label=label)
    assert result.named_frames > 0
    assert result.facts.unresolved_percent == 100.0
    assert result.facts.stripped_libs == ("demo2",)


def test_symbols_of_another_build_are_not_used(raw: Path, sidecar: Path, tmp_path: Path, label: profiles.Label) -> None:
    table = json.loads(sidecar.read_bytes())
    for each in table["data"]:
        each["debug_id"] = "00000000-0000-0000-0000-000000000000"
    other = tmp_path / "other.syms.json"
    other.write_text(json.dumps(table))
    result = profiles.bake(raw, other, tmp_path / "out.json.gz", label=label)
    assert result.named_frames == 0
    assert result.facts.unresolved_percent == 100.0


def test_a_broken_sidecar_fails_before_anything_is_written(raw: Path, tmp_path: Path, label: profiles.Label) -> None:
    sidecar = tmp_path / "p.syms.json"
    sidecar.write_bytes(b'{"string_table":[')
    with pytest.raises(UnreadableSymbols):
        profiles.bake(raw, sidecar, tmp_path / "out.json.gz", label=label)
    assert not (tmp_path / "out.json.gz").exists()


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ee6c0ae5-491e-2944-0c25-b3c5b31260aa", "EE6C0AE5491E29440C25B3C5B31260AA0", True),
        ("EE6C0AE5-491E-2944-0C25-B3C5B31260AA-a", "EE6C0AE5491E29440C25B3C5B31260AA1", True),
        ("ee6c0ae5-491e-2944-0c25-b3c5b31260ab", "EE6C0AE5491E29440C25B3C5B31260AA0", False),
    ],
)
def test_ids_are_compared_without_case_hyphens_and_age(one: str, other: str, *, same: bool) -> None:
    entry = sidecar_file.RawLibSymbols("demo", one)
    assert sidecar_file.find_libs(entry, [Lib("demo", "/demo", "demo", other, None)]) == ([0] if same else [])


@pytest.mark.parametrize(
    ("name", "unresolved"),
    [
        ("0x12af", True),
        ("fun_29f40", True),
        ("EntryPoint", True),
        ("fun_x", False),
        ("main", False),
        ("0xg", False),
    ],
)
def test_uninformative_names_are_recognized(name: str, *, unresolved: bool) -> None:
    assert naming.is_unresolved(name) is unresolved


@pytest.mark.parametrize("version", [49, 55, 60, 70, 75])
def test_markers_are_kept_as_they_are(
    version: int, raw_document: dict[str, Any], sidecar: Path, tmp_path: Path, label: profiles.Label
) -> None:
    """Through baking, and so through every sum and comparison of what was baked."""
    marker_maker.add(raw_document, 1, [marker_maker.evaluate(1, 4, "Map nn2"), marker_maker.evaluate(4, 9, "Join nn3")])
    document = profile_versions.rewrite(raw_document, version)
    path, out = profile_maker.save(document, tmp_path / "p.json.gz"), tmp_path / "out.json.gz"
    profiles.bake(path, sidecar, out, label=label)
    baked = json.loads(gzip.decompress(out.read_bytes()))
    assert [thread["markers"] for thread in baked["threads"]] == [thread["markers"] for thread in document["threads"]]
    before, after = (profiles.read(each).threads[1].load_markers() for each in (path, out))
    assert (after.text, after.start_ms.tolist()) == (before.text, before.start_ms.tolist())
    assert len(after.text) == 2
