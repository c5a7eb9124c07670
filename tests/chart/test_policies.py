"""Admission policies: whoever has the operator's token can do no more with a right to patch than the operator does."""

from __future__ import annotations

from typing import Any

import pytest

from chart import helm

POLICY = "ValidatingAdmissionPolicy"
EPHEMERAL = f"{helm.NAMESPACE}.samply-operator"
SPEC = f"{EPHEMERAL}.spec"


def policies(objects: list[helm.Object]) -> dict[str, Any]:
    return {o["metadata"]["name"]: o["spec"] for o in helm.select(objects, POLICY)}


def matched(policy: helm.Object) -> dict[str, list[str]]:
    """Resources, subresources among them, to the operations that are looked at."""
    rules = policy["matchConstraints"]["resourceRules"]
    return {f"{rule['apiGroups'][0]}/{name}": rule["operations"] for rule in rules for name in rule["resources"]}


def test_each_policy_is_of_its_own_resources(default_objects: list[helm.Object]) -> None:
    found = policies(default_objects)
    assert {name: matched(policy) for name, policy in found.items()} == {
        EPHEMERAL: {"/pods/ephemeralcontainers": ["UPDATE"]},
        SPEC: {"/pods": ["UPDATE"], "apps/statefulsets": ["UPDATE"]},
    }


def test_every_right_to_patch_what_runs_has_its_policy(default_objects: list[helm.Object]) -> None:
    role = helm.only(default_objects, "Role")
    granted = {
        f"{group}/{resource}"
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        if {"patch", "update"} & set(rule["verbs"]) and group in {"", "apps"} and resource != "events"
    }
    assert granted == {key for policy in policies(default_objects).values() for key in matched(policy)}


def test_a_spec_stays_as_it_is(default_objects: list[helm.Object]) -> None:
    policy = policies(default_objects)[SPEC]
    (validation,) = policy["validations"]
    assert validation["expression"] == "object.spec == oldObject.spec"
    assert "may not change the spec of a pod or StatefulSet" in validation["message"]
    assert validation["reason"] == "Forbidden"


def test_policies_deny_and_are_of_the_operator_alone() -> None:
    objects = helm.render({"serviceAccount": {"name": "own"}})
    found = policies(objects)
    assert len(found) == 2
    for policy in found.values():
        (condition,) = policy["matchConditions"]
        assert condition["expression"] == f'request.userInfo.username == "system:serviceaccount:{helm.NAMESPACE}:own"'
        assert policy["failurePolicy"] == "Fail"
    bindings = helm.select(objects, f"{POLICY}Binding")
    assert {b["spec"]["policyName"] for b in bindings} == set(found)
    assert all(b["spec"]["validationActions"] == ["Deny"] for b in bindings)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param({"config": {"ephemeral": {"enabled": False}}}, {SPEC}, id="no ephemeral containers"),
        pytest.param({"rbac": {"create": False}}, {EPHEMERAL, SPEC}, id="Roles of one's own"),
        pytest.param({"rbac": {"pinOperator": False}}, set(), id="policies aren't for who installs"),
    ],
)
def test_which_policies_there_are(values: helm.Object, expected: set[str]) -> None:
    objects = helm.render(values)
    assert set(policies(objects)) == expected
    assert len(helm.select(objects, f"{POLICY}Binding")) == len(expected)
