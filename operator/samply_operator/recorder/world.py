"""What was last seen in the cluster: pods, StatefulSets and SamplyProfiles, by namespace and name.

Filled by watches and by the periodic complete lists; everything else reads it. No decisions here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from samply_operator.errors import SettingsError
from samply_operator.kube import objects
from samply_operator.model.pipeline import Pipeline, Pod, StatefulSet
from samply_operator.model.profile import SamplyProfile, parse_object
from samply_operator.rules.discovery import locate, selectors
from samply_operator.settings import Targets

Key = tuple[str, str]


class Named(Protocol):
    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...


Item = TypeVar("Item", bound=Named)


def key_of(item: Named) -> Key:
    return item.namespace, item.name


@dataclass(slots=True)
class _Later:
    """None: it went."""

    pods: dict[Key, Pod | None] = field(default_factory=dict)
    sets: dict[Key, StatefulSet | None] = field(default_factory=dict)
    profiles: dict[Key, SamplyProfile] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    """Uids of profiles."""


class World:
    def __init__(self, targets: Targets) -> None:
        self._targets = targets
        self.pods: dict[Key, Pod] = {}
        self.sets: dict[Key, StatefulSet] = {}
        self.profiles: dict[Key, SamplyProfile] = {}
        self.namespaces: tuple[str, ...] = ("",)
        """What the complete lists cover; "" is all."""
        self.is_synced = False
        self.synced_at = 0.0
        """Unix time of the last complete lists, for the metrics; no decision looks at it."""
        self.seen_at = 0.0
        """The same of the last event that a watch brought."""
        self._pipelines: dict[Key, Pipeline] | None = None
        self._later = _Later()
        """What was observed since the complete lists were begun."""
        self._gone_before: frozenset[str] = frozenset()

    def begin_lists(self) -> None:
        """Call before complete lists are asked for: what is observed from now on may be newer than what is in them."""
        self._gone_before = frozenset(self._later.gone)
        self._later = _Later()

    @property
    def pipelines(self) -> Mapping[Key, Pipeline]:
        """By namespace and pipeline name; worked out anew only after a change."""
        if self._pipelines is None:
            found = locate.find_pipelines(self.pods.values(), self.sets.values(), self._targets)
            self._pipelines = {key_of(pipeline): pipeline for pipeline in found}
        return self._pipelines

    def covers(self, namespace: str) -> bool:
        """Whether what isn't known of this namespace isn't there."""
        return self.is_synced and not {"", namespace}.isdisjoint(self.namespaces)

    def see_pod(self, raw: Mapping[str, Any], *, is_gone: bool = False) -> bool:
        """Take one observation in; True if it changed anything."""
        return self._see(self.pods, self._later.pods, objects.parse_pod(raw), is_gone=is_gone)

    def see_set(self, raw: Mapping[str, Any], *, is_gone: bool = False) -> bool:
        return self._see(self.sets, self._later.sets, objects.parse_stateful_set(raw), is_gone=is_gone)

    def see_profile(self, raw: Mapping[str, Any], *, is_gone: bool = False) -> SamplyProfile:
        """Not part of `pipelines`. Returns what was seen."""
        profile = parse_object(raw)
        if is_gone:
            self.forget(profile.key, profile.uid)
        elif not self.is_gone(profile.uid):
            self.profiles[profile.key] = self._later.profiles[profile.key] = profile
        return profile

    def see_read(self, known: SamplyProfile, raw: Mapping[str, Any]) -> SamplyProfile:
        """Take in what was read after `known` was seen, unless a watch was faster. Returns what was read."""
        if self.profiles.get(known.key) is known:
            return self.see_profile(raw)
        return parse_object(raw)

    def forget(self, key: Key, uid: str) -> None:
        """This profile is gone, whatever a watch that lags behind still tells of it. A successor of its name stays."""
        self._later.gone.add(uid)
        for known in (self.profiles, self._later.profiles):
            if key in known and known[key].uid == uid:
                del known[key]

    def is_gone(self, uid: str) -> bool:
        """Seen to be gone, not long ago."""
        return uid in self._later.gone or uid in self._gone_before

    def replace(
        self,
        pods: Iterable[Mapping[str, Any]],
        sets: Iterable[Mapping[str, Any]],
        profiles: Iterable[Mapping[str, Any]],
    ) -> None:
        """Complete lists of everything watched, and on top of them what was observed since they were begun."""
        later = self._later
        self.pods = _overlay({key_of(pod): pod for pod in map(objects.parse_pod, pods)}, later.pods)
        self.sets = _overlay({key_of(found): found for found in map(objects.parse_stateful_set, sets)}, later.sets)
        listed = {profile.key: profile for profile in map(parse_object, profiles) if profile.uid not in later.gone}
        self.profiles = listed | later.profiles
        self._pipelines = None
        self.is_synced = True

    def _see(self, known: dict[Key, Item], later: dict[Key, Item | None], item: Item, *, is_gone: bool) -> bool:
        key = key_of(item)
        later[key] = None if is_gone else item
        if is_gone:
            changed = known.pop(key, None) is not None
        else:
            changed = known.get(key) != item
            known[key] = item
        if changed:
            self._pipelines = None
        return changed


def _overlay(listed: dict[Key, Item], later: Mapping[Key, Item | None]) -> dict[Key, Item]:
    merged = {**listed, **later}
    return {key: item for key, item in merged.items() if item is not None}


def check_targets(targets: Targets) -> None:
    """Fail at start, not at the first pod, when selector or pattern can't be read."""
    selectors.parse_selector(targets.pod_selector)
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
