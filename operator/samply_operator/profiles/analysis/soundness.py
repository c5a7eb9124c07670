"""Numbers that can be read, but cannot be true: damage that left the form of the file alone. Pure."""

from __future__ import annotations

from samply_operator.profiles.analysis import tally
from samply_operator.profiles.analysis.weighing import SAMPLES
from samply_operator.profiles.errors import build_broken
from samply_operator.profiles.format import vectors
from samply_operator.profiles.format.lazy_numpy import np
from samply_operator.profiles.format.profile import Meta, Profile, Thread

LONGEST_MS = 366 * 86_400_000
SLACK_MS = 1000
"""Of a thread's time: its first sample stands for what was before it."""
MAX_CPU, MAX_WEIGHT = 2, 10
"""As multiples of the time that a profile lasts. One thread has one CPU; coverage up to 1.33 was seen."""
MAX_SUM = float(1 << 53)


def check(profile: Profile, span: tuple[float, float] | None) -> None:
    """Raises BrokenProfile at the first column that cannot be true. `span`: the times of the first and the last
    sample."""
    span = span if profile.meta.has_times else None
    for thread in profile.threads:
        weights = tally.read_widths(thread, profile.meta, "samples")
        _check_weights(thread, vectors.sum_all(weights), profile.meta, span)
        if span:
            _check_times(thread)
            _check_cpu(thread, profile.meta, span[1] - span[0])
    if span and span[1] - span[0] > LONGEST_MS:
        days = (span[1] - span[0]) / 86_400_000
        raise build_broken("samples.time", f"the last sample is {days:,.0f} days after the first one")


def _check_times(thread: Thread) -> None:
    steps = np.diff(tally.read_times(thread))
    if len(steps) and steps.min() < 0:
        row = int(steps.argmin()) + 1
        raise build_broken(
            thread.samples.time.where, f"sample {row} is {-steps[row - 1]:g} ms before the one before it"
        )


def _check_cpu(thread: Thread, meta: Meta, lasted_ms: float) -> None:
    cpu_ms = tally.sum_cpu_ms(thread, meta)
    if cpu_ms is not None and cpu_ms > MAX_CPU * (lasted_ms + SLACK_MS):
        what = f"one thread has {cpu_ms / 1000:,.1f} s of CPU time, though the profile lasts {lasted_ms / 1000:,.3f} s"
        raise build_broken(thread.samples.cpu.where, what)


def _check_weights(thread: Thread, weight: float, meta: Meta, span: tuple[float, float] | None) -> None:
    where = thread.samples.weight.where
    if weight > MAX_SUM:
        raise build_broken(where, f"the sum is {weight:.3g}, more than anything here can weigh")
    stands_for_ms = weight * meta.interval_ms if thread.samples.weight_type == SAMPLES else 0.0
    if span and stands_for_ms > MAX_WEIGHT * (span[1] - span[0] + SLACK_MS):
        what = (
            f"{weight:,.0f} samples every {meta.interval_ms:g} ms do not fit into {(span[1] - span[0]) / 1000:,.3f} s"
        )
        raise build_broken(where, what)
