"""Limits and sandboxes of a pod that are not visible from inside, read from its object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from samply_operator.model.container import ContainerFacts

POD_MEMORY = "/dev/shm/"  # noqa: S108 - a place in a pod
_QUANTITY = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P|)", re.ASCII)
_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15} | {
    f"{letter}i": 1024 ** (power + 1) for power, letter in enumerate("KMGTP")
}


def add_pod(
    facts: ContainerFacts, pod: Mapping[str, Any], container: str, *, is_helper: bool = False
) -> ContainerFacts:
    """The facts completed from the pod's object, for the container of that name. `is_helper`: they are those of an
    ephemeral container, with its own folder, and include the target's memory."""
    spec = pod.get("spec") or {}
    mine: Mapping[str, Any] = next((c for c in spec.get("containers") or () if c.get("name") == container), {})
    limits = _limits(mine)
    facts = _limit_memory(facts, parse_quantity(_limits(spec).get("memory")), is_helper=is_helper)
    return replace(
        facts,
        storage_limit=parse_quantity(limits.get("ephemeral-storage")),
        folder_limit=None if is_helper else _find_folder_limit(spec, mine, facts.folder),
        runtime=_find_runtime(pod, container),
        runtime_class=str(spec.get("runtimeClassName") or "")[:64],
    )


def _limit_memory(facts: ContainerFacts, limit: int | None, *, is_helper: bool) -> ContainerFacts:
    """With the limit of the whole pod, which is not visible inside: the target has at most that much."""
    if limit is None:
        return facts
    if is_helper:
        return replace(facts, target_memory_limit=min(limit, facts.target_memory_limit or limit))
    return replace(facts, memory_limit=min(limit, facts.memory_limit or limit))


def is_memory_limited(pod: Mapping[str, Any]) -> bool:
    """Whether the memory of the whole pod is limited: by its own limit, or because each container has one. Then an
    ephemeral container shares what they leave."""
    spec = pod.get("spec") or {}
    if "memory" in _limits(spec):
        return True
    sidecars = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    everyone = [*(spec.get("containers") or ()), *sidecars]
    return bool(everyone) and all("memory" in _limits(c) for c in everyone)


def is_cpu_limited(pod: Mapping[str, Any], container: str) -> bool:
    """Whether the CPU of the container of that name, or of the whole pod, is limited."""
    spec = pod.get("spec") or {}
    mine = (c for c in spec.get("containers") or () if c.get("name") == container)
    return any("cpu" in _limits(part) for part in (spec, *mine))


def _limits(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Of a container, or of a pod's spec."""
    limits: Mapping[str, Any] = (part.get("resources") or {}).get("limits") or {}
    return limits


def _find_folder_limit(spec: Mapping[str, Any], mine: Mapping[str, Any], folder: str) -> int | None:
    """Of an emptyDir on disk; one in memory shows its limit as the size of its file system."""
    name = _find_volume(mine, folder)
    volume: Mapping[str, Any] = next((v for v in spec.get("volumes") or () if v.get("name") == name), {})
    return parse_quantity((volume.get("emptyDir") or {}).get("sizeLimit"))


def is_in_volume(pod: Mapping[str, Any], container: str, folder: str) -> bool:
    """Whether the content of a container's folder survives the container: /dev/shm belongs to the pod."""
    if f"{folder}/".startswith(POD_MEMORY):
        return True
    containers = (pod.get("spec") or {}).get("containers") or ()
    return any(c.get("name") == container and _find_volume(c, folder) for c in containers)


def _find_volume(container: Mapping[str, Any], folder: str) -> str:
    """Name of the volume mounted there; empty: none, or no folder."""
    mounts = {str(m["mountPath"]).rstrip("/"): str(m["name"]) for m in container.get("volumeMounts") or ()}
    above = [place for place in mounts if folder and f"{folder}/".startswith(f"{place}/")]
    return mounts[max(above, key=len)] if above else ""


def _find_runtime(pod: Mapping[str, Any], container: str) -> str:
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    identity = next((s.get("containerID") for s in statuses if s.get("name") == container), None)
    return str(identity or "").partition("://")[0][:32]


def parse_quantity(text: object) -> int | None:
    """Bytes of a Kubernetes quantity such as 50Mi, 1.5G or 1000; None if absent or invalid."""
    match = _QUANTITY.fullmatch(str(text)) if text is not None else None
    return int(float(match[1]) * _FACTORS[match[2]]) if match else None
