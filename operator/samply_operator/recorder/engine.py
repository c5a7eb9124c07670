"""Runs all recordings: looks at each object when something changed, and starts, stops, ends or forgets accordingly.

Level-triggered: `reconcile` works from what is observed (world, journal, volume), whatever event called it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping

from samply_operator.errors import KubeNotFound
from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.model.manifest import JournalEntry
from samply_operator.model.profile import SamplyProfile
from samply_operator.recorder import reports
from samply_operator.recorder.changes import Changes
from samply_operator.recorder.context import Context
from samply_operator.recorder.queue import WorkQueue
from samply_operator.recorder.run import Run, sweep_entry
from samply_operator.recorder.world import Key, World
from samply_operator.rules import admit, settle, status, times

logger = logging.getLogger(__name__)

WAIT_SECS = 5.0
"""How soon a recording that had to wait asks again, if no other one ends before."""


class Engine:
    """`changes` tells whoever shows the state; `store_generation` grows with each manifest written or removed."""

    def __init__(self, context: Context, world: World, changes: Changes) -> None:
        self.context = context
        self.world = world
        self.changes = changes
        self.runs: dict[str, Run] = {}
        self.store_generation = 0
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leftovers: dict[str, JournalEntry] = {}
        self._gone: set[str] = set()
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
                self._start(entry)

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
            admit.Active(run.entry.id, run.entry.name, run.entry.pod_uid, run.entry.container)
            for run in self.runs.values()
            if not run.entry.outcome
        ]
        decision = admit.decide(profile, self.world.pipelines, active, self.context.settings)
        match decision:
            case admit.Admit(target):
                entry = admit.build_entry(profile, target, self.context.settings, self.context.now())
                await self._admit(entry)
            case admit.Wait(message):
                await self._make_wait(profile, message)
            case admit.Refuse(failure):
                now = self.context.now()
                await reports.write_status(
                    self.context, *profile.key, profile.uid, lambda old: status.render_failed(old, failure, now)
                )
                await self.context.events.publish(
                    reports.refer(*profile.key, profile.uid),
                    "Warning",
                    failure.reason,
                    f"{failure.message} {failure.remedy}",
                )

    async def _make_wait(self, profile: SamplyProfile, message: str) -> None:
        self.queue.put_later(profile.key, WAIT_SECS)
        if (profile.raw.get("status") or {}).get("message") == message:
            return
        now = self.context.now()
        await reports.write_status(
            self.context, *profile.key, profile.uid, lambda old: status.render_pending(old, "Waiting", message, now)
        )

    async def _admit(self, entry: JournalEntry) -> None:
        # From here on it counts as running: nobody else is admitted to its target while the journal is written.
        run = self._register(entry)
        try:
            await asyncio.to_thread(self.context.volume.write_entry, entry)
        except BaseException:
            self.runs.pop(entry.id, None)
            raise
        self._spawn(run)

    def _start(self, entry: JournalEntry) -> None:
        self._spawn(self._register(entry))

    def _register(self, entry: JournalEntry) -> Run:
        run = self.runs[entry.id] = Run(self.context, entry, self._note_change)
        self.changes.notify()
        return run

    def _spawn(self, run: Run) -> None:
        task = asyncio.create_task(self._drive(run), name=f"recording-{run.entry.name}")
        self._tasks[run.entry.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(run.entry.id, None))

    async def _drive(self, run: Run) -> None:
        try:
            await run.run()
        finally:
            self.runs.pop(run.entry.id, None)
            self._note_change()
        left = await asyncio.to_thread(self.context.volume.read_entry, run.entry.id)
        if left is not None:
            self._leftovers[left.id] = left
        if run.entry.id in self._gone:
            await self.forget(run.entry.id)
        for profile in self.world.profiles.values():
            if profile.phase in {None, "Pending"}:
                self.queue.put(profile.key)

    def _note_change(self) -> None:
        self.store_generation += 1
        self.changes.notify()

    # ---------------------------------------------------------------------------------------------------- deletion

    async def see_deleted(self, profile: SamplyProfile) -> None:
        """The object's deletion was seen: cancel what runs, drop the file of what ended."""
        run = self.runs.get(profile.uid)
        if run is not None:
            self._gone.add(profile.uid)
            run.stop("discard")
        else:
            await self.forget(profile.uid)

    async def forget(self, profile_id: str) -> None:
        """Remove the stored profile, if there is one."""
        self._gone.discard(profile_id)
        if await asyncio.to_thread(self.context.volume.remove, profile_id):
            self._note_change()

    # ------------------------------------------------------------------------------------------------------- sweep

    async def sweep(self) -> None:
        """Every minute: clean what couldn't be cleaned, look at every object again, cancel what has no object."""
        for entry in list(self._leftovers.values()):
            if await sweep_entry(self.context, entry):
                del self._leftovers[entry.id]
        for run in list(self.runs.values()):
            await self._check_object(run)
        for key in list(self.world.profiles):
            self.queue.put(key)
        now = self.context.now()
        ttl = self.context.settings.retention.object_ttl_secs
        for profile in list(self.world.profiles.values()):
            if settle.is_expired(profile, now, ttl):
                await self._expire(profile)

    async def _check_object(self, run: Run) -> None:
        """A recording whose object was deleted while nobody watched is cancelled: the object itself is asked."""
        entry = run.entry
        try:
            raw = await self.context.client.get(objects.samply_profiles(entry.namespace, entry.name))
            is_gone = raw["metadata"]["uid"] != entry.id
        except KubeNotFound:
            is_gone = True
        if is_gone:
            self._gone.add(entry.id)
            run.stop("discard")

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
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
