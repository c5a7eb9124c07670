"""Every reason for which a recording fails, provoked through the whole engine: the object states it, and its remedy.

Each case has a cluster of its own, and all run at the same time, since they mostly wait.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import shutil
import signal
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from samply_operator.errors import KubeDenied, KubeForbidden, KubeUnavailable
from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.rules.recording.failures import REMEDIES
from samply_operator.settings import BringOwn, Ephemeral, Paths, Recording, Settings
from support.fake_cluster import Container, FakeCluster, Fault, Json
from support.operator_process import NAMESPACE, RECORDED, OperatorProcess, add_pipeline, add_pod, ask

from . import test_pipeline_samply
from .test_engine import POD
from .test_trouble import fail, make_sparse

MIB = 1024 * 1024
BROUGHT = Settings(recording=Recording(min_free_bytes=1), bring_own=BringOwn(enabled=True))
NOT_BROUGHT = Settings(recording=BROUGHT.recording, bring_own=BROUGHT.bring_own, paths=Paths(samply="/nowhere/samply"))


def make_settings(**changes: Any) -> Settings:
    return Settings(recording=Recording(**{"min_free_bytes": 1, "min_coverage": 0.0, "unreachable_secs": 2} | changes))


@dataclass(slots=True)
class Scene:
    """One pipeline of one pod, whose samply works unless the case says otherwise."""

    root: Path
    cluster: FakeCluster
    operator: OperatorProcess
    container: Container

    @property
    def bin(self) -> Path:
        return Path(self.container.path.partition(":")[0])

    @property
    def folder(self) -> Path:
        """Of the recording."""
        return next(self.container.folder.iterdir())

    @property
    def pod(self) -> Json:
        return self.cluster.objects[objects.pods(NAMESPACE, POD)]

    async def recording(self) -> None:
        await self.operator.reach_phase("p-1", "Recording")


Play = Callable[[Scene], Awaitable[None] | None]


@dataclass(frozen=True, slots=True)
class Case:
    """`before` acts on the pipeline, `during` once the object is there; `spec` is what is asked for."""

    cure: str
    """Words that the cure must have."""
    spec: dict[str, Any] = field(default_factory=dict)
    settings: Settings = field(default_factory=make_settings)
    samply: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    fault: Fault | None = None
    is_busy: bool = False
    before: Play | None = None
    during: Play | None = None
    disk: Callable[[str], None] = lambda step: None


# ------------------------------------------------------------------------------------------------- what goes wrong


def pend(scene: Scene) -> None:
    scene.pod["status"]["phase"] = "Pending"
    scene.cluster.put(objects.pods(NAMESPACE, POD), scene.pod)


def switch_off(scene: Scene) -> None:
    scene.pod["metadata"]["annotations"] = {names.ENABLED: "false"}
    scene.cluster.put(objects.pods(NAMESPACE, POD), scene.pod)


async def record_another(scene: Scene) -> None:
    ask(scene.cluster, "p-0", durationSeconds=600)
    await scene.operator.reach_phase("p-0", "Recording")


def add_helper(scene: Scene) -> None:
    scene.pod["spec"]["ephemeralContainers"] = [{"name": "samply-operator-1"}]


def hold_helpers(scene: Scene, reason: str, message: str = "") -> None:
    scene.cluster.helper_state = {"waiting": {"reason": reason, "message": message}}


def remove(program: str) -> Play:
    def act(scene: Scene) -> None:
        (scene.bin / program).unlink()
        scene.container.path = str(scene.bin) if program == "sh" else scene.container.path

    return act


def put_program(name: str, script: str) -> Play:
    """In place of a tool of the container."""

    def act(scene: Scene) -> None:
        (scene.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (scene.bin / name).chmod(0o755)

    return act


def stop_target(scene: Scene) -> None:
    scene.container.target.send_signal(signal.SIGSTOP)
    os.waitpid(scene.container.target.pid, os.WUNTRACED)


def kill_target(scene: Scene) -> None:
    scene.container.target.kill()
    scene.container.target.wait()


async def end_target(scene: Scene) -> None:
    await scene.recording()
    kill_target(scene)


async def replace_pod(scene: Scene) -> None:
    await scene.recording()
    add_pod(scene.cluster, "pipeline-a", 0)
    kill_target(scene)


async def restart_container(scene: Scene) -> None:
    await scene.recording()
    scene.pod["status"]["containerStatuses"][0]["containerID"] = "containerd://another"
    kill_target(scene)


async def kill_samply(scene: Scene) -> None:
    await scene.recording()
    os.kill(int((scene.folder / "samply").read_text().split()[0]), signal.SIGKILL)


async def lose_folder(scene: Scene) -> None:
    await scene.recording()
    shutil.rmtree(scene.folder)


def cut_session(scene: Scene) -> None:
    scene.cluster.cuts = [20]


def be_blind(scene: Scene) -> None:
    _write(scene, profile=str(make_sparse(scene.root)), sidecar="", symbol_flag="")


def take_nothing(scene: Scene) -> None:
    profile = json.loads(gzip.decompress(Path(str(RECORDED["profile"])).read_bytes()))
    for thread in profile["threads"]:
        columns = thread["samples"]
        thread["samples"] = {k: [] if isinstance(v, list) else v for k, v in columns.items()} | {"length": 0}
    path = scene.root / "empty.json.gz"
    path.write_bytes(gzip.compress(json.dumps(profile).encode()))
    _write(scene, profile=str(path), sidecar="", symbol_flag="")


def _write(scene: Scene, **behaviour: Any) -> None:
    (scene.bin / "behaviour").write_text(json.dumps(RECORDED | behaviour))


def is_exec(verb: str, _: str) -> bool:
    return verb == "exec"


def break_at(step: str) -> Callable[[str], None]:
    def fault(reached: str) -> None:
        if reached == step:
            raise OSError(5, "Input/output error")

    return fault


def refuse_helper(verb: str, what: str) -> bool:
    return verb == "patch" and what.endswith("ephemeralcontainers")


def be_defect(verb: str, _: str) -> BaseException | None:
    return ZeroDivisionError("a defect") if verb == "exec" else None


NO_LOCK = f"{(1 << 41) - 1 & ~(1 << 14):016x}"
REFUSED_IMAGE = (
    "pods \"p\" is forbidden: ValidatingAdmissionPolicy 'x' with binding 'x' denied request: samply-operator may only "
    "add its own image, not mirror.corp/samply-operator-samply:0.1.0 (its own is samply-operator-samply:0.1.0)"
)
NO_ADMIN = f"{(1 << 41) - 1 & ~(1 << 21):016x}"
PULL = "Back-off pulling image: not found"

CASES = {
    "UnknownPipeline": Case("config.targets.podSelector", {"pipeline": "b"}),
    "UnknownOrdinal": Case("ordinals listed in the message", {"ordinal": 5}),
    "UnknownContainer": Case("omit spec.container", {"container": "x"}),
    "PodNotRunning": Case("wait until its pod is Running", before=pend),
    "ProfilingNotEnabled": Case("config.recording.enabled=true", settings=make_settings(enabled=False)),
    "SwitchedOff": Case("remove the annotation samply.feldera.com/enabled", before=switch_off),
    "AlreadyRecording": Case("samply.feldera.com/stop=keep", before=record_another),
    "ModeNotAllowed": Case("config.bringOwn", {"mode": "BringOwn"}),
    "OwnSamplyMissing": Case("hack/images", {"mode": "BringOwn"}, NOT_BROUGHT),
    "EphemeralRefused": Case(
        "exempt the operator's ServiceAccount", {"mode": "Ephemeral"}, fault=fail(refuse_helper, KubeForbidden("no"))
    ),
    "ImageRewritten": Case(
        "helperImage.rewrittenAs", {"mode": "Ephemeral"}, fault=fail(refuse_helper, KubeDenied(REFUSED_IMAGE))
    ),
    "EphemeralLimit": Case(
        "restart the pod", {"mode": "Ephemeral"}, Settings(ephemeral=Ephemeral(max_per_pod=1)), before=add_helper
    ),
    "ImagePullFailed": Case(
        "imagePullSecrets", {"mode": "Ephemeral"}, before=lambda scene: hold_helpers(scene, "InvalidImageName", PULL)
    ),
    "EphemeralTimeout": Case(
        "kubectl describe pod",
        {"mode": "Ephemeral"},
        Settings(ephemeral=Ephemeral(start_deadline_secs=1)),
        before=lambda scene: hold_helpers(scene, "ContainerCreating"),
    ),
    "UnsupportedArchitecture": Case("mode InPlace", {"mode": "BringOwn"}, BROUGHT, facts={"arch": "aarch64"}),
    "UserNamespace": Case("hostUsers: false", facts={"uid_map": "0 100000 65536"}),
    "AmbiguousProcess": Case(
        "spec.process",
        facts={"process": "1 0 S 1 1 1 1000 - tini\nprocess=7 1 S 1 1 5 1000 - a\nprocess=8 1 S 1 1 6 1000 - b"},
    ),
    "OpenFiles": Case("limit of open files", facts={"nofile": "10"}),
    "TightMemory": Case(
        "raise the container's memory limit", facts={"memory_limit": str(60 * MIB), "memory_used": str(30 * MIB)}
    ),
    "NodeMemory": Case("node has more free memory", facts={"available_kib": "100000"}),
    "MemoryNear": Case(
        "shorter time",
        {"durationSeconds": 60},
        samply={"memory_mib": 120},
        facts={"memory_limit": str(100 * MIB), "memory_used": "0"},
    ),
    "LowCoverage": Case(
        "mode Ephemeral", {"durationSeconds": 8}, make_settings(min_coverage=0.75), is_busy=True, before=be_blind
    ),
    "NoShell": Case("POSIX shell", before=remove("sh")),
    "SamplyNotFound": Case("PATH", before=remove("samply")),
    "SamplyTooOld": Case("0.13.1 or newer", facts={"flags": "--save-only"}),
    "NoWritableFolder": Case("emptyDir at /tmp", facts={"folder": ""}),
    "TooLittleSpace": Case("sizeLimit", facts={"free_kib": "0"}),
    "PerfEventParanoid": Case("sysctl kernel.perf_event_paranoid=1", facts={"paranoid": "2"}),
    "PerfRestricted": Case(
        "kernel.perf_event_paranoid=2", facts={"paranoid": "3", "kernel": "Linux (debian-kernel@x)", "capeff": NO_ADMIN}
    ),
    "PageSize": Case("pages of 4 KiB", facts={"page_kib": "64"}),
    "PerfNotPermitted": Case("PERFMON", facts={"capeff": "0", "seccomp": "2"}),
    "LockedMemory": Case("IPC_LOCK", facts={"capeff": NO_LOCK, "memlock": "0", "mlock_kib": "1"}),
    "RateTooHigh": Case("lower rateHz", {"rateHz": 999}, facts={"max_rate": "100"}),
    "ProcessNotFound": Case("spec.process", {"process": "nobody"}),
    "TargetStopped": Case("SIGCONT", before=stop_target),
    "TargetEnded": Case("--previous", {"durationSeconds": 600}, samply={"no_file": True}, during=end_target),
    "PodDeleted": Case(
        "until the pipeline runs again", {"durationSeconds": 600}, samply={"no_file": True}, during=replace_pod
    ),
    "ContainerRestarted": Case(
        "kubectl describe pod", {"durationSeconds": 600}, samply={"no_file": True}, during=restart_container
    ),
    "AttachTimeout": Case(
        "load of the node", settings=make_settings(attach_deadline_secs=1), samply={"attach_secs": -1}
    ),
    "FinishTimeout": Case("shorter time", settings=make_settings(finish_deadline_secs=1), samply={"write_secs": -1}),
    "SamplyFailed": Case("samply's log", samply={"refuses": "something that nobody knows"}),
    "SamplyKilled": Case("memory limit", {"durationSeconds": 600}, during=kill_samply),
    "NoProfileWritten": Case("space in the pod's folder", samply={"no_file": True}),
    "FelderaNotConfigured": Case("config.feldera.url", {"mode": "Pipeline"}),
    "EmptyProfile": Case("CPU limits", {"durationSeconds": 8}, is_busy=True, before=take_nothing),
    "TransferCorrupt": Case("container runtime", before=put_program("dd", "/bin/dd \"$@\" | tr 'a-f' 'b-g'")),
    "TransferFailed": Case("connection to the pod's node", before=put_program("dd", "echo 'I/O error' >&2; exit 1")),
    "StoreFull": Case("persistence.size", settings=make_settings(min_free_bytes=1 << 60)),
    "StoreFailed": Case("and the volume", disk=break_at("profile-staged")),
    "Unreachable": Case("check the node", fault=fail(is_exec, KubeUnavailable("exec: 503 from the API server"))),
    "NotPermitted": Case("chart's Role", fault=fail(is_exec, KubeForbidden("pods/exec is forbidden"))),
    "AdmissionRefused": Case("exempt the operator's ServiceAccount", fault=fail(is_exec, KubeDenied("no exec here"))),
    "Lost": Case("retry", {"durationSeconds": 600}, before=cut_session, during=lose_folder),
    "InternalError": Case("report it", fault=be_defect),
}


async def play(case: Case, root: Path) -> Json:
    """The object's failure."""
    (root / "cluster").mkdir(parents=True)
    with FakeCluster(root / "cluster") as cluster:
        async with OperatorProcess(cluster, root / "data", case.settings, fault=case.disk) as operator:
            (container,) = add_pipeline(cluster, is_busy=case.is_busy, **case.samply)
            container.facts |= case.facts
            scene = Scene(root, cluster, operator, container)
            await _act(case.before, scene)
            cluster.fault = case.fault or cluster.fault
            ask(cluster, **case.spec)
            await _act(case.during, scene)
            status = await operator.reach_phase("p-1", "Succeeded", "Failed")
            await operator.reach(lambda: status["failure"]["reason"] in operator.list_events("p-1"))
            return dict(status["failure"])


async def _act(play: Play | None, scene: Scene) -> None:
    done = play(scene) if play else None
    if done is not None:
        await done


@pytest.fixture(scope="module")
def endings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Json]]]:
    root = tmp_path_factory.mktemp("reasons")

    def start(reason: str, case: Case) -> Json:
        return asyncio.run(asyncio.wait_for(play(case, root / reason), 100))

    with ThreadPoolExecutor(12) as threads:
        yield {reason: threads.submit(start, reason, case) for reason, case in CASES.items()}


def test_every_reason_has_a_case() -> None:
    """A new reason needs a test that provokes it; one that is gone has none."""
    elsewhere = {case.values[1] for case in test_pipeline_samply.WRONG} - CASES.keys()
    assert list(CASES) == [reason for reason in REMEDIES if reason not in elsewhere]


@pytest.mark.parametrize("reason", CASES)
def test_the_object_names(reason: str, endings: dict[str, Future[Json]]) -> None:
    """The reason, a message with facts of this case, and the cure that the documentation has; an Event says it too."""
    failure = endings[reason].result(timeout=110)
    assert failure["reason"] == reason, failure
    assert failure["remedy"].startswith(REMEDIES[reason])
    assert CASES[reason].cure in failure["remedy"]
    assert len(failure["message"]) > 10, failure
