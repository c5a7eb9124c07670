"""Unprepared pods, and the expected result of each mode on each of them. Data only; test_modes.py runs it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster.pipelines import BARE_IMAGE, IMAGE
from samply_operator.model import names

DISTROLESS_IMAGE = "docker.io/library/samply-test-distroless:dev"
FILECAPS_IMAGE = "docker.io/library/samply-test-filecaps:dev"
BUSYBOX_IMAGE = "docker.io/library/samply-test-busybox:dev"
PROGRAM = "/usr/local/bin/pipeline"
LOAD = "40"
"""Percent of a CPU for each of two workers: enough CPU time in 8 s for a coverage, on a busy machine too."""
REQUESTS = {"cpu": "150m"}

RIGHTS = {"runAsUser": 0, "capabilities": {"add": ["PERFMON", "IPC_LOCK"]}}
NO_RIGHTS = {
    "runAsUser": 1000,
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
ADDED = {"runAsUser": 1000, "runAsNonRoot": True, "capabilities": {"add": ["PERFMON", "IPC_LOCK"]}}
"""In the bounding set alone: a user other than root gets them from a file that carries them, or not at all."""
CLOSED = {"allowPrivilegeEscalation": False, "seccompProfile": {"type": "RuntimeDefault"}}
"""Passes Pod Security `baseline`."""
ONE_CPU = {"limits": {"cpu": "1"}}


@dataclass(frozen=True)
class Kind:
    """A pod: its container's image, rights, limits and command; `pod` is merged into its spec."""

    says: str
    """For the reader of the table."""
    image: str = IMAGE
    security: Mapping[str, Any] = field(default_factory=lambda: RIGHTS)
    resources: Mapping[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    mounts: tuple[Mapping[str, Any], ...] = ()
    pod: Mapping[str, Any] = field(default_factory=dict)
    programs: tuple[str, ...] = ("pipeline",)
    sidecar: tuple[Mapping[str, Any], ...] = ()
    """Another container without any limit: what differs from the pipeline's own."""


IDLE = {"image": BARE_IMAGE, "command": ["sleep", "infinity"]}
BUSY = {"image": IMAGE, "env": [{"name": "DEMO_LOAD", "value": "10"}]}
"""The same program under the same name: only its cgroup tells it from the target."""
SCRIPT = "/opt/run.sh"
FIRST = "/usr/local/sbin/samply"
"""Comes before the image's own on the PATH."""
REFUSING = """\
#!/bin/sh
case "$*" in *--save-only*) echo 'mmap failed: Operation not permitted' >&2; exit 1 ;; esac
exec /usr/bin/samply "$@"
"""

DYING = """\
#!/bin/sh
case "$*" in *--save-only*) ;; *) exec /usr/bin/samply "$@" ;; esac
while [ "$1" != -p ]; do shift; done
kill -STOP "$2"
sh -c 'kill -KILL $PPID'
"""
"""As samply does when the kernel ends it for want of memory just after its SIGSTOP. Where a CPU limit holds the target,
that takes effect only later."""

KINDS = {
    "prepared": Kind("samply, root, PERFMON and IPC_LOCK"),
    "nonroot": Kind("samply, user 1000 without capabilities", security=NO_RIGHTS),
    "filecaps": Kind(
        "samply with file capabilities, user 1000",
        image=FILECAPS_IMAGE,
        security=ADDED,
    ),
    "added": Kind("samply without file capabilities, user 1000, PERFMON and IPC_LOCK", security=ADDED),
    # The ring buffers of so many threads are more than a container may lock, on any number of CPUs.
    "many-threads": Kind(
        "samply, root, PERFMON without IPC_LOCK, 28 threads",
        security={"runAsUser": 0, "capabilities": {"add": ["PERFMON"]}},
        command=("env", "DEMO_IDLE=24", PROGRAM),
    ),
    "refusing": Kind(
        "a samply that says when it records that it may not, root, PERFMON",
        command=("sh", "-c", f"printf '%s\\n' {shlex.quote(REFUSING)} >{FIRST} && chmod 755 {FIRST} && exec {PROGRAM}"),
    ),
    "private": Kind(
        "no samply, no rights, the program below a folder of user 1000 with mode 0700",
        image=BARE_IMAGE,
        security=NO_RIGHTS,
        command=("sh", "-c", f"mkdir -m 700 /tmp/own && cp {PROGRAM} /tmp/own/pipeline && exec /tmp/own/pipeline"),
    ),
    "seccomp": Kind(
        "samply, root without PERFMON, seccomp RuntimeDefault",
        security={"runAsUser": 0, "seccompProfile": {"type": "RuntimeDefault"}},
    ),
    "readonly": Kind(
        "samply, root, PERFMON, read-only root, an emptyDir at /tmp",
        security={**RIGHTS, "readOnlyRootFilesystem": True},
        mounts=({"name": "room", "mountPath": "/tmp"},),
        pod={"volumes": [{"name": "room", "emptyDir": {}}]},
    ),
    "small-room": Kind(
        "samply, root, PERFMON, an emptyDir of 20Mi on disk at /tmp",
        mounts=({"name": "room", "mountPath": "/tmp"},),
        pod={"volumes": [{"name": "room", "emptyDir": {"sizeLimit": "20Mi"}}]},
    ),
    "unwritable": Kind(
        "samply, root, PERFMON, no folder can be written to",
        security={**RIGHTS, "readOnlyRootFilesystem": True},
        mounts=({"name": "room", "mountPath": "/dev/shm", "readOnly": True},),
        pod={"volumes": [{"name": "room", "emptyDir": {}}]},
    ),
    "distroless": Kind(
        "one static program: no shell",
        image=DISTROLESS_IMAGE,
        security=NO_RIGHTS,
        pod={"volumes": [{"name": "secret", "emptyDir": {}}]},
    ),
    "busybox": Kind("a static program and busybox, root, PERFMON", image=BUSYBOX_IMAGE),
    "bare": Kind("no samply, no rights", image=BARE_IMAGE, security=NO_RIGHTS),
    "bare-rights": Kind("no samply, root, PERFMON and IPC_LOCK", image=BARE_IMAGE),
    "shared-pids": Kind(
        "samply, PERFMON, shareProcessNamespace, the same program busy in a sidecar",
        pod={"shareProcessNamespace": True},
        sidecar=(BUSY,),
    ),
    "shell": Kind("samply, PERFMON, a shell is PID 1", command=("sh", "-c", f"{PROGRAM} & wait")),
    # The kernel names a script's process for the script, not for its shell.
    "script": Kind(
        "samply, PERFMON, a script run.sh is PID 1",
        command=(
            *("sh", "-c"),
            f"printf '#!/bin/sh\\n{PROGRAM}\\nexit $?\\n' >{SCRIPT} && chmod 755 {SCRIPT} && exec {SCRIPT}",
        ),
        programs=("run.sh", "pipeline"),
    ),
    "dying": Kind(
        "a samply that dies while it attaches, a shell is PID 1, limits.cpu 200m",
        resources={"limits": {"cpu": "200m"}},
        command=("sh", "-c", f"printf '%s\\n' {shlex.quote(DYING)} >{FIRST} && chmod 755 {FIRST} && {PROGRAM} & wait"),
    ),
    "two": Kind(
        "samply, PERFMON, two programs",
        command=("sh", "-c", f"cp {PROGRAM} /opt/second && /opt/second & {PROGRAM} & wait"),
        programs=("pipeline", "second"),
    ),
    # Pinned to the CPU that a samply under this limit doesn't look at: what is luck elsewhere is certain here.
    "one-cpu": Kind(
        "samply, PERFMON, limits.cpu 1 on a node of more, busy on CPU 1",
        resources=ONE_CPU,
        command=("taskset", "-c", "1", PROGRAM),
    ),
    "one-cpu-bare": Kind(
        "no samply, PERFMON, limits.cpu 1, busy on CPU 1",
        image=BARE_IMAGE,
        resources=ONE_CPU,
        command=("taskset", "-c", "1", PROGRAM),
    ),
    "tight": Kind("samply, PERFMON, limits.memory 32Mi", resources={"limits": {"memory": "32Mi"}}),
    "roomy": Kind("samply, PERFMON, limits.memory 512Mi", resources={"limits": {"memory": "512Mi"}}),
    "tight-beside": Kind(
        "samply, PERFMON, limits.memory 32Mi, a sidecar without a limit",
        resources={"limits": {"memory": "32Mi"}},
        sidecar=(IDLE,),
    ),
    "stored": Kind(
        "samply, PERFMON, limits.ephemeral-storage 10Mi", resources={"limits": {"ephemeral-storage": "10Mi"}}
    ),
    "closed": Kind("no samply, no PERFMON", image=BARE_IMAGE, security=CLOSED),
}


USUAL_SECS = 8
"""A machine that stands still for half a second costs 6 % of the samples that are due."""
USUAL_PARANOID = "1"
"""What hack/cluster sets."""
SYSCTL = "sysctl kernel.perf_event_paranoid=1"


@dataclass(frozen=True)
class Row:
    """One recording. `answers`: the mode that gives a good profile, or the reasons of which one refuses it."""

    kind: str
    mode: str
    answers: str
    says: str = ""
    """What the refusal's message or cure must contain."""
    process: str = ""
    finding: str = ""
    """A reason among the preflight's findings."""
    is_usual: bool = False
    """Among the few that every run of the tests plays."""
    place: str = "open"
    """`open`, `baseline` (Pod Security), `closed` (mode Ephemeral isn't allowed there)."""
    secs: int = USUAL_SECS
    paranoid: str = USUAL_PARANOID
    """The node's kernel.perf_event_paranoid. Another one only where the node is the tests' own."""

    @property
    def is_good(self) -> bool:
        return self.answers in {"InPlace", "Ephemeral", "BringOwn"}

    @property
    def id(self) -> str:
        place = "" if self.place == "open" else f"-{self.place}"
        process = f"-{self.process}" if self.process else ""
        secs = "" if self.secs == USUAL_SECS else f"-{self.secs}s"
        paranoid = "" if self.paranoid == USUAL_PARANOID else f"-paranoid-{self.paranoid}"
        return f"{self.kind}{place}{process}-{self.mode}{secs}{paranoid}"


ROWS = (
    Row("prepared", "Auto", "InPlace"),
    # Debian's samply refuses there whatever the capabilities are; the project's own works.
    Row("prepared", "InPlace", "PerfEventParanoid", says=SYSCTL, paranoid="2"),
    Row("prepared", "Auto", "Ephemeral", paranoid="2"),
    Row("nonroot", "Auto", "Ephemeral", is_usual=True),
    Row("nonroot", "InPlace", "PerfNotPermitted", says="PERFMON"),
    Row("filecaps", "Auto", "InPlace"),
    Row("filecaps", "InPlace", "InPlace"),
    # Where nothing limits locked memory, they aren't needed at paranoid 1.
    Row("added", "Auto", "InPlace"),
    Row("many-threads", "InPlace", "LockedMemory", says="IPC_LOCK"),
    # The kernel doesn't count locked memory there.
    Row("many-threads", "InPlace", "InPlace", paranoid="-1"),
    Row("refusing", "Auto", "Ephemeral"),
    Row("refusing", "InPlace", "LockedMemory", says="mmap failed"),
    Row("private", "Auto", "Ephemeral"),
    Row("seccomp", "Auto", "Ephemeral"),
    Row("seccomp", "InPlace", "PerfNotPermitted", says="seccomp"),
    Row("readonly", "Auto", "InPlace"),
    Row("small-room", "InPlace", "InPlace", secs=3),
    Row("small-room", "InPlace", "TooLittleSpace", says="emptyDir", secs=600),
    Row("unwritable", "Auto", "Ephemeral"),
    Row("unwritable", "InPlace", "NoWritableFolder", says="Or: Use mode Ephemeral"),
    Row("distroless", "Auto", "Ephemeral", is_usual=True),
    Row("distroless", "InPlace", "NoShell", says="Or: Use mode Ephemeral"),
    Row("distroless", "BringOwn", "NoShell", says="POSIX shell"),
    Row("busybox", "Auto", "Ephemeral"),
    Row("busybox", "BringOwn", "BringOwn", is_usual=True),
    Row("bare", "Auto", "Ephemeral"),
    Row("bare", "InPlace", "SamplyNotFound", says="PATH"),
    Row("bare", "BringOwn", "PerfNotPermitted", says="PERFMON"),
    Row("bare-rights", "BringOwn", "BringOwn"),
    Row("bare-rights", "BringOwn", "BringOwn", paranoid="2"),
    Row("shared-pids", "Auto", "InPlace"),
    Row("shared-pids", "Ephemeral", "Ephemeral"),
    Row("shell", "Auto", "InPlace"),
    Row("shell", "Ephemeral", "Ephemeral"),
    Row("script", "Auto", "InPlace"),
    Row("script", "Ephemeral", "Ephemeral"),
    Row("two", "Auto", "AmbiguousProcess", says="second ("),
    Row("two", "Ephemeral", "AmbiguousProcess", says="pipeline ("),
    Row("two", "Auto", "InPlace", process="second"),
    Row("one-cpu", "Auto", "Ephemeral", is_usual=True),
    Row(
        "one-cpu", "InPlace", "EmptyProfile LowCoverage", says="use mode Ephemeral", finding="BlindCpus", is_usual=True
    ),
    Row("one-cpu", "InPlace", "PerfEventParanoid", says=SYSCTL, paranoid="2", is_usual=True),
    Row("one-cpu", "Auto", "Ephemeral", paranoid="2"),
    Row("one-cpu-bare", "BringOwn", "BringOwn"),
    Row("tight", "Auto", "TightMemory", says="Mode Ephemeral"),
    Row("tight", "InPlace", "TightMemory", says="memory limit"),
    Row("tight", "Ephemeral", "TightMemory", says="memory limit"),
    Row("roomy", "InPlace", "InPlace"),
    Row("roomy", "Ephemeral", "Ephemeral"),
    Row("tight-beside", "Auto", "Ephemeral"),
    Row("tight-beside", "InPlace", "TightMemory", says="memory limit"),
    # What the ephemeral container writes counts as the pod's as well.
    Row("stored", "Auto", "TooLittleSpace", says="Mode Ephemeral"),
    Row("stored", "InPlace", "TooLittleSpace", says="ephemeral-storage is 10 MiB"),
    Row("closed", "Auto", "SamplyNotFound", says="exempt the operator's ServiceAccount", place="baseline"),
    Row(
        "closed",
        "Ephemeral",
        "EphemeralRefused",
        says='violates PodSecurity "baseline',
        place="baseline",
        is_usual=True,
    ),
    Row("closed", "Auto", "SamplyNotFound", says="Or: Allow mode Ephemeral", place="closed"),
    Row("closed", "Ephemeral", "ModeNotAllowed", says="is not allowed in", place="closed"),
)


def build_pod(kind: str, found: Kind | None = None) -> dict[str, Any]:
    """Ordinal 0 of a pipeline that is named for its kind."""
    found = found or KINDS[kind]
    container: dict[str, Any] = {
        "name": "pipeline",
        "image": found.image,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": "DEMO_LOAD", "value": LOAD}],
        "resources": {"requests": REQUESTS, **found.resources},
        "securityContext": found.security,
        "volumeMounts": list(found.mounts),
    }
    if found.command:
        container["command"] = list(found.command)
    containers = [container]
    containers += [{"name": "aside", "imagePullPolicy": "IfNotPresent", **aside} for aside in found.sidecar]
    labels = {"app.kubernetes.io/name": "feldera-pipeline", names.PIPELINE: kind}
    spec = {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0, "containers": containers}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{kind}-0", "labels": labels},
        "spec": {**spec, **found.pod},
    }
