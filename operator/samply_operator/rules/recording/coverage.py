"""Coverage: samples × interval, divided by the CPU time that the process used.

Both are of one window: CPU time (/proc/PID/stat) is read together with the node's clock when samply reports that it
records and right before its SIGINT, and only samples between the two count. So delays on a busy machine do not matter.
If the file's times are of another clock, all samples count. The remaining error is bounded by the clock's ticks
(`find_error`). Below `LEAST_CPU_SECS` there is no verdict: the process was idle, and few samples are expected. samply
also records processes started by the target; neither their samples nor their CPU time count here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

LEAST_CPU_SECS = 0.5
GOOD_COVERAGE = 0.9
TICK_SECS = 0.01
"""Of /proc: resolution of CPU times and clock."""
BLIND = "samply sees only the first CPUs"
"""Text of preflight's finding BlindCpus: the journal keeps only the messages of findings."""

ByPid = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """`samples` of the target in the window. `share` of the expected samples (1 is all and the maximum), None if
    unknown; its error is at most `error` either way. `has_excess`: more samples were counted than the error explains.
    """

    samples: int
    share: float | None = None
    error: float = 0.0
    has_excess: bool = False


NOTHING = Coverage(0)


def count_own(by_pid: ByPid, within_by_pid: ByPid, pid: int) -> int:
    """Samples of the target; of all processes if none has its PID. samply names a process that executed another program
    `PID.1`. `within_by_pid`: samples in the window; empty if the file has another clock."""
    has_own = any(_is_own(name, pid) for name, _ in by_pid)
    return sum(samples for name, samples in within_by_pid or by_pid if not has_own or _is_own(name, pid))


def _is_own(name: str, pid: int) -> bool:
    return name.partition(".")[0] == str(pid)


def measure(
    samples: int, interval_ms: float, cpu_secs: float | None, window_secs: float | None, off_secs: float = 0.0
) -> Coverage:
    """`window_secs`: time between the two readings of the CPU time; None if unknown. `off_secs`: maximum difference
    between the samples' window and that."""
    if cpu_secs is None or cpu_secs < LEAST_CPU_SECS or interval_ms <= 0:
        return Coverage(samples)
    share, error = samples * interval_ms / 1000 / cpu_secs, find_error(interval_ms, cpu_secs, window_secs, off_secs)
    return Coverage(samples, round(min(share, 1.0), 3), round(error, 3), has_excess=share > 1 + error)


def find_error(interval_ms: float, cpu_secs: float, window_secs: float | None, off_secs: float = 0.0) -> float:
    """Maximum error of the share. Each reading of the CPU time lacks up to a tick of user and of system time, and what
    each running thread used since the kernel's last tick; each end of the window is off by up to a tick of the clock,
    in which a busy CPU has samples; and one sample stands for an interval."""
    busy = math.ceil(cpu_secs / window_secs) if window_secs else 1
    return (2 * TICK_SECS + busy * (3 * TICK_SECS + interval_ms / 1000 + off_secs)) / cpu_secs


def has_blind_warning(warnings: Iterable[str]) -> bool:
    """Whether preflight warned that samply will not see all CPUs."""
    return any(BLIND in warning for warning in warnings)


Verdict = Literal["", "Idle", "Degraded", "LowCoverage", "Unread"]
UNREAD: Verdict = "Unread"
"""This release cannot read the profile, which is stored and served as samply wrote it: its quality is unknown."""


def judge(coverage: Coverage, cpu_secs: float | None, least: float) -> Verdict:
    """The verdict on a readable profile. Empty: good, or unknown. `Idle`: the process used almost no CPU.
    `LowCoverage`: below `least`, not reliable. `Degraded`: in between. The error counts in the profile's favour."""
    if cpu_secs is not None and cpu_secs < LEAST_CPU_SECS:
        return "Idle"
    if coverage.share is None:
        return ""
    best = coverage.share + (coverage.error if coverage.samples else 0.0)
    if best < least:
        return "LowCoverage"
    return "Degraded" if best < GOOD_COVERAGE else ""


def count_missing(samples: int, interval_ms: float, cpu_secs: float | None) -> int:
    """Samples expected but not taken; 0 if unknown."""
    if cpu_secs is None or interval_ms <= 0:
        return 0
    return max(0, round(cpu_secs * 1000 / interval_ms) - samples)


def find_cure(mode: str, warnings: Iterable[str], lost_events: int | None, missing: int) -> str:
    """The remedy for missing samples, if the container's own samply was blind or the kernel dropped about as many
    events. Empty: unknown."""
    if mode in {"InPlace", "Pipeline"} and has_blind_warning(warnings):
        return (
            "The container's samply does not see all CPUs: use mode Ephemeral, whose samply does, or remove the limit."
        )
    if lost_events and 2 * lost_events >= missing:
        return (
            f"The kernel dropped {lost_events} events that samply did not read in time: use a lower rateHz, or retry "
            "when the node is less busy."
        )
    return ""
