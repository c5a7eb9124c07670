"""Runs all recordings: looks at each object when something changed, and starts, stops, ends or forgets accordingly.

Level-triggered: `reconcile` works from what is observed (world, journal, volume), whatever event called it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping

import msgspec

from samply_operator.errors import KubeError, KubeForbidden, KubeNotFound, StoreError, StoreFull
from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.model.manifest import JournalEntry
from samply_operator.model.profile import Failure, SamplyProfile
from samply_operator.recorder import grounds, measures, reports
from samply_operator.recorder.changes import Changes
from samply_operator.recorder.context import Context
from samply_operator.recorder.deletions import Deletions
from samply_operator.recorder.leases import Leases
from samply_operator.recorder.queue import WorkQueue
from samply_operator.recorder.requesters import Requesters
from samply_operator.recorder.retention import Retention
from samply_operator.recorder.run import Run, sweep_entry
from samply_operator.recorder.world import Key, World
from samply_operator.rules import admit, failures, lease, retention, settle, status, times

logger = logging.getLogger(__name__)

WAIT_SECS = 5.0
"""How soon a recording that had to wait asks again, if no other one ends before."""


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
        self._waiting: dict[str, admit.Waiting] = {}
        self.queue: WorkQueue[Key] = WorkQueue(self.reconcile)

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
                self._spawn(self._register(entry))
        await self.leases.renew([run.entry for run in self.runs.values() if run.entry.lease])
        await self._recover_tombstones()

    async def _recover_tombstones(self) -> None:
        reading = await asyncio.to_thread(self.context.volume.marks.read_tombstones)
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
        if not profile.has_ended:
            await self._begin(profile)

    async def _begin(self, profile: SamplyProfile) -> None:
        manifest = await asyncio.to_thread(self.context.volume.read_manifest, profile.uid)
        if manifest is not None:
            # It ended, but the object was never told: the journal went first, or the object came from a backup.
            now = self.context.now()
            render = settle.choose_render(manifest, now)
            await reports.write_status(self.context, *profile.key, profile.uid, render)
            return
        if not self.world.is_synced:
            self.queue.put_later(profile.key, 0.5)
            return
        active = [
            admit.Active(run.entry.id, run.entry.name, run.entry.pod_uid, run.entry.container, run.entry.node)
            for run in self.runs.values()
            if not run.entry.outcome
        ]
        known = self.world.profiles.get(profile.key)
        if known is None or known.uid != profile.uid:
            return  # deleted while the volume was read
        decision = admit.decide(profile, self.world.pipelines, active, self.context.settings, self._list_waiting())
        self._waiting.pop(profile.uid, None)
        match decision:
            case admit.Admit(target):
                entry = admit.build_entry(profile, target, self.context.settings, self.context.now())
                entry = msgspec.structs.replace(entry, requested_by=self._find_requester(profile))
                await self._admit(profile, entry)
            case admit.Wait(message, waiting):
                self._waiting[profile.uid] = waiting
                await self._make_wait(profile, message)
            case admit.Refuse(failure):
                await self._refuse(profile, failure)

    def _list_waiting(self) -> list[admit.Waiting]:
        """Those whose objects are still there."""
        known = {profile.uid for profile in self.world.profiles.values() if not profile.is_deleted}
        self._waiting = {uid: waiting for uid, waiting in self._waiting.items() if uid in known}
        return list(self._waiting.values())

    async def _refuse(self, profile: SamplyProfile, failure: Failure) -> None:
        measures.count_refusal(profile, failure.reason)
        now, requester = self.context.now(), self._find_requester(profile)
        await reports.write_status(
            self.context,
            *profile.key,
            profile.uid,
            lambda old: status.render_failed(old, failure, now) | {"requestedBy": requester or "unknown"},
        )
        await self.context.events.publish(
            reports.refer(*profile.key, profile.uid), "Warning", failure.reason, f"{failure.message} {failure.remedy}"
        )

    async def _make_wait(self, profile: SamplyProfile, message: str) -> None:
        self.queue.put_later(profile.key, WAIT_SECS)
        if (profile.raw.get("status") or {}).get("message") == message:
            return
        now, requester = self.context.now(), self._find_requester(profile)
        await reports.write_status(
            self.context,
            *profile.key,
            profile.uid,
            lambda old: status.render_pending(old, "Waiting", message, now) | {"requestedBy": requester or "unknown"},
        )

    def _find_requester(self, profile: SamplyProfile) -> str:
        """From memory, else from the status, which only the operator may write; empty: it was not over HTTP."""
        told = str((profile.raw.get("status") or {}).get("requestedBy") or "")
        return self.requesters.find(profile.key) or told.removeprefix("unknown")

    async def _admit(self, profile: SamplyProfile, entry: JournalEntry) -> None:
        # From here on it counts as running: nobody else is admitted to its target meanwhile.
        run = self._register(entry)
        try:
            obstacle = await self._find_obstacle(entry)
        except BaseException:
            self.runs.pop(entry.id, None)
            raise
        if obstacle is None:
            self._spawn(run)
            return
        self.runs.pop(entry.id, None)
        run.withdraw(obstacle if isinstance(obstacle, Failure) else None)
        match obstacle:
            case Failure():
                await self._refuse(profile, obstacle)
            case lease.Wait():
                await self._make_wait(profile, obstacle.message)
            case lease.Leave():
                self.queue.put_later(profile.key, WAIT_SECS)

    async def _find_obstacle(self, entry: JournalEntry) -> Failure | lease.Wait | lease.Leave | None:
        """None: there is room, the journal has it, the Lease is ours."""
        volume = self.context.volume
        failure = await self._check_room()
        if failure is not None:
            return failure
        try:
            await asyncio.to_thread(volume.write_entry, entry)
        except StoreFull as error:
            return failures.build_failure("StoreFull", error.message)
        if entry.preflight_only:
            return None
        try:
            decision = await self.leases.acquire(entry)
        except KubeForbidden as error:
            await asyncio.to_thread(volume.remove_entry, entry.id)
            return failures.build_failure("NotPermitted", error.message)
        except KubeError:
            await asyncio.to_thread(volume.remove_entry, entry.id)
            raise
        if isinstance(decision, lease.Take):
            return None
        await asyncio.to_thread(volume.remove_entry, entry.id)
        return decision.failure if isinstance(decision, lease.Refuse) else decision

    async def _check_room(self) -> Failure | None:
        """Whether the volume has room for one more; retention makes some first, if it can."""
        volume, min_free_bytes = self.context.volume, self.context.settings.recording.min_free_bytes
        if retention.check_room(await asyncio.to_thread(volume.room_bytes), min_free_bytes) is not None:
            await self.retention.sweep(self.runs.keys())
        return retention.check_room(await asyncio.to_thread(volume.room_bytes), min_free_bytes)

    def _register(self, entry: JournalEntry) -> Run:
        run = self.runs[entry.id] = Run(self.context, entry, self._note_change)
        self.changes.notify()
        return run

    def _spawn(self, run: Run) -> None:
        task = asyncio.create_task(self._drive(run), name=f"recording-{run.entry.name}")
        self._tasks[run.entry.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(run.entry.id, None))
        if self._renewing is None or self._renewing.done():
            self._renewing = asyncio.create_task(self._renew(), name="leases")

    async def _renew(self) -> None:
        """While anything runs."""
        while self.runs:
            await asyncio.sleep(lease.RENEW_SECS)
            await self.leases.renew([run.entry for run in self.runs.values() if run.entry.lease])

    async def _drive(self, run: Run) -> None:
        stamp = asyncio.create_task(self._note_origin(run))
        try:
            await run.run()
        finally:
            stamp.cancel()
            self.runs.pop(run.entry.id, None)
            self._note_change()
        for profile in self.world.profiles.values():
            if profile.phase in {None, "Pending"}:
                self.queue.put(profile.key)
        try:
            await self._close_run(run)
        except StoreError as error:
            logger.error("%s/%s: %s", run.entry.namespace, run.entry.name, error)

    async def _close_run(self, run: Run) -> None:
        left = await asyncio.to_thread(self.context.volume.read_entry, run.entry.id)
        if left is not None:
            self._leftovers[left.id] = left
        if run.entry.lease and (left is None or left.clean_after):
            # Where nothing could be cleaned, samply may still be there: then the Lease stays for its time.
            await self.leases.release(run.entry)
        await self.deletions.settle(run.entry.id)
        await self._retain()

    async def _note_origin(self, run: Run) -> None:
        """While it records: where its object lives, so that a deletion that nobody saw can be told from others."""
        entry = run.entry
        if entry.origin.namespace_uid:
            return
        origin = await grounds.find_origin(self.context.client, entry.namespace)
        profile = self.world.profiles.get((entry.namespace, entry.name))
        if profile is not None and profile.uid == entry.id:
            run.note_origin(origin)

    async def _retain(self) -> None:
        try:
            await asyncio.to_thread(self.context.volume.hold_ballast)
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
            if await sweep_entry(self.context, entry):
                del self._leftovers[entry.id]
                if entry.lease:
                    await self.leases.release(entry)
        for key in list(self.world.profiles):
            self.queue.put(key)
        await self._retain()
        await self.deletions.sweep(self.retention.catalog.by_id.values())
        now = self.context.now()
        ttl = self.context.settings.retention.object_ttl_secs
        for profile in list(self.world.profiles.values()):
            if settle.is_expired(profile, now, ttl):
                await self._expire(profile)

    async def _expire(self, profile: SamplyProfile) -> None:
        """An object without a profile of its own (failed, cancelled, preflight) goes after its time to live."""
        with contextlib.suppress(KubeNotFound):
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
