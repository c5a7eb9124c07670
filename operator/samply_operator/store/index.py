"""The stored profiles, in memory: by namespace, pipeline and ordinal. Can be rebuilt from the manifests at any time.

`Index.refresh` reads only new manifests; `Catalog` is the frozen result, so that a reader keeps a consistent view while
a thread continues to read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from samply_operator.errors import CorruptManifest
from samply_operator.model.manifest import Manifest
from samply_operator.rules.storage import order
from samply_operator.store.store import StoreReader

Key = tuple[str, str]
"""(namespace, pipeline)"""


@dataclass(frozen=True, slots=True)
class Catalog:
    """All manifests, newest first within each pipeline and ordinal."""

    by_id: Mapping[str, Manifest] = field(default_factory=dict)
    by_pipeline: Mapping[Key, Mapping[int, tuple[Manifest, ...]]] = field(default_factory=dict)
    namespaces: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Pipeline's name → namespaces with attempts of it."""

    def get(self, profile_id: str) -> Manifest | None:
        return self.by_id.get(profile_id)

    def find_namespaces(self, pipeline: str) -> frozenset[str]:
        return self.namespaces.get(pipeline, frozenset())

    def list_ordinals(self, namespace: str, pipeline: str) -> tuple[int, ...]:
        return tuple(sorted(self.by_pipeline.get((namespace, pipeline), {})))

    def list_attempts(self, namespace: str, pipeline: str, ordinal: int) -> tuple[Manifest, ...]:
        return self.by_pipeline.get((namespace, pipeline), {}).get(ordinal, ())

    def find_last_attempt(self, namespace: str, pipeline: str, ordinal: int) -> Manifest | None:
        return next(iter(self.list_attempts(namespace, pipeline, ordinal)), None)

    def find_last_good(self, namespace: str, pipeline: str, ordinal: int) -> Manifest | None:
        attempts = self.list_attempts(namespace, pipeline, ordinal)
        return next((manifest for manifest in attempts if manifest.outcome == "Succeeded"), None)

    def without(self, ids: Collection[str]) -> Catalog:
        """The same without these attempts."""
        return build_catalog(manifest for manifest in self.by_id.values() if manifest.id not in ids)

    def list_history(self, namespace: str, pipeline: str) -> tuple[Manifest, ...]:
        """All attempts of all ordinals, newest first."""
        found = self.by_pipeline.get((namespace, pipeline), {})
        return tuple(sorted((m for attempts in found.values() for m in attempts), key=order.build_key, reverse=True))


def build_catalog(manifests: Iterable[Manifest], names: Mapping[str, str] | None = None) -> Catalog:
    """`names` are the current names of pipelines by Feldera's id: attempts follow a rename."""
    by_id = {manifest.id: _rename(manifest, names or {}) for manifest in manifests}
    grouped: dict[Key, dict[int, list[Manifest]]] = {}
    for manifest in sorted(by_id.values(), key=order.build_key, reverse=True):
        ordinals = grouped.setdefault((manifest.namespace, manifest.pipeline), {})
        ordinals.setdefault(manifest.ordinal, []).append(manifest)
    namespaces: dict[str, set[str]] = {}
    for namespace, pipeline in grouped:
        namespaces.setdefault(pipeline, set()).add(namespace)
    return Catalog(
        by_id=by_id,
        by_pipeline={key: {n: tuple(found) for n, found in ordinals.items()} for key, ordinals in grouped.items()},
        namespaces={name: frozenset(found) for name, found in namespaces.items()},
    )


def _rename(manifest: Manifest, names: Mapping[str, str]) -> Manifest:
    name = names.get(manifest.pipeline_id, manifest.pipeline)
    return manifest if name == manifest.pipeline else msgspec.structs.replace(manifest, pipeline=name)


class Index:
    """Keeps a Catalog up to date. `refresh` blocks (use a thread, one at a time); `catalog` may be read meanwhile."""

    def __init__(self) -> None:
        self.catalog = Catalog()
        self.fault_count = 0
        """Manifests that were unreadable in the last pass."""
        self._known_faults: frozenset[str] = frozenset()
        self._names: Mapping[str, str] = {}

    def refresh(self, store: StoreReader) -> tuple[CorruptManifest, ...]:
        """Read new manifests, forget removed ones. Returns faults not reported before. Raises StoreError."""
        ids = store.list_ids()
        known = self.catalog.by_id
        reading = store.read_manifests(ids - known.keys())
        if reading.items or known.keys() - ids:
            kept = [manifest for profile_id, manifest in known.items() if profile_id in ids]
            self.catalog = build_catalog([*kept, *reading.items], self._names)
        faults = {str(fault.details["profile"]): fault for fault in reading.faults}
        fresh = tuple(fault for profile_id, fault in faults.items() if profile_id not in self._known_faults)
        self._known_faults = frozenset(faults)
        self.fault_count = len(faults)
        return fresh

    def rename(self, names: Mapping[str, str]) -> None:
        """Set the current names of pipelines, by Feldera's id; existing attempts follow."""
        if names != self._names:
            self._names = names
            self.catalog = build_catalog(self.catalog.by_id.values(), names)
