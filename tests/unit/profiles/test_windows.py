"""Samples are counted in a window on the node's clock, which is that of samply's times."""

from __future__ import annotations

from pathlib import Path

import pytest

from samply_operator import profiles
from samply_operator.profiles.analysis import fact_sheet
from support import profile_maker, profile_versions
from support.profile_maker import Document, Sample

SECOND = 1000.0


def make(start_ms: float = 0.0) -> Document:
    """The target, number 7, runs from 100 s on for 100 ms, a sample each; its child for the second half of that."""
    document = profile_maker.build([[Sample(("a",))] * 100, [Sample(("b",))] * 50])
    for thread, pid, begin in zip(document["threads"], ("7", "8"), (100_000.0, 100_050.0), strict=True):
        thread["pid"] = pid
        thread["samples"]["timeDeltas"][0] = begin - start_ms
    document["meta"]["startTimeAsClockMonotonicNanosecondsSinceBoot"] = start_ms * 1e6
    return document


def count(document: Document, window: profiles.TimeRange | None, tmp_path: Path) -> dict[str, int]:
    profile = profiles.read(profile_maker.save(document, tmp_path / "p.json.gz"))
    facts = fact_sheet.gather(profile, window)
    assert dict(facts.samples_by_pid) == {"7": 100, "8": 50}
    assert facts.duration_ms == 99.0
    return dict(facts.within_by_pid)


@pytest.mark.parametrize("version", [49, 55, 75])
@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (99.0, 101.0, {"7": 100, "8": 50}),
        (100.02, 100.07, {"7": 50, "8": 20}),
        (100.0, 100.04, {"7": 40}),
        (0.0, 99.0, {}),
        (500.0, 510.0, {}),
    ],
)
def test_samples_in_the_window(
    version: int, start: float, end: float, expected: dict[str, int], tmp_path: Path
) -> None:
    window = profiles.TimeRange(start * SECOND, end * SECOND)
    assert count(profile_versions.rewrite(make(), version), window, tmp_path) == expected


def test_a_file_that_counts_from_its_own_start_says_when_that_was(tmp_path: Path) -> None:
    window = profiles.TimeRange(100.02 * SECOND, 100.07 * SECOND)
    assert count(make(start_ms=90_000.0), window, tmp_path) == {"7": 50, "8": 20}


def test_samples_without_a_stack_do_not_count(tmp_path: Path) -> None:
    document = make()
    document["threads"][1]["samples"]["stack"][:10] = [None] * 10
    profile = profiles.read(profile_maker.save(document, tmp_path / "p.json.gz"))
    facts = fact_sheet.gather(profile, profiles.TimeRange(0, 1e9))
    assert dict(facts.within_by_pid) == dict(facts.samples_by_pid) == {"7": 100, "8": 40}


def test_without_a_window_none_is_counted(tmp_path: Path) -> None:
    assert count(make(), None, tmp_path) == {}


def test_baking_counts_in_it_too(tmp_path: Path) -> None:
    path, out = profile_maker.save(make(), tmp_path / "p.json.gz"), tmp_path / "out.json.gz"
    window = profiles.TimeRange(100.02 * SECOND, 100.07 * SECOND)
    assert dict(profiles.bake(path, None, out, label=profiles.Label("x"), window=window).facts.within_by_pid) == {
        "7": 50,
        "8": 20,
    }
