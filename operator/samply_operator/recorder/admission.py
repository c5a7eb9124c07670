"""From a queued object to a running recording: whether it is allowed and still wanted, and whether its target is free.

What the watch last showed only tells which objects to look at: the object itself is read before its recording starts or
its status is written.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from samply_operator.discovery.work_queue import WorkQueue
from samply_operator.discovery.world import Key, World
from samply_operator.errors import KubeDenied, KubeForbidden, KubeNotFound, StoreFull, join_sentences
from samply_operator.kube import objects
from samply_operator.model.manifest import JournalEntry
from samply_operator.model.profile import Failure, SamplyProfile, parse_object
from samply_operator.recorder import measures, reports
from samply_operator.recorder.context import Context
from samply_operator.recorder.leases import Leases
from samply_operator.recorder.requesters import Requesters
from samply_operator.recorder.run import Run
from samply_operator.recorder.runs import Runs
from samply_operator.rules.recording import admit, failures, final_status, lease, status
from samply_operator.rules.storage import retention

UNKNOWN_SECS = 0.5
"""How soon an object of a namespace that was not listed yet is reconciled again."""
HELD_SECS = 5.0
"""The same if another operator holds its target."""
WAIT_SECS = 60.0
"""The same for one that is queued: it is reconciled again when it may start."""


class Admission:
    """`make_room` removes from the volume what retention allows."""

    def __init__(
        self,
        context: Context,
        world: World,
        runs: Runs,
        leases: Leases,
        queue: WorkQueue[Key],
        requesters: Requesters,
        make_room: Callable[[], Awaitable[None]],
    ) -> None:
        self._context = context
        self._world = world
        self._runs = runs
        self._leases = leases
        self._queue = queue
        self._requesters = requesters
        self._make_room = make_room
        self._waiting: dict[str, admit.Waiting] = {}

    async def begin(self, profile: SamplyProfile) -> None:
        """Call with an object that hasn't ended and has no recording in this process."""
        if profile.uid not in self._waiting and await self._has_ended(profile):
            return
        if not self._world.covers(profile.namespace):
            self._queue.put_later(profile.key, UNKNOWN_SECS)
            return
        decision = self._decide(profile)
        if isinstance(decision, admit.Wait) and _says_as_much(profile, decision.message):
            self._wait(profile, decision.waiting)
            return
        fresh = await self._read(profile)
        if fresh is not None:
            await self._carry_out(fresh)
        else:
            self._waiting.pop(profile.uid, None)

    def call_next(self) -> None:
        """A recording has ended: reconcile the queued ones that may start now or that have advanced."""
        limits = self._context.settings.recording
        known = {uid: p for uid, p in self._world.unended.items() if not p.has_begun}
        self._waiting = {uid: waiting for uid, waiting in self._waiting.items() if uid in known}
        on_node: Counter[str] = Counter()
        for place, waiting in enumerate(sorted(self._waiting.values(), key=lambda w: w.age)):
            is_near = place < limits.max_concurrent or on_node[waiting.node] < limits.max_per_node
            on_node[waiting.node] += 1
            profile = known[waiting.id]
            if is_near or not _says_as_much(profile, admit.describe_wait(place, limits.max_concurrent)):
                self._queue.put(profile.key)

    async def _has_ended(self, profile: SamplyProfile) -> bool:
        """It ended, but its status was not written: the journal was removed first, or the object came from a backup."""
        manifest = await asyncio.to_thread(self._context.volume.read_manifest, profile.uid)
        if manifest is None:
            return False
        render = reports.unless_ended(final_status.choose_render(manifest, self._context.now()))
        await reports.write_status(self._context, *profile.key, profile.uid, render)
        return True

    def _wait(self, profile: SamplyProfile, waiting: admit.Waiting) -> None:
        self._waiting[profile.uid] = waiting
        self._queue.put_later(profile.key, WAIT_SECS)

    async def _carry_out(self, profile: SamplyProfile) -> None:
        if profile.has_begun and await self._is_of_another(profile):
            self._queue.put_later(profile.key, HELD_SECS)
            return
        if self._world.is_gone(profile.uid):
            return  # deleted in the meantime
        # No await between the decision and the registration: of two for one target one is admitted.
        decision = self._decide(profile)
        self._waiting.pop(profile.uid, None)
        match decision:
            case admit.Admit(target):
                entry = admit.build_entry(
                    self._world.resolve(profile), target, self._context.settings, self._context.now()
                )
                entry = msgspec.structs.replace(entry, requested_by=self._find_requester(profile))
                await self._admit(profile, entry)
            case admit.Wait(message, waiting):
                self._wait(profile, waiting)
                await self._report_wait(profile, message)
            case admit.Refuse(failure):
                await self._refuse(profile, failure)

    def _decide(self, profile: SamplyProfile) -> admit.Decision:
        waiting = [w for uid, w in self._waiting.items() if uid in self._world.unended]
        active = self._runs.list_active()
        return admit.decide(
            self._world.resolve(profile), self._world.pipelines, active, self._context.settings, waiting
        )

    async def _read(self, known: SamplyProfile) -> SamplyProfile | None:
        """The current object, even if the watch lags behind. None: it is gone, or has ended."""
        try:
            fresh = parse_object(await self._context.client.get(objects.samply_profiles(*known.key)))
        except KubeNotFound:
            self._world.forget(known.key, known.uid)
            return None
        if self._world.is_gone(known.uid):
            return None  # deleted while it was read
        self._world.see_read(known, fresh)
        if fresh.uid != known.uid:
            self._world.forget(known.key, known.uid)
            self._queue.put(known.key)
            return None
        return None if fresh.is_deleted or fresh.has_ended or fresh.uid in self._runs else fresh

    async def _is_of_another(self, profile: SamplyProfile) -> bool:
        """Whether another operator records this very object, and so writes its status."""
        name = admit.find_lease(self._world.resolve(profile), self._world.pipelines, self._context.settings)
        if name is None:
            return False
        try:
            return await self._leases.is_of_another(profile.namespace, name, profile.uid)
        except KubeForbidden:
            return profile.has_begun  # another process started it

    async def _refuse(self, profile: SamplyProfile, failure: Failure) -> None:
        if await self._is_of_another(profile):
            self._queue.put_later(profile.key, HELD_SECS)
            return
        now, caller = self._context.now(), {"requestedBy": self._find_requester(profile) or "unknown"}
        is_written = await self._write(profile, lambda old: status.render_failed(old, failure, now) | caller)
        if not is_written:
            return
        measures.count_refusal(profile, failure.reason)
        about = reports.refer(*profile.key, profile.uid)
        await self._context.events.publish(
            about, "Warning", failure.reason, join_sentences(failure.message, failure.remedy)
        )

    async def _report_wait(self, profile: SamplyProfile, message: str) -> None:
        if _says_as_much(profile, message) or await self._is_of_another(profile):
            return
        now, caller = self._context.now(), {"requestedBy": self._find_requester(profile) or "unknown"}
        await self._write(profile, lambda old: status.render_pending(old, "Waiting", message, now) | caller)

    async def _write(self, profile: SamplyProfile, render: Callable[[Mapping[str, Any]], status.Status]) -> bool:
        """The status of an object that does not run here. Not written if the object changed since it was read:
        False."""
        return await reports.write_status(
            self._context,
            *profile.key,
            profile.uid,
            lambda old: render(old) if old.get("phase") == profile.phase else None,
        )

    def _find_requester(self, profile: SamplyProfile) -> str:
        """From memory, else from the status, which only the operator may write; empty: it was not over HTTP."""
        return self._requesters.find(profile.key) or profile.status.requested_by.removeprefix("unknown")

    async def _admit(self, profile: SamplyProfile, entry: JournalEntry) -> None:
        # From here on it counts as running, so that no other recording of its target is admitted.
        run = self._runs.register(entry)
        try:
            blocker = await self._find_blocker(entry)
        except asyncio.CancelledError:
            self._runs.unregister(run)  # the process ends: the next one continues from the journal
            raise
        except Exception:
            await self._take_back(run)
            raise
        if blocker is None or run.entry.stop == "discard":
            self._runs.start(run)  # deleted in the meantime: it ends before it has begun
            return
        await self._take_back(run, blocker if isinstance(blocker, Failure) else None)
        if isinstance(blocker, Failure):
            await self._refuse(profile, blocker)
            return
        self._queue.put_later(profile.key, HELD_SECS)
        if isinstance(blocker, lease.Wait):
            await self._report_wait(profile, blocker.message)

    async def _take_back(self, run: Run, failure: Failure | None = None) -> None:
        """Undo the admission; the journal entry is removed once nothing writes it."""
        # First, so that nothing finds it any more. The object cannot start again meanwhile: a key is reconciled once.
        self._runs.unregister(run)
        await run.withdraw(failure)
        await run.journal.remove()

    async def _find_blocker(self, entry: JournalEntry) -> Failure | lease.Wait | lease.Leave | None:
        """None: there is space, the journal has it, and the Lease is acquired."""
        volume = self._context.volume
        failure = await self._check_room()
        if failure is not None:
            return failure
        try:
            await asyncio.to_thread(volume.write_entry, entry)
        except StoreFull as error:
            return failures.build_failure("StoreFull", error.message, remedy=error.remedy)
        if entry.preflight_only:
            return None
        try:
            decision = await self._leases.acquire(entry)
        except KubeDenied as error:
            return failures.build_failure("AdmissionRefused", error.message)
        except KubeForbidden as error:
            return failures.build_failure("NotPermitted", error.message)
        if isinstance(decision, lease.Take):
            return None
        return decision.failure if isinstance(decision, lease.Refuse) else decision

    async def _check_room(self) -> Failure | None:
        """Whether the volume has space for one more; retention frees some first, if it can."""
        volume, min_free_bytes = self._context.volume, self._context.settings.recording.min_free_bytes
        if await asyncio.to_thread(volume.room_bytes) < 0:
            await self._make_room()
        room_bytes, medium = await asyncio.to_thread(volume.room_bytes), volume.medium
        return retention.check_room(room_bytes, min_free_bytes, where=medium.name, remedy=medium.remedy)


def _says_as_much(profile: SamplyProfile, message: str) -> bool:
    """Whether its status already says that it waits, and why."""
    return profile.phase == "Pending" and admit.says_as_much(profile.status.message, message)
