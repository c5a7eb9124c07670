"""Pipelines and their pods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod; `id` is the runtime's (`containerd://…`), empty while it is not running."""

    name: str
    id: str = ""
    is_running: bool = False
    restarts: int = 0
    state_reason: str = ""
    started_at: str = ""
    """When it began to run; empty while it is not running."""


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
    """A pipeline: a name in a namespace, its expected ordinals, and its existing pods."""

    namespace: str
    name: str
    ordinals: tuple[int, ...]
    """Expected ordinals, ascending; empty with 0 replicas."""
    pods: Mapping[int, Pod] = field(default_factory=dict)
    switched_off_by: str = ""
    """The StatefulSet whose annotation switches off profiling of all ordinals, else empty."""
    ids: tuple[str, ...] = ()
    """Feldera's ids: one; none if it is not Feldera's; several if a label gives them the same name."""

    @property
    def is_running(self) -> bool:
        return any(pod.is_running for pod in self.pods.values())


@dataclass(frozen=True, slots=True)
class Target:
    """The process to sample: in one container of one pod, identified by ids."""

    namespace: str
    pod: str
    pod_uid: str
    container: str
    container_id: str
    node: str = ""
    pid: int = 1
    pipeline_id: str = ""
    """Feldera's id of the pipeline; empty: none."""
    pipeline_doubt: str = ""
    """Why Feldera must not be asked about that id; empty: it may be."""
    doubt: str = ""
    """Why the container was a guess; empty: it was not."""
