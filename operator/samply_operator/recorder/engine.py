"""Runs all recordings: looks at each object when something changed, and starts, stops, ends or forgets accordingly.

Level-triggered: `reconcile` works from what is observed (world, journal, volume), whatever event called it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping

from samply_operator.errors import KubeConflict, KubeError, KubeForbidden, KubeNotFound, StoreError
from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.model.manifest import JournalEntry
from samply_operator.model.profile import SamplyProfile
from samply_operator.recorder import object_origin
from samply_operator.recorder.admission import NOT_BEGUN, Admission
from samply_operator.recorder.changes import Changes
from samply_operator.recorder.context import Context
from samply_operator.recorder.deletions import Deletions
from samply_operator.recorder.leases import Leases
from samply_operator.recorder.queue import WorkQueue
from samply_operator.recorder.requesters import Requesters
from samply_operator.recorder.retention import Retention
from samply_operator.recorder.run import Run, sweep_entry
from samply_operator.recorder.world import Key, World
from samply_operator.rules import times
from samply_operator.rules.recording import lease, settle

logger = logging.getLogger(__name__)

RETRY_SECS = 2.0
LONGEST_RETRY_SECS = 60.0
ORIGIN_SECS = 2.0
"""How long a recovered recording, which may end at once, waits for where its object lives."""


class Engine:
    """`holder` names this installation in Leases; `changes` tells whoever shows the state.

    `store_generation` grows with each manifest written or removed.
    """

    def __init__(self, context: Context, world: World, changes: Changes, holder: str = "local") -> None:
        self.context = context
        self.world = world
        self.changes = changes
        self.requesters = Requesters()
        self.runs: dict[str, Run] = {}
        self.store_generation = 0
        self.retention = Retention(context, world, self._note_change)
        self.deletions = Deletions(context, world, self.runs, self._note_change)
        self.leases = Leases(context, holder)
        self._renewing: asyncio.Task[None] | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leftovers: dict[str, JournalEntry] = {}
        self._unheld: set[str] = set()
        """Runs from the journal whose Leases aren't known to be ours yet."""
        self._untold: dict[str, Run] = {}
        """Those that have ended, and whose objects couldn't be told so: in this process they aren't begun again."""
        self.queue: WorkQueue[Key] = WorkQueue(self.reconcile)
        self.admission = Admission(
            context,
            world,
            changes,
            self.queue,
            self.requesters,
            self.leases,
            self.runs,
            register=self._register,
            spawn=self._spawn,
            make_room=lambda: self.retention.sweep(self.runs.keys()),
        )

    async def recover(self) -> None:
        """Go on with whatever the journal says was under way. Call once, before the first reconcile."""
        reading = await asyncio.to_thread(self.context.volume.read_entries)
        for fault in reading.faults:
            logger.error("journal: %s", fault)
        live = {entry.id for entry in reading.items}
        await asyncio.to_thread(self.context.volume.clean_tmp, live)
        for entry in reading.items:
            if entry.step == "Cleaning":
                self._leftovers[entry.id] = entry
            else:
                logger.info("%s/%s: going on at step %s", entry.namespace, entry.name, entry.step)
                self._spawn(self._register(entry), is_held=not lease.is_to_be_taken(entry))
        await self._renew_leases()
        await self._recover_tombstones()
        # Whoever read the volume before may have read it while an earlier process still wrote.
        self._note_change()

    async def _recover_tombstones(self) -> None:
        reading = await asyncio.to_thread(self.context.volume.side_files.read_tombstones)
        for fault in reading.faults:
            logger.error("tombstones: %s", fault)
        for tombstone in reading.items:
            if tombstone.cause == "Retention":
                await self.retention.recover(tombstone)
            else:
                self.deletions.recover(tombstone)
                await self.deletions.settle(tombstone.id)

    # -------------------------------------------------------------------------------------------------- reconcile

    async def reconcile(self, key: Key) -> None:
        """Bring one object and what belongs to it together."""
        profile = self.world.profiles.get(key)
        if profile is None or profile.is_deleted:
            return
        run = self.runs.get(profile.uid)
        if run is not None:
            if profile.annotations.get(names.STOP) == "keep":
                run.stop("keep")
            return
        if not profile.has_ended and not self._is_untold(profile.uid):
            await self.admission.begin(profile)

    def _is_untold(self, profile_id: str) -> bool:
        """It ended in this process, and its object doesn't say so yet: that is all there is to do."""
        run = self._untold.get(profile_id)
        if run is None:
            return False
        if run.is_told:
            del self._untold[profile_id]
            return False
        run.tell_again()
        return True

    def _register(self, entry: JournalEntry) -> Run:
        run = self.runs[entry.id] = Run(self.context, entry, self._note_change, self.leases.release)
        self.changes.notify()
        return run

    def _spawn(self, run: Run, *, is_held: bool = True) -> None:
        if not is_held:
            self._unheld.add(run.entry.id)
        work = self._drive(run) if is_held else self._take_up(run)
        task = asyncio.create_task(work, name=f"recording-{run.entry.name}")
        self._tasks[run.entry.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(run.entry.id, None))
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew(), name="leases")

    async def _renew(self) -> None:
        """While anything runs."""
        while self.runs:
            await asyncio.sleep(lease.RENEW_SECS)
            await self._renew_leases()

    async def _renew_leases(self) -> None:
        """Of all that have one: not of what is just being admitted, or taken up."""
        held = self._tasks.keys() - self._unheld
        entries = [run.entry for run in self.runs.values() if run.entry.lease and run.entry.id in held]
        await self.leases.renew(entries, self._is_live)

    def _is_live(self, profile_id: str) -> bool:
        run = self.runs.get(profile_id)
        if run is None or run.is_released:
            return False
        # One that winds up leaves the Lease to the next recording of its target, which has taken it over.
        place = (run.entry.namespace, run.entry.lease)
        return not run.entry.outcome or not any(
            other is not run and (other.entry.namespace, other.entry.lease) == place for other in self.runs.values()
        )

    async def _take_up(self, run: Run) -> None:
        """Go on with what an earlier process had admitted, unless somebody else records the target by now: then it is
        as if it had never been admitted."""
        try:
            is_ours = await self._hold(run)
            if not is_ours:
                await self._withdraw(run)
        finally:
            self._unheld.discard(run.entry.id)
        if is_ours:
            await self._drive(run)

    async def _hold(self, run: Run) -> bool:
        """Whether its Lease is ours; for as long as it takes to know. One that is cancelled meanwhile needs none."""
        was_told = False
        while run.entry.stop != "discard":
            try:
                return isinstance(await self.leases.acquire(run.entry), lease.Take)
            except KubeForbidden:
                return False  # admission says what is missing
            except KubeError as error:
                if not was_told:
                    logger.warning("Lease %s: %s; it is asked for until that is known", run.entry.lease, error)
                was_told = True
            await asyncio.sleep(RETRY_SECS)
        return True

    async def _withdraw(self, run: Run) -> None:
        await run.withdraw(None)
        pause = RETRY_SECS
        while not await sweep_entry(self.context, run.entry):
            await asyncio.sleep(pause)
            pause = min(LONGEST_RETRY_SECS, pause * 2)
        entry = run.entry
        logger.info("%s/%s: its target isn't ours any more; it is admitted anew", entry.namespace, entry.name)
        self.runs.pop(entry.id, None)
        if entry.requested_by:
            self.requesters.note((entry.namespace, entry.name), entry.requested_by)
        self.queue.put((entry.namespace, entry.name))

    async def _drive(self, run: Run) -> None:
        if run.entry.step != "Admitted":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._find_origin(run), ORIGIN_SECS)
        stamp = asyncio.create_task(self._note_origin(run))
        try:
            await run.run()
        finally:
            stamp.cancel()
            self.runs.pop(run.entry.id, None)
            if not run.is_told:
                self._untold[run.entry.id] = run
            self._note_change()
        for profile in self.world.profiles.values():
            if profile.phase in NOT_BEGUN:
                self.queue.put(profile.key)
        try:
            await self._close_run(run)
        except StoreError as error:
            logger.error("%s/%s: %s", run.entry.namespace, run.entry.name, error)

    async def _close_run(self, run: Run) -> None:
        left = await asyncio.to_thread(self.context.volume.read_entry, run.entry.id)
        if left is not None:
            self._leftovers[left.id] = left
        if run.entry.lease and left is not None and left.clean_after:
            # Only a file is left. Where nothing could be cleaned, samply may be there: then the Lease stays its time.
            await self.leases.release(run.entry)
        await self.deletions.settle(run.entry.id)
        await self._retain()

    async def _note_origin(self, run: Run) -> None:
        """While it records: where its object lives, so that a deletion that nobody saw can be told from others."""
        pause = RETRY_SECS
        while not await self._find_origin(run):
            await asyncio.sleep(pause)
            pause = min(LONGEST_RETRY_SECS, pause * 2)

    async def _find_origin(self, run: Run) -> bool:
        """True if it is known, or the object is gone. Doesn't need the world, which knows nothing after a start."""
        entry = run.entry
        if entry.origin.namespace_uid:
            return True
        origin = await object_origin.find_origin(self.context.client, entry.namespace)
        try:
            # After it: then the object stood on what was found.
            raw = await self.context.client.get(objects.samply_profiles(entry.namespace, entry.name))
        except KubeNotFound:
            return True
        except KubeError as error:
            logger.info("%s/%s: where it lives isn't known yet: %s", entry.namespace, entry.name, error)
            return False
        if raw["metadata"]["uid"] == entry.id:
            run.note_origin(origin)
            return bool(origin.namespace_uid)
        return True

    async def _retain(self) -> None:
        try:
            await asyncio.to_thread(self.context.volume.hold_emergency_space)
            if self.world.is_synced:  # before that nobody knows what is pinned
                await self.retention.sweep(self.runs.keys())
        except StoreError as error:
            logger.error("retention: %s", error)

    def _note_change(self) -> None:
        self.store_generation += 1
        self.changes.notify()

    # ---------------------------------------------------------------------------------------------------- deletion

    async def see_deleted(self, profile: SamplyProfile) -> None:
        """The object's deletion was seen: cancel what runs, drop the file of what ended."""
        await self.deletions.see(profile)

    # ------------------------------------------------------------------------------------------------------- sweep

    async def sweep(self) -> None:
        """After complete lists, every minute: clean what couldn't be cleaned, look at every object again, carry out
        retention, and find what lost its object."""
        for entry in list(self._leftovers.values()):
            if await sweep_entry(self.context, entry, self.leases.release):
                del self._leftovers[entry.id]
        for key in list(self.world.profiles):
            self.queue.put(key)
        present = {profile.uid for profile in self.world.profiles.values()}
        self._untold = {uid: run for uid, run in self._untold.items() if uid in present and not run.is_told}
        await self._retain()
        await self.deletions.sweep(self.retention.catalog.by_id.values())
        now = self.context.now()
        ttl = self.context.settings.retention.object_ttl_secs
        for profile in list(self.world.profiles.values()):
            if settle.is_expired(profile, now, ttl):
                await self._expire(profile)

    async def _expire(self, profile: SamplyProfile) -> None:
        """An object without a profile of its own (failed, cancelled, preflight) goes after its time to live."""
        with contextlib.suppress(KubeNotFound, KubeConflict):
            await self.context.client.delete(objects.samply_profiles(*profile.key), uid=profile.uid)

    # ------------------------------------------------------------------------------------------------------ status

    def find_run(self, namespace: str, pipeline: str, ordinal: int) -> Run | None:
        """The recording of this ordinal that hasn't ended."""
        return next(
            (
                run
                for run in self.runs.values()
                if (run.entry.namespace, run.entry.pipeline, run.entry.ordinal) == (namespace, pipeline, ordinal)
                and not run.entry.outcome
                and not run.entry.preflight_only
            ),
            None,
        )

    def describe_run(self, run: Run) -> Mapping[str, object]:
        left = times.parse_time(run.entry.ends_at) - self.context.now() if run.entry.ends_at else 1.0
        return {"profile": run.entry.id, "retry_after_secs": max(1, int(left + 0.999))}

    async def close(self) -> None:
        """The process ends: recordings go on in their pods, the next process finds them in the journal."""
        await self.deletions.close()
        tasks = [*self._tasks.values(), *([self._renewing] if self._renewing else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
