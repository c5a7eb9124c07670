"""The operator's state as `api` knows it: put together from a snapshot and the updates after it, looked up by name.

Never changed, only replaced: who holds one has a consistent picture. An update costs what it changes, and a copy of
the outermost tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from samply_operator.control.messages import PipelineState, RecordingState, Snapshot, Update

Key = tuple[str, str]
"""Namespace and pipeline."""
Place = tuple[str, str, int]
"""Namespace, pipeline and ordinal."""
Ids = frozenset[str]


@dataclass(frozen=True, slots=True)
class Live:
    pipelines: Mapping[Key, PipelineState] = field(default_factory=dict)
    by_id: Mapping[str, RecordingState] = field(default_factory=dict)
    """Recordings and preflights that have not ended."""
    recordings: Mapping[Place, RecordingState] = field(default_factory=dict)
    """The current recording of each ordinal: the running or last requested one. A GET does not wait for preflights."""
    pinned: frozenset[str] = frozenset()
    """Ids of profiles that retention keeps."""
    store_generation: int = 0
    sent_at: float = 0.0
    is_synced: bool = False
    enabled: bool = True
    names: Mapping[str, str] = field(default_factory=dict)
    """What pipelines are called now, by Feldera's id; also those that are gone."""
    _namespaces: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Of pipelines, by name."""
    _ids_by_name: Mapping[str, Ids] = field(default_factory=dict)
    _ids_by_place: Mapping[Place, Ids] = field(default_factory=dict)

    def find_namespaces(self, pipeline: str) -> frozenset[str]:
        """Where there is, or is recorded, a pipeline of this name."""
        recorded = {self.by_id[profile_id].namespace for profile_id in self._ids_by_name.get(pipeline, ())}
        return self._namespaces.get(pipeline, frozenset()) | recorded

    def list_names(self) -> set[str]:
        """Of all pipelines that are there, or are recorded."""
        return {*self._namespaces, *self._ids_by_name}

    def list_recordings(self, namespace: str, pipeline: str) -> list[RecordingState]:
        found = (self.by_id[profile_id] for profile_id in self._ids_by_name.get(pipeline, ()))
        return [recording for recording in found if recording.namespace == namespace]

    def apply(self, update: Update) -> Live:
        pipelines, namespaces = dict(self.pipelines), dict(self._namespaces)
        for namespace, name in update.gone_pipelines:
            pipelines.pop((namespace, name), None)
            _drop(namespaces, name, namespace)
        for pipeline in update.pipelines:
            pipelines[pipeline.namespace, pipeline.name] = pipeline
            _add(namespaces, pipeline.name, pipeline.namespace)
        named = {*update.gone_recordings, *(recording.id for recording in update.recordings)}
        return replace(
            self._apply_recordings(update),
            pinned=(self.pinned - named).union(update.pinned),
            pipelines=pipelines,
            _namespaces=namespaces,
            store_generation=update.store_generation,
            sent_at=update.sent_at,
            is_synced=update.is_synced,
            enabled=update.enabled,
            names=self.names if update.names is None else update.names,
        )

    def _apply_recordings(self, update: Update) -> Live:
        if not update.recordings and not update.gone_recordings:
            return self
        by_id, by_name, by_place = dict(self.by_id), dict(self._ids_by_name), dict(self._ids_by_place)
        touched: set[Place] = set()
        for profile_id in (*update.gone_recordings, *(recording.id for recording in update.recordings)):
            old = by_id.pop(profile_id, None)
            if old is not None:
                _drop(by_name, old.pipeline, profile_id)
                _drop(by_place, _place_of(old), profile_id)
                touched.add(_place_of(old))
        for recording in update.recordings:
            by_id[recording.id] = recording
            _add(by_name, recording.pipeline, recording.id)
            _add(by_place, _place_of(recording), recording.id)
            touched.add(_place_of(recording))
        recordings = dict(self.recordings)
        for place in touched:
            chosen = _choose(by_id[profile_id] for profile_id in by_place.get(place, ()))
            recordings.pop(place, None)
            if chosen is not None:
                recordings[place] = chosen
        return replace(self, by_id=by_id, recordings=recordings, _ids_by_name=by_name, _ids_by_place=by_place)


def build_live(snapshot: Snapshot) -> Live:
    return Live().apply(
        Update(
            pipelines=snapshot.pipelines,
            recordings=snapshot.recordings,
            pinned=snapshot.pinned,
            store_generation=snapshot.store_generation,
            sent_at=snapshot.sent_at,
            is_synced=snapshot.is_synced,
            enabled=snapshot.enabled,
            names=snapshot.names,
        )
    )


def _place_of(recording: RecordingState) -> Place:
    return recording.namespace, recording.pipeline, recording.ordinal


def _choose(recordings: Iterable[RecordingState]) -> RecordingState | None:
    """The one that runs, before others that wait for the same target; of these the newest."""
    real = [r for r in recordings if not r.preflight_only]
    return max(real, key=lambda r: (r.ends_at is not None, r.requested_at, r.id), default=None)


Group = TypeVar("Group")


def _add(members: dict[Group, Ids], group: Group, member: str) -> None:
    members[group] = members.get(group, frozenset()) | {member}


def _drop(members: dict[Group, Ids], group: Group, member: str) -> None:
    left = members.get(group, frozenset()) - {member}
    if left:
        members[group] = left
    else:
        members.pop(group, None)
