"""Pipelines, worked out from pods and StatefulSets one change at a time: it costs the same with 10 and with 5,000."""

from __future__ import annotations

from samply_operator.model import names
from samply_operator.model.pipeline import Pipeline, Pod, StatefulSet
from samply_operator.rules.discovery import locate
from samply_operator.settings import Targets

Key = tuple[str, str]


class PipelineIndex:
    """`pipelines` by namespace and name. Each call returns the keys of the pipelines that it changed."""

    def __init__(self, targets: Targets) -> None:
        self.pipelines: dict[Key, Pipeline] = {}
        self._targets = targets
        self._sets: dict[Key, StatefulSet] = {}
        self._pods: dict[Key, Pod] = {}
        self._owned: dict[Key, set[Key]] = {}
        """By StatefulSet: its pods, which take their name and their switch from it."""
        self._pod_members: dict[Key, set[Key]] = {}
        """By pipeline."""
        self._set_members: dict[Key, set[Key]] = {}
        self._pipeline_of_pod: dict[Key, Key] = {}
        self._pipeline_of_set: dict[Key, Key] = {}

    def put_pod(self, pod: Pod) -> set[Key]:
        key = (pod.namespace, pod.name)
        known = self._pods.get(key)
        if known is not None and known.owner != pod.owner:
            self._disown(key, known)
        self._pods[key] = pod
        self._owned.setdefault((pod.namespace, pod.owner), set()).add(key)
        return self._build(self._place_pod(key))

    def drop_pod(self, key: Key) -> set[Key]:
        known = self._pods.pop(key, None)
        if known is None:
            return set()
        self._disown(key, known)
        return self._build(_move(key, None, self._pipeline_of_pod, self._pod_members))

    def put_set(self, stateful_set: StatefulSet) -> set[Key]:
        key = (stateful_set.namespace, stateful_set.name)
        self._sets[key] = stateful_set
        name = locate.name_of_set(stateful_set, self._targets)
        wanted = (stateful_set.namespace, name) if name and names.is_pipeline_name(name) else None
        return self._build(
            _move(key, wanted, self._pipeline_of_set, self._set_members) | self._place_pods(key),
        )

    def drop_set(self, key: Key) -> set[Key]:
        if self._sets.pop(key, None) is None:
            return set()
        return self._build(_move(key, None, self._pipeline_of_set, self._set_members) | self._place_pods(key))

    def _disown(self, key: Key, pod: Pod) -> None:
        owner = (pod.namespace, pod.owner)
        self._owned[owner].discard(key)
        if not self._owned[owner]:
            del self._owned[owner]

    def _place_pods(self, owner: Key) -> set[Key]:
        return {key for pod in self._owned.get(owner, ()) for key in self._place_pod(pod)}

    def _place_pod(self, key: Key) -> set[Key]:
        pod = self._pods[key]
        owner = self._sets.get((pod.namespace, pod.owner))
        name = locate.name_of_pod(pod, self._targets, owner)
        is_one = name is not None and names.is_pipeline_name(name) and locate.find_ordinal(pod) is not None
        wanted = (pod.namespace, name) if name and is_one else None
        return _move(key, wanted, self._pipeline_of_pod, self._pod_members)

    def _build(self, touched: set[Key]) -> set[Key]:
        for key in touched:
            sets = [self._sets[each] for each in sorted(self._set_members.get(key, ()))]
            pods = [self._pods[each] for each in sorted(self._pod_members.get(key, ()))]
            if not sets and not pods:
                self.pipelines.pop(key, None)
                continue
            owners = [found for pod in pods if (found := self._sets.get((pod.namespace, pod.owner)))]
            self.pipelines[key] = locate.build_pipeline(*key, sets, pods, owners)
        return touched


def _move(member: Key, wanted: Key | None, place: dict[Key, Key], members: dict[Key, set[Key]]) -> set[Key]:
    """Put a member into the pipeline that it belongs to; returns the one that it left and the one that it is in."""
    left = place.pop(member, None)
    if left is not None:
        members[left].discard(member)
        if not members[left]:
            del members[left]
    if wanted is not None:
        place[member] = wanted
        members.setdefault(wanted, set()).add(member)
    return {key for key in (left, wanted) if key is not None}
