"""Refusals and changes by the cluster's admission are reported as such, and values of the chart allow for them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from cluster import pipelines, profiles, release
from cluster.pipelines import Pipeline
from cluster.release import Install
from samply_operator.model import names
from support import kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

API = "admissionregistration.k8s.io/v1"
HELPER = "docker.io/library/samply-operator-samply:dev"
SHORT = "samply-operator-samply:dev"
"""The same image under another name, which the node knows as well."""
NOWHERE = "mirror.invalid/samply-operator-samply"
DIGEST = "sha256:" + "0" * 64
SAYS = "exec is forbidden in production"
KNOWN_SECS = 120
"""How long an API server may take until it knows a policy, and a node until it says that it cannot pull an image."""


@pytest.fixture(scope="module")
def home() -> Iterator[Install]:
    config = {"ephemeral": {"image": HELPER, "startDeadlineSecs": 15}}
    with release.installed("admission", config=config, helperImage={"rewrittenAs": [NOWHERE]}) as install:
        yield install


@pytest.fixture(scope="module")
def target(home: Install) -> Pipeline:
    started = pipelines.start(home.namespace, "admission", replicas=1)
    started.wait_ready()
    return started


def is_operator(home: Install) -> list[dict[str, str]]:
    """The policies of these tests are for the operator's calls alone: the tests' own go on."""
    account = f"system:serviceaccount:{home.namespace}:{home.name}"
    return [{"name": "operator", "expression": f'request.userInfo.username == "{account}"'}]


@contextlib.contextmanager
def policy(home: Install, kind: str, spec: dict[str, Any]) -> Iterator[None]:
    """A policy and its binding while it lasts."""
    name = f"{home.namespace}-{kind.lower()}"
    about = {"apiVersion": API, "metadata": {"name": name}}
    binding: dict[str, Any] = {"policyName": name}
    if kind.startswith("Validating"):
        binding["validationActions"] = ["Deny"]
    objects = [{**about, "kind": kind, "spec": spec}, {**about, "kind": f"{kind}Binding", "spec": binding}]
    kubectl.succeed("apply", "-f", "-", body={"apiVersion": "v1", "kind": "List", "items": objects})
    try:
        yield
    finally:
        kubectl.succeed("delete", kind, name, "--wait=false")
        kubectl.succeed("delete", f"{kind}Binding", name, "--wait=false")


def resource(name: str, operation: str) -> dict[str, Any]:
    return {
        "resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": [operation], "resources": [name]}]
    }


def record_until(target: Pipeline, reason: str, text: str = "", **spec: Any) -> dict[str, Any]:
    """Recordings one after the other, until the API server knows the policy, and no longer an earlier one whose
    message has no `text` in it.

    Returns the failure of the last one; of one that succeeded its phase stands as the reason.
    """
    seen: list[dict[str, Any]] = []

    def is_refused() -> bool:
        done = profiles.wait(target, profiles.make(target, durationSeconds=1, **spec))
        seen[:] = [done["status"].get("failure") or {"reason": done["status"]["phase"]}]
        return seen[0]["reason"] == reason and text in seen[0].get("message", "")

    kubectl.poll(is_refused, timeout=KNOWN_SECS, what=lambda: f"{reason}: {seen}")
    return seen[0]


@pytest.mark.parametrize("reason", [None, "Forbidden"], ids=["422", "403"])
def test_an_exec_that_a_policy_refuses(home: Install, target: Pipeline, reason: str | None) -> None:
    """Whatever status it returns: it is not mistaken for a missing right, or for an unavailable node."""
    validation = {"expression": "false", "message": SAYS, **({"reason": reason} if reason else {})}
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": resource("pods/exec", "CONNECT"),
        "matchConditions": is_operator(home),
        "validations": [validation],
    }
    with policy(home, "ValidatingAdmissionPolicy", spec):
        failure = record_until(target, "AdmissionRefused", mode="InPlace", preflightOnly=True)
    assert SAYS in failure["message"]
    assert "exempt the operator's ServiceAccount" in failure["remedy"]


def rewrite(home: Install, image: str) -> dict[str, Any]:
    # A patch puts what is new before what is there.
    patch = f'[JSONPatch{{op: "replace", path: "/spec/ephemeralContainers/0/image", value: "{image}"}}]'
    newest = "object.spec.ephemeralContainers[0]"
    return {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": resource("pods/ephemeralcontainers", "UPDATE"),
        "matchConditions": [*is_operator(home), {"name": "not-yet", "expression": f'{newest}.image != "{image}"'}],
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
    }


@pytest.mark.parametrize(
    ("image", "why"),
    [
        pytest.param(SHORT, "The chart's policy refuses it", id="a name that the policy doesn't know"),
        pytest.param(
            f"{NOWHERE}@{DIGEST}",
            "The node can't pull it",
            id="a digest that the policy admits",
            marks=pytest.mark.slow,
        ),
        pytest.param(f"{NOWHERE}:dev", "The node can't pull it", id="a mirror that the policy admits"),
    ],
)
def test_an_image_that_is_rewritten(home: Install, target: Pipeline, image: str, why: str) -> None:
    """The failure names the image, and the value that lets it through."""
    with policy(home, "MutatingAdmissionPolicy", rewrite(home, image)):
        failure = record_until(target, "ImageRewritten", f"by {image}. ", mode="Ephemeral")
    assert why in failure["message"]
    assert "helperImage.rewrittenAs" in failure["remedy"]


def test_an_image_under_another_name_records(home: Install, target: Pipeline) -> None:
    """Once the value lists it."""
    with policy(home, "MutatingAdmissionPolicy", rewrite(home, SHORT)):
        record_until(target, "ImageRewritten", f"by {SHORT}. ", mode="Ephemeral")
        home.upgrade(helperImage={"rewrittenAs": [NOWHERE, SHORT]})
        record_until(target, "Succeeded", mode="Ephemeral")
        containers = target.get_pod()["spec"]["ephemeralContainers"]
    assert containers[0]["image"] == SHORT


@contextlib.contextmanager
def limited(namespace: str, kind: str, spec: dict[str, Any]) -> Iterator[None]:
    body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "case"}, "spec": spec}
    kubectl.succeed("-n", namespace, "apply", "-f", "-", body=body)
    try:
        yield
    finally:
        kubectl.succeed("-n", namespace, "delete", kind, "case")


def test_an_exceeded_quota_of_profiles_is_reported(home: Install, target: Pipeline) -> None:
    """Over HTTP with the quota's message, and by an Event on the annotated object."""
    counted = f"count/{names.PLURAL}.{names.GROUP}"
    quota = {"hard": {counted: "0"}}
    with home.open() as service, limited(home.namespace, "ResourceQuota", quota):
        kubectl.poll(
            lambda: counted in kubectl.get("-n", home.namespace, "quota", "case")["status"].get("used", {}),
            timeout=60,
            what="the quota is counted",
        )
        answer = service.profile(target.name, "?ordinal=0&duration_secs=1", "POST")
        status, code, _ = answer.problem()
        assert (status, code) == (422, "ObjectRefused")
        assert "exceeded quota: case" in json.loads(answer.body)["message"]
        target.annotate_pod(0, "1s")
        kubectl.poll(
            lambda: "exceeded quota" in target.annotations("pod").get(names.REFUSED, ""),
            timeout=30,
            what="the refusal is told",
        )
    assert names.CLAIM not in target.annotations("pod")


def test_limits_of_pods_dont_concern_the_ephemeral_container(home: Install, target: Pipeline) -> None:
    """A LimitRange and a quota count what a pod was made with."""
    bounds = {"type": "Container", "max": {"memory": "2Gi"}, "min": {"memory": "32Mi"}, "default": {"memory": "1Gi"}}
    with (
        limited(home.namespace, "LimitRange", {"limits": [bounds]}),
        limited(home.namespace, "ResourceQuota", {"hard": {"pods": "0", "limits.memory": "1Mi"}}),
    ):
        done = profiles.wait(target, profiles.make(target, mode="Ephemeral"))
    assert done["status"]["phase"] == "Succeeded", profiles.show(done["status"])
