"""The CRD on a real API server: what its schema and its CEL rule refuse.

Needs $KUBECONFIG; applies manifests/crd.yaml.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from chart import helm, kubectl, samples
from samply_operator.model import names

pytestmark = pytest.mark.cluster

FULL = {
    "pipeline": "demo",
    "ordinal": 1,
    "durationSeconds": 30,
    "rateHz": 1000,
    "container": "pipeline",
    "process": "pipeline",
    "mode": "Auto",
    "preflightOnly": False,
}
CHANGES = {
    "pipeline": "other",
    "ordinal": 2,
    "durationSeconds": 31,
    "rateHz": 999,
    "container": "other",
    "process": "other",
    "mode": "InPlace",
    "preflightOnly": True,
}
OPTIONAL = [key for key in FULL if key not in {"pipeline", "ordinal"}]
IMMUTABLE = "spec can't be changed"


@pytest.fixture(scope="module", autouse=True)
def crd() -> None:
    path = str(helm.REPOSITORY / "manifests" / "crd.yaml")
    kubectl.succeed("apply", "--server-side", "--force-conflicts", "-f", path)
    kubectl.succeed("wait", "--for=condition=Established", "--timeout=30s", f"crd/{names.PLURAL}.{names.GROUP}")


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    name = f"test-crd-{uuid.uuid4().hex[:8]}"
    kubectl.succeed("create", "namespace", name)
    yield name
    kubectl.succeed("delete", "namespace", name, "--wait=false")


def build(spec: Any, name: str = "") -> dict[str, Any]:
    metadata = {"name": name or f"p-{uuid.uuid4().hex[:12]}"}
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata, "spec": spec}


def create(namespace: str, spec: Any) -> str:
    body = build(spec)
    kubectl.succeed("-n", namespace, "create", "-f", "-", body=body)
    name: str = body["metadata"]["name"]
    return name


def read(namespace: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kubectl.succeed("-n", namespace, "get", "sprof", name, "-o", "json"))
    return found


def patch(namespace: str, name: str, kind: str, body: Any, *more: str) -> subprocess.CompletedProcess[str]:
    return kubectl.run("-n", namespace, "patch", "sprof", name, "--type", kind, "-p", json.dumps(body), *more)


@pytest.fixture(scope="module")
def full(namespace: str) -> str:
    return create(namespace, FULL)


@pytest.fixture(scope="module")
def bare(namespace: str) -> str:
    return create(namespace, {"pipeline": "demo"})


@pytest.mark.parametrize("spec", samples.GOOD, ids=str)
def test_taken(spec: Any, namespace: str) -> None:
    assert read(namespace, create(namespace, spec))["spec"] == {"ordinal": 0, **spec}


@pytest.mark.parametrize("spec", samples.BAD, ids=repr)
def test_refused(spec: Any, namespace: str) -> None:
    done = kubectl.run("-n", namespace, "create", "-f", "-", "--dry-run=server", body=build(spec))
    assert done.returncode != 0
    assert "spec" in done.stderr


@pytest.mark.parametrize("body", [{}, {"spec": None}, {"spec": "demo"}], ids=["none", "null", "text"])
def test_an_object_without_a_spec_is_refused(body: Any, namespace: str) -> None:
    whole = {key: value for key, value in build(None).items() if key != "spec"} | body
    done = kubectl.run("-n", namespace, "create", "-f", "-", "--dry-run=server", body=whole)
    assert done.returncode != 0
    assert "spec" in done.stderr


@pytest.mark.parametrize("key", CHANGES)
def test_no_field_can_be_changed(key: str, namespace: str, full: str) -> None:
    assert IMMUTABLE in patch(namespace, full, "merge", {"spec": {key: CHANGES[key]}}).stderr


@pytest.mark.parametrize("key", OPTIONAL)
def test_no_field_can_be_added(key: str, namespace: str, bare: str) -> None:
    assert IMMUTABLE in patch(namespace, bare, "merge", {"spec": {key: FULL[key]}}).stderr


@pytest.mark.parametrize("key", OPTIONAL)
def test_no_field_can_be_removed(key: str, namespace: str, full: str) -> None:
    assert IMMUTABLE in patch(namespace, full, "json", [{"op": "remove", "path": f"/spec/{key}"}]).stderr


@pytest.mark.parametrize("key", OPTIONAL)
def test_no_field_can_be_set_to_null(key: str, namespace: str, full: str) -> None:
    by_merge = patch(namespace, full, "merge", {"spec": {key: None}})
    by_replace = patch(namespace, full, "json", [{"op": "replace", "path": f"/spec/{key}", "value": None}])
    assert IMMUTABLE in by_merge.stderr
    assert by_replace.returncode != 0
    assert read(namespace, full)["spec"] == FULL


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        pytest.param("json", [{"op": "remove", "path": "/spec"}], id="removed"),
        pytest.param("json", [{"op": "replace", "path": "/spec", "value": None}], id="null"),
        pytest.param("json", [{"op": "replace", "path": "/spec", "value": {}}], id="emptied"),
        pytest.param("merge", {"spec": None}, id="merged with null"),
        pytest.param("json", [{"op": "remove", "path": "/spec/pipeline"}], id="without pipeline"),
        pytest.param("json", [{"op": "remove", "path": "/spec/ordinal"}], id="ordinal back to its default"),
    ],
)
def test_the_spec_cannot_be_removed(kind: str, body: Any, namespace: str, full: str) -> None:
    assert patch(namespace, full, kind, body).returncode != 0
    assert read(namespace, full)["spec"] == FULL


def test_replacing_the_object_keeps_the_rule(namespace: str, full: str) -> None:
    body = read(namespace, full) | {"spec": {"pipeline": "demo"}}
    assert IMMUTABLE in kubectl.run("-n", namespace, "replace", "-f", "-", body=body).stderr
    applied = build({**FULL, "rateHz": 5}, full)
    done = kubectl.run("-n", namespace, "apply", "--server-side", "--force-conflicts", "-f", "-", body=applied)
    assert IMMUTABLE in done.stderr


def test_the_same_spec_and_annotations_may_be_written_again(namespace: str, full: str) -> None:
    assert patch(namespace, full, "merge", {"spec": FULL}).returncode == 0
    kubectl.succeed("-n", namespace, "annotate", "sprof", full, f"{names.STOP}=keep")
    assert read(namespace, full)["metadata"]["annotations"][names.STOP] == "keep"


@pytest.mark.parametrize("name", samples.STATUSES)
def test_every_status_of_the_operator_is_stored_whole(name: str, namespace: str) -> None:
    target = create(namespace, {"pipeline": "demo"})
    body = {"status": samples.STATUSES[name]}
    done = patch(namespace, target, "merge", body, "--subresource=status")
    assert done.returncode == 0, done.stderr
    assert read(namespace, target)["status"] == samples.merge(body)["status"]


def test_status_and_spec_are_written_by_separate_doors(namespace: str) -> None:
    target = create(namespace, {"pipeline": "demo"})
    assert patch(namespace, target, "merge", {"status": {"phase": "Succeeded"}}).returncode == 0
    patch(namespace, target, "merge", {"spec": {"rateHz": 7}, "status": {"phase": "Failed"}}, "--subresource=status")
    found = read(namespace, target)
    assert found["spec"] == {"pipeline": "demo", "ordinal": 0}
    assert found.get("status") == {"phase": "Failed"}


def test_kubectl_wait_sees_the_end(namespace: str) -> None:
    target = create(namespace, {"pipeline": "demo"})
    patch(namespace, target, "merge", {"status": samples.STATUSES["failed"]}, "--subresource=status")
    kubectl.succeed("-n", namespace, "wait", "--for=condition=Finished", "--timeout=5s", f"sprof/{target}")


def test_one_line_summarizes_the_profile(namespace: str) -> None:
    target = create(namespace, {"pipeline": "demo", "durationSeconds": 5})
    patch(namespace, target, "merge", {"status": samples.STATUSES["stored"]}, "--subresource=status")
    header, line = kubectl.succeed("-n", namespace, "get", "sprof", target).splitlines()
    assert header.split() == [
        "NAME", "PIPELINE", "ORDINAL", "PHASE", "DURATION", "SAMPLES", "COVERAGE", "VERDICT", "SIZE", "REASON",
        "CHANGE", "AGE",
    ]  # fmt: skip
    assert line.split()[:9] == [target, "demo", "0", "Succeeded", "5", "1", "0.98", "Idle", "1"]


def test_delete_all_spares_profiles(namespace: str) -> None:
    assert names.GROUP not in kubectl.succeed("-n", namespace, "get", "all", "-o", "name")
