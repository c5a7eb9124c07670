"""Access to the node, whatever its provider: a privileged pod in the node's PID namespace. For tests only."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster.pipelines import BARE_IMAGE
from support import kubectl

POD = "hand"
NATIVE = "samply-node"
"""The node's name where the cluster is processes of this machine."""
PARANOID = "/proc/sys/kernel/perf_event_paranoid"
# A container's processes have its id in their cgroup's name, with cgroup v1 and v2.
# One grep for all of them: a busy machine starts programs slowly.
FIND = 'for f in $(grep -ls "$1" /proc/[0-9]*/cgroup); do p=${f%/cgroup}; echo "${p#/proc/}"; done'

# Of a container's processes the name of the one that has this PID in its innermost PID namespace.
NAME = """
for group in $(grep -ls "$1" /proc/[0-9]*/cgroup); do
    folder=${group%/cgroup}
    while read -r key pids; do
        if [ "$key" = NSpid: ] && [ "${pids##*[!0-9]}" = "$2" ]; then cat "$folder/comm"; fi
    done 2>/dev/null <"$folder/status"
done
:
"""


def find_own_address() -> str:
    """This machine's address on its way to the node: under kind the node's own is not this machine's."""
    addresses = kubectl.get("node")["items"][0]["status"]["addresses"]
    node = next(str(a["address"]) for a in addresses if a["type"] == "InternalIP")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        route.connect((node, 9))  # sends nothing
        return str(route.getsockname()[0])


@dataclass(frozen=True)
class Node:
    namespace: str
    place: Mapping[str, Any] = field(default_factory=dict)
    """Added to the pod's spec: which node it is."""

    def start(self, timeout: int = 60) -> None:
        container = {
            "name": "hand",
            "image": BARE_IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", "infinity"],
            "securityContext": {"privileged": True, "runAsUser": 0},
            "resources": {"requests": {"cpu": "50m"}},
        }
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": POD},
            "spec": {"hostPID": True, "terminationGracePeriodSeconds": 0, "containers": [container], **self.place},
        }
        kubectl.succeed("-n", self.namespace, "create", "-f", "-", body=body)
        done = kubectl.run(
            "-n",
            self.namespace,
            "wait",
            f"pod/{POD}",
            "--for=condition=Ready",
            f"--timeout={timeout}s",
            timeout=timeout + 10,
        )
        assert done.returncode == 0, kubectl.run("-n", self.namespace, "describe", "pod", POD).stdout

    def run(self, script: str, *arguments: str) -> str:
        return kubectl.succeed("-n", self.namespace, "exec", POD, "--", "sh", "-c", script, "sh", *arguments)

    def find_processes(self, container_id: str) -> list[str]:
        """PIDs of a container, as its pod's status names it: containerd://…"""
        found = self.run(FIND, container_id.rpartition("/")[2]).split()
        assert found, f"no process of {container_id}"
        return found

    def name_process(self, container_id: str, pid: int) -> str:
        """Name of the container's process with this PID, as seen in the container; empty if there is none."""
        return self.run(NAME, container_id.rpartition("/")[2], str(pid)).strip()

    def signal(self, container_id: str, signal: str) -> float:
        """To all processes of a container: TERM, KILL, STOP or CONT. Returns the node's Unix time. One that has ended
        meanwhile, such as a probe's, is ignored."""
        script = 'signal=$1; shift; date +%s.%N; for p; do kill "-$signal" "$p" || [ ! -d "/proc/$p" ] || exit 1; done'
        return float(self.run(script, signal, *self.find_processes(container_id)))

    @staticmethod
    def is_native() -> bool:
        return NATIVE in kubectl.succeed("get", "nodes", "-o", "name")

    def describe(self) -> str:
        """Such as `Linux 6.18 (x86_64, cgroup v1)`."""
        release, machine, cgroup = self.run("uname -r; uname -m; stat -fc %T /sys/fs/cgroup").split()
        version = ".".join(release.split(".")[:2])
        return f"Linux {version} ({machine}, cgroup {'v2' if cgroup == 'cgroup2fs' else 'v1'})"

    def read_paranoid(self) -> str:
        return self.run(f"cat {PARANOID}").strip()

    def write_paranoid(self, level: str) -> None:
        self.run(f'echo "$1" >{PARANOID}', level)
