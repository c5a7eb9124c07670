"""Which earlier profile is the baseline, when a profile has regressed, and what the status says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from samply_operator.model.comparison import Baseline, Change, ComparisonSpec, ComparisonStatus, Kind
from samply_operator.model.manifest import Manifest, Quality, TriggeredBy
from samply_operator.model.profile import Spec
from samply_operator.rules import times
from samply_operator.rules.storage import comparison
from samply_operator.rules.storage.comparison import Compared, NotCompared
from samply_operator.settings import Api, Console, Links
from support.samples import NOW, UID, make_manifest, make_profile

HOUR = 3600.0
T1 = TriggeredBy("t-1")
OWN = make_manifest(program_build="B2", trigger=T1, pipeline_id="id-a")


def earlier(name: str, hours: float, **changes: Any) -> Manifest:
    """That began so many hours before OWN, of the same trigger and build."""
    began = NOW - HOUR * hours
    at = {"started_at": times.format_time(began), "finished_at": times.format_time(began + 31)}
    fields = {"program_build": "B2", "trigger": T1, "pipeline_id": "id-a", "quality": Quality(samples=10_000)}
    return make_manifest(id=name, name=name, **{**at, **fields, **changes})


OTHERS = [
    earlier("failed", 0.1, outcome="Failed"),
    earlier("no file", 0.1, file=None),
    earlier("other namespace", 0.1, namespace="test"),
    earlier("other ordinal", 0.1, ordinal=1),
    earlier("other pipeline", 0.1, pipeline="b", pipeline_id=""),
    earlier("successor of the same name", 0.1, pipeline_id="id-b"),
    earlier("newer", -1),
]


@pytest.mark.parametrize(
    ("wanted", "stored", "expected"),
    [
        ("Last", [earlier("a", 2), earlier("b", 1)], "b"),
        ("Last", [earlier("a", 2), earlier("of another", 1, trigger=TriggeredBy("t-2"))], "a"),
        ("Last", [earlier("a", 2), earlier("of nobody", 1, trigger=None)], "a"),
        ("Last", [earlier("renamed", 1, pipeline="old")], "renamed"),
        ("Last", [earlier("without id", 1, pipeline_id="")], "without id"),
        ("Last", [earlier("clock set back", -5, sequence=1)], "clock set back"),
        ("Last", [earlier("a", 2), earlier("idle", 1, quality=Quality(samples=0))], "a"),
        ("Last", [], "no earlier profile of SamplyTrigger t-1"),
        ("SameHourYesterday", [earlier("a", 23.6), earlier("b", 24.2), earlier("c", 23.7)], "b"),
        ("SameHourYesterday", [earlier("of another", 24, trigger=None)], "of another"),
        ("SameHourYesterday", [earlier("later", 23.4), earlier("sooner", 24.6)], "that started around 2027-01-14"),
        ("SameHourYesterday", [earlier("odd", 24, started_at="", finished_at="soon")], "that started around"),
        ("PreviousVersion", [earlier("a", 3, program_build="B0"), earlier("b", 2, program_build="B1")], "b"),
        ("PreviousVersion", [earlier("unknown", 1, program_build=""), earlier("b", 2, program_build="B1")], "b"),
        ("PreviousVersion", [earlier("of another", 1, program_build="B1", trigger=None)], "of another"),
        ("PreviousVersion", [earlier("same", 1)], "no profile of another build than B2"),
    ],
)  # fmt: skip
def test_the_baseline_is(wanted: Baseline, stored: list[Manifest], expected: str) -> None:
    found = comparison.choose_baseline(wanted, OWN, [*OTHERS, OWN, *stored])
    if isinstance(found, NotCompared):
        assert found.reason == "NoBaseline"
        assert expected in found.message
    else:
        assert found.name == expected


def test_a_program_without_a_build_id_has_no_version() -> None:
    own = make_manifest(program_build="")
    found = comparison.choose_baseline("PreviousVersion", own, [earlier("a", 1)])
    assert isinstance(found, NotCompared)
    assert "no build id" in found.message


def test_a_profile_of_nobody_is_compared_with_the_last_of_nobody() -> None:
    own = make_manifest()
    found = comparison.choose_baseline("Last", own, [earlier("a", 1), earlier("b", 2, trigger=None)])
    assert isinstance(found, Manifest)
    assert found.name == "b"


WANTED = Spec("a", comparison=ComparisonSpec("Last"))
STORED = {"phase": "Succeeded", "profile": {"id": UID}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"spec": Spec("a")}, False),
        ({"spec": Spec("a", comparison=ComparisonSpec("None"))}, False),
        ({"is_deleted": True}, False),
        ({"status": {"phase": "Failed", "profile": {"id": UID}}}, False),
        ({"status": {"phase": "Collecting"}}, False),
        ({"status": {"phase": "Succeeded"}}, False),
        ({"status": STORED | {"profile": {"id": UID, "removedAt": "2027-01-15T09:00:00Z"}}}, False),
        ({"status": STORED | {"comparison": {"reason": "NoBaseline"}}}, False),
    ],
)
def test_it_is_compared_once_when_it_is_stored(changes: dict[str, Any], expected: bool) -> None:
    assert comparison.is_due(make_profile(**{"spec": WANTED, "status": STORED} | changes)) is expected


def found(changes: Mapping[Kind, Sequence[tuple[str, float, float]]], samples: int | None = 10_000) -> Compared:
    baseline = earlier("base", 1, quality=Quality(samples=samples))
    listed: Mapping[Kind, list[Change]] = {
        kind: [Change(name, before, after, after - before) for name, before, after in each]
        for kind, each in changes.items()
    }
    return Compared(baseline, "cpu", listed)


@pytest.mark.parametrize(
    ("limit", "samples", "changes", "expected"),
    [
        (None, 10_000, {"function": [("f", 10, 90)]}, None),
        (5, 10_000, {"function": [("f", 10, 16)]}, "f"),
        (5, 10_000, {"function": [("f", 10, 15)]}, None),
        (5, 10_000, {"function": [("less", 30, 10), ("f", 10, 14)]}, None),
        (5, 10_000, {"function": [("f", 10, 20)], "operator": [("o", 10, 40)]}, "o"),
        (5, 10_000, {"function": [("f", 0, 20)], "group": [("g", 0, 6)]}, "f"),
        (5, 30, {"function": [("f", 10, 20)]}, None),
        (5, 30, {"function": [("f", 10, 90)]}, "f"),
        (5, None, {"function": [("f", 10, 20)]}, "f"),
        (0, 10_000, {"function": [("f", 10, 10)]}, None),
        (5, 10_000, {}, None),
    ],
)
def test_a_share_that_rises_beyond_limit_and_chance_is_a_regression(
    limit: float | None, samples: int | None, changes: Mapping[Kind, Any], expected: str | None
) -> None:
    own = make_manifest(quality=Quality(samples=samples))
    regression = comparison.find_regression(ComparisonSpec("Last", limit), own, found(changes, samples))
    assert (regression[1].name if regression else None) == expected


CHANGES: Mapping[Kind, list[tuple[str, float, float]]] = {
    "function": [("sort", 10, 40), ("hash", 60, 40), ("x", 1, 0), ("cut", 1, 1)],
    "operator": [("Join nn3", 10, 45)],
}


def describe(limit: float | None = None, api: Api = Api()) -> ComparisonStatus:  # noqa: B008 - it is frozen
    own = make_manifest(quality=Quality(samples=10_000))
    return comparison.describe(ComparisonSpec("Last", limit), own, found(CHANGES), api)


def test_the_status_has_the_largest_changes_of_each_kind() -> None:
    status = describe()
    assert (status.reason, status.change, status.measure) == ("Compared", "+35.0 Join nn3", "cpu")
    assert [each.name for each in status.functions] == ["sort", "hash", "x"]
    assert [each.points for each in status.functions] == [30, -20, -1]
    assert [each.name for each in status.operators] == ["Join nn3"]
    assert status.groups == ()
    assert status.message == (
        "The operator Join nn3 has 45.0 %, +35.0 points against 10.0 % in base of 2027-01-15T07:00:31.250Z."
    )
    assert status.path == f"/v0/pipelines/a/diff?before=base&after={UID}"
    assert status.url == f"/console/compare?before=a%2Fbase&after=a%2F{UID}"


def test_the_links_have_the_public_address() -> None:
    api = Api(base_path="/profiles", links=Links(public_url="https://example.com"), console=Console(enabled=False))
    status = describe(api=api)
    assert status.path.startswith("https://example.com/profiles/v0/pipelines/a/diff?")
    assert status.url == ""


def test_a_regression_is_what_the_status_is_about() -> None:
    status = describe(5)
    assert (status.reason, status.change) == ("Regressed", "+35.0 Join nn3")
    rendered = comparison.render({"conditions": []}, status, NOW)
    (condition,) = rendered["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Compared", "True", "Regressed")


def test_why_it_was_not_compared_is_in_the_status() -> None:
    missing = NotCompared("BaselineUnreadable", "it is\x1b[31m broken", earlier("a", 1))
    status = comparison.describe(ComparisonSpec("Last"), OWN, missing, Api())
    rendered = comparison.render({}, status, NOW)
    assert rendered["comparison"] == {
        "reason": "BaselineUnreadable",
        "message": "it is[31m broken",
        "baseline": {"id": "a", "name": "a", "finishedAt": "2027-01-15T07:00:31.250Z"},
    }
    (condition,) = rendered["conditions"]
    assert (condition["status"], condition["reason"]) == ("False", "BaselineUnreadable")


def test_the_status_stays_small_whatever_is_in_the_profiles() -> None:
    names: Mapping[Kind, Any] = {kind: [("n" * 100_000, 0, 90)] * 30 for kind in ("function", "group", "operator")}
    whole = msgspec.structs.replace(OWN, quality=Quality(samples=10))
    base = found(names)
    noted = Compared(base.baseline, "cpu", base.changes, ["x" * 10_000] * 100)
    status = comparison.describe(ComparisonSpec("Last", 5), whole, noted, Api())
    assert len(msgspec.json.encode(status)) < 6000
