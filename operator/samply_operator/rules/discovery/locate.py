"""Which pods belong to a pipeline, and their ordinals. For names see naming.py, for containers containers.py."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from samply_operator.model import names
from samply_operator.model.pipeline import Pipeline, Pod, StatefulSet
from samply_operator.rules.discovery import naming

_TRAILING_NUMBER = re.compile(r"-(\d{1,9})$")


def find_ordinal(pod: Pod) -> int | None:
    """The StatefulSet controller's label, else the number at the end of the pod's name."""
    index = pod.labels.get(names.POD_INDEX, "")
    if index.isascii() and index.isdigit():
        return int(index) if len(index) <= 10 and int(index) <= names.MAX_ORDINAL else None
    match = _TRAILING_NUMBER.search(pod.name)
    return int(match[1]) if match else None


def is_switched_off(annotations: Mapping[str, str]) -> bool:
    """Any value except `true` switches profiling off: setting the annotation at all shows the intent."""
    return annotations.get(names.ENABLED, "true").strip().lower() != "true"


def build_pipeline(
    namespace: str, name: str, sets: Iterable[StatefulSet], pods: Iterable[Pod], owners: Iterable[StatefulSet] = ()
) -> Pipeline:
    """From the StatefulSets and pods of that name, and the StatefulSets that own those pods. Omits pods replaced by a
    newer one of the same ordinal."""
    sets, found = tuple(sets), dict[int, Pod]()
    for pod in pods:
        ordinal = find_ordinal(pod)
        if ordinal is None:
            continue
        known = found.get(ordinal)
        if known is None or (pod.is_running and not known.is_running):
            found[ordinal] = pod
    ids = {naming.find_id_of_set(each) for each in sets}
    ids |= {naming.find_id(pod.labels, pod.owner) for pod in found.values()}
    off = [each.name for each in (*sets, *owners) if is_switched_off(each.annotations)]
    return Pipeline(
        namespace=namespace,
        name=name,
        ordinals=tuple(sorted({ordinal for each in sets for ordinal in each.ordinals})),
        pods=dict(sorted(found.items())),
        switched_off_by=off[-1] if off else "",
        ids=tuple(sorted(ids - {""})),
    )
