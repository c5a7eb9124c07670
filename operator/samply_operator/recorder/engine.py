"""Reconciles each object after a change: starts, stops, ends or forgets its recording.

Level-triggered: `reconcile` works from what is observed (world, journal, volume), whatever event called it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping

from samply_operator.activity import Activity
from samply_operator.discovery.changes import Changes
from samply_operator.discovery.work_queue import WorkQueue
from samply_operator.discovery.world import Key, World
from samply_operator.errors import KubeConflict, KubeError, KubeNotFound, StoreError
from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.model.profile import SamplyProfile
from samply_operator.recorder.admission import Admission
from samply_operator.recorder.context import Context
from samply_operator.recorder.leases import Leases
from samply_operator.recorder.requesters import Requesters
from samply_operator.recorder.run import Run
from samply_operator.recorder.runs import Runs
from samply_operator.recorder.storage.comparisons import Comparisons
from samply_operator.recorder.storage.deletions import Deletions
from samply_operator.recorder.storage.retention import Retention
from samply_operator.rules import times
from samply_operator.rules.recording import final_status, lease

logger = logging.getLogger(__name__)

SWEEP_SECS = 60.0
SWEEP_PATIENCE_SECS = 900.0
"""How long one sweep may take until it counts as stuck."""


class Engine:
    """`holder` identifies this installation in Leases; `changes` notifies readers of the state. `queue`,
    `deletions.queue`, `comparisons.queue`, `renew_leases` and `sweep_forever` must be run."""

    def __init__(
        self, context: Context, world: World, changes: Changes, holder: str = "local", activity: Activity | None = None
    ) -> None:
        self.context = context
        self.world = world
        self.changes = changes
        self.activity = activity or Activity()
        self.requesters = Requesters()
        self.leases = Leases(context, holder)
        self.runs = Runs(context, changes, self.leases)
        self.runs.on_end = self._see_end
        self.retention = Retention(context, world, changes.note_stored)
        self.deletions = Deletions(context, world, self.runs, changes.note_stored, self.activity)
        self.comparisons = Comparisons(context, world, self.retention.read_stored)
        self.queue: WorkQueue[Key] = WorkQueue(self.reconcile, name="recordings", activity=self.activity)
        self.admission = Admission(
            context,
            world,
            self.runs,
            self.leases,
            self.queue,
            self.requesters,
            make_room=lambda: self.retention.sweep(self.runs.keys()),
        )

    async def recover(self) -> None:
        """Continue the recordings in the journal. Call once, before the first reconcile."""
        reading = await asyncio.to_thread(self.context.volume.read_entries)
        for fault in reading.faults:
            logger.error("journal: %s", fault)
        live = {entry.id for entry in reading.items}
        await asyncio.to_thread(self.context.volume.clean_tmp, live)
        for entry in reading.items:
            if entry.step == "Cleaning":
                self.runs.register_ended(entry)
            else:
                logger.info("%s/%s: going on at step %s", entry.namespace, entry.name, entry.step)
                self.runs.resume(self.runs.register(entry))
        await self.runs.renew_leases()
        await self._recover_tombstones()
        # An earlier reader may have read the volume while an earlier process still wrote.
        self.changes.note_stored()

    async def _recover_tombstones(self) -> None:
        reading = await asyncio.to_thread(self.context.volume.side_files.read_tombstones)
        for fault in reading.faults:
            logger.error("tombstones: %s", fault)
        for tombstone in reading.items:
            if tombstone.cause == "Retention":
                await self.retention.recover(tombstone)
            else:
                self.deletions.recover(tombstone)

    async def reconcile(self, key: Key) -> None:
        """Reconcile one object."""
        profile = self.world.profiles.get(key)
        if profile is None or profile.is_deleted:
            return
        if profile.fault:
            logger.error("%s/%s cannot be read: %s", *key, profile.fault)
            return
        run, ended = self.runs.get(profile.uid), self.runs.find_ended(profile.uid)
        if run is not None:
            if profile.annotations.get(names.STOP) == "keep":
                run.stop("keep")
        elif ended is not None and not ended.is_reported:
            ended.report_again()  # it ended here, and its status does not show it yet: nothing else to do
        elif not profile.has_ended:
            await self.admission.begin(profile)
        else:
            self.comparisons.see(profile)

    async def _see_end(self, run: Run) -> None:
        """Whether it has ended, or is not ours and must be admitted again."""
        entry = run.entry
        if not entry.outcome:
            if entry.requested_by:
                self.requesters.note((entry.namespace, entry.name), entry.requested_by)
            self.queue.put((entry.namespace, entry.name))
            return
        self.admission.call_next()
        self.deletions.recheck(entry.id)
        self.queue.put((entry.namespace, entry.name))  # while it ran here, it was not compared
        await self._retain()

    async def _retain(self) -> None:
        try:
            await asyncio.to_thread(self.context.volume.hold_emergency_space)
            if self.world.is_synced:  # until then pins are unknown
                await self.retention.sweep(self.runs.keys())
        except StoreError as error:
            logger.error("retention: %s", error)

    # ------------------------------------------------------------------------------------------------------- upkeep

    async def renew_leases(self) -> None:
        """Run forever."""
        while True:
            with self.activity.doing("leases", SWEEP_PATIENCE_SECS):
                await self.runs.renew_leases()
            await asyncio.sleep(lease.RENEW_SECS)

    async def sweep_forever(self) -> None:
        """Run forever; the first sweep is immediate, to clean up after an earlier process."""
        while True:
            try:
                with self.activity.doing("sweep", SWEEP_PATIENCE_SECS):
                    await self.sweep()
            except (KubeError, StoreError) as error:
                logger.warning("sweep: %s", error)
            await asyncio.sleep(SWEEP_SECS)

    async def sweep(self) -> None:
        """Clean what couldn't be cleaned, look again at every object that hasn't ended, carry out retention, and find
        what lost its object."""
        await self.runs.clean(lambda profile_id: self.world.find_profile(profile_id) is not None)
        for profile in list(self.world.unended.values()):
            self.queue.put(profile.key)
        for profile in list(self.world.profiles.values()):
            if profile.uid not in self.runs:
                self.comparisons.see(profile)  # its manifest may have been in another pod's spool until now
        await self._retain()
        if self.world.is_synced:
            await self.deletions.sweep(tuple(self.retention.catalog.by_id.values()))
        for profile in await asyncio.to_thread(self._list_expired, tuple(self.world.profiles.values())):
            await self._expire(profile)

    def _list_expired(self, profiles: tuple[SamplyProfile, ...]) -> list[SamplyProfile]:
        now, ttl = self.context.now(), self.context.settings.retention.object_ttl_secs
        return [profile for profile in profiles if final_status.is_expired(profile, now, ttl)]

    async def _expire(self, profile: SamplyProfile) -> None:
        """Objects without a profile of their own (failed, cancelled, preflight) whose time to live is over."""
        with contextlib.suppress(KubeNotFound, KubeConflict):
            await self.context.client.delete(objects.samply_profiles(*profile.key), uid=profile.uid)

    def describe_run(self, run: Run) -> Mapping[str, object]:
        left = times.parse_time(run.entry.ends_at) - self.context.now() if run.entry.ends_at else 1.0
        return {"profile": run.entry.id, "retry_after_secs": max(1, int(left + 0.999))}

    async def close(self) -> None:
        """Shut down: recordings continue in their pods, and the next process continues from the journal."""
        await self.runs.close()
