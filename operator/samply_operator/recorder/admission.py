"""From an object that waits to a recording that begins: may it, is it still wanted, is its target free of others?

What the watch last showed only says whether it is worth asking: the object itself is read before it is begun, or told
anything. No recording runs here; recorder/engine.py has them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from samply_operator.errors import KubeDenied, KubeForbidden, KubeNotFound, StoreFull
from samply_operator.kube import objects
from samply_operator.model.manifest import JournalEntry
from samply_operator.model.profile import Failure, SamplyProfile
from samply_operator.recorder import measures, reports
from samply_operator.recorder.changes import Changes
from samply_operator.recorder.context import Context
from samply_operator.recorder.leases import Leases
from samply_operator.recorder.queue import WorkQueue
from samply_operator.recorder.requesters import Requesters
from samply_operator.recorder.run import Run
from samply_operator.recorder.world import Key, World
from samply_operator.rules.recording import admit, failures, lease, settle, status
from samply_operator.rules.storage import retention

NOT_BEGUN = frozenset({None, "Pending"})
WAIT_SECS = 5.0
"""How soon a recording that had to wait asks again, if no other one ends before."""


@dataclass(slots=True)
class Admission:
    """`runs` are those of this process, by id. `register` makes one that counts from then on, `spawn` lets it go;
    `make_room` removes from the volume what retention allows."""

    context: Context
    world: World
    changes: Changes
    queue: WorkQueue[Key]
    requesters: Requesters
    leases: Leases
    runs: dict[str, Run]
    register: Callable[[JournalEntry], Run]
    spawn: Callable[[Run], None]
    make_room: Callable[[], Awaitable[None]]
    _waiting: dict[str, admit.Waiting] = field(default_factory=dict)

    async def begin(self, profile: SamplyProfile) -> None:
        """Call with an object that hasn't ended and has no recording in this process."""
        manifest = await asyncio.to_thread(self.context.volume.read_manifest, profile.uid)
        if manifest is not None:
            # It ended, but the object was never told: the journal went first, or the object came from a backup.
            now = self.context.now()
            render = settle.choose_render(manifest, now)
            await reports.write_status(self.context, *profile.key, profile.uid, reports.unless_ended(render))
            return
        if not self.world.is_synced:
            self.queue.put_later(profile.key, 0.5)
            return
        decision = self._decide(profile)
        if isinstance(decision, admit.Wait) and _was_told(profile, decision.message):
            self._waiting[profile.uid] = decision.waiting
            self.queue.put_later(profile.key, WAIT_SECS)
            return
        fresh = await self._look(profile)
        if fresh is not None:
            await self._carry_out(fresh)
        else:
            self._waiting.pop(profile.uid, None)

    async def _carry_out(self, profile: SamplyProfile) -> None:
        if profile.phase not in NOT_BEGUN and await self._is_anothers(profile):
            self.queue.put_later(profile.key, WAIT_SECS)
            return
        if self.world.is_gone(profile.uid):
            return  # deleted while that was asked
        # No await between the decision and the registration: of two for one target one is admitted.
        decision = self._decide(profile)
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

    def _decide(self, profile: SamplyProfile) -> admit.Decision:
        active = [
            admit.Active(
                run.entry.id,
                run.entry.name,
                run.entry.pod_uid,
                run.entry.container,
                run.entry.node,
                is_preflight=run.entry.preflight_only,
            )
            for run in self.runs.values()
            if not run.entry.outcome
        ]
        return admit.decide(profile, self.world.pipelines, active, self.context.settings, self._list_waiting())

    async def _look(self, known: SamplyProfile) -> SamplyProfile | None:
        """The object as it is, whatever a watch that lags behind still shows. None: it is gone, or has ended."""
        try:
            raw = await self.context.client.get(objects.samply_profiles(*known.key))
        except KubeNotFound:
            self.world.forget(known.key, known.uid)
            return None
        if self.world.is_gone(known.uid):
            return None  # deleted while it was read
        fresh = self.world.see_read(known, raw)
        self.changes.notify()
        if fresh.uid != known.uid:
            self.world.forget(known.key, known.uid)
            self.queue.put(known.key)
            return None
        return None if fresh.is_deleted or fresh.has_ended or fresh.uid in self.runs else fresh

    async def _is_anothers(self, profile: SamplyProfile) -> bool:
        """Another operator records this very object: its status is that one's to write."""
        name = admit.find_lease(profile, self.world.pipelines, self.context.settings)
        if name is None:
            return False
        try:
            return await self.leases.is_anothers(profile.namespace, name, profile.uid)
        except KubeForbidden:
            return profile.phase not in NOT_BEGUN  # somebody made it begin

    def _list_waiting(self) -> list[admit.Waiting]:
        """Those whose objects are still there and wait, whoever may have begun them meanwhile."""
        known = {
            profile.uid
            for profile in self.world.profiles.values()
            if not profile.is_deleted and profile.phase in NOT_BEGUN
        }
        self._waiting = {uid: waiting for uid, waiting in self._waiting.items() if uid in known}
        return list(self._waiting.values())

    async def _refuse(self, profile: SamplyProfile, failure: Failure) -> None:
        if await self._is_anothers(profile):
            self.queue.put_later(profile.key, WAIT_SECS)
            return
        now, caller = self.context.now(), {"requestedBy": self._find_requester(profile) or "unknown"}
        is_told = await self._write(profile, lambda old: status.render_failed(old, failure, now) | caller)
        if not is_told:
            return
        measures.count_refusal(profile, failure.reason)
        await self.context.events.publish(
            reports.refer(*profile.key, profile.uid), "Warning", failure.reason, f"{failure.message} {failure.remedy}"
        )

    async def _make_wait(self, profile: SamplyProfile, message: str) -> None:
        self.queue.put_later(profile.key, WAIT_SECS)
        if _was_told(profile, message) or await self._is_anothers(profile):
            return
        now, caller = self.context.now(), {"requestedBy": self._find_requester(profile) or "unknown"}
        await self._write(profile, lambda old: status.render_pending(old, "Waiting", message, now) | caller)

    async def _write(self, profile: SamplyProfile, render: Callable[[Mapping[str, Any]], status.Status]) -> bool:
        """The status of one that doesn't run here. What moved on since it was looked at is left alone: False."""
        return await reports.write_status(
            self.context,
            *profile.key,
            profile.uid,
            lambda old: render(old) if old.get("phase") == profile.phase else None,
        )

    def _find_requester(self, profile: SamplyProfile) -> str:
        """From memory, else from the status, which only the operator may write; empty: it was not over HTTP."""
        told = str((profile.raw.get("status") or {}).get("requestedBy") or "")
        return self.requesters.find(profile.key) or told.removeprefix("unknown")

    async def _admit(self, profile: SamplyProfile, entry: JournalEntry) -> None:
        # From here on it counts as running: nobody else is admitted to its target meanwhile.
        run = self.register(entry)
        try:
            obstacle = await self._find_obstacle(entry)
        except asyncio.CancelledError:
            self.runs.pop(entry.id, None)  # the process ends: the next one finds it in the journal
            raise
        except Exception:
            await self._take_back(run)
            raise
        if obstacle is None or run.entry.stop == "discard":
            self.spawn(run)  # what was deleted meanwhile ends before it has begun
            return
        await self._take_back(run, obstacle if isinstance(obstacle, Failure) else None)
        match obstacle:
            case Failure():
                await self._refuse(profile, obstacle)
            case lease.Wait():
                await self._make_wait(profile, obstacle.message)
            case lease.Leave():
                self.queue.put_later(profile.key, WAIT_SECS)

    async def _take_back(self, run: Run, failure: Failure | None = None) -> None:
        """It doesn't begin after all: the journal forgets it once nothing writes there any more."""
        # First of all nobody may find it any more. The same object isn't begun anew meanwhile: a key has one turn.
        self.runs.pop(run.entry.id, None)
        await run.withdraw(failure)
        await asyncio.to_thread(self.context.volume.remove_entry, run.entry.id)

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
        except KubeDenied as error:
            return failures.build_failure("AdmissionRefused", error.message)
        except KubeForbidden as error:
            return failures.build_failure("NotPermitted", error.message)
        if isinstance(decision, lease.Take):
            return None
        return decision.failure if isinstance(decision, lease.Refuse) else decision

    async def _check_room(self) -> Failure | None:
        """Whether the volume has room for one more; retention makes some first, if it can."""
        volume, min_free_bytes = self.context.volume, self.context.settings.recording.min_free_bytes
        if retention.check_room(await asyncio.to_thread(volume.room_bytes), min_free_bytes) is not None:
            await self.make_room()
        return retention.check_room(await asyncio.to_thread(volume.room_bytes), min_free_bytes)


def _was_told(profile: SamplyProfile, message: str) -> bool:
    """It says already that it waits, and for what."""
    current = profile.raw.get("status") or {}
    return profile.phase == "Pending" and current.get("message") == message
