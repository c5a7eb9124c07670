"""Refusals by the cluster: a quota, a policy, a webhook that does not answer. Each claim gives exactly one profile for
each ordinal, or an explanation why not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cluster import pipelines, profiles, release
from cluster.pipelines import Pipeline
from cluster.release import Install, Service
from samply_operator.model import names
from support import kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(240)]

ONE = f"count/{names.PLURAL}.{names.GROUP}"
RULE = "no profiles during the audit"
SETTLED_SECS = 8
"""Time in which a claim that is tried again and again would have been, several times."""


@pytest.fixture(scope="module")
def refusing() -> Iterator[Install]:
    with release.installed("refusing", config={"recording": {"mode": "InPlace", "minCoverage": 0}}) as found:
        yield found


@pytest.fixture(scope="module")
def target(refusing: Install) -> Pipeline:
    started = pipelines.start(refusing.namespace, "demo")
    started.wait_ready()
    return started


@pytest.fixture
def service(refusing: Install) -> Iterator[Service]:
    with refusing.open() as opened:
        yield opened


@contextmanager
def applied(*items: dict[str, Any]) -> Iterator[None]:
    body = {"apiVersion": "v1", "kind": "List", "items": list(items)}
    kubectl.succeed("apply", "-f", "-", body=body)
    try:
        yield
    finally:
        kubectl.succeed("delete", "--ignore-not-found", "-f", "-", body=body)


def build_quota(namespace: str, count: int) -> dict[str, Any]:
    about = {"name": "few-profiles", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": about, "spec": {"hard": {ONE: str(count)}}}


def build_policy(namespace: str) -> list[dict[str, Any]]:
    """Admission refuses with a message of its own, as a webhook does."""
    group, about = "admissionregistration.k8s.io/v1", {"name": f"no-profiles-{namespace}"}
    where = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    rule = {"apiGroups": [names.GROUP], "apiVersions": ["*"], "resources": [names.PLURAL], "operations": ["CREATE"]}
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "false", "message": RULE, "reason": "Forbidden"}],
    }
    binding = {
        "policyName": about["name"],
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": where},
    }
    return [
        {"apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": about, "spec": spec},
        {"apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": about, "spec": binding},
    ]


def build_dead_webhook(namespace: str) -> dict[str, Any]:
    """Nobody listens at its address."""
    rule = {"apiGroups": [names.GROUP], "apiVersions": ["*"], "resources": [names.PLURAL], "operations": ["CREATE"]}
    hook = {
        "name": "dead.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 2,
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    return kind | {"metadata": {"name": f"dead-{namespace}"}, "webhooks": [hook]}


def is_refused_by_the_cluster(pipeline: Pipeline, text: str) -> bool:
    """The API server takes a moment to know a rule; nothing is made by asking."""
    spec = {"pipeline": pipeline.name, "ordinal": 0}
    body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": "probe"}, "spec": spec}
    done = kubectl.run("-n", pipeline.namespace, "create", "--dry-run=server", "-f", "-", body=body)
    return text in done.stderr


def wait_refusal(pipeline: Pipeline, text: str) -> dict[str, str]:
    """The annotations, once one of them says why."""

    def look() -> dict[str, str] | None:
        found = pipeline.annotations("statefulset")
        return found if text in found.get(names.REFUSED, "") else None

    return kubectl.poll(look, timeout=20, what=lambda: f"refused: {pipeline.annotations('statefulset')}")


def wait_taken(pipeline: Pipeline, timeout: float = 20) -> None:
    def is_taken() -> bool:
        return not {names.TRIGGER, names.CLAIM} & set(pipeline.annotations("statefulset"))

    kubectl.poll(is_taken, timeout=timeout, what=lambda: f"taken: {pipeline.annotations('statefulset')}")


def list_new(pipeline: Pipeline, known: set[str]) -> list[profiles.Object]:
    return [item for item in profiles.find(pipeline) if profiles.uid_of(item) not in known]


def test_a_quota_admits_one_of_two_ordinals(target: Pipeline) -> None:
    """Ordinal 0 is recorded once, ordinal 1 is refused with a message; after deleting the object of ordinal 0, and the
    quota, nothing is recorded a second time."""
    for item in profiles.find(target):
        profiles.delete(target, profiles.name_of(item))
    quota = build_quota(target.namespace, 1)
    with applied(quota):
        kubectl.poll(
            lambda: kubectl.get("-n", target.namespace, "quota/few-profiles").get("status", {}).get("used"),
            timeout=30,
            what="the quota is counted",
        )
        target.annotate_set("1s")
        found = wait_refusal(target, "few-profiles")
        assert not {names.TRIGGER, names.CLAIM} & set(found), "there is nothing left to try"
        (made,) = profiles.find(target)
        assert made["spec"]["ordinal"] == 0
        profiles.wait_event(target.namespace, target.stateful_set, "ProfileRefused", "few-profiles")
        profiles.wait_succeeded(target, profiles.name_of(made))
        profiles.delete(target, profiles.name_of(made))
        profiles.wait_gone(target, profiles.name_of(made))
    time.sleep(SETTLED_SECS)
    assert profiles.find(target) == [], "ordinal 0 had its profile, ordinal 1 its refusal"


def test_the_same_quota_over_http(target: Pipeline, service: Service) -> None:
    """Reported as a refusal of the request, not as a failure of the service, and without mentioning Roles."""
    with applied(build_quota(target.namespace, 0)):
        kubectl.poll(lambda: is_refused_by_the_cluster(target, "few-profiles"), timeout=30, what="the quota counts")
        answer = service.profile(target.name, "?duration_secs=1", method="POST")
    status, _, _ = answer.problem()
    text = answer.body.decode()
    assert 400 <= status < 500, text
    assert "few-profiles" in text
    assert "Role" not in text


def test_admission_refuses_the_object(target: Pipeline, service: Service) -> None:
    """No object, no retry, the policy's message in the annotation, the Event and the response; afterwards the same
    command works."""
    known = {profiles.uid_of(item) for item in profiles.find(target)}
    with applied(*build_policy(target.namespace)):
        kubectl.poll(lambda: is_refused_by_the_cluster(target, RULE), timeout=30, what="the policy is known")
        target.annotate_set("1s")
        found = wait_refusal(target, RULE)
        assert not {names.TRIGGER, names.CLAIM} & set(found)
        profiles.wait_event(target.namespace, target.stateful_set, "ProfileRefused", RULE)
        answer = service.profile(target.name, "?duration_secs=1", method="POST")
        status, _, _ = answer.problem()
        assert 400 <= status < 500, answer.body
        assert RULE in answer.body.decode()
        assert "Role" not in answer.body.decode()
    time.sleep(SETTLED_SECS)
    assert list_new(target, known) == []
    target.annotate_set("1s")
    wait_taken(target)
    for item in list_new(target, known):
        profiles.wait_succeeded(target, profiles.name_of(item))
    assert [item["spec"]["ordinal"] for item in list_new(target, known)] == [0, 1]


@pytest.mark.slow
def test_a_webhook_that_does_not_answer_is_no_refusal(target: Pipeline) -> None:
    """The operator waits for it; then each ordinal has one profile."""
    known = {profiles.uid_of(item) for item in profiles.find(target)}
    with applied(build_dead_webhook(target.namespace)):
        kubectl.poll(
            lambda: is_refused_by_the_cluster(target, "failed calling webhook"), timeout=30, what="the webhook is asked"
        )
        target.annotate_set("1s")
        time.sleep(SETTLED_SECS)
        assert names.REFUSED not in target.annotations("statefulset")
        assert list_new(target, known) == []
    wait_taken(target, timeout=60)
    found = list_new(target, known)
    for item in found:
        profiles.wait_succeeded(target, profiles.name_of(item))
    assert [item["spec"]["ordinal"] for item in found] == [0, 1]
