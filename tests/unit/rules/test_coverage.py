"""The share of the expected samples that was recorded."""

from __future__ import annotations

import pytest

from samply_operator.rules.recording import coverage


@pytest.mark.parametrize(
    ("samples", "interval_ms", "cpu_secs", "share", "verdict"),
    [
        pytest.param(1000, 1.0, 1.0, 1.0, "", id="all"),
        pytest.param(1003, 1.0, 1.0, 1.0, "", id="a few more"),
        pytest.param(1330, 1.0, 1.0, 1.0, "", id="more than all is all"),
        pytest.param(500, 2.0, 1.0, 1.0, "", id="half the rate"),
        pytest.param(9000, 1.0, 10.0, 0.9, "", id="just good"),
        pytest.param(8990, 1.0, 10.0, 0.899, "", id="good within the error"),
        pytest.param(8900, 1.0, 10.0, 0.89, "Degraded", id="just not good"),
        pytest.param(7500, 1.0, 10.0, 0.75, "Degraded", id="just enough"),
        pytest.param(7400, 1.0, 10.0, 0.74, "LowCoverage", id="just too few"),
        pytest.param(720, 1.0, 1.0, 0.72, "Degraded", id="of little CPU time, the error is larger"),
        pytest.param(0, 1.0, 1.0, 0.0, "LowCoverage", id="blind"),
        pytest.param(5108, 1.0, 9.96, 0.513, "LowCoverage", id="measured: limits.cpu 1 on two CPUs"),
        pytest.param(0, 1.0, 0.0, None, "Idle", id="idle"),
        pytest.param(400, 1.0, 0.49, None, "Idle", id="too little to judge"),
        pytest.param(1000, 1.0, None, None, "", id="CPU time unknown"),
        pytest.param(1000, 0.0, 1.0, None, "", id="interval unknown"),
        pytest.param(1000, -1.0, 1.0, None, "", id="invalid interval"),
    ],
)
def test_coverage_is_measured_and_judged(
    samples: int, interval_ms: float, cpu_secs: float | None, share: float | None, verdict: str
) -> None:
    """Samples times interval over CPU time; below half a second there is no verdict but `Idle`."""
    found = coverage.measure(samples, interval_ms, cpu_secs, cpu_secs)
    assert (found.samples, found.share) == (samples, share)
    assert coverage.judge(found, cpu_secs, 0.75) == verdict


@pytest.mark.parametrize(
    ("interval_ms", "cpu_secs", "window_secs", "error"),
    [
        pytest.param(1.0, 1.0, 1.0, 0.051, id="one CPU for a second"),
        pytest.param(1.0, 10.0, 10.0, 0.0051, id="for ten"),
        pytest.param(1.0, 20.0, 10.0, 0.0041, id="two CPUs"),
        pytest.param(10.0, 0.5, 10.0, 0.12, id="hardly busy"),
        pytest.param(1.0, 1.0, None, 0.051, id="the window isn't known"),
    ],
)
def test_the_error_is_that_of_the_ticks(
    interval_ms: float, cpu_secs: float, window_secs: float | None, error: float
) -> None:
    assert coverage.find_error(interval_ms, cpu_secs, window_secs) == pytest.approx(error)


@pytest.mark.parametrize(("samples", "excess"), [(1000, False), (1050, False), (1052, True), (1330, True)])
def test_a_shortfall_beyond_the_error_is_reported(samples: int, excess: bool) -> None:
    assert coverage.measure(samples, 1.0, 1.0, 1.0).has_excess == excess


@pytest.mark.parametrize(
    ("share", "least", "verdict"),
    [
        pytest.param(0.949, 0.95, "LowCoverage", id="more is asked for than what is good"),
        pytest.param(0.95, 0.95, "", id="and that is there"),
        pytest.param(0.0, 0.0, "Degraded", id="nothing is asked for"),
    ],
)
def test_the_threshold_follows_the_settings(share: float, least: float, verdict: str) -> None:
    """Also above 90 %."""
    assert coverage.judge(coverage.Coverage(1000, share), 10.0, least) == verdict


WARNED = (f"The container is limited to 1 CPUs on a node of 2: its {coverage.BLIND}, so samples will be missing.",)


@pytest.mark.parametrize(
    ("mode", "warnings", "lost_events", "missing", "words"),
    [
        pytest.param("InPlace", WARNED, 7, 10, "use mode Ephemeral", id="its samply was blind"),
        pytest.param("Ephemeral", WARNED, 0, 10, "", id="not this one"),
        pytest.param("InPlace", (), 7, 10, "dropped 7 events", id="the kernel dropped events"),
        pytest.param("Ephemeral", (), 7, 10, "lower rateHz", id="also here"),
        pytest.param("Ephemeral", (), 7, 100, "", id="too few to be why"),
        pytest.param("InPlace", (), None, 10, "", id="not known"),
    ],
)
def test_the_cure_of_samples_that_are_missing(
    mode: str, warnings: tuple[str, ...], lost_events: int | None, missing: int, words: str
) -> None:
    """Known only where the reason is; whoever records from beside it isn't sent there."""
    cure = coverage.find_cure(mode, warnings, lost_events, missing)
    assert words in cure
    assert bool(cure) == bool(words)


@pytest.mark.parametrize(
    ("by_pid", "within", "own"),
    [
        pytest.param((("7", 100),), (), 100, id="alone"),
        pytest.param((("7", 100), ("8", 900)), (), 100, id="a child isn't counted"),
        pytest.param((("7", 100), ("7.1", 5), ("71", 9)), (), 105, id="it became another program"),
        pytest.param((("1", 60), ("2", 40)), (), 100, id="none has its number"),
        pytest.param((("7", 0), ("8", 900)), (), 0, id="blind, with a child that isn't"),
        pytest.param((), (), 0, id="nothing"),
        pytest.param((("7", 133),), (("7", 100),), 100, id="what was taken outside of the window isn't counted"),
        pytest.param((("7", 133), ("8", 50)), (("7", 100), ("8", 40)), 100, id="nor is a child in it"),
        pytest.param((("7", 5), ("8", 50)), (("8", 40),), 0, id="only a child in it"),
        pytest.param((("1", 60), ("2", 40)), (("1", 50),), 50, id="in it, and none has its number"),
    ],
)
def test_only_the_targets_own_samples_count(by_pid: coverage.ByPid, within: coverage.ByPid, own: int) -> None:
    """Its CPU time is without its children's: their samples would hide that its own are missing."""
    assert coverage.count_own(by_pid, within, 7) == own


@pytest.mark.parametrize(
    ("samples", "interval_ms", "cpu_secs", "missing"),
    [(900, 1.0, 1.0, 100), (1100, 1.0, 1.0, 0), (100, 2.0, 1.0, 400), (5, 1.0, None, 0), (5, 0.0, 1.0, 0)],
)
def test_how_many_samples_are_missing(samples: int, interval_ms: float, cpu_secs: float | None, missing: int) -> None:
    """Of those that were due."""
    assert coverage.count_missing(samples, interval_ms, cpu_secs) == missing
