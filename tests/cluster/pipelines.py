"""Demo pipelines to profile, started under names of the test's own and checked for leftovers of a recording."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from samply_operator.model import names
from support import kubectl

DEMO = Path(__file__).parents[2] / "demo" / "pipeline" / "pipeline.yaml"
IMAGE = "docker.io/library/samply-demo-pipeline:dev"
BARE_IMAGE = "docker.io/library/samply-test-bare:dev"
# `pid state name` of every process but this shell itself, then every file or folder that a recording may have made.
LOOK = (
    'for d in /proc/[0-9]*; do [ "${d#/proc/}" = $$ ] && continue; '
    "IFS= read -r line 2>/dev/null <$d/stat || continue; "
    'name=${line#*\\(}; name=${name%)*}; set -- ${line##*) }; echo "${d#/proc/} $1 $name"; done; '
    "ls -da /.samply* /tmp/.samply* /tmp/samply* /tmp/perf* /var/tmp/.samply* /dev/shm/.samply* 2>/dev/null; :"
)
UNTOUCHED = (["1 S pipeline"], ["1 R pipeline"])
LOAD = "8"
"""Percent of a CPU for each worker: enough samples, and room for the pods of two tests on a small machine."""


@dataclass(frozen=True)
class Pipeline:
    """A demo pipeline in a namespace."""

    namespace: str
    name: str
    stateful_set: str
    replicas: int = 2

    def pod(self, ordinal: int = 0) -> str:
        return f"{self.stateful_set}-{ordinal}"

    def get_pod(self, ordinal: int = 0) -> dict[str, Any]:
        return kubectl.get("-n", self.namespace, "pod", self.pod(ordinal))

    def exec(self, ordinal: int, script: str) -> str:
        return kubectl.succeed("-n", self.namespace, "exec", self.pod(ordinal), "--", "sh", "-c", script)

    def look(self, ordinal: int = 0) -> list[str]:
        return self.exec(ordinal, LOOK).splitlines()

    def has_samply(self, ordinal: int = 0) -> bool:
        return any(line.endswith(" samply") for line in self.look(ordinal))

    def wait_samply(self, ordinal: int = 0) -> None:
        """Afterwards, a check for leftovers is meaningful: there was something to leave."""
        kubectl.poll(lambda: self.has_samply(ordinal), timeout=20, what=f"samply runs in {self.pod(ordinal)}")

    def wait_untouched(self, ordinal: int = 0, timeout: float = 20) -> None:
        """Only the pipeline is left: no other process, zombie or file, and the pipeline isn't stopped."""
        seen: list[list[str]] = []

        def is_untouched() -> bool:
            seen[:] = [self.look(ordinal)]
            return seen[0] in UNTOUCHED

        kubectl.poll(is_untouched, timeout=timeout, what=lambda: f"{self.pod(ordinal)} is untouched; it has {seen}")

    def list_running(self) -> list[int]:
        """The ordinals whose container can be asked."""
        items = kubectl.get("-n", self.namespace, "pod", "-l", f"app={self.stateful_set}")
        running = [
            item["metadata"]["name"]
            for item in items["items"]
            if "deletionTimestamp" not in item["metadata"]
            and all("running" in status["state"] for status in item["status"].get("containerStatuses", []))
            and item["status"]["phase"] == "Running"
        ]
        return sorted(int(name.rpartition("-")[2]) for name in running)

    def wait_ready(self) -> None:
        kubectl.succeed(
            *("-n", self.namespace, "rollout", "status", f"statefulset/{self.stateful_set}", "--timeout=90s"),
            timeout=100,
        )

    def delete(self) -> None:
        kubectl.succeed(
            *("-n", self.namespace, "delete", f"statefulset/{self.stateful_set}", f"service/{self.stateful_set}"),
            "--wait=false",
        )

    def annotate_pod(self, ordinal: int, value: str, key: str = names.TRIGGER) -> None:
        self._annotate("pod", self.pod(ordinal), f"{key}={value}")

    def annotate_set(self, value: str, key: str = names.TRIGGER) -> None:
        self._annotate("statefulset", self.stateful_set, f"{key}={value}")

    def _annotate(self, kind: str, name: str, what: str) -> None:
        kubectl.succeed("-n", self.namespace, "annotate", kind, name, what, "--overwrite")

    def annotations(self, kind: str, ordinal: int = 0) -> dict[str, str]:
        """Those of this project, on the Pod or the StatefulSet."""
        name = self.pod(ordinal) if kind == "pod" else self.stateful_set
        found = kubectl.get("-n", self.namespace, kind, name)["metadata"].get("annotations", {})
        return {key: value for key, value in found.items() if key.startswith(f"{names.GROUP}/")}


def render(namespace: str, name: str, **changes: Any) -> tuple[Pipeline, list[dict[str, Any]]]:
    """The demo's manifests under another name. `changes`: image, replicas, capabilities, seccomp, resources, load."""
    stateful_set = f"pipeline-{uuid.uuid5(uuid.NAMESPACE_DNS, namespace + name)}"
    text = DEMO.read_text()
    old = yaml.safe_load(text.split("---")[0])["metadata"]["name"]
    objects = list(yaml.safe_load_all(text.replace(old, stateful_set).replace("pipeline: demo", f"pipeline: {name}")))
    spec = objects[1]["spec"]
    container = spec["template"]["spec"]["containers"][0]
    container["image"] = changes.get("image", IMAGE)
    load = {"name": "DEMO_LOAD", "value": changes.get("load", LOAD)}
    container["env"] = [load if entry["name"] == "DEMO_LOAD" else entry for entry in container["env"]]
    spec["replicas"] = changes.get("replicas", 2)
    if "capabilities" in changes:
        container["securityContext"]["capabilities"] = {"add": changes["capabilities"]}
    if "seccomp" in changes:
        container["securityContext"]["seccompProfile"] = {"type": changes["seccomp"]}
    if "resources" in changes:
        container["resources"] = changes["resources"]
    return Pipeline(namespace, name, stateful_set, spec["replicas"]), objects


def start(namespace: str, name: str, **changes: Any) -> Pipeline:
    """Apply them; doesn't wait."""
    pipeline, objects = render(namespace, name, **changes)
    kubectl.succeed(*("-n", namespace, "apply", "-f", "-"), body={"apiVersion": "v1", "kind": "List", "items": objects})
    return pipeline
