"""The chart on a real API server: `restricted` admits its pod; profiles outlive releases of whatever name."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from chart import everything, helm, kubectl
from samply_operator.model import names
from support.kubectl import get, poll

pytestmark = pytest.mark.cluster

CRD = f"{names.PLURAL}.{names.GROUP}"
CRDS = (CRD, f"{names.TRIGGER_PLURAL}.{names.GROUP}")
# Nothing is to run here: a node with this label doesn't exist.
NOWHERE = {"nodeSelector": {"test": "nowhere"}, "persistence": {"size": "1Gi"}}
FOREIGN = {"monitoring.coreos.com", "gateway.networking.k8s.io"}
"""Groups whose CRDs need not be installed."""
OWNER = ("meta.helm.sh/release-name", "meta.helm.sh/release-namespace", "helm.sh/resource-policy")


def run_helm(*arguments: str, values: Any = None) -> str:
    done = helm.run(*arguments, values=values, kubeconfig=os.environ["KUBECONFIG"])
    assert done.returncode == 0, done.stderr
    return done.stdout


def annotations(crd: str = CRD) -> dict[str, str]:
    found: dict[str, str] = json.loads(kubectl.succeed("get", "crd", crd, "-o", "json"))["metadata"].get(
        "annotations", {}
    )
    return found


def annotate_crd(crd: str, wanted: dict[str, str | None]) -> None:
    kubectl.succeed("patch", "crd", crd, "--type=merge", "-p", json.dumps({"metadata": {"annotations": wanted}}))


@pytest.fixture
def namespace() -> Iterator[str]:
    name = f"test-chart-{uuid.uuid4().hex[:8]}"
    kubectl.succeed("create", "namespace", name)
    yield name
    kubectl.succeed("delete", "namespace", name, "--wait=false")


@pytest.fixture
def unowned_crd() -> Iterator[None]:
    """The CRDs without an owner, as `kubectl apply` leaves them; their owners of before come back afterwards."""
    path = str(helm.REPOSITORY / "manifests" / "crd.yaml")
    kubectl.succeed("apply", "--server-side", "--force-conflicts", "-f", path)
    before = {crd: annotations(crd) for crd in CRDS}
    for crd in CRDS:
        annotate_crd(crd, dict.fromkeys(OWNER))
    yield
    for crd in CRDS:
        annotate_crd(crd, {key: before[crd].get(key) for key in OWNER})


def test_a_restricted_namespace_admits_the_pod(namespace: str) -> None:
    kubectl.succeed("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    spec = helm.pod_spec(helm.render({"serviceAccount": {"create": False}}))
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    run = ("-n", namespace, "create", "-f", "-", "--dry-run=server")
    kubectl.succeed(*run, body=pod)
    spec["containers"][0]["securityContext"]["capabilities"]["add"] = ["PERFMON"]
    assert 'violates PodSecurity "restricted' in kubectl.run(*run, body=pod).stderr


def test_the_api_server_takes_whatever_values_set(namespace: str) -> None:
    """All objects at once, and none is kept. Errors: unknown fields, wrong types, values that contradict each other."""
    families = json.loads(kubectl.succeed("-n", "default", "get", "service", "kubernetes", "-o", "json"))["spec"]
    # Without it no pod is taken. It comes a moment after the namespace.
    account = ("-n", namespace, "get", "serviceaccount", "default")
    poll(lambda: kubectl.run(*account).returncode == 0, timeout=60, what="the namespace has its ServiceAccount")
    for name, values in everything.RELEASES.items():
        service = values.get("service", {}) | {"ipFamilies": families["ipFamilies"]}
        objects = [
            each
            for each in helm.render_all(values | {"service": service}, namespace=namespace)
            if each["apiVersion"].partition("/")[0] not in FOREIGN
        ]
        command = ("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-")
        done = kubectl.run(*command, body={"kind": "List", "apiVersion": "v1", "items": objects})
        assert done.returncode == 0, f"{name}: {done.stderr}"
        assert len(done.stdout.splitlines()) == len(objects)


@pytest.mark.usefixtures("unowned_crd")
def test_profiles_outlive_releases(namespace: str) -> None:
    where = ("--namespace", namespace)
    notes = run_helm("install", "first", str(helm.CHART), *where, values=NOWHERE)
    assert "belongs to another release or tool" in notes

    # The commands that the notes give.
    for crd in CRDS:
        annotate_crd(crd, {OWNER[0]: "first", OWNER[1]: namespace})
        kubectl.succeed("label", "crd", crd, "--overwrite", "app.kubernetes.io/managed-by=Helm")
    upgraded = run_helm("upgrade", "first", str(helm.CHART), *where, "--force-conflicts", values=NOWHERE)
    assert "belongs to another" not in upgraded
    assert annotations()[OWNER[2]] == "keep"

    body = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": "p"}, "spec": {"pipeline": "x"}}
    kubectl.succeed("-n", namespace, "create", "-f", "-", body=body)
    run_helm("uninstall", "first", *where)
    assert kubectl.succeed("-n", namespace, "get", "sprof,pvc", "-o", "name").split() == [
        f"{names.KIND.lower()}.{names.GROUP}/p",
        "persistentvolumeclaim/first-samply-operator-profiles",
    ]

    # The same name takes up what it left; another one leaves the CRD alone, and is given the claim.
    run_helm("install", "first", str(helm.CHART), *where, values=NOWHERE)
    run_helm("uninstall", "first", *where)
    # So is the Secret that signs links.
    linked = NOWHERE | {"config": {"api": {"links": {"secretName": "links"}}}}
    run_helm("install", "first", str(helm.CHART), *where, values=linked)
    run_helm("uninstall", "first", *where)
    key = get("-n", namespace, "secret", "links")["data"]
    given = linked | {"persistence": {"existingClaim": "first-samply-operator-profiles"}}
    assert f"({namespace}/first)" in run_helm("install", "second", str(helm.CHART), *where, values=given)
    run_helm("upgrade", "second", str(helm.CHART), *where, values=given)
    run_helm("uninstall", "second", *where)
    kubectl.succeed("-n", namespace, "get", "sprof/p", "pvc/first-samply-operator-profiles")
    assert get("-n", namespace, "secret", "links")["data"] == key


def test_two_releases_of_one_name_share_a_target_namespace(namespace: str) -> None:
    others = [f"{namespace}-{n}" for n in ("one", "two")]
    values = NOWHERE | {"config": {"targets": {"namespaces": [namespace]}}, "crds": {"install": False}}
    try:
        for other in others:
            run_helm("install", "same", str(helm.CHART), "--namespace", other, "--create-namespace", values=values)
        roles = kubectl.succeed("-n", namespace, "get", "role", "-o", "name").split()
        assert roles == [f"role.rbac.authorization.k8s.io/{other}:same-samply-operator" for other in others]
    finally:
        for other in others:
            helm.run("uninstall", "same", "--namespace", other, kubeconfig=os.environ["KUBECONFIG"])
            kubectl.run("delete", "namespace", other, "--wait=false")
