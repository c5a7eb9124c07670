"""Which pods are a pipeline, under what name, at which ordinal; which container of a pod is the one to profile."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from samply_operator.model import names
from samply_operator.model.pipeline import Container, Pipeline, Pod, StatefulSet
from samply_operator.rules.discovery import selectors
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


def name_of_pod(pod: Pod, targets: Targets) -> str | None:
    return find_name(pod.owner, pod.labels, pod.annotations, targets)


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


def find_pipelines(pods: Iterable[Pod], sets: Iterable[StatefulSet], targets: Targets) -> tuple[Pipeline, ...]:
    """All pipelines, by namespace and name. A pod that a newer one of the same ordinal replaces is left out, as is what
    has a name that no pipeline can have: an object for it would be refused."""
    selector = selectors.parse_selector(targets.pod_selector)
    ordinals: dict[tuple[str, str], set[int]] = {}
    found: dict[tuple[str, str], dict[int, Pod]] = {}
    sets = tuple(sets)
    off = {(s.namespace, s.name) for s in sets if is_switched_off(s.annotations)}
    switched_off: dict[tuple[str, str], str] = {}
    for stateful_set in sets:
        name = name_of_set(stateful_set, targets)
        if name and names.is_pipeline_name(name) and selectors.matches(selector, stateful_set.template_labels):
            ordinals.setdefault((stateful_set.namespace, name), set()).update(stateful_set.ordinals)
            if (stateful_set.namespace, stateful_set.name) in off:
                switched_off[stateful_set.namespace, name] = stateful_set.name
    for pod in pods:
        name, ordinal = name_of_pod(pod, targets), find_ordinal(pod)
        if not name or not names.is_pipeline_name(name) or ordinal is None:
            continue
        if not selectors.matches(selector, pod.labels):
            continue
        key = (pod.namespace, name)
        if (pod.namespace, pod.owner) in off:  # whatever labels it has of its own
            switched_off[key] = pod.owner
        known = found.setdefault(key, {}).get(ordinal)
        if known is None or (pod.is_running and not known.is_running):
            found[key][ordinal] = pod
    return tuple(
        Pipeline(
            namespace=namespace,
            name=name,
            ordinals=tuple(sorted(ordinals.get((namespace, name), set()))),
            pods=found.get((namespace, name), {}),
            switched_off_by=switched_off.get((namespace, name), ""),
        )
        for namespace, name in sorted(ordinals.keys() | found.keys())
    )


def find_container(pod: Pod, wanted: str | None, targets: Targets) -> Container | None:
    """The container to profile: the wanted one, the configured one, kubectl's default, else the first."""
    name = wanted or targets.container or pod.annotations.get(names.DEFAULT_CONTAINER)
    if name:
        return pod.find_container(name)
    return pod.containers[0] if pod.containers else None
