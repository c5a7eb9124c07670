"""Pipelines and their pods, as far as profiling cares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod; `id` is the runtime's (`containerd://…`), empty while it doesn't run."""

    name: str
    id: str = ""
    is_running: bool = False
    restarts: int = 0
    state_reason: str = ""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pipeline's pod as observed."""

    namespace: str
    name: str
    uid: str
    phase: str = "Unknown"
    node: str = ""
    owner: str = ""
    """Name of the StatefulSet that owns it, else empty."""
    containers: tuple[Container, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    is_deleted: bool = False

    @property
    def is_running(self) -> bool:
        return self.phase == "Running" and not self.is_deleted and any(c.is_running for c in self.containers)

    def find_container(self, name: str) -> Container | None:
        return next((c for c in self.containers if c.name == name), None)


@dataclass(frozen=True, slots=True)
class StatefulSet:
    """The set whose pods are the ordinals `start` … `start + replicas - 1`."""

    namespace: str
    name: str
    uid: str
    start: int = 0
    replicas: int = 1
    template_labels: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    template_annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def ordinals(self) -> tuple[int, ...]:
        return tuple(range(self.start, self.start + self.replicas))


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline: a name in a namespace, the ordinals that should be, and the pods that are."""

    namespace: str
    name: str
    ordinals: tuple[int, ...]
    """Those that should exist, ascending; 0 replicas: empty."""
    pods: Mapping[int, Pod] = field(default_factory=dict)
    switched_off_by: str = ""
    """The StatefulSet whose annotation switches profiling off for all of it, else empty."""
    ids: tuple[str, ...] = ()
    """Feldera's ids: one; none where it is not Feldera's; several where a label gives them one name."""

    @property
    def is_running(self) -> bool:
        return any(pod.is_running for pod in self.pods.values())


@dataclass(frozen=True, slots=True)
class Target:
    """What a recording samples: one process in one container of one pod, told from any successor by ids."""

    namespace: str
    pod: str
    pod_uid: str
    container: str
    container_id: str
    node: str = ""
    pid: int = 1
    pipeline_id: str = ""
    """Feldera's id of the pipeline; empty: it has none."""
    doubt: str = ""
    """Why the container was chosen by guess; empty: it was not."""
