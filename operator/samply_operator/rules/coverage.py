"""How much of what was due was sampled: samples × interval, over the CPU time that the process used meanwhile.

The CPU time comes from /proc/PID/stat, in ticks of 10 ms, read when samply said that it records and right before its
SIGINT. Each reading is off by up to one tick per CPU, so below `LEAST_CPU_SECS` there is no verdict: the process was
idle, and few samples are what was due. Values somewhat above 1 are normal (the signal takes a moment to act); child
processes aren't counted on either side.
"""

from __future__ import annotations

LEAST_CPU_SECS = 0.5
LOW_COVERAGE = 0.75


def measure(samples: int, interval_ms: float, cpu_secs: float | None) -> float | None:
    """Coverage as a share (1.0 is all), or None where it can't be known."""
    if cpu_secs is None or cpu_secs < LEAST_CPU_SECS or interval_ms <= 0:
        return None
    return round(samples * interval_ms / 1000 / cpu_secs, 3)


def judge(coverage: float | None, cpu_secs: float | None) -> str:
    """Empty: good or unknown. `Idle`: it did nothing. `LowCoverage`: samples are missing."""
    if cpu_secs is not None and cpu_secs < LEAST_CPU_SECS:
        return "Idle"
    if coverage is not None and coverage < LOW_COVERAGE:
        return "LowCoverage"
    return ""
