"""Values of one place over time: when a metric went beyond its limit, and its rolling baseline.

Times are Unix times. What is not a number is a gap. More than TOLERATED answers without a value end what had begun.
While a source does not answer at all nothing is observed; then only what had not fired begins anew: nobody knows what
was in between. So it does if the clock is set.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from samply_operator.model.trigger import Metric

TOLERATED = 3
"""Readings in a row without a value."""
BUCKETS = 120
"""Of a baseline's window: their means are kept instead of all values."""
WARM_SHARE = 0.5
"""Of a baseline's window that must have been seen."""
WARM_VALUES = 10
"""That it must have at least."""
WINDOW_READINGS = 20
"""That must fit into the window: then half of it has WARM_VALUES."""


@dataclass(frozen=True, slots=True)
class State:
    """`since`: when the value went beyond the limit; None: it is normal. `has_fired`: the trigger did, for this."""

    value: float | None = None
    seen_at: float = 0.0
    """Of the last value; 0: there was none."""
    since: float | None = None
    has_fired: bool = False
    raw: tuple[float, float] | None = None
    """The last value and divisor of one that is read as an increase."""
    history: tuple[tuple[int, float, int], ...] = ()
    """For a baseline: number of the bucket, mean, count; oldest first."""
    baseline: float | None = None
    """As it was before the last value. None: too little was seen."""
    is_warming: bool = False
    missed: int = 0
    """Answers without a value since the last one that had one."""


def has_short_window(metric: Metric) -> bool:
    """It would never have enough values. The CRD refuses it too; an older one did not."""
    wanted = metric.baseline
    return wanted is not None and wanted.window_seconds < WINDOW_READINGS * metric.every_seconds


def find_gap(metric: Metric, starts: Sequence[float]) -> float:
    """Seconds that a value may be after the last one: TOLERATED readings between them. `starts`: when the trigger's
    last readings began, this one last; a slow source is read less often than was asked for."""
    taken = starts[-1] - starts[-min(len(starts), TOLERATED + 2)] if starts else 0.0
    return max(taken, (TOLERATED + 1) * metric.every_seconds) + metric.every_seconds / 2


def observe(
    metric: Metric,
    state: State,
    value: float | None,
    at: float,
    started_at: float = 0.0,
    gap_secs: float | None = None,
) -> State:
    """After one more answer; `value` None: it had none. `started_at`: of the place's container; 0: unknown. `gap_secs`:
    of `find_gap`."""
    if metric.warm_up_seconds and started_at and at - started_at < metric.warm_up_seconds:
        return State(value=value, seen_at=at, is_warming=True)
    if value is None or math.isnan(value):
        state = replace(state, value=None, missed=state.missed + 1)
        return replace(state, since=None, has_fired=False) if state.missed > TOLERATED else state
    is_broken = not 0 <= at - state.seen_at <= (find_gap(metric, ()) if gap_secs is None else gap_secs)
    baseline, history = state.baseline, state.history
    if metric.baseline is not None:
        width = metric.baseline.window_seconds / BUCKETS
        history = _keep(history, at, width)
        baseline = _find_baseline(history, at, width)
        history = _add(history, value, at, width)
    if not is_beyond(metric, value, baseline, has_begun=state.since is not None):
        since, has_fired = None, False
    elif state.since is None or (is_broken and not state.has_fired):
        since, has_fired = at, False
    else:
        since, has_fired = state.since, state.has_fired
    return State(value, at, since, has_fired, state.raw, history, baseline, baseline is None and bool(metric.baseline))


def observe_increase(state: State, value: float, divisor: float) -> tuple[State, float | None]:
    """The increase of a counter since the last reading, divided by that of another one, or of the time. None: it is the
    first one, a counter was reset, or the divisor stood still."""
    before = state.raw
    state = replace(state, raw=(value, divisor))
    if before is None or value < before[0] or divisor <= before[1]:
        return state, None
    return state, (value - before[0]) / (divisor - before[1])


def is_beyond(metric: Metric, value: float, baseline: float | None, *, has_begun: bool) -> bool:
    """Of the limit; of the one for recovery if it has begun."""
    recovery = metric.recovery if has_begun else None
    if metric.above is not None:
        return value > (metric.above if recovery is None else recovery)
    if metric.below is not None:
        return value < (metric.below if recovery is None else recovery)
    if metric.baseline is None or baseline is None:
        return False
    wanted = metric.baseline
    percent = wanted.percent if recovery is None else recovery
    difference = value - baseline
    if wanted.direction == "Below" or (wanted.direction == "Both" and difference < 0):
        difference = -difference
    return difference > max(abs(baseline) * percent / 100, wanted.min_difference)


History = tuple[tuple[int, float, int], ...]


def _keep(history: History, at: float, width: float) -> History:
    """Without what has left the window, or lies in the future of a clock that was set back."""
    now = math.floor(at / width)
    if history and now - BUCKETS <= history[0][0] and history[-1][0] <= now:
        return history
    return tuple(bucket for bucket in history if now - BUCKETS <= bucket[0] <= now)


def _find_baseline(history: History, at: float, width: float) -> float | None:
    if not history or math.floor(at / width) - history[0][0] < BUCKETS * WARM_SHARE:
        return None
    if sum(count for _, _, count in history) < WARM_VALUES:
        return None
    return statistics.median(mean for _, mean, _ in history)


def _add(history: History, value: float, at: float, width: float) -> History:
    if not math.isfinite(value):
        return history
    now = math.floor(at / width)
    if history and history[-1][0] == now:
        _, mean, count = history[-1]
        return (*history[:-1], (now, mean + (value - mean) / (count + 1), count + 1))
    return (*history, (now, value, 1))
