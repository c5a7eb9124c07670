"""How much of what was due was sampled: samples × interval, over the CPU time that the process used meanwhile.

The CPU time comes from /proc/PID/stat, in ticks of 10 ms, read when samply said that it records and right before its
SIGINT. Each reading is off by up to one tick per CPU, so below `LEAST_CPU_SECS` there is no verdict: the process was
idle, and few samples are what was due. Values somewhat above 1 are normal (the signal takes a moment to act). samply
records the processes that the target starts as well; neither their samples nor their CPU time count here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

LEAST_CPU_SECS = 0.5
GOOD_COVERAGE = 0.9
BLIND = "samply sees only the first CPUs"
"""Words of preflight's finding BlindCpus: of its findings the journal keeps the messages alone."""


def count_own(by_pid: Iterable[tuple[str, int]], pid: int) -> int:
    """Samples of the target alone, of those by process; of all, where none has its number. samply names a process that
    became another program `PID.1`."""
    found = [(name.partition(".")[0] == str(pid), samples) for name, samples in by_pid]
    own = [samples for is_own, samples in found if is_own]
    return sum(own) if own else sum(samples for _, samples in found)


def measure(samples: int, interval_ms: float, cpu_secs: float | None) -> float | None:
    """Coverage as a share (1.0 is all), or None where it can't be known."""
    if cpu_secs is None or cpu_secs < LEAST_CPU_SECS or interval_ms <= 0:
        return None
    return round(samples * interval_ms / 1000 / cpu_secs, 3)


def has_blind_warning(warnings: Iterable[str]) -> bool:
    """Whether preflight said that samply won't see all CPUs."""
    return any(BLIND in warning for warning in warnings)


Verdict = Literal["", "Idle", "Degraded", "LowCoverage", "Unread"]
UNREAD: Verdict = "Unread"
"""This release can't read the profile, which is stored and served as samply wrote it: nobody knows how good it is."""


def judge(coverage: float | None, cpu_secs: float | None, least: float) -> Verdict:
    """Of a profile that was read. Empty: good, or not to be known. `Idle`: it did nothing. `LowCoverage`: below
    `least`, no answer to trust. `Degraded`: between that and good.
    """
    if cpu_secs is not None and cpu_secs < LEAST_CPU_SECS:
        return "Idle"
    if coverage is None:
        return ""
    if coverage < least:
        return "LowCoverage"
    return "Degraded" if coverage < GOOD_COVERAGE else ""


def count_missing(samples: int, interval_ms: float, cpu_secs: float | None) -> int:
    """Samples that were due and not taken; 0 where that isn't known."""
    if cpu_secs is None or interval_ms <= 0:
        return 0
    return max(0, round(cpu_secs * 1000 / interval_ms) - samples)


def find_cure(mode: str, warnings: Iterable[str], lost_events: int | None, missing: int) -> str:
    """What would bring the samples that are missing: known where the container's own samply was blind, or where the
    kernel dropped about as many events. Empty: not known."""
    if mode == "InPlace" and has_blind_warning(warnings):
        return (
            "The container's samply doesn't see all CPUs: use mode Ephemeral, whose samply does, or remove the limit."
        )
    if lost_events and 2 * lost_events >= missing:
        return (
            f"The kernel dropped {lost_events} events that samply didn't read in time: ask for a lower rateHz, or "
            "again when the node is less busy."
        )
    return ""
