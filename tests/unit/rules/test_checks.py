"""The conclusions from the facts of an installation; each failing check has a remedy."""

from __future__ import annotations

import pytest

from samply_operator.errors import FelderaRejected, FelderaUnavailable
from samply_operator.model.check import Check, Status
from samply_operator.rules.discovery.naming import Naming
from samply_operator.rules.discovery.unwatched import Unwatched
from samply_operator.rules.installation import checks

ID = "0198aaaa-1111-7222-8333-444455556666"
OURS = Unwatched("StatefulSet", "prod", f"pipeline-{ID}", "u1", "feldera.com/part-of=pipeline", is_annotated=True)
ITS_LIKE = Unwatched("StatefulSet", "prod", "x", "u2", "app=x", is_annotated=False)
SELECTORS = ("a=b",)

CASES = [
    pytest.param(checks.judge_rights([]), "Passed", "every permission", id="rights"),
    pytest.param(checks.judge_rights(["may not get pods in namespace a"]), "Failed", "may not get pods", id="a right"),
    pytest.param(checks.judge_rights([f"r{n}" for n in range(9)]), "Failed", "and 4 more", id="many rights"),
    pytest.param(checks.judge_selector(SELECTORS, 2, [], ["prod"]), "Passed", "2 pipelines found in prod", id="found"),
    pytest.param(checks.judge_selector(SELECTORS, 1, [], []), "Passed", "all namespaces", id="in all namespaces"),
    pytest.param(checks.judge_selector(SELECTORS, 0, [], ["prod"]), "Warning", "matches config.t", id="none at all"),
    pytest.param(checks.judge_selector(SELECTORS, 0, [ITS_LIKE], []), "Failed", "prod/x may be pipelines", id="missed"),
    pytest.param(checks.judge_selector(SELECTORS, 3, [OURS], []), "Failed", "Annotated, and not watched", id="waits"),
    pytest.param(checks.judge_names([], is_feldera_asked=False), "Passed", "has a name", id="nothing to name"),
    pytest.param(
        checks.judge_names([Naming(ID, "StatefulSet", ID)], is_feldera_asked=False), "Warning", ID, id="an id as name"
    ),
    pytest.param(
        checks.judge_names([Naming(ID, "StatefulSet", ID)], is_feldera_asked=True), "Warning", ID, id="still an id"
    ),
    pytest.param(
        checks.judge_names([Naming("a", "Label", ID, "b")], is_feldera_asked=True),
        "Warning",
        "a (in Feldera b)",
        id="a label contradicts",
    ),
    pytest.param(
        checks.judge_names([Naming("a", "Label", ID, "", ("..",))], is_feldera_asked=True),
        "Warning",
        "'..'",
        id="no name",
    ),
    pytest.param(checks.judge_kernel(1, "n"), "Passed", "is 1 on node n", id="kernel"),
    pytest.param(checks.judge_kernel(-1, ""), "Passed", "is -1", id="kernel that allows all"),
    pytest.param(checks.judge_kernel(2, "n"), "Warning", "is 2 on node n", id="kernel that refuses samply 0.13.1"),
    pytest.param(checks.judge_kernel(None, ""), "Unknown", "cannot be read", id="kernel unread"),
    pytest.param(checks.judge_pod_security("a", {}, is_ephemeral=True), "Passed", "no Pod Security", id="admits"),
    pytest.param(
        checks.judge_pod_security("a", {checks.ENFORCE: "baseline"}, is_ephemeral=True), "Failed", "baseline", id="base"
    ),
    pytest.param(
        checks.judge_pod_security("a", {checks.ENFORCE: "privileged"}, is_ephemeral=True), "Passed", "", id="privileged"
    ),
    pytest.param(checks.judge_helper_image("i", [], is_enabled=True), "Passed", "i", id="image"),
    pytest.param(checks.judge_helper_image("i", ["x"], is_enabled=False), "Passed", "off", id="no image needed"),
    pytest.param(
        checks.judge_helper_image("i", ["p (E)"], is_enabled=True), "Failed", "p (E)", id="image is waited for"
    ),
    pytest.param(checks.judge_volume(2**30, 1, ""), "Passed", "1024 MiB", id="volume"),
    pytest.param(checks.judge_volume(1, 2, ""), "Failed", "less than", id="full"),
    pytest.param(checks.judge_volume(None, 2, "read-only"), "Failed", "read-only", id="broken"),
    pytest.param(checks.judge_feldera("", 0, {}, {}), "Passed", "not used", id="no Feldera"),
    pytest.param(checks.judge_feldera("http://f", 3, {}, {}), "Passed", "3 pipelines", id="Feldera"),
    pytest.param(
        checks.judge_feldera("http://f", 3, {"acme": FelderaUnavailable("Away.", remedy="Wait.")}, {}),
        "Failed",
        "acme: Away.",
        id="Feldera away",
    ),
    pytest.param(
        checks.judge_feldera(
            "http://f", 3, {}, {"acme": FelderaRejected("1 of 4 cannot be read.", remedy="Rename it.")}
        ),
        "Warning",
        "acme: 1 of 4",
        id="a pipeline that cannot be read",
    ),
]


@pytest.mark.parametrize(("check", "status", "said"), CASES)
def test_a_check(check: Check, status: Status, said: str) -> None:
    assert (check.status, said in check.message) == (status, True), check
    assert (check.status == "Passed") or check.remedy, "it names its cure"


def test_the_selector_that_would_match_is_named_beside_those_that_are_there() -> None:
    found = checks.judge_selector(SELECTORS, 0, [OURS, OURS, ITS_LIKE], ["prod"])
    assert found.remedy.startswith('Set config.targets.podSelector to ["a=b", "feldera.com/part-of=pipeline", "app=x"]')


@pytest.mark.parametrize(
    ("statuses", "whole"),
    [
        ((), "Passed"),
        (("Passed", "Warning"), "Warning"),
        (("Unknown", "Warning"), "Unknown"),
        (("Passed", "Failed", "Unknown"), "Failed"),
    ],
)
def test_the_worst_check_is_the_wholes(statuses: tuple[Status, ...], whole: Status) -> None:
    report = checks.build_report([Check("Rights", status, "x") for status in statuses])
    assert (report.status, len(report.checks)) == (whole, len(statuses))
