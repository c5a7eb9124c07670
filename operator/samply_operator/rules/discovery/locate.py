"""Which pods are a pipeline, under what name, at which ordinal; which container of a pod is the one to profile."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from samply_operator.model import names
from samply_operator.model.pipeline import Container, Pipeline, Pod, StatefulSet
from samply_operator.settings import Targets

_TRAILING_NUMBER = re.compile(r"-(\d{1,9})$")


def find_ordinal(pod: Pod) -> int | None:
    """The label that the StatefulSet controller sets, else the number that the pod's name ends in."""
    index = pod.labels.get(names.POD_INDEX, "")
    if index.isascii() and index.isdigit():
        return int(index) if len(index) <= 10 and int(index) <= names.MAX_ORDINAL else None
    match = _TRAILING_NUMBER.search(pod.name)
    return int(match[1]) if match else None


def find_name(owner: str, labels: Mapping[str, str], annotations: Mapping[str, str], targets: Targets) -> str | None:
    """The pipeline's name: our label, our annotation (long names), the configured label, else the owner's name."""
    named = labels.get(names.PIPELINE) or annotations.get(names.PIPELINE)
    if not named and targets.name_label:
        named = labels.get(targets.name_label) or annotations.get(targets.name_label)
    if named:
        return named
    match = re.fullmatch(targets.name_pattern, owner) if owner else None
    return match["pipeline"] if match else None


def name_of_pod(pod: Pod, targets: Targets, owner: StatefulSet | None = None) -> str | None:
    """The pod's own word first, then what its StatefulSet says, then the StatefulSet's name."""
    if owner is None:
        return find_name(pod.owner, pod.labels, pod.annotations, targets)
    return find_name(pod.owner, {**owner.labels, **pod.labels}, {**owner.annotations, **pod.annotations}, targets)


def name_of_set(stateful_set: StatefulSet, targets: Targets) -> str | None:
    """As its pods will be named: the template first, then the set's own labels."""
    return find_name(
        stateful_set.name,
        {**stateful_set.labels, **stateful_set.template_labels},
        {**stateful_set.annotations, **stateful_set.template_annotations},
        targets,
    )


def is_switched_off(annotations: Mapping[str, str]) -> bool:
    """Whoever writes the annotation wants something: what isn't plainly `true` means no."""
    return annotations.get(names.ENABLED, "true").strip().lower() != "true"


def build_pipeline(
    namespace: str, name: str, sets: Iterable[StatefulSet], pods: Iterable[Pod], owners: Iterable[StatefulSet] = ()
) -> Pipeline:
    """From the StatefulSets and pods of that name, and the StatefulSets that own those pods. A pod that a newer one of
    the same ordinal replaces is left out."""
    sets, found = tuple(sets), dict[int, Pod]()
    for pod in pods:
        ordinal = find_ordinal(pod)
        if ordinal is None:
            continue
        known = found.get(ordinal)
        if known is None or (pod.is_running and not known.is_running):
            found[ordinal] = pod
    off = [each.name for each in (*sets, *owners) if is_switched_off(each.annotations)]
    return Pipeline(
        namespace=namespace,
        name=name,
        ordinals=tuple(sorted({ordinal for each in sets for ordinal in each.ordinals})),
        pods=dict(sorted(found.items())),
        switched_off_by=off[-1] if off else "",
    )


def find_container(pod: Pod, wanted: str | None, targets: Targets) -> Container | None:
    """The container to profile: the wanted one, the configured one, kubectl's default, else the first."""
    name = wanted or targets.container or pod.annotations.get(names.DEFAULT_CONTAINER)
    if name:
        return pod.find_container(name)
    return pod.containers[0] if pod.containers else None
