"""The matrix: unprepared pods, each with the mode that works on it, or the reason why none does.

A few rows are played each time, the others are slow. With SAMPLY_WRITE_MATRIX=1 each row that is seen is noted in
.pytest_cache; as soon as all are there, be it by several runs, docs/matrix.md is written. Delete them to begin anew.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import json
import os
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster import profiles, release, table
from cluster.matrix import KINDS, PROGRAM, ROWS, USUAL_PARANOID, USUAL_SECS, Row
from cluster.node import Node
from cluster.release import Install, Service
from cluster.specimens import Specimen, Zoo, create, find_container, take_snapshot
from samply_operator import profiles as files
from samply_operator.kube.client import KubeClient
from samply_operator.recorder.context import Context
from samply_operator.recorder.pod import ephemeral
from samply_operator.settings import Ephemeral, Settings
from support import kubectl
from support.samples import make_entry

pytestmark = [pytest.mark.cluster, pytest.mark.serial, pytest.mark.timeout(240)]

FUNCTIONS = {"join", "aggregate", "parse"}
WORKERS = ("dbsp-worker-0", "dbsp-worker-1")
HELPER_IMAGE = "docker.io/library/samply-operator-samply:dev"
NO_IMAGE = "127.0.0.1:1/samply:none"
"""No registry listens there."""
START_DEADLINE_SECS = 20


@pytest.fixture(scope="module")
def places() -> Iterator[dict[str, str]]:
    with (
        release.fresh_namespace("modes") as first,
        release.fresh_namespace("baseline") as second,
        release.fresh_namespace("closed") as third,
    ):
        kubectl.succeed("label", "namespace", second, "pod-security.kubernetes.io/enforce=baseline")
        yield {"open": first, "baseline": second, "closed": third}


@pytest.fixture(scope="module")
def modes_install(places: dict[str, str]) -> Iterator[Install]:
    allowed = [places["open"], places["baseline"]]
    config = {
        "targets": {"namespaces": list(places.values())},
        "ephemeral": {"image": HELPER_IMAGE, "namespaces": allowed},
        "bringOwn": {"enabled": True},
    }
    install = Install(places["open"], values={"config": config})
    try:
        install.install()
        yield install
    finally:
        install.uninstall()


@pytest.fixture(scope="module")
def modes_service(modes_install: Install) -> Iterator[Service]:
    with modes_install.open() as opened:
        yield opened


@pytest.fixture(scope="module")
def zoo(places: dict[str, str], node: Node) -> Iterator[Zoo]:
    found = Zoo(places, node)
    yield found
    found.clear()


@contextlib.contextmanager
def paranoid(node: Node, wanted: str) -> Iterator[None]:
    """For the whole machine, and so for a moment only."""
    if wanted == USUAL_PARANOID:
        yield
        return
    if not node.is_native():
        pytest.skip("the setting belongs to the machine, which may be somebody's desk")
    level = node.read_paranoid()
    node.write_paranoid(wanted)
    try:
        yield
    finally:
        node.write_paranoid(level)


def record(specimen: Specimen, mode: str, process: str = "", secs: int = USUAL_SECS) -> profiles.Object:
    """One recording to its end, whatever that is; its object."""
    spec = {"mode": mode, "durationSeconds": secs, **({"process": process} if process else {})}
    return profiles.wait(specimen.pipeline, profiles.make(specimen.pipeline, **spec), timeout=90)


def check_good(row: Row, specimen: Specimen, profile: profiles.Object, service: Service, path: Path) -> None:
    """It came that way, of the container's own program and of nothing beside or around it; all samples that were due
    are there, and the workers' functions have their names."""
    status = profile["status"]
    assert status["phase"] == "Succeeded", profiles.show(status)
    assert status["target"]["mode"] == row.answers, profiles.show(status)
    assert specimen.name_process(status["target"]["pid"]) == (row.process or Path(PROGRAM).name), profiles.show(status)
    stored = status["profile"]
    assert stored["coverage"] >= 0.9, profiles.show(status)
    assert stored["symbolicated"], profiles.show(status)
    if "cpu" in KINDS[row.kind].resources.get("limits", {}):
        assert stored["throttledSeconds"] >= 0
    answer = service.stored(specimen.pipeline.name, stored["id"], f"/profile?namespace={specimen.pipeline.namespace}")
    assert answer.status == 200, answer
    path.write_bytes(answer.body)
    for worker in WORKERS:
        (thread,) = files.top(files.read(path), thread=worker).threads
        assert {cost.name for cost in thread.by_self if cost.self_weight > 0} >= FUNCTIONS, thread


def check_refused(row: Row, status: dict[str, Any]) -> None:
    """It failed for one of those reasons, with a useful message."""
    assert status["phase"] == "Failed", profiles.show(status)
    failure = status["failure"]
    assert failure["reason"] in row.answers.split(), profiles.show(status)
    assert row.says in f"{failure['message']} {failure['remedy']}", profiles.show(failure)
    assert all((failure["message"], failure["remedy"])), profiles.show(failure)
    found = [finding["reason"] for finding in status.get("preflight", {}).get("findings", [])]
    assert row.finding in ["", *found], profiles.show(status)


PLAYED = [pytest.param(row, id=row.id, marks=[] if row.is_usual else [pytest.mark.slow]) for row in ROWS]


@pytest.mark.parametrize("row", PLAYED)
def test_matrix(row: Row, zoo: Zoo, modes_install: Install, modes_service: Service, node: Node, tmp_path: Path) -> None:
    """Each pod gives the result in the table for each mode, and is unchanged afterwards."""
    specimen = zoo.fetch(row.kind, row.place)
    with paranoid(node, row.paranoid):
        profile = record(specimen, row.mode, row.process, row.secs)
    if row.is_good:
        check_good(row, specimen, profile, modes_service, tmp_path / "profile.json.gz")
    else:
        check_refused(row, profile["status"])
    specimen.wait_untouched()
    if os.environ.get("SAMPLY_WRITE_MATRIX"):
        table.note(row, profile["status"], node.describe())


GROW = "{ head -c 477102080 /dev/zero; sleep 20; } | tail >/dev/null"
"""A last line of 455 MiB: tail holds it until the sleep is over."""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["InPlace", "Ephemeral"])
def test_a_pipeline_that_grows_to_its_memory_limit_is_let_alone(mode: str, zoo: Zoo, modes_install: Install) -> None:
    """Preflight passed: samply is small, and the pipeline itself uses up the rest. The pipeline continues."""
    specimen = zoo.fetch("roomy", "open")
    where = specimen.pipeline
    name = profiles.make(where, mode=mode, durationSeconds=60)
    profiles.wait(where, name, "Recording", timeout=30)
    with subprocess.Popen(["kubectl", "-n", where.namespace, "exec", where.pod(), "--", "sh", "-c", GROW]) as growing:
        failure = profiles.wait_failed(where, name, "MemoryNear", timeout=40)
        assert growing.poll() is None, "it ended before, for want of memory"
    assert growing.returncode == 0
    assert "came near its limit" in failure["message"]
    specimen.wait_untouched()


STARTED = 'IFS= read -r line <"/proc/$1/stat"; set -- ${line##*) }; echo "${20}"'


@pytest.mark.slow
def test_a_target_that_was_left_stopped_and_has_no_shell_is_continued(
    zoo: Zoo, modes_install: Install, node: Node
) -> None:
    """By one more ephemeral container, as the operator adds it when the first one was lost while it attached."""
    specimen = zoo.fetch("distroless", "open")
    where, container = specimen.pipeline, find_container(specimen.get())
    (process,) = node.find_processes(container["containerID"])
    started = int(node.run(STARTED, process))
    node.signal(container["containerID"], "STOP")
    entry = make_entry(
        namespace=where.namespace, pod=where.pod(), container="pipeline", pid=1, pid_started=started, helper="lost"
    )
    assert "process pipeline in state T" in take_snapshot(node, specimen.get())

    async def wake() -> bool:
        async with KubeClient() as client:
            nowhere: Any = None
            settings = Settings(ephemeral=Ephemeral(image=HELPER_IMAGE))
            return await ephemeral.wake(Context(client, nowhere, nowhere, settings, time.time), entry)

    assert asyncio.run(wake())
    specimen.wait_untouched()


def test_a_samply_that_dies_while_it_attaches_leaves_no_process_stopped(zoo: Zoo, modes_install: Install) -> None:
    """The target isn't PID 1, which could not be stopped from inside; its CPU limit makes the SIGSTOP come late."""
    specimen = zoo.fetch("dying", "open")
    for _ in range(4):
        status = record(specimen, "InPlace")["status"]
        assert (status["phase"], status["failure"]["reason"]) == ("Failed", "SamplyKilled"), profiles.show(status)
        assert specimen.name_process(status["target"]["pid"]) == Path(PROGRAM).name
        specimen.wait_untouched()


@pytest.mark.slow
def test_an_image_that_no_node_can_pull(node: Node) -> None:
    """It fails within its deadline and reports it; then the pod's limit of them applies; in place still works."""
    ephemeral = {"image": NO_IMAGE, "startDeadlineSecs": START_DEADLINE_SECS, "maxPerPod": 1}
    with release.installed("pull", config={"ephemeral": ephemeral}) as install:
        specimen = create("prepared", install.namespace, node)
        specimen.settle()
        began = time.monotonic()
        failed = record(specimen, "Ephemeral")["status"]
        assert time.monotonic() - began < START_DEADLINE_SECS + 20
        check_refused(Row("prepared", "Ephemeral", "ImagePullFailed", says=NO_IMAGE), failed)
        limited = record(specimen, "Ephemeral")["status"]
        check_refused(Row("prepared", "Ephemeral", "EphemeralLimit", says="1 of 1"), limited)
        good = record(specimen, "Auto")["status"]
        assert (good["phase"], good["target"]["mode"]) == ("Succeeded", "InPlace"), profiles.show(good)
        # The container that never ran stays in its spec; nothing is in the pod.
        assert take_snapshot(node, specimen.get()) == specimen.before


# --------------------------------------------------------------------------------------- what the policy holds back


@pytest.fixture(scope="module")
def helper(zoo: Zoo, modes_install: Install) -> tuple[Specimen, dict[str, Any]]:
    """A pod, and a container that the operator added to it, under the next name."""
    specimen = zoo.fetch("distroless", "open")
    record(specimen, "Ephemeral")
    container = copy.deepcopy(specimen.get()["spec"]["ephemeralContainers"][-1])
    return specimen, container | {"name": "samply-operator-99"}


def add_container(install: Install, specimen: Specimen, container: dict[str, Any]) -> str:
    """As the operator would, with a token of its ServiceAccount; nothing is kept. What the API server refuses it with.

    kubectl would read the subresource before it patches it, which the operator may not."""
    config = json.loads(kubectl.succeed("config", "view", "--raw", "--minify", "-o", "json"))
    cluster = config["clusters"][0]["cluster"]
    token = kubectl.succeed("-n", install.namespace, "create", "token", install.name).strip()
    where = f"/api/v1/namespaces/{specimen.pipeline.namespace}/pods/{specimen.pipeline.pod()}/ephemeralcontainers"
    request = urllib.request.Request(
        f"{cluster['server']}{where}?dryRun=All",
        data=json.dumps({"spec": {"ephemeralContainers": [container]}}).encode(),
        method="PATCH",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/strategic-merge-patch+json"},
    )
    if "certificate-authority-data" in cluster:
        trusted = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    else:
        trusted = ssl.create_default_context(cafile=cluster["certificate-authority"])
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted))
    try:
        with opener.open(request, timeout=30):
            return ""
    except urllib.error.HTTPError as error:
        found: str = json.loads(error.read())["message"]
        return found


def change(container: dict[str, Any], **security: Any) -> dict[str, Any]:
    return container | {"securityContext": container["securityContext"] | security}


def test_the_policy_admits_what_the_operator_adds(
    helper: tuple[Specimen, dict[str, Any]], modes_install: Install
) -> None:
    assert add_container(modes_install, *helper) == ""


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ({"image": "docker.io/library/samply-test-bare:dev"}, "only add its own image"),
        ({"name": "debugger"}, "are named samply-operator-N"),
        ({"capabilities": {"drop": ["ALL"], "add": ["PERFMON", "SYS_ADMIN"]}}, "only add the capabilities"),
        ({"capabilities": {"add": ["PERFMON"]}}, "only add the capabilities"),
        ({"capabilities": {"drop": ["ALL"]}}, "only add the capabilities"),
        ({"privileged": True, "allowPrivilegeEscalation": True}, "neither a privileged container"),
        ({"allowPrivilegeEscalation": True}, "neither a privileged container"),
        ({"seccompProfile": {"type": "Unconfined"}}, "nor one without a seccomp profile"),
        ({"appArmorProfile": {"type": "Unconfined"}}, "have the confinement of the pod"),
        ({"seLinuxOptions": {"type": "spc_t"}}, "have the confinement of the pod"),
        ({"volumeMounts": [{"name": "secret", "mountPath": "/secret"}]}, "no volumes and no environment"),
        ({"env": [{"name": "LD_PRELOAD", "value": "x"}]}, "no volumes and no environment"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_the_policy_refuses_anything_else(
    what: dict[str, Any], says: str, helper: tuple[Specimen, dict[str, Any]], modes_install: Install
) -> None:
    """A stolen token of the operator cannot add another image, more rights, or the pod's volumes."""
    specimen, container = helper
    outer = {key: value for key, value in what.items() if key in {"image", "name", "volumeMounts", "env"}}
    inner = {key: value for key, value in what.items() if key not in outer}
    answer = add_container(modes_install, specimen, change(container, **inner) | outer)
    assert says in answer, answer
    assert "ValidatingAdmissionPolicy" in answer
