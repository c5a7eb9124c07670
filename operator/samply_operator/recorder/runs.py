"""The recordings of this process, from the moment that they count until nothing of them is left.

One that is admitted, or found in the journal, is live until it has ended. What has ended stays known while its object
does not say so, or something of it lies in the pod; it is not begun again meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping

from samply_operator.discovery.changes import Changes
from samply_operator.errors import KubeError, KubeForbidden, KubeNotFound
from samply_operator.kube import objects
from samply_operator.model.manifest import JournalEntry
from samply_operator.model.profile import parse_object
from samply_operator.recorder import object_origin
from samply_operator.recorder.context import Context
from samply_operator.recorder.leases import Leases
from samply_operator.recorder.run import Run
from samply_operator.rules.recording import admit, lease

logger = logging.getLogger(__name__)

RETRY_SECS = 2.0
LONGEST_RETRY_SECS = 60.0
ORIGIN_SECS = 2.0
"""How long a recovered recording, which may end at once, waits for where its object lives."""
CLEANERS = 8
"""Pods that are cleaned at the same time: one on a dead node takes ten seconds."""

Work = Callable[[Run], Awaitable[None]]


class Runs(Mapping[str, Run]):
    """As a mapping: those that are live, by id. `on_end` is called with each that ended, or that is not ours to end."""

    def __init__(self, context: Context, changes: Changes, leases: Leases) -> None:
        self.on_end: Work
        self._context = context
        self._changes = changes
        self._leases = leases
        self._live: dict[str, Run] = {}
        self._ended: dict[str, Run] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __getitem__(self, profile_id: str) -> Run:
        return self._live[profile_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._live)

    def __len__(self) -> int:
        return len(self._live)

    # ------------------------------------------------------------------------------------------------- what is known

    def find(self, namespace: str, pipeline: str, ordinal: int) -> Run | None:
        """The recording of this ordinal that hasn't ended. A preflight is none."""
        wanted = (namespace, pipeline, ordinal)
        for run in self._live.values():
            entry = run.entry
            is_there = (entry.namespace, entry.pipeline, entry.ordinal) == wanted
            if is_there and not (entry.outcome or entry.preflight_only):
                return run
        return None

    def find_ended(self, profile_id: str) -> Run | None:
        """One that ended here, and of which something is left to do."""
        return self._ended.get(profile_id)

    def list_active(self) -> list[admit.Active]:
        """Those that count for admission."""
        return [
            admit.Active(
                e.id,
                e.name,
                e.pod_uid,
                e.container,
                e.node,
                is_preflight=e.preflight_only,
                is_triggered=e.trigger is not None,
            )
            for e in (run.entry for run in self._live.values())
            if not e.outcome
        ]

    # --------------------------------------------------------------------------------------------- begin and end

    def register(self, entry: JournalEntry) -> Run:
        """From here on it counts."""
        run = self._live[entry.id] = Run(self._context, entry, self._leases, self._changes)
        self._changes.note_recording(entry.id)
        return run

    def register_ended(self, entry: JournalEntry) -> None:
        """An earlier process left it to be cleaned."""
        self._ended[entry.id] = Run(self._context, entry, self._leases, self._changes)

    def unregister(self, run: Run) -> None:
        """It doesn't begin after all."""
        self._live.pop(run.entry.id, None)
        self._changes.note_recording(run.entry.id)

    def start(self, run: Run) -> None:
        """What was just admitted."""
        run.is_leased = True
        self._spawn(run, self._drive)

    def resume(self, run: Run) -> None:
        """What an earlier process had begun."""
        if lease.is_to_be_taken(run.entry):
            self._spawn(run, self._take_up)
        else:
            self.start(run)

    def _spawn(self, run: Run, work: Work) -> None:
        task = self._tasks[run.entry.id] = asyncio.create_task(
            self._contain(run, work), name=f"recording {run.entry.name}"
        )
        task.add_done_callback(lambda _: self._tasks.pop(run.entry.id, None))

    async def _contain(self, run: Run, work: Work) -> None:
        """A defect met by one recording ends that one; the journal has it for the next start."""
        try:
            await work(run)
        except Exception:
            logger.exception("%s/%s: a defect", run.entry.namespace, run.entry.name)

    async def _drive(self, run: Run) -> None:
        if run.entry.step != "Admitted":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._find_origin(run), ORIGIN_SECS)
        origin = asyncio.create_task(self._note_origin(run))
        try:
            await run.run()
        finally:
            origin.cancel()
            self._end(run)
        await self.on_end(run)

    def _end(self, run: Run) -> None:
        self._live.pop(run.entry.id, None)
        if not (run.is_clean and run.is_reported):
            self._ended[run.entry.id] = run
        self._changes.note_recording(run.entry.id)

    async def _take_up(self, run: Run) -> None:
        """Continue with what an earlier process had admitted, unless another operator records the target by now: then
        it is treated as not admitted."""
        if await self._take_lease(run):
            run.is_leased = True
            await self._drive(run)
            return
        await run.withdraw(None)
        pause = RETRY_SECS
        while not await run.clean():
            await asyncio.sleep(pause)
            pause = min(LONGEST_RETRY_SECS, pause * 2)
        logger.info("%s/%s: it no longer holds its target; it is admitted anew", run.entry.namespace, run.entry.name)
        self.unregister(run)
        await self.on_end(run)

    async def _take_lease(self, run: Run) -> bool:
        """Whether its Lease is ours; for as long as it takes to know. One that is cancelled meanwhile needs none."""
        has_warned = False
        while run.entry.stop != "discard":
            try:
                return isinstance(await self._leases.acquire(run.entry), lease.Take)
            except KubeForbidden:
                return False  # admission says what is missing
            except KubeError as error:
                if not has_warned:
                    logger.warning("Lease %s: %s; retrying", run.entry.lease, error)
                has_warned = True
            await asyncio.sleep(RETRY_SECS)
        return True

    async def close(self) -> None:
        """The process ends: recordings go on in their pods, the next process finds them in the journal."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # ------------------------------------------------------------------------------------------------------- upkeep

    async def renew_leases(self) -> None:
        """Of all that have one: not of what is just being admitted, or taken up."""
        entries = [run.entry for run in self._live.values() if run.entry.lease and run.is_leased]
        await self._leases.renew(entries, self._needs_lease)

    def _needs_lease(self, profile_id: str) -> bool:
        run = self._live.get(profile_id)
        if run is None or run.is_released:
            return False
        # One that winds up leaves the Lease to the next recording of its target, which has taken it over.
        place = (run.entry.namespace, run.entry.lease)
        return not run.entry.outcome or not any(
            other is not run and (other.entry.namespace, other.entry.lease) == place for other in self._live.values()
        )

    async def clean(self, is_known: Callable[[str], bool]) -> None:
        """What has ended: clean what is left in its pod, report what is not reported. `is_known`: its object is."""
        limit = asyncio.Semaphore(CLEANERS)

        async def finish(run: Run) -> None:
            async with limit:
                is_clean = await run.clean()
            run.report_again()
            if is_clean and (run.is_reported or not is_known(run.entry.id)):
                self._ended.pop(run.entry.id, None)

        await asyncio.gather(*(finish(run) for run in list(self._ended.values())))

    # ------------------------------------------------------------------------------------------------------- origin

    async def _note_origin(self, run: Run) -> None:
        """During the recording, store its object's origin, so that an unobserved deletion can be recognised."""
        pause = RETRY_SECS
        while not await self._find_origin(run):
            await asyncio.sleep(pause)
            pause = min(LONGEST_RETRY_SECS, pause * 2)

    async def _find_origin(self, run: Run) -> bool:
        """True if it is known, or the object is gone. Doesn't need the world, which knows nothing after a start."""
        entry = run.entry
        if entry.origin.namespace_uid:
            return True
        origin = await object_origin.find_origin(self._context.client, entry.namespace)
        try:
            # After it: then the object stood on what was found.
            raw = await self._context.client.get(objects.samply_profiles(entry.namespace, entry.name))
        except KubeNotFound:
            return True
        except KubeError as error:
            logger.info("%s/%s: its origin is not known yet: %s", entry.namespace, entry.name, error)
            return False
        if parse_object(raw).uid == entry.id:
            run.journal.change(origin=origin)
            return bool(origin.namespace_uid)
        return True
