"""Names in a profile are untrusted text: every output remains valid, whatever they contain.

Functions, threads, processes, libraries, files and the title all carry the same hostile text here.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from samply_operator import profiles
from samply_operator.cli import profile_commands
from samply_operator.profiles.analysis import comparing, merging
from samply_operator.profiles.output import flamegraph, folded, pprof, speedscope, text
from support import pprof_reader, profile_maker
from support.profile_maker import Sample

NAMES = {
    "terminal": "\x1b]0;owned\x07\x1b[2J\x9b31m",
    "markup": "</title></text><script>alert(1)</script><!--<![CDATA[",
    "end of CDATA": "]]></script><svg onload=alert(1)>",
    "attribute": '" onload="alert(1)" x=\'',
    "lines": "a\nb 99\r\nc;d\u2028e",
    "direction": "\u202egnp.\u2066x\u2069",
    "nothing": "",
    "zero": "a\x00b",
    "long": "x" * 100_000,
    "json": '"}],"shared":{"frames":[]}}',
    "path": "../../../etc/passwd",
    "format": "%s%n{0}{{}}",
    "surrogates": "\ud800x\udfff",
}
SVG = "{http://www.w3.org/2000/svg}"
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def make(name: str, tmp_path: Path) -> profiles.Profile:
    document: dict[str, Any] = profile_maker.build([[Sample((name, "inner")), Sample((name,))]])
    document["meta"]["product"] = name
    document["libs"][0] |= {"name": name, "path": name, "debugName": name, "codeId": name}
    thread = document["threads"][0]
    thread |= {"name": name, "processName": name, "tid": name}
    thread["stringArray"].append(name)
    thread["funcTable"]["fileName"] = [len(thread["stringArray"]) - 1] * thread["funcTable"]["length"]
    # As a file has it: halves of surrogate pairs are escapes there.
    path = tmp_path / "p.json.gz"
    path.write_bytes(gzip.compress(json.dumps(document, ensure_ascii=True).encode()))
    return profiles.read(path)


@pytest.fixture(params=NAMES.values(), ids=NAMES.keys())
def profile(request: pytest.FixtureRequest, tmp_path: Path) -> profiles.Profile:
    return make(request.param, tmp_path)


def test_halves_of_surrogate_pairs_are_shown_as_what_cannot_be_shown(tmp_path: Path) -> None:
    """JSON can write them, and JavaScript and Python do."""
    profile = make("\ud800x\udfff", tmp_path)
    assert [cost.name for cost in profiles.top(profile).all_threads.by_self] == ["inner", "\ufffdx\ufffd"]


def join(pieces: Iterable[bytes]) -> bytes:
    return b"".join(pieces)


TABLES: dict[str, Callable[[profiles.Profile], str]] = {
    "top": lambda profile: text.render_summary(profiles.top(profile), per_thread=True),
    "merge": lambda profile: text.render_merged(merging.merge([profile])),
    "diff": lambda profile: text.render_comparison(comparing.compare(profile, profile)),
}


@pytest.mark.parametrize("table", TABLES)
def test_a_table_has_rows_and_no_control_characters(table: str, profile: profiles.Profile) -> None:
    """No name adds a row, or fills the screen."""
    shown = TABLES[table](profile)
    assert not CONTROL.search(shown)
    assert len(shown.splitlines()) < 40
    assert max(map(len, shown.splitlines())) < 600


def test_check_says_one_line_and_no_control_characters(
    profile: profiles.Profile, capfd: pytest.CaptureFixture[str]
) -> None:
    assert profile_commands.main(["check", str(profile.path)]) == 0
    assert not CONTROL.search(capfd.readouterr().out)


@pytest.mark.parametrize("kind", ["one", "diff"])
def test_a_flame_graph_is_xml_with_one_script(kind: str, profile: profiles.Profile) -> None:
    svg = join(flamegraph.convert(profile) if kind == "one" else flamegraph.compare(profile, profile))
    root = ElementTree.fromstring(svg)
    assert [each.tag for each in root.iter() if each.tag.endswith("script")] == [f"{SVG}script"]
    assert not [key for each in root.iter() for key in each.attrib if key.startswith("on")]
    drawn = {each.tag.removeprefix(SVG) for each in root.iter()}
    assert drawn == {"svg", "title", "style", "script", "rect", "text", "g", "foreignObject",
                     "{http://www.w3.org/1999/xhtml}input"}  # fmt: skip
    assert not any(CONTROL.search(each.text or "") for each in root.iter(f"{SVG}title"))
    assert len(svg) < 60_000


def test_folded_stacks_are_a_line_each(profile: profiles.Profile) -> None:
    """Whose frames are as many as they were."""
    lines = join(folded.convert(profile)).decode().split("\n")
    assert len(lines) == 3
    assert lines[-1] == ""
    assert sorted(line.count(";") for line in lines[:-1]) == [2, 3]
    assert all(re.search(r" 1$", line) for line in lines[:-1])


def test_speedscope_is_json_with_the_name_in_it(profile: profiles.Profile) -> None:
    document = json.loads(join(speedscope.convert(profile)))
    names = [frame["name"] for frame in document["shared"]["frames"]]
    assert sorted(names) == sorted([profile.meta.product, "inner"])


def test_pprof_has_the_name_as_it_is(profile: profiles.Profile) -> None:
    parsed = pprof_reader.parse(gzip.decompress(join(pprof.convert(profile))))
    assert sorted(stack for stack, _ in parsed.samples) == sorted(
        [(profile.meta.product,), (profile.meta.product, "inner")]
    )
