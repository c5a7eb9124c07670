"""One recording, step by step, from its journal entry to its end. The journal is written before each step.

Admitted → Launching → Recording → Collecting → (published) → Cleaning → gone. Started again after a kill at any
instant it goes on where the journal says. The manifest is the point of no return: once it stands, the recording has
succeeded, and what is left is to say so and to clean up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal

import msgspec

from samply_operator.errors import (
    KubeDenied,
    KubeError,
    KubeForbidden,
    KubeNotFound,
    RecordingFailed,
    SamplyOperatorError,
    StoreError,
    StoreFull,
)
from samply_operator.kube import objects
from samply_operator.model.manifest import JournalEntry, Manifest, ObjectOrigin
from samply_operator.model.profile import Failure, Phase
from samply_operator.recorder import measures, reports
from samply_operator.recorder.context import Backoff, Context
from samply_operator.recorder.pod import collect, ephemeral, finish, follow, prepare, script_calls
from samply_operator.rules import times
from samply_operator.rules.recording import failures, modes, pod_limits, preflight, record_output, status
from samply_operator.rules.recording.record_output import Progress

logger = logging.getLogger(__name__)

KEEPS_REMOTE = frozenset({"TransferCorrupt", "TransferFailed", "StoreFull", "StoreFailed"})
"""Failures after which the profile in the pod is still good: it stays there for its time to live."""

STOP_POLL_SECS = 0.2
Release = Callable[[JournalEntry], Awaitable[None]]
RESUMED: Mapping[str, Phase] = {"Recording": "Recording", "Collecting": "Collecting"}
"""Phases of recordings that an earlier process left at these steps."""
BEFORE_RECORDING = frozenset({"Admitted", "Launching"})
"""Steps in which whoever asked waits for it to begin."""


class Run:
    """One recording in this process. `settled` is set as soon as it records or has ended."""

    def __init__(self, context: Context, entry: JournalEntry, on_change: Callable[[], None], release: Release) -> None:
        self.entry = entry
        self.phase: Phase = RESUMED.get(entry.step, "Pending")
        self.failure: Failure | None = None
        self.trouble = ""
        """Why the pod wasn't reached at the last try; empty once it was, and while it is tried."""
        self._has_told_trouble = False
        self._preparing: asyncio.Future[prepare.Prepared] | None = None
        self.settled = asyncio.Event()
        if self.phase != "Pending":
            self.settled.set()
        self._is_withdrawn = False
        self.is_released = False
        """Its target is free for others: what is left is to forget it."""
        self._context = context
        self._on_change = on_change
        self._release_target = release
        self._reporter = reports.Reporter(context, entry.namespace, entry.name, entry.id)
        self._stopping: asyncio.Task[None] | None = None
        self._manifest: Manifest | None = None
        self._preflight: status.Status = {}
        self._arch = ""
        """Of the node, as preflight found it."""
        self._saving = asyncio.Lock()
        self._notes: set[asyncio.Task[None]] = set()

    @property
    def is_told(self) -> bool:
        """The object says what there is to say, or is gone."""
        return self._reporter.is_done

    def tell_again(self) -> None:
        """Try again what the API server refused to write."""
        self._reporter.retry()

    # ---------------------------------------------------------------------------------------------------- the way

    async def run(self) -> None:
        """To the end, whatever it is. Only a cancellation of the process leaves it open, for the next one."""
        try:
            await self._decide_outcome()
        except RecordingFailed as error:
            await self._fail(failures.failure_of(error))
        except KubeDenied as error:
            await self._fail(failures.build_failure("AdmissionRefused", error.message))
        except KubeForbidden as error:
            await self._fail(failures.build_failure("NotPermitted", error.message))
        except KubeError as error:
            await self._fail(failures.build_failure("Unreachable", error.message))
        except StoreFull as error:
            await self._fail(failures.build_failure("StoreFull", error.message))
        except StoreError as error:
            await self._fail(failures.build_failure("StoreFailed", error.message))
        except SamplyOperatorError as error:
            await self._fail(failures.build_failure("InternalError", str(error)))
        except Exception as error:  # a defect must end as a failure that is told, not as silence
            logger.exception("%s/%s: a defect", self.entry.namespace, self.entry.name)
            await self._fail(failures.build_failure("InternalError", f"{type(error).__name__}: {error}"))
        finally:
            self.settled.set()
        await self._reporter.flush()
        await self._wind_up()

    async def _decide_outcome(self) -> None:
        if await self._was_decided():
            return
        progress: Progress | None = None
        if self.entry.stop:
            self._send_stop()
        if self.entry.step != "Admitted":
            if self.entry.step == "Launching":
                await self._bring()
            follower = follow.Follower(self._context, self.entry, self._observe)
            progress = await follower.adopt(may_launch=self.entry.step == "Launching")
        while progress is None or await self._goes_another_way(progress):
            if self.entry.stop != "discard":
                await self._prepare()
            if self.entry.preflight_only or self.entry.stop == "discard":
                break
            await self._save(step="Launching")
            await self._bring()
            progress = await follow.Follower(self._context, self.entry, self._observe).launch()
        if progress is None or self.entry.stop == "discard":
            await self._end_early()
        else:
            await self._conclude(progress)

    async def _goes_another_way(self, progress: Progress) -> bool:
        """True if the container's own samply couldn't begin, for a reason that another way may cure: what it leaves is
        gone then, and what it said is in the journal. In mode Auto, once."""
        entry = self.entry
        is_open = entry.mode == "InPlace" and entry.wanted_mode in {"", "Auto"} and entry.refused is None
        if not is_open or entry.stop or not progress.is_done or progress.recording_at is not None:
            return False
        sight = await self._retry(lambda: script_calls.look(self._context.client, entry))
        refused = record_output.judge(sight.progress, sight.log)
        if refused is None or refused.reason not in modes.CURED_BY_ANOTHER:
            return False
        await self._retry(lambda: script_calls.clean(self._context.client, entry))
        await self._save(step="Admitted", refused=refused)
        return True

    async def _bring(self) -> None:
        """In mode BringOwn samply must be there before it is launched; after a kill nobody knows how much of it is."""
        if self.entry.mode != "BringOwn":
            return
        sight = await self._retry(lambda: script_calls.look(self._context.client, self.entry))
        if not sight.has_folder:
            await self._retry(lambda: prepare.bring(self._context, self.entry))

    async def _was_decided(self) -> bool:
        """Killed after the outcome stood, but before all were told: tell it again. The manifest is always right."""
        manifest = await asyncio.to_thread(self._context.volume.read_manifest, self.entry.id)
        if manifest is not None and manifest.outcome == "Succeeded":
            # What stands stays; publishing it again drops what the kill left among the temporary files.
            left = self._context.volume.tmp_path(self.entry.id, record_output.PROFILE)
            await self._succeed(await asyncio.to_thread(self._context.volume.publish, manifest, left))
        elif self.entry.outcome == "Failed" or manifest is not None:
            self._manifest = manifest
            known = self.entry.failure or (manifest.failure if manifest else None)
            await self._fail(known or failures.build_failure("InternalError", "It failed; the reason was lost."))
        elif self.entry.outcome:
            await self._end_early()
        else:
            return False
        return True

    async def _prepare(self) -> None:
        """Preflight: would it work here, and how? Cut short if it is cancelled meanwhile."""
        preparer = prepare.Preparer(self._context, lambda: self.entry, self._save, self._retry)
        self._preparing = asyncio.ensure_future(preparer.prepare())
        try:
            prepared = await self._preparing
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self.entry.stop != "discard" or (task is not None and task.cancelling()):
                raise  # the process ends
            return
        finally:
            self._preparing = None
            self._arch = preparer.facts.arch if preparer.facts else ""
            if preparer.verdict is not None:
                found = preflight.describe_facts(preparer.facts, preparer.process) if preparer.facts else {}
                verdict = preparer.verdict
                self._preflight = status.render_preflight(verdict.word, verdict.findings, found)
        await self._save(**prepared.changes)

    async def _conclude(self, progress: Progress) -> None:
        self._set_phase("Collecting")
        if self.entry.step != "Collecting":
            await self._save(step="Collecting")
        if progress.find_file(record_output.PROFILE) and progress.stopping_at is None:
            # Whoever stopped it early told so in the pod's own file, not over this session.
            progress = (await self._retry(lambda: script_calls.look(self._context.client, self.entry))).progress
        failure = record_output.judge(progress, "")
        if failure is not None:
            with contextlib.suppress(KubeError):
                await follow.check_target(self._context, self.entry)
            sight = await self._retry(lambda: script_calls.look(self._context.client, self.entry))
            if not sight.has_folder:
                failures.fail("Lost", f"{self.entry.folder} went from the container while it was used.")
            failures.raise_failure(record_output.judge(sight.progress, sight.log) or failure)
        measures.measure_sampling(self.entry, self._context.now())
        try:
            manifest = await collect.collect(self._context, self.entry, progress)
        except finish.HalfFileError:
            sight = await self._retry(lambda: script_calls.look(self._context.client, self.entry))
            failures.raise_failure(record_output.judge_half(progress, sight.log))
        measures.count_quality(manifest)
        if manifest.failure is not None:
            # It isn't a success, but it is kept: whoever asks for it by its id gets it.
            self._manifest = manifest
            failures.raise_failure(manifest.failure)
        await self._succeed(manifest)

    async def _retry(self, call: Callable[[], Any]) -> Any:
        """Call until it works, the container is gone, or the time is over."""
        backoff = Backoff(self._context.settings.recording.unreachable_secs)
        while True:
            self.trouble = ""
            try:
                answer = await call()
            except KubeNotFound as error:
                with contextlib.suppress(KubeError):
                    await follow.check_target(self._context, self.entry)
                self._note_trouble(error)
                await backoff.pause(error)
            except KubeError as error:
                if not error.is_transient:
                    raise
                self._note_trouble(error)
                await backoff.pause(error)
                with contextlib.suppress(KubeError):
                    await follow.check_target(self._context, self.entry)
            else:
                self._note_reached()
                return answer

    def _note_trouble(self, error: KubeError) -> None:
        """Whoever waits for it to begin sees why it doesn't."""
        self.trouble = error.message
        if self._has_told_trouble or self.entry.step not in BEFORE_RECORDING:
            return
        self._has_told_trouble = True
        limit_secs = self._context.settings.recording.unreachable_secs
        message = f"{self.entry.pod} isn't reached; it is tried for {limit_secs} s: {error.message}"
        self._tell_pending("Unreachable", message)
        self._tell("Warning", "Unreachable", message)

    def _note_reached(self) -> None:
        if self._has_told_trouble and self.entry.step in BEFORE_RECORDING:
            self._tell_pending("Preparing", f"{self.entry.pod} is reached again; the recording is being prepared.")
        self._has_told_trouble = False

    def _tell_pending(self, reason: str, message: str) -> None:
        now, caller = self._context.now(), {"requestedBy": self.entry.requested_by or "unknown"}
        self._reporter.want(lambda old: status.render_pending(old, reason, message, now) | caller)

    # ----------------------------------------------------------------------------------------------- what happens

    def _observe(self, progress: Progress, started: float | None) -> None:
        if started is None or self.entry.started_at:
            return
        self.entry = msgspec.structs.replace(
            self.entry,
            step="Recording",
            started_at=times.format_time(started),
            ends_at=times.format_time(started + self.entry.duration_secs),
        )
        self._set_phase("Recording")
        self.settled.set()
        entry, now = self.entry, self._context.now()
        found = self._preflight
        self._reporter.want(lambda old: status.render_recording(old, entry, now) | found)
        self._note(self._save())
        self._tell("Normal", "Recording", f"samply records {entry.pod} for {entry.duration_secs} s.")

    def note_origin(self, origin: ObjectOrigin) -> None:
        """Where its object lives; on the volume with the next step."""
        self.entry = msgspec.structs.replace(self.entry, origin=origin)

    async def withdraw(self, failure: Failure | None) -> None:
        """It doesn't begin; whoever waits for it learns why, if it is for good. Nothing is written afterwards."""
        self.failure = failure
        self._is_withdrawn = True
        self.settled.set()
        if self._stopping is not None:
            self._stopping.cancel()
            await asyncio.gather(self._stopping, return_exceptions=True)
        async with self._saving:  # what was begun goes on when its caller is cancelled
            pass

    def stop(self, cause: Literal["keep", "discard"]) -> None:
        """Ask for the end. Persisted before it acts; `discard` overrules `keep`."""
        if self._is_withdrawn or self.entry.outcome or self.entry.stop in {cause, "discard"}:
            return
        self.entry = msgspec.structs.replace(self.entry, stop=cause)
        if cause == "discard" and self._preparing is not None:
            self._preparing.cancel()
        self._send_stop()

    def _send_stop(self) -> None:
        if self._stopping is None or self._stopping.done():
            self._stopping = asyncio.create_task(self._stop())

    async def _stop(self) -> None:
        # A volume that takes nothing more doesn't keep samply running: the object says it again after a restart.
        await self._save_if_possible()
        while self.entry.step in {"Admitted", "Launching", "Recording"} and not self.entry.outcome:
            if self.entry.step == "Recording":
                try:
                    await self._retry(
                        lambda: script_calls.stop(self._context.client, self.entry, self.entry.stop or "keep")
                    )
                except SamplyOperatorError as error:
                    logger.info("%s/%s: stop: %s", self.entry.namespace, self.entry.name, error)
                return
            await asyncio.sleep(STOP_POLL_SECS)

    def _set_phase(self, phase: Phase) -> None:
        self.phase = phase
        if phase == "Collecting":
            entry, now = self.entry, self._context.now()
            self._reporter.want(lambda old: status.render_collecting(old, entry, now))
        self._on_change()

    async def _save(self, **changes: Any) -> None:
        """One writer at a time, and always the newest entry."""
        self.entry = msgspec.structs.replace(self.entry, **changes)
        # Shielded: a write that was begun goes on when its caller is cancelled, and must not be overtaken by the next.
        await asyncio.shield(self._write())

    async def _write(self) -> None:
        async with self._saving:
            await asyncio.to_thread(self._context.volume.write_entry, self.entry)

    async def _save_if_possible(self, **changes: Any) -> None:
        """What was decided is told even if it can't be written down: after a restart it is decided again."""
        try:
            await self._save(**changes)
        except StoreError as error:
            logger.error("%s/%s: %s", self.entry.namespace, self.entry.name, error)

    def _note(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    def _tell(self, type_: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        self._note(reports.tell(self._context, self.entry, type_, reason, message))

    # ---------------------------------------------------------------------------------------------------- the end

    async def _succeed(self, manifest: Manifest) -> None:
        await self._save_if_possible(outcome="Succeeded")
        self._manifest = manifest
        measures.count_end(self.entry, "Succeeded")
        self._set_phase("Succeeded")
        now = self._context.now()
        self._reporter.want(lambda old: status.render_stored(old, manifest, now))
        quality, file = manifest.quality, manifest.file
        share = "" if quality.coverage is None else f", coverage {quality.coverage:.0%}"
        size = file.size_bytes if file else 0
        self._tell("Normal", "Stored", f"{status.show_samples(quality)}{share}, {size} bytes are stored.")

    async def _fail(self, failure: Failure) -> None:
        entry, now = self.entry, self._context.now()
        if entry.stop == "discard":
            await self._end_early()
            return
        failure = modes.name_other_way(failure, entry.wanted_mode, entry.namespace, self._arch, self._context.settings)
        keeps = failure.reason in KEEPS_REMOTE and bool(entry.started_at)
        ttl = self._context.settings.recording.remote_ttl_secs
        try:
            # First the room that its own unfinished files take: it may be what is missing.
            await asyncio.to_thread(self._context.volume.drop_tmp, entry.id)
            if not entry.preflight_only:
                await asyncio.to_thread(
                    self._context.volume.publish, collect.describe_attempt(entry, now, failure), None
                )
        except StoreError as error:
            # The object still tells of it; only the memory of this failure past a restart is lost.
            logger.error("%s/%s: the failure can't be stored: %s", entry.namespace, entry.name, error)
        await self._save_if_possible(
            outcome="Failed", failure=failure, clean_after=times.format_time(now + ttl) if keeps else ""
        )
        self.failure = failure
        measures.count_end(entry, "Failed", failure.reason)
        self._set_phase("Failed")
        kept = status.render_file(self._manifest) if self._manifest else {}
        found = self._preflight | {"requestedBy": entry.requested_by or "unknown"}
        # Also of a failure it is of use how it went: why that mode, and what was seen on the way.
        found |= {"target": status.render_target(entry), "warnings": [*(self._manifest or entry).warnings]}
        self._reporter.want(lambda old: status.render_failed(old, failure, now) | found | kept)
        self._tell("Warning", failure.reason, f"{failure.message} {failure.remedy}")

    async def _end_early(self) -> None:
        """A preflight that passed, or a cancel: no attempt, so no manifest."""
        now = self._context.now()
        entry = self.entry
        with contextlib.suppress(StoreError):  # what was copied so far; else the next start drops it
            await asyncio.to_thread(self._context.volume.drop_tmp, entry.id)
        if entry.preflight_only and entry.stop != "discard":
            await self._save_if_possible(outcome="Succeeded")
            measures.count_end(entry, "Succeeded")
            self._set_phase("Succeeded")
            found = self._preflight | {"requestedBy": entry.requested_by or "unknown"}
            self._reporter.want(lambda old: status.render_preflight_passed(old, entry, entry.warnings, now) | found)
        else:
            await self._save_if_possible(outcome="Cancelled")
            measures.count_end(entry, "Cancelled")
            self._set_phase("Cancelled")
            self._reporter.want(lambda old: status.render_cancelled(old, "Cancelled; nothing was kept.", now))

    async def _wind_up(self) -> None:
        """Nothing stays in the pod, then nothing in the journal. What can't be cleaned now is left to the sweep."""
        if self._stopping is not None:
            self._stopping.cancel()
        await asyncio.gather(*self._notes, return_exceptions=True)
        with contextlib.suppress(StoreError):
            await self._save(step="Cleaning")
        await sweep_entry(self._context, self.entry, self._release)

    async def _release(self, entry: JournalEntry) -> None:
        self.is_released = True
        await self._release_target(entry)


async def sweep_entry(context: Context, entry: JournalEntry, release: Release | None = None) -> bool:
    """Clean the pod after a recording that has ended, and forget it. False: try again later. `release` its Lease in
    between: once it is forgotten, nobody would."""
    if entry.clean_after and context.now() < times.parse_time(entry.clean_after):
        return False
    if entry.folder or entry.helper:
        try:
            # A container beside it may be gone, and the target be there.
            await follow.check_target(context, msgspec.structs.replace(entry, helper=""))
            await _clean(context, entry)
        except RecordingFailed as error:
            # The container is gone, and with it whatever was in it; not so what its successor has of the recording.
            if error.reason == "ContainerRestarted" and not await _clean_successor(context, entry):
                if entry.lease and release is not None:
                    await release(entry)  # nothing runs there any more
                return False
        except KubeError as error:
            logger.info("%s/%s: %s isn't cleaned yet: %s", entry.namespace, entry.name, entry.pod, error)
            return False
    if entry.lease and release is not None:
        await release(entry)
    try:
        await asyncio.to_thread(context.volume.remove_entry, entry.id)
    except StoreError as error:
        logger.error("%s/%s: %s", entry.namespace, entry.name, error)
        return False
    return True


async def _clean_successor(context: Context, entry: JournalEntry) -> bool:
    """Once the container runs again, in a pod that is known to be there: what lay in a volume is in it, and a launch
    may have hit it in the instant of the restart. True: nothing of the recording is there."""
    if not entry.folder or entry.helper:
        return True
    try:
        raw = await context.client.get(objects.pods(entry.namespace, entry.pod))
        pod = objects.parse_pod(raw)
        container = pod.find_container(entry.container)
        is_running = container is not None and container.is_running
        has_ended = (raw.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
        is_kept = not has_ended and pod_limits.is_in_volume(raw, entry.container, entry.folder)
        if pod.uid == entry.pod_uid and (is_running or is_kept):
            await script_calls.clean(context.client, entry)
    except KubeError as error:
        logger.info("%s/%s: %s isn't cleaned yet: %s", entry.namespace, entry.name, entry.pod, error)
        return False
    return True


async def _clean(context: Context, entry: JournalEntry) -> None:
    if entry.folder:
        try:
            await script_calls.clean(context.client, entry)
        except KubeNotFound:
            if not entry.helper:
                raise
            # It went with all that was in it; if it went during the attach, nobody there can continue the target.
            await _wake(context, entry)
    if entry.helper:
        with contextlib.suppress(KubeNotFound):  # it has ended, or was never made
            await script_calls.release(context.client, entry)


async def _wake(context: Context, entry: JournalEntry) -> None:
    try:
        await script_calls.wake(context.client, entry)
    except script_calls.NoShellError:
        if entry.started_at:
            return  # samply stops the target only before it records
        try:
            has_run = await ephemeral.wake(context, entry)
        except (RecordingFailed, KubeForbidden) as error:
            logger.error("%s/%s: %s: %s", entry.namespace, entry.name, entry.pod, error)
            has_run = False
        if not has_run:
            message = (
                f"The ephemeral container {entry.helper} of {entry.pod} ended while samply began: process {entry.pid} "
                "may be left stopped (state T). If it is, continue it: kill -CONT on its node, or restart the pod."
            )
            await reports.tell(context, entry, "Warning", "TargetStopped", message)
