"""Carries out retention: reads the pins, removes what rules/storage/retention.py chooses, updates the objects, counts.

A tombstone is written before a file is removed, and removed when its object was updated, so that a kill in between is
harmless. On a full volume the file is removed without one: its space is needed.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from samply_operator import settings
from samply_operator.discovery.world import World
from samply_operator.errors import KubeError, StoreError
from samply_operator.model import names
from samply_operator.model.manifest import Manifest, Tombstone
from samply_operator.recorder import measures, reports
from samply_operator.recorder.context import Context
from samply_operator.rules import times
from samply_operator.rules.storage import clock, retention
from samply_operator.rules.storage.retention import Reason, Removal
from samply_operator.store.index import Catalog, Index

logger = logging.getLogger(__name__)

TELL_SECS = 30 * 86400.0
"""How long a pending update of an object is kept."""


@dataclass(frozen=True, slots=True)
class Counts:
    """After the last pass; what was removed counts from the start of the process."""

    profiles: int = 0
    failures: int = 0
    pinned: int = 0
    used_bytes: int = 0
    free_bytes: int = 0
    budget_bytes: int = 0
    """The size of all profiles above which the oldest are removed."""
    removed: Mapping[Reason, int] = field(default_factory=dict)
    removed_bytes: int = 0
    ended_at: float = 0.0
    """Unix time; 0: no pass has ended yet."""


class Retention:
    """`on_removed` is called after each removal. One pass at a time, whoever calls it."""

    def __init__(self, context: Context, world: World, on_removed: Callable[[], None]) -> None:
        self.counts = Counts()
        self._context = context
        self._world = world
        self._on_removed = on_removed
        self._index = Index()
        self._extras: dict[str, Collection[int]] = {}
        self._unreported: dict[str, Tombstone] = {}
        self._last_pass: tuple[float, float] | None = None
        """By the wall clock, and by a monotonic one."""
        self._doubted_until = 0.0
        self._lock = asyncio.Lock()

    @property
    def catalog(self) -> Catalog:
        """As of the last pass."""
        return self._index.catalog

    async def read_stored(self) -> Catalog:
        """As of now. Raises StoreError if the volume can't be read."""
        async with self._lock:
            await self._refresh()
            return self.catalog

    async def recover(self, tombstone: Tombstone) -> None:
        """An earlier process was about to remove it, or could not update its object."""
        self._unreported[tombstone.id] = tombstone
        if await asyncio.to_thread(self._context.volume.remove, tombstone.id):
            self._on_removed()

    async def sweep(self, busy: Collection[str]) -> None:
        """One pass; `busy` are ids that a recording still works on. Raises StoreError if the volume can't be read."""
        async with self._lock:
            volume = self._context.volume
            limits = await self._choose_limits()
            await self._refresh()
            pinned = await self._take_pins()
            free_bytes = await asyncio.to_thread(volume.free_bytes)
            room = retention.Room(free_bytes, self._context.settings.recording.min_free_bytes)
            now = self._context.now()
            removals = await asyncio.to_thread(
                retention.decide,
                tuple(self.catalog.by_id.values()),
                pinned=pinned,
                busy=frozenset(busy),
                room=room,
                limits=limits,
                now=now,
                extras=self._extras,
            )
            for removal in removals:
                await self._remove(removal)
            if removals:
                await self._refresh()
            await self._count(pinned)
            for tombstone in list(self._unreported.values()):
                # A namespace that is not watched may be watched again, but this does not wait forever.
                if self._world.covers(tombstone.namespace):
                    await self._report(tombstone)
                elif now - times.parse_time(tombstone.at) > TELL_SECS:
                    await self._close(tombstone)

    async def _choose_limits(self) -> settings.Retention:
        """Those of the settings; while the wall clock is in doubt, age removes and thins nothing."""
        limits, side_files = self._context.settings.retention, self._context.volume.side_files
        now, uptime = self._context.now(), self._context.uptime()
        if self._last_pass is None:
            before = await asyncio.to_thread(side_files.read_clock)
            self._last_pass = (now if before is None else before, uptime)
        if clock.has_jumped(self._last_pass[0], now, uptime - self._last_pass[1]):
            self._doubted_until = uptime + clock.DOUBT_SECS
            hours = (now - self._last_pass[0]) / 3600
            logger.warning("the clock is %.0f h further than expected: for a day age removes nothing", hours)
        self._last_pass = (now, uptime)
        if uptime < self._doubted_until:
            # The time on the volume stays unchanged: a restart does not end the doubt.
            # Without thinning what was thinned earlier would be beyond the count as soon as new ones come.
            most = sys.maxsize if limits.thinning else limits.max_per_ordinal
            return msgspec.structs.replace(limits, max_age_secs=math.inf, thinning=(), max_per_ordinal=most)
        try:
            await asyncio.to_thread(side_files.write_clock, now)
        except StoreError as error:
            logger.warning("%s", error)
        return limits

    async def _refresh(self) -> None:
        for fault in await asyncio.to_thread(self._index.refresh, self._context.volume):
            logger.error("a stored profile: %s", fault)
        stored = self.catalog.by_id
        seen = {profile_id: sizes for profile_id, sizes in self._extras.items() if profile_id in stored}
        unseen = [profile_id for profile_id, m in stored.items() if m.file is not None and profile_id not in seen]
        self._extras = seen | await asyncio.to_thread(self._measure_extras, unseen)

    def _measure_extras(self, profile_ids: Iterable[str]) -> dict[str, Collection[int]]:
        """Once for each: what is published never changes."""
        return {profile_id: self._context.volume.list_extra_sizes(profile_id) for profile_id in profile_ids}

    async def _take_pins(self) -> frozenset[str]:
        """Ids of pinned profiles. A pin outlives its object: what lost it by no deletion is still pinned."""
        side_files = self._context.volume.side_files
        known = {profile.uid for profile in self._world.profiles.values()}
        wanted = {profile.uid for profile in self._world.profiles.values() if names.PIN in profile.annotations}
        noted = await asyncio.to_thread(side_files.list_pins)
        stored = self.catalog.by_id.keys()
        for profile_id in (wanted & stored) - noted:
            await self._attempt(side_files.pin, profile_id)
        for profile_id in noted - wanted:
            if profile_id in known or profile_id not in stored:
                await self._attempt(side_files.unpin, profile_id)
        return frozenset(wanted | (noted - known))

    async def _attempt(self, work: Callable[[str], None], profile_id: str) -> None:
        try:
            await asyncio.to_thread(work, profile_id)
        except StoreError as error:
            logger.warning("%s", error)

    async def _remove(self, removal: Removal) -> None:
        manifest, volume, now = removal.manifest, self._context.volume, self._context.now()
        if manifest.file is not None:
            tombstone = Tombstone(
                id=manifest.id,
                namespace=manifest.namespace,
                name=manifest.name,
                cause="Retention",
                at=times.format_time(now),
                message=removal.message,
            )
            self._unreported[manifest.id] = tombstone
            try:
                await asyncio.to_thread(volume.side_files.write_tombstone, tombstone)
            except StoreError as error:
                logger.warning("%s/%s: %s", manifest.namespace, manifest.name, error)
        await asyncio.to_thread(volume.remove, manifest.id)
        logger.info("%s/%s (%s): %s", manifest.namespace, manifest.name, manifest.id, removal.message)
        self._add(removal)
        self._on_removed()

    async def _report(self, tombstone: Tombstone) -> None:
        """Report the removal in the object's status. If that fails, the next pass retries."""
        at = (tombstone.namespace, tombstone.name, tombstone.id)
        now = self._context.now()
        try:
            is_reported = await reports.write_status(
                self._context, *at, lambda old: retention.render_removed(old, tombstone.at, tombstone.message, now)
            )
        except KubeError as error:
            logger.info("%s/%s does not show yet that its file was removed: %s", *at[:2], error)
            return
        if is_reported:
            await self._context.events.publish(reports.refer(*at), "Normal", "ProfileRemoved", tombstone.message)
        await self._close(tombstone)

    async def _close(self, tombstone: Tombstone) -> None:
        del self._unreported[tombstone.id]
        await self._attempt(self._context.volume.side_files.remove_tombstone, tombstone.id)

    def _add(self, removal: Removal) -> None:
        measures.RETENTION_REMOVED.labels(removal.reason).inc()
        size_bytes = retention.measure(removal.manifest, self._extras)
        measures.RETENTION_BYTES.inc(size_bytes)
        old = self.counts
        self.counts = Counts(
            removed={**old.removed, removal.reason: old.removed.get(removal.reason, 0) + 1},
            removed_bytes=old.removed_bytes + size_bytes,
        )

    async def _count(self, pinned: frozenset[str]) -> None:
        config = self._context.settings
        free_bytes = await asyncio.to_thread(self._context.volume.free_bytes)
        manifests: Collection[Manifest] = tuple(self.catalog.by_id.values())
        used_bytes = await asyncio.to_thread(retention.measure_all, manifests, self._extras)
        room = retention.Room(free_bytes, config.recording.min_free_bytes)
        profiles = sum(manifest.outcome == "Succeeded" for manifest in manifests)
        self.counts = Counts(
            profiles=profiles,
            failures=len(manifests) - profiles,
            pinned=len(pinned & self.catalog.by_id.keys()),
            used_bytes=used_bytes,
            free_bytes=free_bytes,
            budget_bytes=retention.compute_budget(used_bytes, room, config.retention.max_volume_percent),
            removed=self.counts.removed,
            removed_bytes=self.counts.removed_bytes,
            ended_at=self._context.now(),
        )
