"""From a finished recording in the pod to a published profile: verified copy, symbols, counts, manifest."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from samply_operator.errors import KubeDenied, KubeError, KubeForbidden, KubeNotFound, ProfileError, StoreFull
from samply_operator.kube import transfer
from samply_operator.model.manifest import Attachment, JournalEntry, Manifest, Quality, RecordedTarget
from samply_operator.model.profile import Failure
from samply_operator.profiles import ProfileFacts
from samply_operator.recorder import measures
from samply_operator.recorder.context import Backoff, Context
from samply_operator.recorder.pod import finish, script_calls
from samply_operator.recorder.pod.target_pod import TargetPod, may_pass
from samply_operator.rules import times
from samply_operator.rules.recording import attachments, coverage, failures, record_output
from samply_operator.rules.recording.record_output import Progress, RemoteFile
from samply_operator.store import durable

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

RAW_PROFILE, RAW_SYMBOLS = "raw.json.gz", "raw.syms.json"
LIBRARIES, NAME = 8, 60
"""Maximum number of libraries with their share of unnamed samples, and maximum length of a library's name."""

EXCESS = "More samples were counted than the CPU time explains: coverage is not known better than that it is high."

EXPANSION = 3
"""Space to reserve, as a multiple of what is copied: raw file, sidecar and baked file stand side by side."""


@dataclass(frozen=True, slots=True)
class Attached:
    """Attachments of a profile: `facts` for the manifest, and the files of those that were fetched, by name."""

    facts: tuple[Attachment, ...] = ()
    files: Mapping[str, Path] = field(default_factory=dict)


class Attaching(Protocol):
    """Attachments that are still being fetched."""

    async def take(self) -> Attached: ...

    async def give_up(self, problem: str) -> bool:
        """Free the room that they take. False: they take none."""


async def find_room(attempt: Callable[[], Awaitable[Result]], attaching: Attaching) -> Result:
    """The result of `attempt`; where it raises StoreFull, once more without the attachments."""
    try:
        return await attempt()
    except StoreFull:
        if not await attaching.give_up(attachments.NO_ROOM):
            raise
    return await attempt()


async def copy(pod: TargetPod, file: RemoteFile) -> Path:
    """One file, proved by size and SHA-256. Ends the recording if there is none in time, or its container is gone."""
    path, began = pod.context.volume.tmp_path(pod.entry.id, file.name), time.monotonic()
    try:
        await _copy_out(pod, file, path)
    except KubeError as error:
        # A container that is gone is reported as such, whatever the last session reported.
        await pod.blame()
        if isinstance(error, transfer.TransferCorrupt):
            failures.fail("TransferCorrupt", error.message)
        message = f"{file.name} ({file.size_bytes} bytes): {error.message}"
        if isinstance(error, KubeDenied):
            failures.fail("AdmissionRefused", message)
        failures.fail("TransferFailed", message)
    measures.COPY_SECS.observe(time.monotonic() - began)
    measures.COPIED_BYTES.inc(file.size_bytes)
    return path


async def _copy_out(pod: TargetPod, file: RemoteFile, path: Path) -> None:
    """Until it is there. A kubelet that has just been restarted doesn't find containers that run, and a right that was
    taken away may come back: it is asked again."""
    limit_secs = pod.context.settings.recording.copy_deadline_secs
    until, backoff = time.monotonic() + limit_secs, Backoff(limit_secs)
    while True:
        try:
            await transfer.copy_out(
                pod.client,
                script_calls.place_of(pod.entry),
                f"{pod.entry.folder}/{file.name}",
                size=file.size_bytes,
                sha256=file.sha256,
                local_path=path,
                deadline_secs=until - time.monotonic(),
            )
        except (KubeNotFound, KubeForbidden) as error:
            if not may_pass(error):
                raise
            logger.info("%s: copying %s: %s", pod, file.name, error)
            await pod.blame()
            await backoff.pause(error)
            if time.monotonic() > until:
                raise
        else:
            return


async def collect(pod: TargetPod, progress: Progress, attaching: Attaching) -> Manifest:
    """Copy, finish, publish; returns the manifest that stands. Raises StoreError, RecordingFailed, HalfFileError."""
    context, entry = pod.context, pod.entry
    files = [f for name in (record_output.PROFILE, record_output.SIDECAR) if (f := progress.find_file(name))]
    try:
        size_bytes = EXPANSION * sum(file.size_bytes for file in files)
        with (
            durable.translated(f"store profile {entry.id}", context.volume.medium),
            await find_room(lambda: asyncio.to_thread(context.volume.reserve, size_bytes), attaching),
        ):
            paths = {file.name: await copy(pod, file) for file in files}
            # Each may use its whole memory limit: one at a time.
            async with context.bakes:
                with measures.BAKE_SECS.time():
                    finished = await finish.finish(
                        context,
                        entry,
                        paths[record_output.PROFILE],
                        paths.get(record_output.SIDECAR),
                        progress.window_secs,
                    )
            manifest = build_manifest(context, entry, progress, finished)
            if manifest.file is None:
                return await asyncio.to_thread(context.volume.publish, manifest, None)
            attached = await attaching.take()
            extras = choose_extras(paths, finished.path) if context.settings.recording.keep_raw else {}
            manifest, extras = add_attachments(manifest, attached), {**extras, **attached.files}
            return await asyncio.to_thread(context.volume.publish, manifest, finished.path, extras=extras)
    except ProfileError as error:
        failures.fail("SamplyFailed", f"samply wrote an invalid file: {error.message}")


def add_attachments(manifest: Manifest, attached: Attached) -> Manifest:
    """With a warning for each reason why some are missing."""
    warnings = (*manifest.warnings, *attachments.describe_missing(attached.facts))
    return msgspec.structs.replace(manifest, attachments=attached.facts, warnings=warnings)


def build_manifest(context: Context, entry: JournalEntry, progress: Progress, finished: finish.Finished) -> Manifest:
    facts, warnings = finished.facts, [*entry.warnings, *finished.warnings]
    samples = facts.samples if facts else None
    covered = measure_coverage(entry, progress, facts) if facts else coverage.NOTHING
    own, share = covered.samples, covered.share
    least = context.settings.recording.min_coverage
    verdict = coverage.judge(covered, progress.cpu_secs, least) if facts else coverage.UNREAD
    failure = None
    if record_output.was_killed(progress):
        warnings.append("samply was ended before it had finished: functions may have no names.")
    if progress.was_stopped:
        warnings.append(record_output.CONTINUED)
    missing = coverage.count_missing(own, facts.interval_ms, progress.cpu_secs) if facts else 0
    cure = coverage.find_cure(entry.mode, entry.warnings, progress.lost_events, missing)
    if samples == 0 and verdict != "Idle":
        failure = failures.build_failure("EmptyProfile", _describe_emptiness(entry, progress))
    elif verdict == "LowCoverage":
        failure = failures.build_failure(
            "LowCoverage",
            f"{own} samples were taken in {progress.cpu_secs:.2f} s of CPU time: {share:.0%} of what was due "
            f"(± {100 * covered.error:.0f} points).",
        )
    elif verdict == "Degraded":
        warnings.append(f"Only {share:.0%} of the samples that were due were taken. {cure}".rstrip())
    if covered.has_excess:
        warnings.append(EXCESS)
    if failure is not None and cure:
        failure = dataclasses.replace(failure, remedy=cure)
    return msgspec.structs.replace(
        describe_attempt(entry, context.now(), failure),
        # Without samples only the numbers are kept.
        file=None if failure is not None and failure.reason == "EmptyProfile" else finished.file,
        quality=Quality(
            samples=samples,
            threads=facts.threads if facts else None,
            coverage=share,
            cpu_secs=progress.cpu_secs,
            lost_events=progress.lost_events,
            throttled_secs=_find_throttling(progress, 0),
            throttled_finishing_secs=_find_throttling(progress, 1),
            unresolved_percent=round(facts.unresolved_percent, 1)
            if facts and facts.unresolved_percent is not None
            else None,
            unresolved_by_library=list_unresolved(facts) if facts else None,
            symbolicated=facts.symbolicated if facts else None,
            verdict=verdict,
        ),
        warnings=tuple(warnings),
        program_build=facts.program_build if facts else "",
    )


def measure_coverage(entry: JournalEntry, progress: Progress, facts: ProfileFacts) -> coverage.Coverage:
    """Of the target, in the time between the two readings of its CPU time."""
    own = coverage.count_own(facts.samples_by_pid, facts.within_by_pid, entry.pid)
    window = progress.window_secs
    window_secs = window[1] - window[0] if window else None
    return coverage.measure(own, facts.interval_ms, progress.cpu_secs, window_secs, progress.off_secs)


def _describe_emptiness(entry: JournalEntry, progress: Progress) -> str:
    used = "" if progress.cpu_secs is None else f", in which the process used {progress.cpu_secs:.2f} s of CPU time"
    return f"samply took no samples in {entry.duration_secs} s{used}."


def choose_extras(paths: Mapping[str, Path], published: Path) -> dict[str, Path]:
    """What samply wrote, under the names that it has beside the published profile, which may be the same file."""
    named = ((RAW_PROFILE, record_output.PROFILE), (RAW_SYMBOLS, record_output.SIDECAR))
    return {kept: path for kept, name in named if (path := paths.get(name)) and path != published}


def list_unresolved(facts: ProfileFacts) -> dict[str, float]:
    """Percent of the samples in each library, of those that have samples without a name; those that matter most."""
    worst = sorted(facts.unresolved_by_lib, key=lambda share: -share.unresolved)[:LIBRARIES]
    return {
        failures.clean_text(share.lib)[:NAME]: round(share.unresolved_percent, 1) for share in worst if share.unresolved
    }


def describe_attempt(entry: JournalEntry, now: float, failure: Failure | None) -> Manifest:
    """What the journal knows of an attempt that ended at `now`; without a failure it has succeeded."""
    return Manifest(
        id=entry.id,
        namespace=entry.namespace,
        name=entry.name,
        pipeline=entry.pipeline,
        ordinal=entry.ordinal,
        outcome="Failed" if failure else "Succeeded",
        failure=failure,
        requested_at=entry.requested_at,
        started_at=entry.started_at,
        finished_at=times.format_time(now),
        duration_secs=entry.duration_secs,
        rate_hz=entry.rate_hz,
        requested_by=entry.requested_by,
        target=describe_target(entry),
        warnings=entry.warnings,
        origin=entry.origin,
        pipeline_id=entry.pipeline_id,
        trigger=entry.trigger,
    )


def _find_throttling(progress: Progress, phase: int) -> float | None:
    """Seconds of throttling by the CPU limit between the readings `phase` and `phase + 1`."""
    marks = progress.throttled_usecs
    return round(max(0, marks[phase + 1] - marks[phase]) / 1e6, 3) if len(marks) > phase + 1 else None


def describe_target(entry: JournalEntry) -> RecordedTarget:
    return RecordedTarget(
        pod=entry.pod,
        pod_uid=entry.pod_uid,
        container=entry.container,
        container_id=entry.container_id,
        node=entry.node,
        pid=entry.pid,
        mode=entry.mode,
        samply_version=entry.samply_version,
    )
