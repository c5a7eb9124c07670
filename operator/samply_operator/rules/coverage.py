"""How much of what was due was sampled: samples × interval, over the CPU time that the process used meanwhile.

The CPU time comes from /proc/PID/stat, in ticks of 10 ms, read when samply said that it records and right before its
SIGINT. Each reading is off by up to one tick per CPU, so below `LEAST_CPU_SECS` there is no verdict: the process was
idle, and few samples are what was due. Values somewhat above 1 are normal (the signal takes a moment to act); child
processes aren't counted on either side.
"""

from __future__ import annotations

from typing import Literal

LEAST_CPU_SECS = 0.5
GOOD_COVERAGE = 0.9


def measure(samples: int, interval_ms: float, cpu_secs: float | None) -> float | None:
    """Coverage as a share (1.0 is all), or None where it can't be known."""
    if cpu_secs is None or cpu_secs < LEAST_CPU_SECS or interval_ms <= 0:
        return None
    return round(samples * interval_ms / 1000 / cpu_secs, 3)


Verdict = Literal["", "Idle", "Degraded", "LowCoverage"]


def judge(coverage: float | None, cpu_secs: float | None, least: float) -> Verdict:
    """Empty: good, or not to be known. `Idle`: it did nothing. `LowCoverage`: below `least`, no answer to trust.
    `Degraded`: between that and good.
    """
    if cpu_secs is not None and cpu_secs < LEAST_CPU_SECS:
        return "Idle"
    if coverage is None or coverage >= GOOD_COVERAGE:
        return ""
    return "LowCoverage" if coverage < least else "Degraded"
