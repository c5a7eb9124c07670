"""Metrics of recordings and the volume. Counters are updated where events happen; `control/metrics.py` sets gauges when
they are requested.
"""

from __future__ import annotations

from samply_operator.measures import OPERATOR, count, gauge, histogram
from samply_operator.model.manifest import JournalEntry, Manifest
from samply_operator.model.profile import SamplyProfile
from samply_operator.rules import times

LONG_SECS = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
SHORT_SECS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
THREAD_COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 1.0)

RECORDINGS = count(
    OPERATOR,
    "recordings_total",
    "Ended recordings: Succeeded, Failed, Cancelled, or Refused before they started.",
    ("outcome", "reason", "mode"),
)
PREFLIGHTS = count(OPERATOR, "preflights_total", "Objects with preflightOnly.", ("outcome", "reason"))
RECORDING_SECS = histogram(
    OPERATOR, "recording_duration_seconds", "From the first sample until samply's file was complete.", LONG_SECS
)
FINISH_SECS = histogram(
    OPERATOR, "finish_duration_seconds", "From the end of sampling until samply's file was complete.", SHORT_SECS
)
COPY_SECS = histogram(OPERATOR, "copy_duration_seconds", "Time to copy one file out of a pod.", SHORT_SECS)
BAKE_SECS = histogram(OPERATOR, "bake_duration_seconds", "Time to bake a profile and compute its facts.", SHORT_SECS)
COMPARISONS = count(
    OPERATOR, "comparisons_total", "Comparisons of profiles with earlier ones, by what came of them.", ("reason",)
)
COMPARISON_SECS = histogram(OPERATOR, "comparison_duration_seconds", "Time to compare two profiles.", SHORT_SECS)
ATTACHMENTS = count(
    OPERATOR,
    "attachments_total",
    "Attachments that profiles were to have: Stored, or Missing.",
    ("kind", "outcome"),
)
COPIED_BYTES = count(OPERATOR, "copied_bytes_total", "Bytes copied out of pods.")
COVERAGE = histogram(
    OPERATOR,
    "coverage_ratio",
    "Samples taken divided by samples expected, also of profiles with too few.",
    SHARES,
    ("mode",),
)
LAST_COVERAGE = gauge(OPERATOR, "last_coverage_ratio", "Coverage of the last profile.", ("mode",))
SAMPLES = count(OPERATOR, "samples_total", "Samples in stored profiles.")
THREADS = histogram(OPERATOR, "profile_threads", "Threads in a stored profile.", THREAD_COUNTS)
LOST_EVENTS = count(OPERATOR, "lost_events_total", "Events that the kernel dropped before samply read them.")
RETENTION_REMOVED = count(
    OPERATOR, "retention_removed_total", "Stored profiles and failures that retention removed.", ("reason",)
)
RETENTION_BYTES = count(OPERATOR, "retention_removed_bytes_total", "Bytes that retention freed.")


def count_end(entry: JournalEntry, outcome: str, reason: str = "") -> None:
    """A recording, or a preflight, has ended."""
    if entry.preflight_only:
        PREFLIGHTS.labels(outcome, reason).inc()
    else:
        RECORDINGS.labels(outcome, reason, entry.mode).inc()


def count_refusal(profile: SamplyProfile, reason: str) -> None:
    """A recording was refused; its mode is not known."""
    if profile.spec.preflight_only:
        PREFLIGHTS.labels("Refused", reason).inc()
    else:
        RECORDINGS.labels("Refused", reason, "").inc()


def count_quality(manifest: Manifest) -> None:
    """The samples of a file were counted, even if there are too few to keep it."""
    quality, mode = manifest.quality, manifest.target.mode
    if quality.threads is not None:
        THREADS.observe(quality.threads)
    SAMPLES.inc(quality.samples or 0)
    LOST_EVENTS.inc(quality.lost_events or 0)
    if quality.coverage is not None:
        COVERAGE.labels(mode).observe(quality.coverage)
        LAST_COVERAGE.labels(mode).set(quality.coverage)


def count_attachments(manifest: Manifest) -> None:
    for each in manifest.attachments:
        ATTACHMENTS.labels(each.kind, "Stored" if each.file else "Missing").inc()


def measure_sampling(entry: JournalEntry, now: float) -> None:
    """samply's file exists. After a stop `ends_at` may be in the future: then only the total is known."""
    if entry.started_at:
        RECORDING_SECS.observe(max(0.0, now - times.parse_time(entry.started_at)))
    if entry.ends_at and (finish_secs := now - times.parse_time(entry.ends_at)) >= 0:
        FINISH_SECS.observe(finish_secs)
