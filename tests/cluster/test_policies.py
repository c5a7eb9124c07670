"""Limits of the operator's rights: a stolen token of the operator cannot run another program in a pipeline."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from chart import helm
from cluster import release
from samply_operator.model import names
from samply_operator.rules.recording import lease
from support import kubectl

pytestmark = pytest.mark.cluster

RELEASE = "samply-operator"
# Nothing is to run here: a node with this label doesn't exist.
NOWHERE = {"test": "nowhere"}
SAYS = "may not change the spec of a pod or StatefulSet"
NO_LEASE = "may only touch its own Leases"
CONTAINERS = {"containers": [{"name": "main", "image": "example.com/bad:1"}]}
MORE_PODS: tuple[str, dict[str, Any]] = ("statefulset", {"spec": {"replicas": 1}})


@pytest.fixture(scope="module")
def places() -> Iterator[tuple[str, str]]:
    """Two namespaces with pipelines: that of the release, where ephemeral containers are allowed, and another one."""
    with release.fresh_namespace("policies") as home, release.fresh_namespace("policies") as other:
        values = {
            "nodeSelector": NOWHERE,
            "persistence": {"size": "1Gi"},
            "crds": {"install": False},
            "config": {"targets": {"namespaces": [home, other]}, "ephemeral": {"namespaces": [home]}},
        }
        where = ("--namespace", home)
        kubeconfig = os.environ["KUBECONFIG"]
        try:
            done = helm.run("install", RELEASE, str(helm.CHART), *where, values=values, kubeconfig=kubeconfig)
            assert done.returncode == 0, done.stderr
            for namespace in (home, other):
                kubectl.succeed("apply", "-f", "-", body=build_targets(namespace))
            # An API server takes a moment until it knows a policy.
            kubectl.poll(
                lambda: are_known(home, other),
                timeout=30,
                what="the policies are known",
            )
            yield home, other
        finally:
            helm.run("uninstall", RELEASE, *where, "--ignore-not-found", kubeconfig=kubeconfig)


def are_known(home: str, other: str) -> bool:
    tried = act(home, "create", "--dry-run=server", "-f", "-", body=build_lease(other, "leader"))
    return NO_LEASE in tried.stderr and all(SAYS in patch(home, namespace, *MORE_PODS) for namespace in (home, other))


def build_targets(namespace: str) -> dict[str, Any]:
    """A StatefulSet without pods, and a pod that no node takes."""
    labels = {"app": "target"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"nodeSelector": NOWHERE, "containers": [{"name": "main", "image": "example.com/good:1"}]},
    }
    about = {
        "name": "target",
        "namespace": namespace,
        "labels": labels,
        "annotations": {"example.com/team": "own", names.ENABLED: "false"},
    }
    pod = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": about}
    stateful_set = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": about,
        "spec": {"replicas": 0, "serviceName": "x", "selector": {"matchLabels": labels}, "template": template},
    }
    return {"apiVersion": "v1", "kind": "List", "items": [pod, stateful_set]}


def act(home: str, *arguments: str, body: Any = None) -> subprocess.CompletedProcess[str]:
    """As the operator's ServiceAccount."""
    return kubectl.run(f"--as=system:serviceaccount:{home}:{RELEASE}", *arguments, body=body)


def patch(home: str, namespace: str, kind: str, body: dict[str, Any]) -> str:
    """Nothing is kept of it. What it was refused with; empty: it was admitted."""
    where = ("-n", namespace, "patch", kind, "target", "--dry-run=server")
    done = act(home, *where, "--type=strategic", "-p", json.dumps(body))
    return "" if done.returncode == 0 else done.stderr


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        pytest.param("statefulset", {"spec": {"template": {"spec": CONTAINERS}}}, id="a template's image"),
        pytest.param(*MORE_PODS, id="replicas"),
        pytest.param("pod", {"spec": CONTAINERS}, id="a pod's image"),
        pytest.param("pod", {"spec": {"activeDeadlineSeconds": 1}}, id="a pod's end"),
    ],
)
def test_a_spec_cant_be_changed(kind: str, body: dict[str, Any], places: tuple[str, str]) -> None:
    """In no namespace, and by nothing else than the policy: others may."""
    home, other = places
    for namespace in places:
        answer = patch(home, namespace, kind, body)
        assert SAYS in answer, answer
        assert "ValidatingAdmissionPolicy" in answer, answer
    kubectl.succeed("-n", other, "patch", kind, "target", "--dry-run=server", "-p", json.dumps(body))


@pytest.mark.parametrize("kind", ["statefulset", "pod"])
@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param({"labels": {"app": "other"}}, id="another Service's label"),
        pytest.param({"labels": {"app": None}}, id="a removed label"),
        pytest.param({"finalizers": ["example.com/keep"]}, id="a finalizer"),
        pytest.param(
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "gone"}]}, id="an owner"
        ),
        pytest.param({"annotations": {"example.com/team": "other"}}, id="a foreign annotation"),
        pytest.param({"annotations": {"example.com/team": None}}, id="a removed foreign annotation"),
        pytest.param({"annotations": {"example.com/new": "x"}}, id="a new one"),
        pytest.param({"annotations": {names.ENABLED: "true"}}, id="the owner's profiling annotation"),
    ],
)
def test_metadata_cant_be_changed(kind: str, metadata: dict[str, Any], places: tuple[str, str]) -> None:
    home, other = places
    answer = patch(home, other, kind, {"metadata": metadata})
    assert "samply-operator may" in answer, answer
    assert "ValidatingAdmissionPolicy" in answer, answer


def test_foreign_leases_cannot_be_deleted(places: tuple[str, str]) -> None:
    """Leases of nodes and of leaders; the operator's own can be made, renewed and released."""
    home, other = places
    own, foreign = lease.build_name("0b5c1d2e-0000-4000-8000-000000000001", "main"), "leader-of-another"
    kubectl.succeed("apply", "-f", "-", body=build_lease(other, foreign))
    for done in (
        act(home, "replace", "-f", "-", body=build_lease(other, foreign)),
        act(home, "create", "-f", "-", body=build_lease(other, "one-more")),
        act(home, "-n", other, "delete", "lease", foreign),
    ):
        assert NO_LEASE in done.stderr, done.stderr
    for arguments in (("create", "-f", "-"), ("replace", "-f", "-")):
        done = act(home, *arguments, body=build_lease(other, own))
        assert done.returncode == 0, done.stderr
    done = act(home, "-n", other, "delete", "lease", own)
    assert done.returncode == 0, done.stderr


def build_lease(namespace: str, name: str) -> dict[str, Any]:
    about = {"name": name, "namespace": namespace}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": about, "spec": {"holderIdentity": "x"}}


@pytest.mark.parametrize("kind", ["statefulset", "pod"])
def test_an_annotation_can_be_changed(kind: str, places: tuple[str, str]) -> None:
    """As the operator does: a trigger becomes a claim, which is removed afterwards."""
    home, other = places
    for value in ("30s", None):
        body = {"metadata": {"annotations": {names.TRIGGER: value}}}
        where = ("-n", other, "patch", kind, "target", "--type=merge", "-p", json.dumps(body))
        done = act(home, *where)
        assert done.returncode == 0, done.stderr
    found = kubectl.get("-n", other, kind, "target")["metadata"].get("annotations", {})
    assert names.TRIGGER not in found


def test_ephemeral_containers_only_where_the_mode_is_allowed(places: tuple[str, str]) -> None:
    home, other = places
    question = ("auth", "can-i", "patch", "pods", "--subresource=ephemeralcontainers", "-n")
    assert [act(home, *question, namespace).stdout.strip() for namespace in (home, other)] == ["yes", "no"]
