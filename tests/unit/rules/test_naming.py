"""The name of a pipeline, its source, and which names are invalid."""

from __future__ import annotations

from typing import Any

import pytest

from samply_operator.model import names
from samply_operator.rules.discovery import naming
from samply_operator.rules.discovery.naming import Naming
from samply_operator.settings import Targets
from support.samples import make_pod, make_set

ID = "0198aaaa-1111-7222-8333-444455556666"
OWNER = f"pipeline-{ID}"
FELDERA = {ID: "orders"}
TEAM = Targets(name_label="team/pipe")
OURS = names.PIPELINE

POD, SET = "pod", "set"


@pytest.mark.parametrize(
    ("pod", "owner", "targets", "known", "name", "source"),
    [
        pytest.param({}, {}, Targets(), {}, ID, "StatefulSet", id="nothing but the set's name"),
        pytest.param({}, {}, Targets(), FELDERA, "orders", "Feldera", id="Feldera's name"),
        pytest.param({}, {}, Targets(), {ID[:-1] + "0": "x"}, ID, "StatefulSet", id="Feldera knows others only"),
        pytest.param({"labels": {OURS: "a"}}, {}, Targets(), FELDERA, "a", "Label", id="own label before Feldera"),
        pytest.param({"annotations": {OURS: "a"}}, {}, Targets(), FELDERA, "a", "Label", id="own annotation"),
        pytest.param({}, {"labels": {OURS: "a"}}, Targets(), FELDERA, "a", "Label", id="label on the set alone"),
        pytest.param({}, {"annotations": {OURS: "a"}}, Targets(), {}, "a", "Label", id="annotation on the set alone"),
        pytest.param(
            {"annotations": {OURS: "p"}}, {"labels": {OURS: "s"}}, Targets(), {}, "p", "Label", id="pod before set"
        ),
        pytest.param(
            {"labels": {"team/pipe": "c"}}, {"labels": {OURS: "s"}}, TEAM, {}, "s", "Label", id="own before configured"
        ),
        pytest.param({"labels": {"team/pipe": "c"}}, {}, TEAM, FELDERA, "c", "ConfiguredLabel", id="configured"),
        pytest.param({}, {"annotations": {"team/pipe": "c"}}, TEAM, {}, "c", "ConfiguredLabel", id="configured on set"),
        pytest.param({"labels": {"team/pipe": "c"}}, {}, Targets(), {}, ID, "StatefulSet", id="not configured"),
        pytest.param(
            {"labels": {OURS: ""}}, {}, Targets(), FELDERA, "orders", "Feldera", id="an empty label is ignored"
        ),
    ],
)
def test_the_name_of_a_pod_and_of_its_set_are_the_same(
    pod: dict[str, Any], owner: dict[str, Any], targets: Targets, known: dict[str, str], name: str, source: str
) -> None:
    """Whichever is looked at: else a pipeline would be split in two."""
    its_set = make_set(OWNER, **{f"template_{key}": value for key, value in pod.items()}, **owner)
    its_pod = make_pod(f"{OWNER}-0", **pod)
    for found in (naming.name_pod(its_pod, its_set, targets, known), naming.name_set(its_set, targets, known)):
        assert found is not None
        assert (found.name, found.source, found.pipeline_id) == (name, source, ID)


def test_a_pod_whose_set_is_not_known_is_named_by_itself() -> None:
    found = naming.name_pod(make_pod(f"{OWNER}-0"), None, Targets(), FELDERA)
    assert found == Naming("orders", "Feldera", ID, "orders")


def test_nothing_names_a_pod_without_owner() -> None:
    assert naming.name_pod(make_pod("x", owner=""), None, Targets(), {}) is None


def test_a_label_may_contradict_feldera() -> None:
    """The label takes precedence; the contradiction can be reported."""
    found = naming.name_pod(make_pod(f"{OWNER}-0", labels={OURS: "mine"}), None, Targets(), FELDERA)
    assert found == Naming("mine", "Label", ID, "orders")


@pytest.mark.parametrize(
    ("labels", "owner", "pipeline_id"),
    [
        ({}, OWNER, ID),
        ({names.FELDERA_ID: OWNER}, "anything", ID),
        ({names.FELDERA_ID: ID}, "anything", ID),
        ({names.FELDERA_ID: "nonsense"}, OWNER, ID),
        ({}, "pipeline-orders", ""),
        ({}, OWNER.upper(), ""),
        ({}, f"{OWNER}-0", ""),
        ({}, "", ""),
    ],
)
def test_felderas_id(labels: dict[str, str], owner: str, pipeline_id: str) -> None:
    assert naming.find_id(labels, owner) == pipeline_id


@pytest.mark.parametrize(
    "text",
    ["", ".", "..", ".a", "a/b", "a\\b", "../x", "a\nb", "a\x00", "a\x7f", "x" * 101, " a", "two words", "straße"],
)
def test_what_cannot_be_a_name_is_passed_over(text: str) -> None:
    """The next source is used, and the ignored name can be reported."""
    found = naming.name_pod(make_pod(f"{OWNER}-0", annotations={OURS: text}), None, Targets(), FELDERA)
    assert found is not None
    assert found.name == "orders"
    assert found.skipped_names == ((text[:100],) if text else ())


@pytest.mark.parametrize("text", ["Orders", "ORDERS_v2-x", "x" * 100, "a..b", "0"])
def test_what_can_be_a_name(text: str) -> None:
    found = naming.name_pod(make_pod(f"{OWNER}-0"), None, Targets(), {ID: text})
    assert found == Naming(text, "Feldera", ID, text)


def test_an_ambiguous_name_is_dropped() -> None:
    """In two tenants: a user of one must not be shown the other's pipeline."""
    known = [("a", "orders"), ("b", "orders"), ("c", "billing"), ("d", ".."), ("a", "orders")]
    assert naming.drop_ambiguous(known) == {"c": "billing"}
