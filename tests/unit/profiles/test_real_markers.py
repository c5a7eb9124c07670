"""The markers of a real circuit: Feldera's engine (crate dbsp 0.349, two workers), annotated by its own crate.

One recording was taken on a machine so busy that samply's samples are missing from it: here they are put where the
markers say that CPU time was used, so that what is tested is the join, on the engine's own nesting and interleaving.
The other one has samply's own samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from samply_operator import profiles
from samply_operator.profiles.analysis import breakdown
from samply_operator.profiles.analysis.breakdown import Breakdown
from samply_operator.profiles.attribution.choosing import Choice
from samply_operator.profiles.attribution.groups import UNMATCHED
from samply_operator.profiles.attribution.labels import By
from samply_operator.profiles.attribution.operators import Operators
from samply_operator.profiles.output import breakdown_text
from support import circuit_recording, profile_maker
from support.circuit_recording import put_samples, read_evaluations


@pytest.fixture
def document() -> dict[str, Any]:
    return circuit_recording.load()


def save(document: dict[str, Any], tmp_path: Path) -> profiles.Profile:
    return profiles.read(profile_maker.save(document, tmp_path / "p.json.gz"))


def test_every_marker_of_an_evaluation_is_read(document: dict[str, Any], tmp_path: Path) -> None:
    expected = [each for thread in document["threads"] for each in read_evaluations(document, thread)]
    attribution = Choice("operator").build(save(document, tmp_path))
    assert isinstance(attribution, Operators)
    facts = attribution.facts
    assert (facts.evaluations, facts.unparsed, facts.broken) == (len(expected), 0, 0)
    assert facts.nodes == len({node for _, _, node, _ in expected})
    assert facts.worker_threads == 2


def test_a_file_without_samples_has_what_the_markers_tell(document: dict[str, Any], tmp_path: Path) -> None:
    profile = save(document, tmp_path)
    attribution = Choice("operator").build(profile)
    assert attribution is not None
    sums = breakdown.break_down(profile, attribution, by="operator", limit=1000)
    assert sums.samples == 0
    told = {label.name: round(1000 * (label.marker_cpu_ms or 0)) for label in sums.labels}
    expected: dict[str, int] = {}
    for thread in document["threads"]:
        for _, _, node, cpu_us in read_evaluations(document, thread):
            expected[node] = expected.get(node, 0) + cpu_us
    assert told == expected
    assert sums.labels[0].name == max(expected, key=lambda node: expected[node])
    assert "no samples, so there are no percentages" in breakdown_text.render(sums)


def test_real_samples_and_markers_agree() -> None:
    """Of one recording: the kernel's samples against the engine's own clock, within 5 points for each operator above
    5 %."""
    profile = profiles.read(circuit_recording.SAMPLED_FILE)
    attribution = Choice("operator").build(profile)
    assert attribution is not None
    sums = breakdown.break_down(profile, attribution, by="operator", limit=1000)
    large = {label.name: label.difference_points for label in sums.labels if label.self_percent > 5}
    compared = {name: points for name, points in large.items() if points is not None}
    assert {name.split()[0] for name in compared} == {"JoinTrace", "ExchangeSender", "AggregateIncremental", "merge"}
    assert all(abs(points) < 5 for points in compared.values()), compared


def test_groups_and_operators_agree() -> None:
    """Of one recording: what the functions' names and paths tell against what the markers tell, within 2 points."""
    profile = profiles.read(circuit_recording.SAMPLED_FILE)

    def sum_up(by: By) -> Breakdown:
        attribution = Choice(by).build(profile)
        assert attribution is not None
        return breakdown.break_down(profile, attribution, by=by, limit=1000)

    groups = {label.name: label for label in sum_up("group").labels}
    for group, operator in (("join", "JoinTrace"), ("aggregate", "AggregateIncremental")):
        markers = sum(label.self_percent for label in sum_up("operator").labels if label.name.split()[0] == operator)
        assert groups[group].total_percent == pytest.approx(markers, abs=2)
    assert groups["allocation"].self_percent < 10
    assert groups[UNMATCHED].self_percent < 1


def test_samples_and_markers_agree(document: dict[str, Any], tmp_path: Path) -> None:
    """Within 5 points for each operator above 5 %."""
    for thread in document["threads"]:
        if thread["name"].startswith("dbsp-worker"):
            put_samples(document, thread)
    profile = save(document, tmp_path)
    attribution = Choice("operator").build(profile)
    assert attribution is not None
    sums = breakdown.break_down(profile, attribution, by="operator", limit=1000)
    large = [label for label in sums.labels if label.self_percent > 5]
    assert len(large) >= 3
    assert all(abs(label.difference_points or 0) < 5 for label in large)
    assert sums.outside_percent < 1
