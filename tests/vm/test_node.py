"""Recordings by the operator on a node with cgroup v2: a real kubelet, containerd and runc in an emulated machine.

Needs the native cluster, with the images loaded: the node is a second one of it (hack/vmnode). With
SAMPLY_WRITE_MATRIX=1 what came is written into docs/matrix.md."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from cluster import matrix, profiles, release, table
from cluster.node import Node
from cluster.pipelines import BARE_IMAGE, IMAGE, Pipeline
from cluster.release import Install
from cluster.specimens import Specimen
from support import kubectl
from vm.machine import REPOSITORY

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

NODE = "samply-vm"
HELPER_IMAGE = "docker.io/library/samply-operator-samply:dev"
PLACE: Mapping[str, Any] = {"nodeName": NODE, "hostNetwork": True, "tolerations": [{"operator": "Exists"}]}
"""The node has no network of its own for pods."""
READY_SECS, POD_SECS, RECORDING_SECS = 900, 300, 600
"""Emulated, all takes long."""
SECS, RATE_HZ = 10, 50
LOADS = {"half": "40"}
"""Percent of a CPU for each worker, if not 10: a busy pod slows down all else on the node, an exec most of all."""
HEADING = "A node with cgroup v2"
INTRO = f"""\
Written by `tests/vm/test_node.py` (`SAMPLY_WRITE_MATRIX=1`) from what it saw on an emulated node of two CPUs with
Debian 12's kernel (6.1, x86_64) and cgroup v2: SamplyProfiles, carried out by the operator through a real kubelet,
containerd and runc. Recordings of {SECS} s at {RATE_HZ} Hz. The coverage says nothing about a real node.

| pod | paranoid | mode | what came | coverage | throttled |
| --- | --- | --- | --- | --- | --- |
"""

KINDS = {
    "prepared": matrix.KINDS["prepared"],
    "half": matrix.Kind(
        "no samply, no rights, limits.cpu 500m",
        image=BARE_IMAGE,
        security=matrix.NO_RIGHTS,
        resources={"limits": {"cpu": "500m"}},
    ),
    "roomy-bare": matrix.Kind(
        "no samply, root, PERFMON and IPC_LOCK, limits.memory 512Mi",
        image=BARE_IMAGE,
        resources={"limits": {"memory": "512Mi"}},
    ),
}


@dataclass(frozen=True)
class Row:
    """`answers`: the mode if it gives a good profile, else the reason. `facts`: what preflight reads there."""

    kind: str
    mode: str
    level: str
    answers: str
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.kind}-{self.mode}-{self.level}"

    @property
    def begin(self) -> str:
        return f"| {KINDS[self.kind].says} | {self.level} | {self.mode} |"


ROWS = (
    Row("prepared", "InPlace", "1", "InPlace"),
    Row("half", "Ephemeral", "2", "Ephemeral", {"targetCpuLimit": "0.5"}),
    Row("half", "Ephemeral", "3", "PerfRestricted"),
    Row("roomy-bare", "BringOwn", "2", "BringOwn", {"memoryLimit": "512 MiB"}),
)
SEEN: dict[str, str] = {}
"""Lines of the page, by row."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One that runs already is used."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("needs the native cluster, with the images, and its KUBECONFIG: docs/development/cluster.md")
    if f"{NODE} Ready" in " ".join(kubectl.succeed("get", "nodes", "--no-headers").split()):
        yield
        return
    out = tmp_path_factory.mktemp("node")
    command = [REPOSITORY / "hack" / "vmnode", out, IMAGE, BARE_IMAGE, HELPER_IMAGE]
    with (out / "vmnode.log").open("w+") as log, subprocess.Popen(command, stdout=log, stderr=log) as running:
        try:
            kubectl.poll(
                lambda: running.poll() is not None or f"{NODE} is Ready" in (out / "vmnode.log").read_text(),
                timeout=READY_SECS,
                what=lambda: f"the node is Ready: {(out / 'vmnode.log').read_text()}",
            )
            assert running.poll() is None, (out / "vmnode.log").read_text()
            yield
        finally:
            running.send_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def place(machine: None) -> Iterator[str]:
    with release.fresh_namespace("vm") as namespace:
        yield namespace


@pytest.fixture(scope="module")
def install(place: str) -> Iterator[Install]:
    config = {
        "recording": {"attachDeadlineSecs": 300, "finishDeadlineSecs": 900, "minCoverage": 0.1},
        "ephemeral": {"image": HELPER_IMAGE, "startDeadlineSecs": POD_SECS},
        "bringOwn": {"enabled": True},
    }
    made = Install(place, values={"config": config})
    try:
        made.install()
        yield made
    finally:
        made.uninstall()


@pytest.fixture(scope="module")
def hand(place: str) -> Node:
    made = Node(place, PLACE)
    made.start(POD_SECS)
    return made


@pytest.fixture(scope="module")
def specimens(place: str) -> Iterator[dict[str, Specimen]]:
    yield {}
    kubectl.run("-n", place, "delete", "pods", "--all", "--grace-period=0", "--force")


def fetch(kind: str, place: str, hand: Node, specimens: dict[str, Specimen]) -> Specimen:
    """One busy pod at a time."""
    if kind not in specimens:
        for found in specimens.values():
            kubectl.succeed("-n", place, "delete", "pod", found.pipeline.pod(), "--wait=false")
        specimens.clear()
        body = matrix.build_pod(kind, KINDS[kind])
        body["spec"] |= PLACE
        body["spec"]["containers"][0]["env"] = [{"name": "DEMO_LOAD", "value": LOADS.get(kind, "10")}]
        kubectl.succeed("-n", place, "create", "-f", "-", body=body)
        specimens[kind] = Specimen(Pipeline(place, kind, kind, replicas=1), hand)
        pod = f"pod/{kind}-0"
        kubectl.succeed("-n", place, "wait", pod, "--for=condition=Ready", f"--timeout={POD_SECS}s", timeout=POD_SECS)
    return specimens[kind]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_recording(row: Row, place: str, install: Install, hand: Node, specimens: dict[str, Specimen]) -> None:
    specimen = fetch(row.kind, place, hand, specimens)
    hand.write_paranoid(row.level)
    name = profiles.make(specimen.pipeline, mode=row.mode, durationSeconds=SECS, rateHz=RATE_HZ)
    status = profiles.wait(specimen.pipeline, name, timeout=RECORDING_SECS)["status"]
    facts = status["preflight"]["facts"]
    assert facts["perfEventParanoid"] == row.level, profiles.show(status)
    assert facts | row.facts == facts, profiles.show(status)
    if row.answers == row.mode:
        assert status["phase"] == "Succeeded", profiles.show(status)
        assert status["profile"]["symbolicated"], profiles.show(status)
        came = f"{row.mode}: a profile | {status['profile']['coverage']:.2f}"
    else:
        assert status.get("failure", {}).get("reason") == row.answers, profiles.show(status)
        came = f"`{row.answers}` |"
    throttled = status.get("profile", {}).get("throttledSeconds", 0)
    if "cpu" in KINDS[row.kind].resources.get("limits", {}) and row.answers == row.mode:
        assert throttled > 0, profiles.show(status)
    SEEN[row.id] = f"{row.begin} {came} |{f' {throttled:.1f} s' if throttled else ''} |\n"


@pytest.mark.skipif(not os.environ.get("SAMPLY_WRITE_MATRIX"), reason="SAMPLY_WRITE_MATRIX is not set")
def test_write_the_matrix() -> None:
    assert set(SEEN) == {row.id for row in ROWS}, "a row failed"
    table.write_section(HEADING, INTRO + "".join(SEEN[row.id] for row in ROWS))
