"""How much of what was due was sampled."""

from __future__ import annotations

import pytest

from samply_operator.rules import coverage


@pytest.mark.parametrize(
    ("samples", "interval_ms", "cpu_secs", "share", "verdict"),
    [
        pytest.param(1000, 1.0, 1.0, 1.0, "", id="all"),
        pytest.param(1003, 1.0, 1.0, 1.003, "", id="a few more, as the signal takes its time"),
        pytest.param(500, 2.0, 1.0, 1.0, "", id="half the rate"),
        pytest.param(900, 1.0, 1.0, 0.9, "", id="just good"),
        pytest.param(899, 1.0, 1.0, 0.899, "Degraded", id="just not good"),
        pytest.param(750, 1.0, 1.0, 0.75, "Degraded", id="just enough"),
        pytest.param(749, 1.0, 1.0, 0.749, "LowCoverage", id="just too few"),
        pytest.param(0, 1.0, 1.0, 0.0, "LowCoverage", id="blind"),
        pytest.param(5108, 1.0, 9.96, 0.513, "LowCoverage", id="measured: limits.cpu 1 on two CPUs"),
        pytest.param(0, 1.0, 0.0, None, "Idle", id="idle"),
        pytest.param(400, 1.0, 0.49, None, "Idle", id="too little to tell"),
        pytest.param(1000, 1.0, None, None, "", id="CPU time unknown"),
        pytest.param(1000, 0.0, 1.0, None, "", id="interval unknown"),
        pytest.param(1000, -1.0, 1.0, None, "", id="interval that is none"),
    ],
)
def test_coverage_is_measured_and_judged(
    samples: int, interval_ms: float, cpu_secs: float | None, share: float | None, verdict: str
) -> None:
    """Samples times interval over CPU time; below half a second there is no verdict but `Idle`."""
    assert coverage.measure(samples, interval_ms, cpu_secs) == share
    assert coverage.judge(share, cpu_secs, 0.75) == verdict


@pytest.mark.parametrize(
    ("by_pid", "own"),
    [
        pytest.param([("7", 100)], 100, id="alone"),
        pytest.param([("7", 100), ("8", 900)], 100, id="a child isn't counted"),
        pytest.param([("7", 100), ("7.1", 5), ("71", 9)], 105, id="it became another program"),
        pytest.param([("1", 60), ("2", 40)], 100, id="none has its number"),
        pytest.param([("7", 0), ("8", 900)], 0, id="blind, with a child that isn't"),
        pytest.param([], 0, id="nothing"),
    ],
)
def test_only_the_targets_own_samples_count(by_pid: list[tuple[str, int]], own: int) -> None:
    """Its CPU time is without its children's: their samples would hide that its own are missing."""
    assert coverage.count_own(by_pid, 7) == own
