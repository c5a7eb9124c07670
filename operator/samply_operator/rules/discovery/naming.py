"""The name of a pipeline: from a label or annotation, from Feldera, or from its id. Pure.

The first of: our own label or annotation on the pod, then on its StatefulSet; the configured one, in the same order;
Feldera's name for the pipeline's id; the StatefulSet's name. Invalid names are skipped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from samply_operator.model import names
from samply_operator.model.pipeline import Pod, StatefulSet
from samply_operator.settings import Targets

SHOWN = 100
"""Characters kept of a skipped name."""

_ID = re.compile(r"(?:pipeline-)?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})")

LabelMaps = tuple[Mapping[str, str], ...]
"""Labels and annotations, in order of precedence."""
Source = Literal["Label", "ConfiguredLabel", "Feldera", "StatefulSet"]


@dataclass(frozen=True, slots=True)
class Naming:
    """`pipeline_id` is Feldera's id, empty if unknown. `feldera_name` is Feldera's name for it, if known; if `name`
    differs, a label contradicts it. `skipped_names` are invalid names that were skipped."""

    name: str
    source: Source
    pipeline_id: str = ""
    feldera_name: str = ""
    skipped_names: tuple[str, ...] = ()


def find_id(labels: Mapping[str, str], owner: str) -> str:
    """Feldera's id of the pipeline, from its label, else from the StatefulSet's name; empty: neither."""
    for text in (labels.get(names.FELDERA_ID, ""), owner):
        if found := _ID.fullmatch(text):
            return found[1]
    return ""


def find_id_of_set(stateful_set: StatefulSet) -> str:
    return find_id({**stateful_set.labels, **stateful_set.template_labels}, stateful_set.name)


def drop_ambiguous(known: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Names by id, without invalid names and without names that two ids have in two tenants: neither may be mistaken
    for the other."""
    found = dict(known)
    counts = Counter(found.values())
    return {
        pipeline_id: name for pipeline_id, name in found.items() if counts[name] == 1 and names.is_pipeline_name(name)
    }


def name_pod(pod: Pod, owner: StatefulSet | None, targets: Targets, known: Mapping[str, str]) -> Naming | None:
    """`owner` None: its StatefulSet is unknown. `known`: Feldera's names by id. Returns None if nothing names it."""
    label_maps: LabelMaps = (pod.labels, pod.annotations)
    if owner is not None:
        label_maps += (owner.labels, owner.annotations)
    return _decide(label_maps, find_id(pod.labels, pod.owner), pod.owner, targets, known)


def name_set(stateful_set: StatefulSet, targets: Targets, known: Mapping[str, str]) -> Naming | None:
    """The name that its pods will have: they get the template's labels."""
    template = (stateful_set.template_labels, stateful_set.template_annotations)
    label_maps = (*template, stateful_set.labels, stateful_set.annotations)
    return _decide(label_maps, find_id_of_set(stateful_set), stateful_set.name, targets, known)


def _decide(
    label_maps: LabelMaps, pipeline_id: str, owner: str, targets: Targets, known: Mapping[str, str]
) -> Naming | None:
    feldera_name = known.get(pipeline_id, "")
    skipped_names: list[str] = []
    for name, source in _list_candidates(label_maps, feldera_name, owner, targets):
        if names.is_pipeline_name(name):
            return Naming(name, source, pipeline_id, feldera_name, tuple(skipped_names))
        skipped_names.append(name[:SHOWN])
    return None


def _list_candidates(
    label_maps: LabelMaps, feldera_name: str, owner: str, targets: Targets
) -> Iterator[tuple[str, Source]]:
    """In order of precedence, without empty ones."""
    keys: tuple[tuple[str, Source], ...] = ((names.PIPELINE, "Label"), (targets.name_label, "ConfiguredLabel"))
    for key, source in keys:
        for labels in label_maps if key else ():
            if value := labels.get(key):
                yield value, source
    if feldera_name:
        yield feldera_name, "Feldera"
    if owner and (match := re.fullmatch(targets.name_pattern, owner)):
        yield match["pipeline"], "StatefulSet"
