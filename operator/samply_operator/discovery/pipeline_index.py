"""Pipelines, updated from pods and StatefulSets one change at a time: the cost is the same with 10 and with 5,000."""

from __future__ import annotations

from collections.abc import Mapping

from samply_operator.model.pipeline import Pipeline, Pod, StatefulSet
from samply_operator.rules.discovery import locate, naming
from samply_operator.settings import Targets

Key = tuple[str, str]


class PipelineIndex:
    """`pipelines` by namespace and name. Each call returns the keys of the pipelines that it changed."""

    def __init__(self, targets: Targets) -> None:
        self.pipelines: dict[Key, Pipeline] = {}
        self._names: dict[str, str] = {}
        """What pipelines are called, by Feldera's id."""
        self.known: Mapping[str, str] = {}
        """Feldera's names by id."""
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
        return self._build(self._place_set(key) | self._place_pods(key))

    def drop_set(self, key: Key) -> set[Key]:
        if self._sets.pop(key, None) is None:
            return set()
        return self._build(_move(key, None, self._pipeline_of_set, self._set_members) | self._place_pods(key))

    def rename(self, known: Mapping[str, str]) -> set[Key]:
        """Feldera calls its pipelines this from now on, by id."""
        before, self.known = self.known, known
        changed = {each for each in {*before, *known} if before.get(each) != known.get(each)}
        if not changed:
            return set()
        sets = [key for key, found in self._sets.items() if naming.find_id_of_set(found) in changed]
        pods = [key for key, found in self._pods.items() if naming.find_id(found.labels, found.owner) in changed]
        touched: set[Key] = set()
        for key in sets:
            touched |= self._place_set(key)
        for key in pods:
            touched |= self._place_pod(key)
        return self._build(touched)

    def list_names(self) -> dict[str, str]:
        return dict(self._names)

    def find_name(self, pipeline_id: str) -> str | None:
        """None: there is no pipeline of this id."""
        return self._names.get(pipeline_id)

    def _place_set(self, key: Key) -> set[Key]:
        found = naming.name_set(self._sets[key], self._targets, self.known)
        wanted = (key[0], found.name) if found else None
        return _move(key, wanted, self._pipeline_of_set, self._set_members)

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
        found = naming.name_pod(pod, owner, self._targets, self.known)
        wanted = (pod.namespace, found.name) if found and locate.find_ordinal(pod) is not None else None
        return _move(key, wanted, self._pipeline_of_pod, self._pod_members)

    def _build(self, touched: set[Key]) -> set[Key]:
        for key in touched:
            sets = [self._sets[each] for each in sorted(self._set_members.get(key, ()))]
            pods = [self._pods[each] for each in sorted(self._pod_members.get(key, ()))]
            before = self.pipelines.pop(key, None)
            for each in before.ids if before else ():
                if self._names.get(each) == key[1]:
                    del self._names[each]
            if not sets and not pods:
                continue
            owners = [found for pod in pods if (found := self._sets.get((pod.namespace, pod.owner)))]
            built = self.pipelines[key] = locate.build_pipeline(*key, sets, pods, owners)
            self._names |= dict.fromkeys(built.ids, built.name)
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
