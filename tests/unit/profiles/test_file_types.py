"""The type of a file is recognized by its first bytes: wrappers are removed, and other types are reported by name."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from samply_operator import profiles
from samply_operator.cli import profile_commands
from samply_operator.errors import ProfileError
from samply_operator.profiles.output import pprof, speedscope
from support import profile_maker, slab_maker
from support.profile_maker import Sample

SAMPLES = [[Sample(("main", "run"))] * 7 + [Sample(("main",))] * 3]


def text(**changes: Any) -> str:
    return json.dumps({**profile_maker.build(SAMPLES), **changes})


def save(data: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(data)
    return path


WRAPPED: dict[str, Callable[[], bytes]] = {
    "plain": lambda: text().encode(),
    "gzip": lambda: gzip.compress(text().encode()),
    "UTF-8 with a byte order mark": lambda: text().encode("utf-8-sig"),
    "the same in gzip": lambda: gzip.compress(text().encode("utf-8-sig")),
    "UTF-16 of Windows": lambda: text().encode("utf-16"),
    "UTF-16, big end first": lambda: b"\xfe\xff" + text().encode("utf-16-be"),
    "UTF-16 without a mark": lambda: text().encode("utf-16-le"),
    "UTF-32": lambda: text().encode("utf-32"),
    "gzip in gzip": lambda: gzip.compress(gzip.compress(text().encode())),
    "gzip in gzip in gzip": lambda: gzip.compress(gzip.compress(gzip.compress(text().encode()))),
    "zeros behind gzip": lambda: gzip.compress(text().encode()) + bytes(512),
    "many zeros behind gzip": lambda: gzip.compress(text().encode()) + bytes(200_000),
    "zeros between two members": lambda: (
        gzip.compress(text().encode()[:500]) + bytes(9) + gzip.compress(text().encode()[500:]) + bytes(7)
    ),
    "space around": lambda: b"\r\n\t " + text().encode() + b"\n\n",
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_profile_is_read_whatever_it_is_wrapped_in(name: str, tmp_path: Path) -> None:
    profile = profiles.read(save(WRAPPED[name](), tmp_path))
    assert profiles.facts(profile).samples == 10


def of(converter: Any, tmp_path: Path) -> bytes:
    return b"".join(converter(profiles.read(save(text().encode(), tmp_path))))


def damage(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 0x10
    return bytes(changed)


FOREIGN: dict[str, tuple[Callable[[Path], bytes], str, str]] = {
    "empty": (lambda _: b"", "is empty", "again"),
    "zeros": (lambda _: bytes(5000), "zero bytes", "again"),
    "a login page": (lambda _: b"\n <!DOCTYPE HTML>\n<html><body>Sign in</body>", "page (HTML)", "credentials"),
    "a login page in gzip": (lambda _: gzip.compress(b"<html><body>Sign in"), "page (HTML)", "credentials"),
    "an SVG": (lambda _: b'<?xml version="1.0"?><svg>', "cannot be read back", "from which it was made"),
    "zip": (lambda _: b"PK\x03\x04rest", "a zip archive", "unzip"),
    "xz": (lambda _: lzma.compress(text().encode()), "packed with xz", "xz -d"),
    "bzip2": (lambda _: bz2.compress(text().encode()), "packed with bzip2", "bzip2 -d"),
    "zstd": (lambda _: b"\x28\xb5\x2f\xfdrest", "packed with zstd", "zstd -d"),
    "lz4": (lambda _: b"\x04\x22\x4d\x18rest", "packed with lz4", "lz4 -d"),
    "zstd in gzip": (lambda _: gzip.compress(b"\x28\xb5\x2f\xfdrest"), "packed with zstd", "zstd -d"),
    "tar": (lambda _: b"name".ljust(257, b"\0") + b"ustar\0" + bytes(300), "a tar archive", "tar -xf"),
    "perf.data": (lambda _: b"PERFILE2" + bytes(90), "perf.data", "samply import"),
    "perf script": (
        lambda _: b"demo  4711 [001]  100.123456:     250000 cpu-clock:\n\t  55d main (/demo)\n",
        "perf script",
        "profiler.firefox.com",
    ),
    "JsonSlabs of another version": (lambda _: slab_maker.make({}, version=2), "JsonSlabs of version 2", "again"),
    "JsonSlabs that is cut": (lambda _: slab_maker.make({"a": [1, 2]})[:60], "middle of a slab", "again"),
    "JsonSlabs that is hardly there": (lambda _: b"\xdc\xdfJSLB\x01\x00", "middle of its header", "again"),
    "JsonSlabs without a slab": (lambda _: slab_maker.pack([(10, b'{"a":{"$s":7}}')]), "no slab 7", "again"),
    "JsonSlabs in a ring": (lambda _: slab_maker.pack([(10, b'{"a":{"$s":0}}')]), "without an end", "again"),
    "JsonSlabs of numbers": (lambda _: slab_maker.pack([(4, bytes(8))]), "root that is not JSON", "again"),
    "JsonSlabs with half a number": (
        lambda _: slab_maker.pack([(10, b'{"a":{"$s":1}}'), (4, bytes(7))]),
        "middle of a number",
        "again",
    ),
    "JsonSlabs of a new type": (
        lambda _: slab_maker.pack([(10, b'{"a":{"$s":1}}'), (99, bytes(8))]),
        "unknown type 99",
        "again",
    ),
    "JsonSlabs with NaN": (
        lambda _: slab_maker.pack([(10, b'{"a":{"$s":1}}'), (7, b"\xff" * 8)]),
        "NaN or infinite",
        "again",
    ),
    "pprof": (lambda tmp_path: of(pprof.convert, tmp_path), "pprof", "go tool pprof"),
    "speedscope": (lambda tmp_path: of(speedscope.convert, tmp_path), "speedscope", "Open it with speedscope"),
    "folded": (lambda _: b"app;main;run 7\napp;main 3\n", "folded stacks", "flamegraph.pl"),
    "Chrome's trace": (lambda _: b'{"traceEvents":[{"ph":"X","ts":1}]}', "trace of Chrome", "perfetto"),
    "Chrome's trace as a list": (lambda _: b'[{"name":"a","ph":"B","ts":1}]', "trace of Chrome", "perfetto"),
    "V8": (lambda _: b'{"nodes":[],"startTime":1,"endTime":2,"samples":[]}', ".cpuprofile", "profiler.firefox.com"),
    "a sidecar": (lambda _: b'{"string_table":[],"data":[]}', "sidecar", "bake PROFILE --symbols"),
    "an error of a server": (lambda _: b'{"message":"no","error_code":"Forbidden"}', "a server answered", "message"),
    "Gecko": (lambda _: b'{"meta":{"version":30},"libs":[],"threads":[]}', "preprocessedProfileVersion", "firefox"),
    "a list": (lambda _: b"[1,2]", "a list of JSON", "Name the profile"),
    "null": (lambda _: b"null\n", "JSON, but a single value", "Name the profile"),
    "a number": (lambda _: b" -1.5e3", "JSON, but a single value", "Name the profile"),
    "a text of JSON": (lambda _: b'"Permission denied"', "JSON, but a single value", "Name the profile"),
    "text": (lambda _: b"Permission denied\n", "text, but not JSON", "Name the profile"),
    "a program": (lambda _: b"\x7fELF" + bytes(60), "ELF", "Name the profile"),
    "noise": (lambda _: bytes(range(128, 256)), "not JSON", "again"),
    "cut off": (lambda _: text().encode()[:900], "not JSON", "cut off"),
    "damaged": (lambda _: text().replace(":", ";", 20).encode(), "not JSON", "damaged"),
    "garbage behind gzip": (lambda _: gzip.compress(text().encode()) + b"garbage", "behind its gzip", "damaged"),
    "gzip that is cut": (lambda _: gzip.compress(text().encode())[:-9], "the middle of its gzip stream", "cut off"),
    "gzip with another checksum": (lambda _: damage(gzip.compress(text().encode()), -7), "its checksum", "damaged"),
    "gzip with another length": (lambda _: damage(gzip.compress(text().encode()), -2), "its checksum", "damaged"),
    "gzip with another method": (lambda _: damage(gzip.compress(text().encode()), 2), "no valid stream", "damaged"),
    "UTF-16 that is cut": (lambda _: text().encode("utf-16")[:-1], "broken UTF-16", "again"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_an_invalid_profile_is_reported_with_a_remedy(name: str, tmp_path: Path) -> None:
    make, what, cure = FOREIGN[name]
    with pytest.raises(ProfileError) as caught:
        profiles.read(save(make(tmp_path), tmp_path))
    assert what in caught.value.message
    assert cure in caught.value.remedy


def test_check_says_it_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert profile_commands.main(["check", str(save(b"<html>Sign in</html>", tmp_path))]) == 1
    assert "BAD: file is a page (HTML)" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("spelling", "shown"),
    [
        (rb"\ud800", "\ufffd"),
        (rb"a\udfffb", "a\ufffdb"),
        (rb"\ud83d\ude00", "\U0001f600"),
        (rb"\uD83D\uDE00\uD83D", "\U0001f600\ufffd"),
        (rb"\\ud800", "\\ud800"),
        (b"a\xffb", "a?b"),
        (b"\xed\xa0\x80", "???"),
    ],
)
def test_names_that_are_no_unicode_are_read(spelling: bytes, shown: str, tmp_path: Path) -> None:
    """Also where something else is escaped beside them."""
    data = json.dumps(profile_maker.build([[Sample(("main", "NAME"))]])).encode().replace(b"NAME", spelling)
    top = profiles.top(profiles.read(save(data, tmp_path))).all_threads
    assert [cost.name for cost in top.by_self if cost.self_weight] == [shown]


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, (1 << 20) + 2])
def test_text_that_is_no_unicode_is_found_in_big_files(size: int, tmp_path: Path) -> None:
    """Wherever pieces of it are cut."""
    data = json.dumps(profile_maker.build([[Sample(("NAME",))]]), ensure_ascii=False).encode()
    data = data.replace(b"NAME", "ä".encode() * (size // 2) + b"\xff" + "é".encode())
    (cost,) = profiles.top(profiles.read(save(data, tmp_path))).all_threads.by_self
    assert cost.name == "ä" * (size // 2) + "?é"
