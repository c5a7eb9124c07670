"""Mode Pipeline: whether the pipeline runs samply on itself, and the meaning of Feldera's refusals. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from samply_operator import errors
from samply_operator.model.manifest import JournalEntry
from samply_operator.model.profile import Failure
from samply_operator.rules.recording import coverage, failures, record_output
from samply_operator.rules.recording.record_output import Progress
from samply_operator.settings import Settings

OWN_RATE_HZ = 1000
"""Feldera lets samply sample at its default rate."""
IN_PROGRESS = "SamplyProfilingInProgress"
ITS_OWN = frozenset({"ProfilingNotEnabled", "SamplyProfilingFailure", "NoSamplyProfile"})
"""Feldera's codes for problems of samply in the pipeline, not of the request."""
FILE_ONLY = (
    "Coverage is by the CPU times in the file alone: what samply did not see is not in them. Feldera did not tell the "
    "pipeline's CPU time."
)
LIMITED = f"The container has a CPU limit: unless that is as many CPUs as the node has, {coverage.BLIND}."


def is_wanted(entry: JournalEntry, settings: Settings) -> bool:
    """Whether to ask Feldera first: mode Pipeline, or Auto if the settings prefer it and Feldera has not refused. A
    recording that started in another mode keeps it."""
    if entry.wanted_mode == "Pipeline" or entry.mode == "Pipeline":
        return True
    is_open = entry.wanted_mode in {"", "Auto"} and not entry.mode and not entry.refused_by_feldera
    may_ask = bool(entry.pipeline_id) and not entry.pipeline_doubt
    return is_open and settings.feldera.prefer_own_samply and may_ask


def is_final(entry: JournalEntry, failure: Failure) -> bool:
    """Whether no other mode may be tried: the mode was requested, or samply already records the process."""
    return entry.wanted_mode == "Pipeline" or failure.reason == "AlreadyRecording"


def explain(error: errors.FelderaError) -> Failure:
    """The failure of a recording for an answer of Feldera."""
    code = error.details.get("error_code")
    if code == IN_PROGRESS:
        return build_in_progress()
    if code in ITS_OWN:
        reason = "PipelineSamplyFailed"
    elif isinstance(error, errors.FelderaUnavailable):
        reason = "FelderaUnreachable"
    else:
        reason = "FelderaRefused"
    failure = failures.build_failure(reason, error.message)
    return replace(failure, remedy=f"{failure.remedy} {error.remedy}") if error.remedy else failure


def build_in_progress() -> Failure:
    failure = failures.build_failure("AlreadyRecording", "The pipeline runs samply on itself, as Feldera was asked to.")
    return replace(failure, remedy=f"{failure.remedy} One that Feldera runs cannot be stopped: wait for it.")


def list_warnings(entry: JournalEntry, *, is_limited: bool) -> tuple[str, ...]:
    """Warnings for every recording in this mode."""
    rate = f"{entry.rate_hz} Hz were asked for; Feldera samples at {OWN_RATE_HZ} Hz."
    return (*((rate,) if entry.rate_hz != OWN_RATE_HZ else ()), *((LIMITED,) if is_limited else ()))


def list_late_warnings(entry: JournalEntry, problem: str) -> tuple[str, ...]:
    """Warnings at the end. `problem`: why the operators have no names."""
    kept = ("It was to end early, which Feldera cannot do: it took its whole time.",) if entry.stop == "keep" else ()
    return (*kept, *((f"Operators have no names that people know: {problem}.",) if problem else ()))


@dataclass(frozen=True, slots=True)
class Reading:
    """The pipeline's CPU time since its start, and the time of the reading on a monotonic clock."""

    at: float
    cpu_secs: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The equivalent of the events of a recording in a pod, with warnings."""

    progress: Progress
    warnings: tuple[str, ...] = ()


def find_margin(duration_secs: float) -> float:
    """How long before the end of sampling the CPU time is read: Feldera's own processing follows."""
    return min(1.0, duration_secs / 4)


def measure(
    before: Reading | None, after: Reading | None, duration_secs: float, cpu_ms: float | None, span_ms: float
) -> Measured:
    """The CPU time of the whole recording, extrapolated from Feldera's readings during it; else from the file
    (`cpu_ms`, over `span_ms`), which lacks what samply did not see."""
    if before is not None and after is not None and after.at > before.at and after.cpu_secs > before.cpu_secs:
        window = after.at - before.at
        used = (after.cpu_secs - before.cpu_secs) * duration_secs / window
        return Measured(_build_progress(used, duration_secs, abs(duration_secs - window)))
    if cpu_ms is None:
        return Measured(Progress(exit_code=0, is_done=True), (FILE_ONLY,))
    return Measured(_build_progress(cpu_ms / 1000, span_ms / 1000, 0.0), (FILE_ONLY,))


def _build_progress(cpu_secs: float, window_secs: float, off_secs: float) -> Progress:
    return Progress(
        recording_at=0.0,
        ticks_before=0,
        stopping_at=window_secs,
        ticks_after=round(cpu_secs / record_output.CENTISECOND),
        exit_code=0,
        off_secs=off_secs,
        is_done=True,
    )
