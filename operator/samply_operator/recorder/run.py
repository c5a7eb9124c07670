"""One recording, step by step, from its journal entry to its end. The journal is written before each step.

Admitted → Launching → Recording → Collecting → (published) → Cleaning → gone. Started again after a kill at any
instant it goes on where the journal says. The manifest is the point of no return: once it stands, the recording has
succeeded, and what is left is to say so and to clean up.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Literal

from samply_operator.discovery.changes import Changes
from samply_operator.errors import (
    KubeDenied,
    KubeError,
    KubeForbidden,
    RecordingFailed,
    SamplyOperatorError,
    StoreError,
    StoreFull,
)
from samply_operator.kube import faults
from samply_operator.model.manifest import JournalEntry, Manifest
from samply_operator.model.profile import Failure, Phase
from samply_operator.recorder import measures
from samply_operator.recorder.context import Context
from samply_operator.recorder.feldera.attachments import Attachments
from samply_operator.recorder.feldera.calls import FelderaCalls
from samply_operator.recorder.feldera.pipeline_samply import PipelineSamply
from samply_operator.recorder.journal import Journal
from samply_operator.recorder.leases import Leases
from samply_operator.recorder.pod import collect, finish, follow, prepare, script_calls
from samply_operator.recorder.pod.cleaning import Left, clean
from samply_operator.recorder.pod.target_pod import TargetPod
from samply_operator.recorder.reports import Reporter
from samply_operator.rules import times
from samply_operator.rules.recording import (
    failures,
    modes,
    pipeline_samply,
    preflight,
    preflight_facts,
    record_output,
    status,
)
from samply_operator.rules.recording.record_output import Progress

logger = logging.getLogger(__name__)

KEEPS_REMOTE = frozenset({"AdmissionRefused", "TransferCorrupt", "TransferFailed", "StoreFull", "StoreFailed"})
"""Failures after which a profile in the pod is still good: it stays there for its time to live."""

STOP_POLL_SECS = 0.2
RESUMED: Mapping[str, Phase] = {"Recording": "Recording", "Collecting": "Collecting"}
"""Phases of recordings that an earlier process left at these steps."""
BEFORE_RECORDING = frozenset({"Admitted", "Launching"})
"""Steps in which the requester waits for the start."""
REASONS: tuple[tuple[type[SamplyOperatorError], str], ...] = (
    (KubeDenied, "AdmissionRefused"),
    (KubeForbidden, "NotPermitted"),
    (KubeError, "Unreachable"),
    (StoreFull, "StoreFull"),
    (StoreError, "StoreFailed"),
)


class Run:
    """One recording in this process. `has_answer` is set as soon as it records, has ended, or will not begin."""

    def __init__(self, context: Context, entry: JournalEntry, leases: Leases, changes: Changes) -> None:
        self.phase: Phase = RESUMED.get(entry.step, "Pending")
        self.failure: Failure | None = None
        self.trouble = ""
        """Why the pod wasn't reached at the last try; empty: it was."""
        self.has_answer = asyncio.Event()
        if self.phase != "Pending":
            self.has_answer.set()
        self.is_leased = False
        """Its Lease, if it needs one, is known to be ours, or it has no need of it any more."""
        self.is_released = False
        """Its target is free for others: what is left is to forget it."""
        self.is_clean = False
        """Nothing of it is in the pod, nor in the journal."""
        self._context = context
        self._leases = leases
        self._changes = changes
        self._journal = Journal(context.volume, entry)
        self._pod = TargetPod(context, self._journal, self._note_trouble)
        self._reporter = Reporter(context, self._journal)
        self._has_reported_trouble = False
        self._preparing: asyncio.Future[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._observed: asyncio.Task[None] | None = None
        self._is_withdrawn = False
        self._attachments = Attachments(context, self._journal)
        self._manifest: Manifest | None = None
        self._arch = ""
        """Of the node, as preflight found it."""
        self._is_kernel_in_doubt = False

    @property
    def entry(self) -> JournalEntry:
        return self._journal.entry

    @property
    def journal(self) -> Journal:
        return self._journal

    @property
    def is_reported(self) -> bool:
        """The object has the final status, or is gone."""
        return self._reporter.is_done

    def report_again(self) -> None:
        """Try again what the API server refused to write."""
        self._reporter.retry()

    # ---------------------------------------------------------------------------------------------------- the way

    async def run(self) -> None:
        """To the end, whatever it is. Only a cancellation of the process leaves it open, for the next one."""
        try:
            await self._decide_outcome()
        except RecordingFailed as error:
            await self._fail(failures.failure_of(error))
        except SamplyOperatorError as error:
            reason = next((reason for kind, reason in REASONS if isinstance(error, kind)), "")
            if reason == "Unreachable" and faults.is_webhook_down(error.message):
                reason = "AdmissionRefused"
            remedy = error.remedy if isinstance(error, StoreFull) else ""
            message = error.message if reason else str(error)
            await self._fail(failures.build_failure(reason or "InternalError", message, remedy=remedy))
        except Exception as error:  # a defect must end as a failure that is reported, not as silence
            logger.exception("%s/%s: a defect", self.entry.namespace, self.entry.name)
            await self._fail(failures.build_failure("InternalError", f"{type(error).__name__}: {error}"))
        finally:
            self.has_answer.set()
            await self._attachments.drop()
        await self._reporter.flush()
        await self._release_target()

    async def _decide_outcome(self) -> None:
        if await self._was_decided():
            return
        self._attachments.resume()
        if pipeline_samply.is_wanted(self.entry, self._context.settings) and await self._ask_pipeline():
            return
        progress: Progress | None = None
        if self.entry.stop:
            self._send_stop()  # an earlier process was told to
        if self.entry.step != "Admitted":
            if self.entry.step == "Launching":
                await self._bring()
            follower = follow.Follower(self._pod, self._observe)
            progress = await follower.adopt(may_launch=self.entry.step == "Launching")
        while progress is None or await self._tries_another_mode(progress):
            if self.entry.stop != "discard":
                await self._prepare()
            if self.entry.preflight_only or self.entry.stop == "discard":
                break
            await self._journal.save(step="Launching")
            await self._bring()
            progress = await follow.Follower(self._pod, self._observe).launch()
        if progress is None or self.entry.stop == "discard":
            await self._end_early()
        else:
            await self._conclude(progress)

    async def _ask_pipeline(self) -> bool:
        """In mode Pipeline, to its end. False: it could not begin, and mode Auto has other ways."""
        own = PipelineSamply(
            self._context, self._journal, self._pod, self._note_start, self._note_end, self._attachments
        )
        if not await own.begin():
            return False
        manifest = await own.follow()
        await (self._end_early() if manifest is None else self._judge(manifest))
        return True

    async def _tries_another_mode(self, progress: Progress) -> bool:
        """True if the container's own samply couldn't begin, for a reason that another way may cure: what it leaves is
        gone then, and what it said is in the journal. In mode Auto, once."""
        entry = self.entry
        is_open = entry.mode == "InPlace" and entry.wanted_mode in {"", "Auto"} and entry.refused is None
        if not is_open or entry.stop or not progress.is_done or progress.recording_at is not None:
            return False
        observation = await self._pod.repeat(script_calls.look)
        refused = record_output.judge(observation.progress, observation.log)
        if refused is None or refused.reason not in modes.CURED_BY_ANOTHER or self._refuses_everywhere(refused):
            return False
        await self._pod.repeat(script_calls.clean)
        await self._journal.save(step="Admitted", refused=refused)
        return True

    def _refuses_everywhere(self, failure: Failure) -> bool:
        """The kernel would refuse the samply of another container too."""
        return failure.reason == "PerfNotPermitted" and self._is_kernel_in_doubt

    async def _bring(self) -> None:
        """In mode BringOwn samply must be copied before it is launched; after a kill it may be incomplete."""
        if self.entry.mode != "BringOwn":
            return
        if not (await self._pod.repeat(script_calls.look)).has_folder:
            await prepare.bring(self._pod)

    async def _was_decided(self) -> bool:
        """Killed after the outcome was stored, but before it was reported: report it again. The manifest is always
        right."""
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
        self._preparing = asyncio.ensure_future(self._find_way())
        try:
            await self._preparing
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self.entry.stop != "discard" or (task is not None and task.cancelling()):
                raise  # the process ends
        finally:
            self._preparing = None

    async def _find_way(self) -> None:
        if await FelderaCalls(self._context, self.entry).is_busy():
            failures.raise_failure(pipeline_samply.build_in_progress())
        preparer = prepare.Preparer(self._pod)
        try:
            prepared = await preparer.prepare()
        finally:
            # Also if it prevents the recording: the findings are reported.
            facts, verdict = preparer.facts, preparer.verdict
            self._arch = facts.arch if facts else ""
            if verdict is not None:
                found = preflight_facts.describe_facts(facts, preparer.process) if facts else {}
                self._is_kernel_in_doubt = facts is not None and preflight.is_kernel_in_doubt(facts, verdict.findings)
                self._journal.change(preflight=status.render_preflight(verdict.word, verdict.findings, found))
        await self._journal.save(**prepared.changes)

    async def _conclude(self, progress: Progress) -> None:
        await self._note_end()
        if progress.find_file(record_output.PROFILE) and progress.stopping_at is None:
            # An early stop is recorded in the pod's own file, not in this session.
            progress = (await self._pod.repeat(script_calls.look)).progress
        failure = record_output.judge(progress, "")
        if failure is not None:
            await self._pod.blame()
            observation = await self._pod.repeat(script_calls.look)
            if not observation.has_folder:
                failures.fail("Lost", f"{self.entry.folder} went from the container while it was used.")
            failures.raise_failure(record_output.judge(observation.progress, observation.log) or failure)
        measures.measure_sampling(self.entry, self._context.now())
        try:
            manifest = await collect.collect(self._pod, progress, self._attachments)
        except finish.HalfFileError:
            observation = await self._pod.repeat(script_calls.look)
            failures.raise_failure(record_output.judge_half(progress, observation.log))
        await self._judge(manifest)

    async def _judge(self, manifest: Manifest) -> None:
        measures.count_quality(manifest)
        measures.count_attachments(manifest)
        if manifest.failure is not None:
            # It is not a success, but its file is kept and can be fetched by its id.
            self._manifest = manifest
            failures.raise_failure(manifest.failure)
        await self._succeed(manifest)

    # ----------------------------------------------------------------------------------------------- what happens

    def _observe(self, progress: Progress, started: float | None) -> None:
        if started is not None and not self.entry.started_at:
            self._note_start(started)

    def _note_start(self, started: float) -> None:
        self._journal.change(
            step="Recording",
            started_at=times.format_time(started),
            ends_at=times.format_time(started + self.entry.duration_secs),
        )
        self._attachments.start()
        self._set_phase("Recording")
        self.has_answer.set()
        self._reporter.report_recording()
        self._observed = asyncio.create_task(self._journal.save())

    async def _note_end(self) -> None:
        self._attachments.hurry()
        self._set_phase("Collecting")
        self._reporter.report_collecting()
        if self.entry.step != "Collecting":
            await self._journal.save(step="Collecting")

    def _note_trouble(self, trouble: str) -> None:
        """The status shows why it has not started yet."""
        self.trouble = trouble
        if self.entry.step not in BEFORE_RECORDING or bool(trouble) is self._has_reported_trouble:
            return
        self._has_reported_trouble = bool(trouble)
        if not trouble:
            text = f"{self.entry.pod} is reached again; the recording is being prepared."
            self._reporter.report_pending("Preparing", text)
            return
        limit_secs = self._context.settings.recording.unreachable_secs
        is_down = faults.is_webhook_down(trouble)
        what = "a webhook of the cluster does not answer" if is_down else f"{self.entry.pod} is unreachable"
        message = f"{what}; retrying for {limit_secs:g} s: {trouble}"
        self._reporter.report_pending("Unreachable", message)
        self._reporter.publish("Warning", "Unreachable", message)

    async def withdraw(self, failure: Failure | None) -> None:
        """It does not start; the requester gets the reason if it is permanent. Nothing is written afterwards."""
        self.failure = failure
        self._is_withdrawn = True
        self.has_answer.set()
        if self._stopping is not None:
            self._stopping.cancel()
            await asyncio.gather(self._stopping, return_exceptions=True)
        await self._journal.rest()

    def stop(self, cause: Literal["keep", "discard"]) -> None:
        """Ask for the end. Persisted before it acts; `discard` overrules `keep`."""
        if self._is_withdrawn or self.entry.outcome or self.entry.stop in {cause, "discard"}:
            return
        at = {"stopped_at": times.format_time(self._context.now())} if cause == "keep" else {}
        self._journal.change(stop=cause, **at)
        if cause == "discard" and self._preparing is not None:
            self._preparing.cancel()
        self._send_stop()

    def _send_stop(self) -> None:
        if self._stopping is not None:
            self._stopping.cancel()  # it may be on its way with the weaker word, for minutes
        self._stopping = asyncio.create_task(self._stop())

    async def _stop(self) -> None:
        # A volume that takes nothing more doesn't keep samply running: the object says it again after a restart.
        await self._journal.save_if_possible()
        while self.entry.step in {"Admitted", "Launching", "Recording"} and not self.entry.outcome:
            if self.entry.step == "Recording":
                if self.entry.mode == "Pipeline":
                    return  # Feldera cannot be told to stop
                if self.entry.stop == "keep":
                    self._attachments.hurry()  # now, not when samply has written its file
                try:
                    await self._pod.repeat(script_calls.stop, self.entry.stop or "keep")
                except SamplyOperatorError as error:
                    logger.info("%s/%s: stop: %s", self.entry.namespace, self.entry.name, error)
                return
            await asyncio.sleep(STOP_POLL_SECS)

    def _set_phase(self, phase: Phase) -> None:
        self.phase = phase
        self._changes.note_recording(self.entry.id)

    # ---------------------------------------------------------------------------------------------------- the end

    async def _succeed(self, manifest: Manifest) -> None:
        await self._journal.save_if_possible(outcome="Succeeded")
        self._manifest = manifest
        measures.count_end(self.entry, "Succeeded")
        self._changes.note_stored()
        self._set_phase("Succeeded")
        self._reporter.report_stored(manifest)

    async def _fail(self, failure: Failure) -> None:
        entry, now = self.entry, self._context.now()
        await self._attachments.drop()
        if entry.stop == "discard":
            await self._end_early()
            return
        if not self._refuses_everywhere(failure):
            settings = self._context.settings
            failure = modes.name_other_way(failure, entry.wanted_mode, entry.namespace, self._arch, settings)
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
            # The object still has it; only the memory of this failure past a restart is lost.
            logger.error("%s/%s: the failure cannot be stored: %s", entry.namespace, entry.name, error)
        await self._journal.save_if_possible(
            outcome="Failed", failure=failure, clean_after=times.format_time(now + ttl) if keeps else ""
        )
        self.failure = failure
        measures.count_end(entry, "Failed", failure.reason)
        self._changes.note_stored()
        self._set_phase("Failed")
        self._reporter.report_failed(failure, self._manifest)

    async def _end_early(self) -> None:
        """A preflight that passed, or a cancel: no attempt, so no manifest."""
        await self._attachments.drop()
        with contextlib.suppress(StoreError):  # what was copied so far; else the next start drops it
            await asyncio.to_thread(self._context.volume.drop_tmp, self.entry.id)
        has_passed = self.entry.preflight_only and self.entry.stop != "discard"
        outcome: Literal["Succeeded", "Cancelled"] = "Succeeded" if has_passed else "Cancelled"
        await self._journal.save_if_possible(outcome=outcome)
        measures.count_end(self.entry, outcome)
        self._set_phase(outcome)
        if has_passed:
            self._reporter.report_preflight_passed()
        else:
            self._reporter.report_cancelled()

    async def _release_target(self) -> None:
        """Nothing stays in the pod, then nothing in the journal. What can't be cleaned now is left to the sweep."""
        pending = [task for task in (self._stopping, self._observed) if task is not None]
        if self._stopping is not None:
            self._stopping.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await self._reporter.flush_events()
        with contextlib.suppress(StoreError):
            await self._journal.save(step="Cleaning")
        await self.clean()

    async def clean(self) -> bool:
        """Clean the pod after it has ended, free its target, and remove it from the journal: in this order, since
        nothing would clean it later. False: try again later. While samply may still run, the Lease is kept until it
        expires."""
        if self.is_clean:
            return True
        left = await clean(self._context, self.entry)
        if left is not Left.UNKNOWN and self.entry.lease and not self.is_released:
            self.is_released = True
            await self._leases.release(self.entry)
        if left is not Left.NOTHING:
            return False
        try:
            await self._journal.remove()
        except StoreError as error:
            logger.error("%s/%s: %s", self.entry.namespace, self.entry.name, error)
            return False
        self.is_clean = True
        return True
