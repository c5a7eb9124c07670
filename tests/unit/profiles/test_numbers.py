"""Numbers in a file are what JSON allows, in every column and in every version."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from samply_operator import profiles
from samply_operator.errors import ProfileError
from support import profile_maker, profile_versions
from support.profile_maker import Sample

SAMPLES = [[Sample(("main", "run"), cpu_us=900)] * 7 + [Sample(("main",), weight=3, cpu_us=1100)] * 3]


def respell(value: Any, spell: Callable[[int], object]) -> Any:
    if isinstance(value, dict):
        return {key: respell(inner, spell) for key, inner in value.items()}
    if isinstance(value, list):
        return [respell(inner, spell) for inner in value]
    return spell(value) if isinstance(value, int) and not isinstance(value, bool) else value


def read(document: Any, tmp_path: Path, *, exponents: bool = False) -> profiles.Profile:
    path = tmp_path / "p.json"
    text = json.dumps(document)
    path.write_text(text.replace(".0,", "E+0,").replace(".0]", "e0]") if exponents else text)
    return profiles.read(path)


@pytest.mark.parametrize("version", [49, 55, 57, 60, 66, 70, 71, 75])
@pytest.mark.parametrize("exponents", [False, True])
def test_whole_numbers_may_be_spelt_as_others(version: int, exponents: bool, tmp_path: Path) -> None:
    document = profile_versions.rewrite(profile_maker.build(SAMPLES), version)
    expected = profiles.top(read(document, tmp_path))
    found = profiles.top(read(respell(document, float), tmp_path, exponents=exponents))
    assert found == expected
    assert found.all_threads.weight == 16


def test_cpu_times_may_be_fractions(tmp_path: Path) -> None:
    document = profile_maker.build([[Sample(("a",)), Sample(("b",))]])
    document["threads"][0]["samples"]["threadCPUDelta"] = [1000.5, 499.5]
    top = profiles.top(read(document, tmp_path)).all_threads
    assert top.cpu_ms == 1.5
    assert {cost.name: cost.self_cpu_ms for cost in top.by_self} == {"a": 1.0005, "b": 0.4995}
    assert profiles.facts(read(document, tmp_path)).cpu_ms == 1.5


@pytest.mark.parametrize(
    ("table", "column", "values"),
    [
        ("samples", "stack", [0.5, 1]),
        ("stackTable", "frame", [0, 0.25]),
        ("stackTable", "prefix", [None, 0.5]),
        ("frameTable", "func", [0.1, 1]),
        ("funcTable", "name", [0, 1e-9]),
        ("samples", "stack", [1e400, 0]),
    ],
)
def test_what_points_at_a_row_is_whole(table: str, column: str, values: list[object], tmp_path: Path) -> None:
    document = profile_maker.build([[Sample(("main", "run")), Sample(("main",))]])
    document["threads"][0][table][column] = values
    with pytest.raises(ProfileError):
        profiles.top(read(document, tmp_path))


def test_invalid_json_numbers_are_reported(tmp_path: Path) -> None:
    """Python writes NaN and Infinity, which other parsers refuse."""
    document = profile_maker.build([[Sample(("a",))]])
    document["threads"][0]["samples"]["threadCPUDelta"] = [float("nan")]
    with pytest.raises(ProfileError, match="not JSON"):
        profiles.top(read(document, tmp_path))
