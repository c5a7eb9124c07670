"""Files are removed by retention and by certain deletions only: on the real cluster, on a volume of 50 MB."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cluster import pipelines, profiles, release
from cluster.node import NATIVE, Node
from cluster.pipelines import Pipeline
from cluster.release import Install, Service
from samply_operator.model import names
from samply_operator.rules.recording import lease
from support import kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

MIB = 1024 * 1024
SETTINGS = {
    "recording": {"mode": "InPlace", "minFreeBytes": 8 * MIB},
    "retention": {"maxPerOrdinal": 2, "absenceGraceSecs": 5},
    "auth": {"apiKeys": {"enabled": True}},
}


@dataclass(frozen=True)
class Disk:
    """A small volume that this machine and the cluster's node both see."""

    folder: Path

    def fill(self) -> None:
        with (self.folder / "others").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(MIB)):
                pass

    def make_room(self) -> None:
        (self.folder / "others").unlink()

    def list_profiles(self) -> set[str]:
        return {path.name for path in (self.folder / "profiles").iterdir()}

    def list_tombstones(self) -> list[str]:
        return [path.name for path in (self.folder / "tombstones").iterdir()]


@contextlib.contextmanager
def offer(folder: Path) -> Iterator[str]:
    """The folder as a volume for one claim; the StorageClass's name."""
    name = f"small-{uuid.uuid4().hex[:8]}"
    here = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NATIVE]}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "50Mi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": name,
            "persistentVolumeReclaimPolicy": "Retain",
            "local": {"path": str(folder)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }
    kubectl.succeed("create", "-f", "-", body=volume)
    try:
        yield name
    finally:
        kubectl.succeed("delete", "pv", name, "--wait=false")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    if os.geteuid() != 0 or not Node.is_native():
        pytest.skip("the volume is a tmpfs that this machine mounts for the node: native provider, root")
    folder = tmp_path_factory.mktemp("disk")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=50m,mode=0770", "tmpfs", folder], check=True)
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="module")
def install(disk: Disk) -> Iterator[Install]:
    """It watches its own namespace and one more."""
    with release.fresh_namespace("other") as other, offer(disk.folder) as storage_class:
        config = SETTINGS | {"targets": {"namespaces": [other]}}
        with release.fresh_namespace("small") as namespace:
            config["targets"]["namespaces"].append(namespace)
            persistence = {"size": "50Mi", "storageClass": storage_class}
            found = Install(namespace, values={"config": config, "persistence": persistence})
            try:
                found.install()
                yield found
            finally:
                found.uninstall()
                kubectl.succeed("-n", namespace, "delete", "pvc", "--all", "--wait=false")


@pytest.fixture
def service(install: Install) -> Iterator[Service]:
    with install.open_with_key() as opened:
        yield opened


@pytest.fixture(scope="module")
def pipeline(install: Install) -> Pipeline:
    started = pipelines.start(install.namespace, "small", replicas=1)
    started.wait_ready()
    return started


def take(pipeline: Pipeline) -> dict[str, Any]:
    return profiles.wait_succeeded(pipeline, profiles.make(pipeline, durationSeconds=1))


def is_removed(pipeline: Pipeline, profile: dict[str, Any]) -> bool:
    found: dict[str, Any] = profiles.get(pipeline, profiles.name_of(profile))["status"]
    return "removedAt" in found["profile"]


def annotate(pipeline: Pipeline, profile: dict[str, Any], annotation: str) -> None:
    kubectl.succeed("-n", pipeline.namespace, "annotate", "sprof", profiles.name_of(profile), annotation)


def test_the_oldest_file_is_removed_and_its_object_reports_it(pipeline: Pipeline, disk: Disk, service: Service) -> None:
    """By the configured count, as soon as the next one is stored."""
    first, second, third = (take(pipeline) for _ in range(3))
    kubectl.poll(lambda: is_removed(pipeline, first), timeout=10, what="the first is removed")
    status = profiles.get(pipeline, profiles.name_of(first))["status"]
    assert "config.retention.maxPerOrdinal" in status["message"]
    assert profiles.conditions(status)["Stored"] == "False"
    assert status["profile"]["samples"] == first["status"]["profile"]["samples"]
    assert profiles.wait_event(pipeline.namespace, profiles.name_of(first), "ProfileRemoved")
    assert disk.list_profiles() == {profiles.uid_of(second), profiles.uid_of(third)}
    assert disk.list_tombstones() == []
    listed = {profile["id"] for profile in service.list_stored(pipeline.name)}
    assert listed == {profiles.uid_of(second), profiles.uid_of(third)}


def test_a_pinned_profile_is_kept(pipeline: Pipeline, disk: Disk) -> None:
    """It does not count towards the limit."""
    pinned = take(pipeline)
    annotate(pipeline, pinned, f"{names.PIN}=")
    second, _, _ = (take(pipeline) for _ in range(3))
    kubectl.poll(lambda: is_removed(pipeline, second), timeout=10, what="the second is removed")
    assert profiles.uid_of(pinned) in disk.list_profiles()
    assert not is_removed(pipeline, pinned)


def test_a_full_volume_refuses_and_serves(pipeline: Pipeline, disk: Disk, service: Service) -> None:
    """StoreFull with a cure, before anything touches the pod; the last profile is served; with room it works again."""
    last = take(pipeline)
    disk.fill()
    try:
        failure = profiles.wait_failed(pipeline, profiles.make(pipeline, durationSeconds=1), "StoreFull")
        assert "persistence.size" in failure["remedy"]
        answer = service.profile(pipeline.name)
        assert (answer.status, answer.headers["etag"].strip('"')) == (200, last["status"]["profile"]["sha256"])
        assert service.profile(pipeline.name, method="POST").problem()[:2] == (500, "SamplyProfilingFailure")
    finally:
        disk.make_room()
    take(pipeline)


def test_a_volume_that_fills_during_a_recording(pipeline: Pipeline, disk: Disk, service: Service) -> None:
    """No partial file; the operator survives, reports it in the object, cleans up, and continues once there is room."""
    before = disk.list_profiles()
    name = profiles.make(pipeline, durationSeconds=3)
    profiles.wait(pipeline, name, "Recording")
    disk.fill()
    try:
        profiles.wait_failed(pipeline, name, "StoreFull")
        assert service.profile(pipeline.name).status == 200
    finally:
        disk.make_room()
        pipeline.exec(0, "rm -rf /tmp/.samply-operator-*")  # it would stay for remoteTtlSecs
    # What retention removes passes through this folder.
    kubectl.poll(lambda: not list((disk.folder / "tmp").iterdir()), timeout=5, what="no partial file is left")
    good = {path.parent.name for path in (disk.folder / "profiles").glob("*/profile.json.gz")}
    assert good <= before
    take(pipeline)


def test_a_deleted_object_takes_its_file_along(pipeline: Pipeline, disk: Disk) -> None:
    """Within seconds, pinned or not."""
    profile = take(pipeline)
    annotate(pipeline, profile, f"{names.PIN}=")
    profiles.delete(pipeline, profiles.name_of(profile))
    kubectl.poll(lambda: profiles.uid_of(profile) not in disk.list_profiles(), timeout=5, what="the file is gone")
    kubectl.poll(lambda: not disk.list_tombstones(), timeout=5, what="the tombstone is gone")


def test_a_target_has_a_lease_while_it_is_recorded(pipeline: Pipeline, install: Install) -> None:
    """It names the installation, the pod owns it, and it is deleted when the recording ends."""
    uid = kubectl.get("-n", pipeline.namespace, "pod", pipeline.pod(0))["metadata"]["uid"]
    path = ("-n", pipeline.namespace, "lease", lease.build_name(uid, "pipeline"))
    name = profiles.make(pipeline, durationSeconds=2)
    profiles.wait(pipeline, name, "Recording")
    held = kubectl.get(*path)
    assert held["spec"]["holderIdentity"] == f"{install.namespace}/{install.release}"
    assert held["metadata"]["ownerReferences"][0]["uid"] == uid
    profiles.wait_succeeded(pipeline, name)
    kubectl.poll(lambda: kubectl.run("get", *path).returncode, timeout=10, what="the Lease is gone")


def test_a_target_that_another_operator_records_is_refused(pipeline: Pipeline) -> None:
    """With the holder's name; after that one has released it, it works."""
    uid = kubectl.get("-n", pipeline.namespace, "pod", pipeline.pod(0))["metadata"]["uid"]
    at = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    body = {
        "apiVersion": lease.API_VERSION,
        "kind": "Lease",
        "metadata": {"name": lease.build_name(uid, "pipeline"), "annotations": {names.HELD_FOR: "another"}},
        "spec": {"holderIdentity": "far/away", "leaseDurationSeconds": 60, "renewTime": at, "acquireTime": at},
    }
    kubectl.succeed("-n", pipeline.namespace, "create", "-f", "-", body=body)
    failure = profiles.wait_failed(pipeline, profiles.make(pipeline, durationSeconds=1), "AlreadyRecording")
    assert "far/away" in failure["message"]
    kubectl.succeed("-n", pipeline.namespace, "delete", "lease", body["metadata"]["name"])
    take(pipeline)


def test_files_survive_their_namespace(pipeline: Pipeline, install: Install, disk: Disk, service: Service) -> None:
    """Deleting a namespace deletes its objects, but no user meant to delete the profiles: they are still served."""
    (other,) = (n for n in install.values["config"]["targets"]["namespaces"] if n != install.namespace)
    elsewhere = pipelines.start(other, "elsewhere", replicas=1)
    elsewhere.wait_ready()
    profile = take(elsewhere)
    kubectl.succeed("delete", "namespace", other, "--timeout=90s", timeout=100)
    take(pipeline)  # whatever the deletions lead to comes before the end of this
    assert profiles.uid_of(profile) in disk.list_profiles()
    answer = service.profile("elsewhere")
    assert (answer.status, answer.headers["etag"].strip('"')) == (200, profile["status"]["profile"]["sha256"])


@pytest.mark.slow
def test_a_deletion_missed_while_the_operator_was_away_is_found(
    pipeline: Pipeline, install: Install, disk: Disk
) -> None:
    """Past the grace period, by complete lists, a minute apart."""
    gone, kept = take(pipeline), take(pipeline)
    install.scale(0)
    profiles.delete(pipeline, profiles.name_of(gone))
    install.scale(1)
    assert profiles.uid_of(gone) in disk.list_profiles()
    kubectl.poll(lambda: profiles.uid_of(gone) not in disk.list_profiles(), timeout=150, what="the file is gone")
    assert profiles.uid_of(kept) in disk.list_profiles()


def test_a_crd_reports_its_deletion_before_its_first_object_is_gone() -> None:
    """What keeps the files when a CRD is deleted rests on it. Asked of a CRD of this test's own."""
    with release.fresh_namespace("crd") as namespace:
        plural, group = f"throwaways{uuid.uuid4().hex[:6]}", "test.samply.feldera.com"
        name = f"{plural}.{group}"
        kubectl.succeed("create", "-f", "-", body=build_crd(plural, group))
        try:
            kubectl.succeed("wait", f"crd/{name}", "--for=condition=Established", "--timeout=30s")
            for number in range(20):
                body = {
                    "apiVersion": f"{group}/v1",
                    "kind": "Throwaway",
                    "metadata": {"name": f"t-{number}", "namespace": namespace},
                }
                kubectl.poll(
                    lambda body=body: not kubectl.run("apply", "-f", "-", body=body).returncode,  # type: ignore[misc]
                    timeout=10,
                    what="an object is made",
                )
            seen = watch_deletions(namespace, name, 20)
            assert len(seen) == 20
            assert "stands" not in seen
        finally:
            kubectl.run("delete", "crd", name, "--wait=false")


def build_crd(plural: str, group: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object"}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": "Throwaway"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


def watch_deletions(namespace: str, crd: str, count: int) -> list[str]:
    """Delete the CRD; its state at each DELETED event of its objects: `deletionTimestamp`, `gone` or `stands`."""
    arguments = ["kubectl", "-n", namespace, "get", crd, "--watch", "--output-watch-events", "-o", "json"]
    decoder, text, seen, is_deleting = json.JSONDecoder(), "", list[str](), False
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as watch:
        timer = threading.Timer(60, watch.kill)
        timer.start()
        assert watch.stdout is not None
        for line in watch.stdout:
            text = (text + line).lstrip()
            with contextlib.suppress(json.JSONDecodeError):
                event, end = decoder.raw_decode(text)
                text = text[end:]
                if event["type"] == "DELETED":
                    seen.append(look(crd))
                elif not is_deleting:
                    is_deleting = True
                    kubectl.succeed("delete", "crd", crd, "--wait=false")
            if len(seen) == count:
                break
        timer.cancel()
        watch.kill()
    return seen


def look(crd: str) -> str:
    found = kubectl.run("get", "crd", crd, "-o", "json")
    if found.returncode:
        return "gone"
    return "deletionTimestamp" if "deletionTimestamp" in json.loads(found.stdout)["metadata"] else "stands"
