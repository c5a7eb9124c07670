"""Admission policies: a stolen token of the operator can patch no more than the operator itself does."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from chart import helm
from samply_operator.model import names
from samply_operator.rules.recording import lease

POLICY = "ValidatingAdmissionPolicy"
EPHEMERAL = f"{helm.NAMESPACE}.samply-operator"
SPEC = f"{EPHEMERAL}.spec"
LEASES = f"{EPHEMERAL}.leases"


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
        LEASES: {"coordination.k8s.io/leases": ["CREATE", "UPDATE", "DELETE"]},
    }


def test_every_right_to_patch_what_runs_has_its_policy(default_objects: list[helm.Object]) -> None:
    role = helm.only(default_objects, "Role")
    granted = {
        f"{group}/{resource}"
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        if {"patch", "update", "delete"} & set(rule["verbs"]) and group != names.GROUP and resource != "events"
    }
    assert granted == {key for policy in policies(default_objects).values() for key in matched(policy)}


def test_nothing_of_a_pod_changes_but_the_operators_annotations(default_objects: list[helm.Object]) -> None:
    """What each expression refuses is tried in tests/cluster/test_policies.py."""
    policy = policies(default_objects)[SPEC]
    own = next(each["expression"] for each in policy["variables"] if each["name"] == "own")
    assert json.loads(own) == [names.TRIGGER, names.CLAIM, names.REFUSED]
    spec, metadata, annotations = policy["validations"]
    assert spec["expression"] == "object.spec == oldObject.spec"
    assert all(part in metadata["expression"] for part in ("labels", "finalizers", "ownerReferences"))
    assert "variables.own" in annotations["expression"]
    assert {each["reason"] for each in policy["validations"]} == {"Forbidden"}


def test_the_operators_leases_have_the_names_that_the_policy_wants(default_objects: list[helm.Object]) -> None:
    (validation,) = policies(default_objects)[LEASES]["validations"]
    pattern = re.compile(validation["expression"].split('"')[3])
    assert pattern.search(lease.build_name("0b5c1d2e-0000-4000-8000-000000000001", "pipeline"))
    for foreign in ("node-1", "kube-scheduler", "samply-node", "samply-0b5c1d2e-pipeline"):
        assert not pattern.search(foreign)


def test_policies_deny_and_are_of_the_operator_alone() -> None:
    objects = helm.render({"serviceAccount": {"name": "own"}})
    found = policies(objects)
    assert len(found) == 3
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
        pytest.param({"config": {"ephemeral": {"enabled": False}}}, {SPEC, LEASES}, id="no ephemeral containers"),
        pytest.param({"rbac": {"create": False}}, {EPHEMERAL, SPEC, LEASES}, id="Roles of one's own"),
        pytest.param({"rbac": {"pinOperator": False}}, set(), id="policies switched off"),
    ],
)
def test_which_policies_there_are(values: helm.Object, expected: set[str]) -> None:
    objects = helm.render(values)
    assert set(policies(objects)) == expected
    assert len(helm.select(objects, f"{POLICY}Binding")) == len(expected)
