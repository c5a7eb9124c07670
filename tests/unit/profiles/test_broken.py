"""Any damage to a file is reported by an error, in bounded memory and time."""

from __future__ import annotations

import contextlib
import gzip
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies

from samply_operator import profiles
from samply_operator.errors import ProfileError
from samply_operator.profiles.errors import BrokenProfile, ProfileTooLarge, UnreadableProfile, UnreadableSymbols
from samply_operator.profiles.format import reading
from samply_operator.profiles.output import folded, pprof, speedscope
from samply_operator.profiles.symbols import sidecar
from support import profile_maker, profile_versions
from support.profile_maker import Sample

Document = dict[str, Any]


def good() -> Document:
    return profile_maker.build([[Sample(("main", "run")), Sample(("main",))]])


def use(path: Path) -> None:
    """Everything that walks a profile."""
    profile = profiles.read(path)
    profiles.facts(profile)
    profiles.top(profile)
    for convert in (folded.convert, pprof.convert, speedscope.convert):
        for _ in convert(profile):
            pass


def test_the_profile_that_the_breakages_start_from_is_good(tmp_path: Path) -> None:
    use(profile_maker.save(good(), tmp_path / "p.json.gz"))


@pytest.mark.parametrize("cut", [1, 9, 100, -1, -9])
def test_a_truncated_gzip_is_unreadable(cut: int, raw: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.json.gz"
    path.write_bytes(raw.read_bytes()[:cut])
    with pytest.raises(UnreadableProfile):
        profiles.read(path)


def test_a_flipped_bit_is_found_by_the_checksum(raw: Path, tmp_path: Path) -> None:
    packed = bytearray(raw.read_bytes())
    packed[-6] ^= 1
    path = tmp_path / "p.json.gz"
    path.write_bytes(packed)
    with pytest.raises(UnreadableProfile, match=r"broken gzip: its checksum .* copy it again") as caught:
        profiles.read(path)
    assert "cut off" not in str(caught.value)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"meta":{}}', b'{"meta":5,"threads":[]}', b"[" * 100_000]
)
def test_an_invalid_profile_is_reported_as_such(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(text)
    with pytest.raises((UnreadableProfile, BrokenProfile)):
        profiles.read(path)


def test_a_missing_file_and_a_folder_are_unreadable(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(UnreadableProfile):
            profiles.read(path)


def test_a_gzip_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "p.json.gz"
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    path.write_bytes(b"".join(packer.compress(zeros) for _ in range(64)) + packer.flush())
    assert path.stat().st_size < 100_000
    with pytest.raises(ProfileTooLarge) as caught:
        profiles.read(path, max_raw_bytes=8 << 20)
    assert caught.value.details == {"limit_bytes": 8 << 20}


def test_a_plain_file_over_the_limit_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(b" " * 5000)
    with pytest.raises(ProfileTooLarge):
        profiles.read(path, max_raw_bytes=4999)


def test_several_gzip_members_are_one_file(raw: Path, tmp_path: Path) -> None:
    text = gzip.decompress(raw.read_bytes())
    path = tmp_path / "p.json.gz"
    path.write_bytes(gzip.compress(text[:1000]) + gzip.compress(text[1000:]))
    assert profiles.facts(profiles.read(path)) == profiles.facts(profiles.read(raw))


def breakage(table: str, column: str, value: object) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        document["threads"][0][table][column] = value

    return change


def removal(table: str, column: str | None = None) -> Callable[[Document], None]:
    def change(document: Document) -> None:
        thread = document["threads"][0]
        if column is None:
            del thread[table]
        else:
            del thread[table][column]

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(removal("samples"), id="no samples"),
        pytest.param(removal("stackTable"), id="no stack table"),
        pytest.param(removal("resourceTable"), id="no resource table"),
        pytest.param(removal("stringArray"), id="no strings"),
        pytest.param(removal("samples", "stack"), id="no stacks of samples"),
        pytest.param(removal("stackTable", "prefix"), id="no prefixes"),
        pytest.param(removal("frameTable", "func"), id="no functions of frames"),
        pytest.param(removal("funcTable", "name"), id="no names of functions"),
        pytest.param(breakage("samples", "stack", [0, 7]), id="sample points past the stacks"),
        pytest.param(breakage("samples", "stack", [0, -2]), id="sample points before the stacks"),
        pytest.param(breakage("samples", "stack", [0]), id="fewer stacks than samples"),
        pytest.param(breakage("samples", "stack", [0, "x"]), id="text for a number"),
        pytest.param(breakage("samples", "stack", [0, [1]]), id="a list for a number"),
        pytest.param(breakage("samples", "stack", [0, 1e99]), id="a huge number"),
        pytest.param(breakage("samples", "weight", [1]), id="fewer weights than samples"),
        pytest.param(breakage("samples", "threadCPUDelta", [1, 2, 3]), id="more CPU times than samples"),
        pytest.param(breakage("samples", "length", 10**12), id="a huge length"),
        pytest.param(breakage("samples", "length", -1), id="a negative length"),
        pytest.param(breakage("stackTable", "length", 10**12), id="a huge stack table"),
        pytest.param(breakage("stackTable", "prefix", [None, 1]), id="a stack is its own parent"),
        pytest.param(breakage("stackTable", "prefix", [1, 0]), id="a cycle of parents"),
        pytest.param(breakage("stackTable", "prefix", [None, -5]), id="a parent before the table"),
        pytest.param(breakage("stackTable", "frame", [0, 2]), id="a stack points past the frames"),
        pytest.param(breakage("stackTable", "frame", [0, 2**40]), id="an index of more than 32 bits"),
        pytest.param(breakage("frameTable", "func", [0, -1]), id="a frame without a function"),
        pytest.param(breakage("funcTable", "name", [0, 99]), id="a name past the strings"),
        pytest.param(breakage("funcTable", "resource", [0, 9]), id="a resource past the table"),
        pytest.param(breakage("resourceTable", "lib", [3]), id="a library past the list"),
        pytest.param(breakage("funcTable", "fileName", [0, 99]), id="a file past the strings"),
        pytest.param(breakage("frameTable", "length", "two"), id="text for a length"),
    ],
)
def test_a_broken_table_is_named(change: Callable[[Document], None], tmp_path: Path) -> None:
    document = good()
    change(document)
    with pytest.raises(BrokenProfile) as caught:
        use(profile_maker.save(document, tmp_path / "p.json.gz"))
    assert caught.value.remedy
    assert caught.value.details["where"]


@pytest.mark.parametrize("offset", [-1, 2, 10**6])
def test_a_prefix_offset_that_leads_out_of_the_table_is_broken(offset: int, tmp_path: Path) -> None:
    document = profile_versions.rewrite(good(), 66)
    document["shared"]["stackTable"]["prefixOffset"] = [0, offset]
    with pytest.raises(BrokenProfile, match="prefixOffset"):
        use(profile_maker.save(document, tmp_path / "p.json.gz"))


def test_stacks_as_deep_as_samply_never_writes_are_read_without_recursion(tmp_path: Path) -> None:
    path = tuple(f"f{depth % 7}" for depth in range(5000))
    use(profile_maker.save(profile_maker.build([[Sample(path)]]), tmp_path / "p.json.gz"))


MUTATIONS = strategies.lists(
    strategies.tuples(strategies.integers(0, 10**6), strategies.binary(min_size=0, max_size=4)), min_size=1, max_size=4
)


@given(mutations=MUTATIONS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_read_or_refused_but_never_crashes(
    mutations: list[tuple[int, bytes]], tmp_path: Path
) -> None:
    text = bytearray(json.dumps(good()).encode())
    for position, replacement in mutations:
        start = position % len(text)
        text[start : start + len(replacement) + 1] = replacement
    path = tmp_path / "p.json"
    path.write_bytes(text)
    with contextlib.suppress(ProfileError):
        use(path)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b'{"string_table":[],"data":[{"debug_name":"demo"}]}',
        b'{"string_table":[],"data":[{"debug_name":"d","debug_id":"A0","symbol_table":[],"known_addresses":[[1,0]]}]}',
        b'{"string_table":[],"data":[{"debug_name":"d","debug_id":"A0","symbol_table":[{"rva":1,"symbol":0}],'
        b'"known_addresses":[[1,0]]}]}',
        b'{"string_table":["x"],"data":[{"debug_name":"d","debug_id":"A0","symbol_table":[{"rva":1,"symbol":-1}],'
        b'"known_addresses":[[1,0]]}]}',
        b'{"string_table":["x"],"data":[{"debug_name":"d","debug_id":"A0","symbol_table":[{"rva":1,"symbol":0}],'
        b'"known_addresses":[[1,-1]]}]}',
    ],
)
def test_a_broken_sidecar_is_told(text: bytes) -> None:
    libs = [reading.Lib("d", "/d", "d", "A0", None)]
    with pytest.raises(UnreadableSymbols):
        sidecar.parse(text, libs)
