"""Pods of the matrix in a cluster: started one after the other, and checked from the node for leftovers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cluster import matrix
from cluster.node import Node
from cluster.pipelines import Pipeline
from support import kubectl

# Processes with their state (running and sleeping are one), then the folders in which something may be left behind.
SNAPSHOT = """
first=''
for group in $(grep -ls "$1" /proc/[0-9]*/cgroup); do
    IFS= read -r line 2>/dev/null <"${group%/cgroup}/stat" || continue
    first=${first:-${group%/cgroup}}
    name=${line#*(}; name=${name%)*}; set -- ${line##*) }
    case $1 in R | S | D) echo "process $name" ;; *) echo "process $name in state $1" ;; esac
done
cd "$first/root" || exit 1
for folder in . tmp var/tmp dev/shm root opt usr/local/bin; do
    for file in "$folder"/* "$folder"/.[!.]*; do [ -e "$file" ] && echo "file $file"; done
done
:
"""


@dataclass
class Specimen:
    """One pod, and what it was before anything was recorded."""

    pipeline: Pipeline
    node: Node
    before: str = ""

    def settle(self) -> None:
        """Wait until it runs all its programs and nothing else, and remember what it then is."""
        if self.before:
            return
        where, seen = self.pipeline, [""]
        kubectl.succeed("-n", where.namespace, "wait", f"pod/{where.pod()}", "--for=condition=Ready", "--timeout=60s")
        programs = matrix.KINDS[where.name].programs

        def is_settled() -> bool:
            seen[:] = [*seen[-1:], take_snapshot(self.node, self.get())]
            return len(set(seen)) == 1 and all(f"process {name}\n" in seen[0] for name in programs)

        # A shell that starts programs needs a moment: two looks that agree are its rest.
        kubectl.poll(is_settled, timeout=40, what=lambda: f"{where.pod()} has settled: {seen}")
        self.before = seen[0]

    def get(self) -> dict[str, Any]:
        return self.pipeline.get_pod()

    def list_helpers(self) -> list[dict[str, Any]]:
        """The statuses of its ephemeral containers."""
        found: list[dict[str, Any]] = self.get()["status"].get("ephemeralContainerStatuses", [])
        return found

    def name_process(self, pid: int) -> str:
        """Of the pipeline's container alone: another one of the pod may share its PIDs."""
        return self.node.name_process(find_container(self.get())["containerID"], pid)

    def wait_untouched(self) -> None:
        """As before: processes, states, files; it never restarted, and each ephemeral container has ended."""
        seen = [""]

        def look() -> bool:
            seen[:] = [take_snapshot(self.node, self.get())]
            return seen[0] == self.before

        kubectl.poll(look, timeout=30, what=lambda: f"as before:\n{self.before}\nbut now:\n{seen[0]}")
        assert {status["restartCount"] for status in self.get()["status"]["containerStatuses"]} == {0}
        kubectl.poll(
            lambda: all("terminated" in status["state"] for status in self.list_helpers()),
            timeout=20,
            what=lambda: f"the ephemeral containers ended: {self.list_helpers()}",
        )


def find_container(pod: dict[str, Any]) -> dict[str, Any]:
    """The status of the pipeline's container."""
    (status,) = (s for s in pod["status"]["containerStatuses"] if s["name"] == "pipeline")
    found: dict[str, Any] = status
    return found


def take_snapshot(node: Node, pod: dict[str, Any]) -> str:
    lines = node.run(SNAPSHOT, find_container(pod)["containerID"].rpartition("/")[2]).splitlines()
    return "\n".join([*sorted(lines), ""])


@dataclass
class Zoo:
    """Namespaces by place. At most one specimen runs at a time, as each is busy."""

    places: dict[str, str]
    node: Node
    current: Specimen | None = field(default=None)

    def fetch(self, kind: str, place: str) -> Specimen:
        namespace = self.places[place]
        if self.current is None or (self.current.pipeline.namespace, self.current.pipeline.name) != (namespace, kind):
            self.clear()
            self.current = create(kind, namespace, self.node)
        self.current.settle()
        return self.current

    def clear(self) -> None:
        if self.current is not None:
            where = self.current.pipeline
            kubectl.succeed("-n", where.namespace, "delete", "pod", where.pod(), "--wait=false")
            self.current = None


def create(kind: str, namespace: str, node: Node) -> Specimen:
    """Doesn't wait: see `settle`."""
    kubectl.succeed("-n", namespace, "create", "-f", "-", body=matrix.build_pod(kind))
    return Specimen(Pipeline(namespace, kind, kind, replicas=1), node)
