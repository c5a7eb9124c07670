"""The operator's part of a support bundle of a pipeline: its objects, pods and recent Events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from samply_operator.errors import KubeError
from samply_operator.kube import objects
from samply_operator.model.pipeline import Pod
from samply_operator.recorder.engine import Engine
from samply_operator.rules.serving import support_bundle

Json = dict[str, Any]

LIST_SECS = 5.0


@dataclass(frozen=True, slots=True)
class SupportBundle:
    """`missing`: what couldn't be had, and why. A bundle with holes is better than none."""

    objects: tuple[Json, ...]
    pods: tuple[Json, ...]
    events: tuple[Json, ...]
    missing: tuple[str, ...]


async def gather(engine: Engine, namespace: str, name: str) -> SupportBundle:
    """Of one pipeline, as far as it is known. Raises nothing for what can't be listed."""
    world = engine.world
    profiles = {p.name for p in world.profiles.values() if (p.namespace, p.spec.pipeline) == (namespace, name)}
    pipeline = world.pipelines.get((namespace, name))
    pods = [pipeline.pods[ordinal] for ordinal in sorted(pipeline.pods)] if pipeline else []
    names = {
        "SamplyProfile": profiles,
        "Pod": {pod.name for pod in pods},
        "StatefulSet": {pod.owner for pod in pods},
    }
    found: list[Json] = []
    listed_profiles: list[Json] = []
    missing: list[str] = []
    try:
        listed = await engine.context.client.list_items(objects.samply_profiles(namespace), timeout_secs=LIST_SECS)
        listed_profiles = [raw for raw in listed.items if raw["metadata"]["name"] in profiles]
    except KubeError as error:
        missing.append(f"SamplyProfiles: {error}")
    for kind in support_bundle.KINDS:
        try:
            listed = await engine.context.client.list_items(
                objects.events(namespace), field_selector=f"involvedObject.kind={kind}", timeout_secs=LIST_SECS
            )
            found += listed.items
        except KubeError as error:
            missing.append(f"Events on {kind}: {error}")
    return SupportBundle(
        objects=support_bundle.choose_objects(listed_profiles),
        pods=tuple(map(_describe_pod, pods)),
        events=support_bundle.choose_events(found, names),
        missing=tuple(missing),
    )


def _describe_pod(pod: Pod) -> Json:
    """Without labels and annotations: they are the pipeline's own."""
    return {
        "name": pod.name,
        "uid": pod.uid,
        "phase": pod.phase,
        "node": pod.node,
        "containers": [
            {
                "name": container.name,
                "is_running": container.is_running,
                "restarts": container.restarts,
                "state_reason": container.state_reason,
            }
            for container in pod.containers
        ],
    }
