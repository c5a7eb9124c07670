"""The last known state of the cluster: pods, StatefulSets and SamplyProfiles, and the pipelines that they form.

Filled by lists and watches (reflector.py, kopf_watch.py); everything else reads it. No decisions here. A scope is a
namespace, or "" for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from msgspec import structs

from samply_operator.discovery.changes import Changes
from samply_operator.discovery.object_table import Item, Key, ObjectTable, Source, key_of
from samply_operator.discovery.pipeline_index import PipelineIndex
from samply_operator.discovery.profile_groups import ProfileGroups
from samply_operator.errors import SettingsError
from samply_operator.model.pipeline import Pipeline, Pod, StatefulSet
from samply_operator.model.profile import SamplyProfile
from samply_operator.rules.discovery import selectors
from samply_operator.settings import Targets

__all__ = ["Key", "World", "check_targets", "key_of"]


@dataclass(slots=True)
class _Since:
    """What was observed of one scope's profiles since its list was begun, which may be older than that."""

    profiles: dict[Key, SamplyProfile] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    """Uids."""
    gone_before: frozenset[str] = frozenset()
    """The same of the list before."""


class World:
    """`unended`: of the profiles, by uid, those that have not ended."""

    def __init__(self, targets: Targets, changes: Changes) -> None:
        self.profiles: dict[Key, SamplyProfile] = {}
        self.unended: dict[str, SamplyProfile] = {}
        self.groups = ProfileGroups()
        self.synced_at = 0.0
        """Unix time of the last complete list, for the metrics; no decision looks at it."""
        self.seen_at = 0.0
        """The same of the last event that a watch brought."""
        self._changes = changes
        self._index = PipelineIndex(targets)
        self._pods = ObjectTable[Pod]()
        self._sets = ObjectTable[StatefulSet]()
        self._unserved: dict[Key, SamplyProfile] = {}
        self._keys: dict[str, Key] = {}
        self._since: dict[str, _Since] = {}
        self._selected: frozenset[str] | None = None
        self._covered: set[str] = set()
        self._awaited: set[str] = set()

    # ------------------------------------------------------------------------------------------------- what is known

    @property
    def pods(self) -> Mapping[Key, Pod]:
        return self._pods.items

    @property
    def sets(self) -> Mapping[Key, StatefulSet]:
        return self._sets.items

    @property
    def pipelines(self) -> Mapping[Key, Pipeline]:
        """By namespace and pipeline name."""
        return self._index.pipelines

    @property
    def known_names(self) -> Mapping[str, str]:
        """What Feldera calls its pipelines, by id."""
        return self._index.known

    def rename(self, known: Mapping[str, str]) -> None:
        """Feldera calls its pipelines this from now on."""
        for key in self._index.rename(known):
            self._changes.note_pipeline(key)

    def find_pipelines(self, name: str) -> list[Pipeline]:
        """In all namespaces, by name or by Feldera's id."""
        return [found for key, found in self.pipelines.items() if key[1] == name or name in found.ids]

    def list_names(self) -> dict[str, str]:
        """What pipelines are called, by Feldera's id."""
        return self._index.list_names()

    def find_name(self, pipeline_id: str) -> str | None:
        """What the pipeline of Feldera's id is called; None: it is not there."""
        return self._index.find_name(pipeline_id)

    def resolve(self, profile: SamplyProfile) -> SamplyProfile:
        """The same, by the pipeline's name where it was asked for by its id."""
        spec = profile.spec
        name = None if (profile.namespace, spec.pipeline) in self.pipelines else self.find_name(spec.pipeline)
        return profile if name is None else replace(profile, spec=structs.replace(spec, pipeline=name))

    @property
    def scopes(self) -> tuple[str, ...]:
        """Those whose whole picture is known."""
        return tuple(sorted(self._covered))

    @property
    def is_synced(self) -> bool:
        """Whether an unknown name is an absent one: each scope was listed, or may not be."""
        return bool(self._covered) and not self._awaited

    def serves(self, namespace: str) -> bool:
        """Always true, unless the settings select namespaces by their labels."""
        return self._selected is None or namespace in self._selected

    def covers(self, namespace: str) -> bool:
        """Whether what is not known of this namespace is not there."""
        return self.serves(namespace) and not self._covered.isdisjoint({"", namespace})

    def find_profile(self, uid: str) -> SamplyProfile | None:
        return self.profiles.get(self._keys.get(uid, ("", "")))

    def is_gone(self, uid: str) -> bool:
        """Seen to be gone, not long ago."""
        return any(uid in since.gone or uid in since.gone_before for since in self._since.values())

    # ------------------------------------------------------------------------------------------------------- scopes

    def await_scopes(self, scopes: Iterable[str]) -> None:
        """Nothing is certain until each of them was listed, or was given up."""
        self._awaited = set(scopes) - self._covered

    def cover(self, scope: str) -> None:
        """All of it was listed."""
        self._covered.add(scope)
        self._awaited.discard(scope)
        self._changes.notify()

    def uncover(self, scope: str) -> None:
        """It may not be listed. It is unknown, so nothing there counts as deleted."""
        self._covered.discard(scope)
        self._awaited.discard(scope)
        self._update(self._pods.drop_scope(scope), self._sets.drop_scope(scope))
        for profile in [p for p in self.profiles.values() if scope in {"", p.namespace}]:
            self._forget(profile.key)
        self._since.pop(scope, None)
        self._changes.notify()

    def select(self, namespaces: Collection[str]) -> tuple[SamplyProfile, ...]:
        """Serve these namespaces alone; returns the profiles of those that were not served before."""
        before = self._selected
        self._selected = frozenset(namespaces)
        moved = self._selected if before is None else self._selected ^ before
        if before is None:
            moved |= {key[0] for key in (*self.pods, *self.sets, *self.profiles)}
        self._update({key for key in self.pods if key[0] in moved}, {key for key in self.sets if key[0] in moved})
        for profile in [p for p in self.profiles.values() if not self.serves(p.namespace)]:
            self._forget(profile.key)
            self._unserved[profile.key] = profile
        served = tuple(p for p in self._unserved.values() if self.serves(p.namespace))
        for profile in served:
            del self._unserved[profile.key]
            self._put(profile)
        self._changes.notify()
        return served

    # -------------------------------------------------------------------------------------------- pods, StatefulSets

    def see_pod(self, pod: Pod, *, source: Source = ("", ""), is_gone: bool = False) -> None:
        self._update(_see(self._pods, source, pod, is_gone=is_gone), set())

    def see_set(self, stateful_set: StatefulSet, *, source: Source = ("", ""), is_gone: bool = False) -> None:
        self._update(set(), _see(self._sets, source, stateful_set, is_gone=is_gone))

    def replace_pods(self, items: Iterable[Pod], *, source: Source = ("", "")) -> None:
        """A complete list."""
        self._update(self._pods.replace(source, items), set())

    def replace_sets(self, items: Iterable[StatefulSet], *, source: Source = ("", "")) -> None:
        self._update(set(), self._sets.replace(source, items))

    def _update(self, pods: set[Key], sets: set[Key]) -> None:
        """Pipelines follow."""
        touched = set()
        for key in sets:
            found = self.sets.get(key)
            touched |= self._index.put_set(found) if found and self.serves(key[0]) else self._index.drop_set(key)
        for key in pods:
            pod = self.pods.get(key)
            touched |= self._index.put_pod(pod) if pod and self.serves(key[0]) else self._index.drop_pod(key)
        for key in touched:
            self._changes.note_pipeline(key)

    # ----------------------------------------------------------------------------------------------------- profiles

    def begin_profiles(self, scope: str) -> None:
        """Call before a complete list is asked for: what is observed from now on may be newer than what is in it."""
        self._since[scope] = _Since(gone_before=frozenset(self._find_since(scope).gone))

    def replace_profiles(self, scope: str, items: Iterable[SamplyProfile]) -> None:
        """The complete list, and on top of it what was observed since it was begun."""
        since = self._find_since(scope)
        listed = {profile.key: profile for profile in items if profile.uid not in since.gone} | since.profiles
        for known in (self.profiles, self._unserved):
            for key in [key for key in known if scope in {"", key[0]} and key not in listed]:
                self._forget(key)
        for profile in listed.values():
            self._put(profile)

    def see_profile(self, profile: SamplyProfile, *, is_gone: bool = False) -> None:
        if is_gone:
            self.forget(profile.key, profile.uid)
        elif not self.is_gone(profile.uid):
            self._find_since_of(profile.namespace).profiles[profile.key] = profile
            self._put(profile)

    def see_read(self, known: SamplyProfile, read: SamplyProfile) -> None:
        """Take in what was read after `known` was seen, unless a watch was faster."""
        if self.profiles.get(known.key) is known:
            self.see_profile(read)

    def forget(self, key: Key, uid: str) -> None:
        """This profile is deleted, even if a lagging watch still shows it. A successor of its name is kept."""
        since = self._find_since_of(key[0])
        since.gone.add(uid)
        if key in since.profiles and since.profiles[key].uid == uid:
            del since.profiles[key]
        for known in (self.profiles, self._unserved):
            if key in known and known[key].uid == uid:
                self._forget(key)
                return

    def _find_since(self, scope: str) -> _Since:
        return self._since.setdefault(scope, _Since())

    def _find_since_of(self, namespace: str) -> _Since:
        return self._find_since(namespace if namespace in self._since else "" if "" in self._since else namespace)

    def _put(self, profile: SamplyProfile) -> None:
        if not self.serves(profile.namespace):
            self._unserved[profile.key] = profile
            return
        known = self.profiles.get(profile.key)
        if known is not None and known.uid != profile.uid:
            self._forget(profile.key)
        elif known is not None:
            self.groups.drop(known)  # its labels may have changed
        self.profiles[profile.key] = profile
        self.groups.put(profile)
        self._keys[profile.uid] = profile.key
        if profile.has_ended or profile.is_deleted:
            self.unended.pop(profile.uid, None)
        else:
            self.unended[profile.uid] = profile
        self._changes.note_recording(profile.uid)

    def _forget(self, key: Key) -> None:
        self._unserved.pop(key, None)
        profile = self.profiles.pop(key, None)
        if profile is not None:
            del self._keys[profile.uid]
            self.groups.drop(profile)
            self.unended.pop(profile.uid, None)
            self._changes.note_recording(profile.uid)


def _see(table: ObjectTable[Item], source: Source, item: Item, *, is_gone: bool) -> set[Key]:
    return table.drop(source, item) if is_gone else table.put(source, item)


def check_targets(targets: Targets) -> None:
    """Fail at start, not at the first pod, when selector or pattern can't be read."""
    for selector in (*targets.selectors, targets.namespace_selector):
        selectors.parse_selector(selector)
    try:
        found = re.compile(targets.name_pattern).groupindex
        fault = "" if "pipeline" in found else "it has no such group"
    except re.error as error:
        fault = str(error)
    if fault:
        raise SettingsError(
            f"config.targets.namePattern {targets.name_pattern!r}: {fault}.",
            remedy="It must be a regular expression with a group named pipeline, (?P<pipeline>…).",
        )
