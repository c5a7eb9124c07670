"""Deleted objects: cancels their recordings and removes their profiles, if rules/storage/deletion.py is certain.

An observed deletion becomes a tombstone on the volume before anything else, so that a kill before the file is removed
is harmless. An unobserved one is found in the complete lists, by the sweep.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet

from samply_operator.activity import Activity
from samply_operator.discovery.work_queue import WorkQueue
from samply_operator.discovery.world import World
from samply_operator.errors import CorruptManifest, StoreError, StoreUnavailable
from samply_operator.model.manifest import JournalEntry, Manifest, ObjectOrigin, Tombstone
from samply_operator.model.profile import SamplyProfile
from samply_operator.recorder import object_origin
from samply_operator.recorder.context import Context
from samply_operator.recorder.run import Run
from samply_operator.rules import times
from samply_operator.rules.storage import deletion

logger = logging.getLogger(__name__)


STATES = 8
"""Maximum number of namespaces read concurrently."""
PIECE = 100
"""Absent objects judged in one piece before other work of the loop continues."""


class Deletions:
    """`runs` are those of this process, by id; `on_removed` is called after each removal. `queue` is to be run."""

    def __init__(
        self,
        context: Context,
        world: World,
        runs: Mapping[str, Run],
        on_removed: Callable[[], None],
        activity: Activity | None = None,
    ) -> None:
        self.orphans: dict[str, str] = {}
        """Profiles whose objects are gone without a certain deletion, and why."""
        self._context = context
        self._world = world
        self._runs = runs
        self._on_removed = on_removed
        self._seen: dict[str, SamplyProfile] = {}
        self._open: dict[str, Tombstone] = {}
        self._absent_since: dict[str, float] = {}
        self.queue: WorkQueue[str] = WorkQueue(self._take, name="deletions", activity=activity)

    def recover(self, tombstone: Tombstone) -> None:
        """An earlier process saw the deletion."""
        self._open[tombstone.id] = tombstone
        self.queue.put(tombstone.id)

    # ------------------------------------------------------------------------------------------------------- seen

    def see(self, profile: SamplyProfile) -> None:
        """The API server reported the deletion of this object: cancel its recording, or remove its profile."""
        self._seen[profile.uid] = profile
        self.queue.put(profile.uid)

    def recheck(self, profile_id: str) -> None:
        """Its recording has ended: if its object was deleted meanwhile, now the profile can go."""
        if profile_id in self._open:
            self.queue.put(profile_id)

    async def _take(self, profile_id: str) -> None:
        profile = self._seen.pop(profile_id, None)
        if profile is not None:
            await self._open_tombstone(profile)
        tombstone = self._open.get(profile_id)
        if tombstone is not None:
            await self._decide(tombstone, await object_origin.find_state(self._context.client, tombstone.namespace))

    async def _open_tombstone(self, profile: SamplyProfile) -> None:
        run = self._runs.get(profile.uid)
        if run is None and not await asyncio.to_thread(self._may_exist, profile):
            return
        tombstone = self._open[profile.uid] = Tombstone(
            id=profile.uid,
            namespace=profile.namespace,
            name=profile.name,
            cause="Deleted",
            at=times.format_time(self._context.now()),
            origin=run.entry.origin if run else await self._find_origin(profile),
        )
        try:
            await asyncio.to_thread(self._context.volume.side_files.write_tombstone, tombstone)
        except StoreError as error:
            logger.warning("%s/%s: %s", profile.namespace, profile.name, error)

    def _may_exist(self, profile: SamplyProfile) -> bool:
        """Another pod's spool may have it only if its status says that it is stored, or does not say yet."""
        volume, stored = self._context.volume, profile.status.profile
        may_be_stored = not profile.has_ended or (stored is not None and stored.id and not stored.removed_at)
        try:
            return volume.may_exist(profile.uid) if may_be_stored else volume.has(profile.uid)
        except StoreUnavailable:
            return True

    async def _find_origin(self, profile: SamplyProfile) -> ObjectOrigin:
        try:
            manifest = await asyncio.to_thread(self._context.volume.read_manifest, profile.uid)
        except CorruptManifest:
            return ObjectOrigin()
        if manifest is None:  # the spool of another pod may have it
            return await object_origin.find_origin(self._context.client, profile.namespace)
        return manifest.origin

    async def _decide(self, tombstone: Tombstone, state: deletion.OriginState) -> None:
        seen_secs = self._context.now() - times.parse_time(tombstone.at)
        match deletion.decide_seen(tombstone.origin, state, seen_secs=seen_secs):
            case deletion.Remove():
                await self._carry_out(tombstone)
            case deletion.Keep(why):
                logger.warning("%s/%s: its profile stays: %s", tombstone.namespace, tombstone.name, why)
                await self._close(tombstone)
            case deletion.AskLater(after_secs, why):
                logger.info("%s/%s: asked again in %g s: %s", tombstone.namespace, tombstone.name, after_secs, why)
                if after_secs < deletion.NEXT_SWEEP_SECS:
                    self.queue.put_later(tombstone.id, after_secs)

    async def _carry_out(self, tombstone: Tombstone) -> None:
        run = self._runs.get(tombstone.id)
        if run is not None:
            run.stop("discard")  # `recheck` follows when it has ended
            return
        await self.remove(tombstone.id, everywhere=True)
        await self._close(tombstone)

    async def _close(self, tombstone: Tombstone) -> None:
        self._open.pop(tombstone.id, None)
        await asyncio.to_thread(self._context.volume.side_files.remove_tombstone, tombstone.id)

    async def remove(self, profile_id: str, *, everywhere: bool = False) -> bool:
        """Remove the stored profile immediately; False if there was none. Only for certain deletions. `everywhere`: as
        for BucketStore.remove."""
        volume = self._context.volume
        if not await asyncio.to_thread(volume.remove, profile_id, everywhere=everywhere):
            return False
        self._on_removed()
        await asyncio.to_thread(volume.side_files.unpin, profile_id)
        return True

    # ----------------------------------------------------------------------------------------------------- absent

    async def sweep(self, manifests: tuple[Manifest, ...]) -> None:
        """Check pending deletions, and find objects that were deleted unobserved."""
        missing = await asyncio.to_thread(
            self._find_missing,
            (*manifests, *(run.entry for run in self._runs.values())),
            self._open.keys() | {profile.uid for profile in self._world.profiles.values()},
        )
        uptime = self._context.uptime()
        self._absent_since = {profile_id: self._absent_since.get(profile_id, uptime) for profile_id in missing}
        self.orphans = {profile_id: why for profile_id, why in self.orphans.items() if profile_id in missing}
        tombstones = tuple(self._open.values())
        states = await self._find_states({item.namespace for item in (*tombstones, *missing.values())})
        for tombstone in tombstones:
            await self._decide(tombstone, states[tombstone.namespace])
        oldest = min(
            (profile.created_at for profile in self._world.profiles.values() if profile.created_at), default=""
        )
        for number, item in enumerate(missing.values()):
            await self._decide_absent(item, states[item.namespace], oldest)
            if number % PIECE == PIECE - 1:
                await asyncio.sleep(0)  # most of them need no await

    def _find_missing(
        self, items: Iterable[Manifest | JournalEntry], known: AbstractSet[str]
    ) -> dict[str, Manifest | JournalEntry]:
        """In a thread: there may be thousands."""
        return {item.id: item for item in items if item.id not in known and self._world.covers(item.namespace)}

    async def _find_states(self, namespaces: Iterable[str]) -> dict[str, deletion.OriginState]:
        limit = asyncio.Semaphore(STATES)

        async def find(namespace: str) -> tuple[str, deletion.OriginState]:
            async with limit:
                return namespace, await object_origin.find_state(self._context.client, namespace)

        return dict(await asyncio.gather(*map(find, namespaces)))

    async def _decide_absent(self, item: Manifest | JournalEntry, state: deletion.OriginState, oldest: str) -> None:
        verdict = deletion.decide_absent(
            item.origin,
            state,
            absent_secs=self._context.uptime() - self._absent_since[item.id],
            grace_secs=self._context.settings.retention.absence_grace_secs,
            has_older_object=deletion.has_older_object(item.requested_at, [oldest] if oldest else []),
        )
        match verdict:
            case deletion.Remove():
                logger.info("%s/%s was deleted while nobody watched", item.namespace, item.name)
                run = self._runs.get(item.id)
                if run is not None:
                    run.stop("discard")
                else:
                    await self.remove(item.id)
            case deletion.Keep(why):
                if self.orphans.get(item.id) != why:
                    logger.warning("%s/%s is an orphan, its profile stays: %s", item.namespace, item.name, why)
                self.orphans[item.id] = why
            case deletion.AskLater():
                pass  # the next sweep does
