"""Triggers of a metric: which place a value is about, and whether they fire.

A place whose value goes beyond the limit fires once, until the value has recovered. That it is beyond is written in the
status before the trigger fires for it: so another process knows when it began, and thereby the profiles' names.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from samply_operator.model.trigger import PER_SECOND, Exceeding, Metric, PrometheusQuery
from samply_operator.rules import times
from samply_operator.rules.triggers import naming
from samply_operator.rules.triggers.excursion import (
    WARM_VALUES,
    WINDOW_READINGS,
    State,
    has_short_window,
    observe,
    observe_increase,
)
from samply_operator.rules.triggers.facts import Cause, Decision, Facts, Observed, Place, Skip
from samply_operator.rules.triggers.firing import describe_none, fire

Key = tuple[str, int]
States = Mapping[Key, State]
SHOWN_QUERY = 60
MAX_EXCEEDING = 100
"""In the status; the CRD has the same number."""
TOLD_SECS = 0.05
"""How soon to decide again, when the status has been written."""
LEVELS = {"low": 0.0, "moderate": 1.0, "high": 2.0, "critical": 3.0}
"""Feldera's memory_pressure."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value that a source gave. `pipeline` (a name, or Feldera's id) and `pod` empty: it is about all."""

    value: float
    pipeline: str = ""
    pod: str = ""
    divisor: float | None = None
    """The value counts up, and what counts is its increase, divided by that of this."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a source. `about`: the names of the pipelines that it is about; None: all. `silent`: of those that did not
    answer, so that nothing is known of them now."""

    values: tuple[Value, ...]
    about: frozenset[str] | None = None
    silent: frozenset[str] = frozenset()


def read_series(query: PrometheusQuery, labels: Mapping[str, str], value: float) -> Value:
    return Value(value, labels.get(query.pipeline_label, ""), labels.get(query.pod_label, ""))


def observe_all(
    metric: Metric,
    places: Sequence[Place],
    answer: Answer,
    states: States,
    at: float,
    pods: Collection[str] = (),
    gap_secs: float | None = None,
) -> dict[Key, State]:
    """After one more answer of the source; what it is not about stays as it was. `pods`: names of all
    pods of pipelines in the namespace, also of those that are not selected. `gap_secs`: of `find_gap`."""
    index = _index(answer.values, {*pods, *(place.pod for place in places)})
    new = {}
    for place in places:
        state = states.get(place.key, State())
        if answer.about is None or place.pipeline in answer.about:
            new[place.key] = _observe(metric, place, _find_values(index, place), state, at, gap_secs)
        elif place.key in states:
            new[place.key] = replace(state, value=None) if place.pipeline in answer.silent else state
    return new


def _observe(
    metric: Metric, place: Place, values: Iterable[Value], state: State, at: float, gap_secs: float | None
) -> State:
    found: list[float] = []
    for value in values:
        if value.divisor is None:
            found.append(value.value)
            continue
        state, increase = observe_increase(state, value.value, value.divisor)
        found += [] if increase is None else [increase]
    numbers = [number for number in found if not math.isnan(number)]
    is_low = metric.below is not None or (metric.baseline is not None and metric.baseline.direction == "Below")
    extreme = (min if is_low else max)(numbers) if numbers else None
    return observe(metric, state, extreme, at, place.started_at, gap_secs)


_Index = Mapping[tuple[str, str], Sequence[Value]]


def _index(values: Iterable[Value], pods: Collection[str]) -> _Index:
    """By pipeline and pod, each empty where the value is about all. A label that names no pod of a pipeline, such as
    that of an exporter, says nothing; then there must be one that names the pipeline."""
    index: dict[tuple[str, str], list[Value]] = {}
    for value in values:
        pod = value.pod if value.pod in pods else ""
        if pod or value.pipeline or not value.pod:
            index.setdefault((value.pipeline, pod), []).append(value)
    return index


def _find_values(index: _Index, place: Place) -> Iterator[Value]:
    for pipeline in {"", place.pipeline, *place.ids}:
        for pod in {"", place.pod}:
            yield from index.get((pipeline, pod), ())


def restore(told: Iterable[Exceeding], facts: Facts) -> dict[Key, State]:
    """What the status and the profiles of an earlier process say. What had not fired begins anew."""
    made = {(each.request, each.pipeline, each.ordinal) for each in facts.made}
    requests = {request for request, _, _ in made}
    states = {}
    for each in told:
        try:
            since = times.parse_time(each.since)
            request = naming.build_request(facts.trigger, _build_cause(each.pipeline, since, ""))
        except (ValueError, OverflowError):  # a status can be edited
            continue
        if not since:
            continue
        has_fired = each.fired or (request, each.pipeline, each.ordinal) in made
        if has_fired or request in requests:
            states[each.pipeline, each.ordinal] = State(seen_at=facts.now, since=since, has_fired=has_fired)
    return states


def decide_metric(facts: Facts, metric: Metric) -> Decision:
    observed = facts.observed
    if has_short_window(metric):
        return Decision(fault=_tell_short_window(metric))
    if observed is None:
        return Decision()
    if observed.fault is not None:
        return Decision(fault=observed.fault)
    if not facts.places:
        return Decision(skips=(describe_none(facts),))
    told = {(each.pipeline, each.ordinal, each.since) for each in observed.told}
    listed = {(each.pipeline, each.ordinal) for each in list_exceeding(metric, observed.states)}
    due, is_all_told = list(_list_due(facts.places, metric, observed.states)), True
    causes: dict[tuple[str, float], tuple[Cause, tuple[Place, ...]]] = {}
    for place, since, state in due:
        if (*place.key, times.format_time(since)) not in told:
            is_all_told = is_all_told and place.key not in listed
            continue
        cause = _build_cause(place.pipeline, since, _tell(metric, state))
        before = causes.get((place.pipeline, since))
        causes[place.pipeline, since] = (cause, (*(before[1] if before else ()), place))
    decision = fire(facts, causes.values(), retry_secs=None if is_all_told else TOLD_SECS)
    if not due:
        return replace(decision, skips=tuple(_explain_silence(facts.places, observed)))
    unlisted = sum(place.key not in listed for place, _, _ in due)
    return replace(decision, skips=(*decision.skips, *_tell_unlisted(unlisted)))


def _tell_short_window(metric: Metric) -> Skip:
    wanted = metric.baseline.window_seconds if metric.baseline else 0
    text = f"baseline.windowSeconds ({wanted}) must be at least {WINDOW_READINGS} times everySeconds"
    return Skip(
        "InvalidBaseline",
        f"{text} ({metric.every_seconds}): else it has too few values. Make it {WINDOW_READINGS * metric.every_seconds}"
        " or more, or everySeconds less.",
    )


def _tell_unlisted(number: int) -> Iterable[Skip]:
    if number:
        text = f"{number} more pods are beyond the limit than the {MAX_EXCEEDING} of status.exceeding"
        yield Skip("TooManyExceeding", f"{text}: they are recorded once others have recovered.")


def _list_due(places: Iterable[Place], metric: Metric, states: States) -> Iterable[tuple[Place, float, State]]:
    """With a value: one that is missing for a moment is waited for."""
    for place in places:
        state = states.get(place.key)
        if state is None or state.value is None or state.since is None or state.has_fired:
            continue
        if _is_due(metric, state):
            yield place, state.since, state


def _is_due(metric: Metric, state: State) -> bool:
    return state.since is not None and (state.has_fired or state.seen_at - state.since >= metric.for_seconds)


def _explain_silence(places: Sequence[Place], observed: Observed) -> Iterable[Skip]:
    states = [observed.states.get(place.key, State()) for place in places]
    unknown = [place.obstacle for place in places if place.obstacle and place.obstacle[0] == "UnknownPipeline"]
    if len(unknown) == len(places):
        yield Skip(*unknown[0])
    elif all(state.value is None and not state.raw for state in states):
        yield Skip("NoData", f"The source has no value for any of {len(places)} pods that are selected.")
    elif all(state.is_warming or state.value is None for state in states) and any(s.is_warming for s in states):
        seen = f"half of baseline.windowSeconds, or {WARM_VALUES} values, were not seen yet"
        yield Skip("WarmingUp", f"warmUpSeconds are not over, or {seen}.")


def mark_fired(observed: Observed, decision: Decision, facts: Facts) -> Observed:
    """After the decision was carried out; also what an earlier process had done."""
    fired = {(firing.cause.key, place.key) for firing in decision.fire for place in firing.places}
    made = {(each.request, each.pipeline, each.ordinal) for each in facts.made}
    states = dict(observed.states)
    for key, state in states.items():
        if state.since is None or state.has_fired:
            continue
        cause = _build_cause(key[0], state.since, "")  # a newer reading may have begun another one
        request = naming.build_request(facts.trigger, cause)
        if (cause.key, key) in fired or (request, *key) in made:
            states[key] = replace(state, has_fired=True)
    return replace(observed, states=states)


def list_exceeding(metric: Metric, states: States) -> tuple[Exceeding, ...]:
    """At most MAX_EXCEEDING. What has fired comes first, since it would fire again if another process knew nothing of
    it; then what has been beyond for longest."""
    due = [(not state.has_fired, state.since or 0.0, key) for key, state in states.items() if _is_due(metric, state)]
    return tuple(
        Exceeding(*key, times.format_time(since), not is_new)
        for is_new, since, key in sorted(sorted(due)[:MAX_EXCEEDING], key=lambda each: each[2])
    )


def _build_cause(pipeline: str, since: float, text: str) -> Cause:
    return Cause(f"metric/{pipeline}/{times.format_time(since)}", text)


def _tell(metric: Metric, state: State) -> str:
    at = times.format_time(state.since or 0.0)
    baseline = f" (baseline {state.baseline:g})" if metric.baseline is not None and state.baseline is not None else ""
    return f"{describe(metric)}: {state.value:g}{baseline}, since {at}"


def describe(metric: Metric) -> str:
    """Its limit, in a few words."""
    if metric.feldera is not None:
        name = metric.feldera.name + (f"/{metric.feldera.per}" if metric.feldera.per else "")
    else:
        query = " ".join(metric.prometheus.query.split()) if metric.prometheus else "?"
        name = query if len(query) <= SHOWN_QUERY else f"{query[: SHOWN_QUERY - 1]}…"
    if metric.above is not None:
        limit = f"> {metric.above:g}"
    elif metric.below is not None:
        limit = f"< {metric.below:g}"
    elif metric.baseline is not None:
        sign = {"Above": "+", "Below": "-", "Both": "±"}[metric.baseline.direction]
        limit = f"{sign}{metric.baseline.percent:g} % of its baseline"
    else:
        limit = "?"
    return f"{name} {limit}" + (f" for {metric.for_seconds} s" if metric.for_seconds else "")


def show_value(metric: Metric, states: States) -> str:
    """Where it is furthest towards the limit."""
    known = [(state.value, key, state) for key, state in states.items() if state.value is not None]
    if not known:
        return ""
    is_low = metric.below is not None or (metric.baseline is not None and metric.baseline.direction == "Below")
    value, (pipeline, ordinal), state = (min if is_low else max)(known, key=lambda each: each[0])
    baseline = f", baseline {state.baseline:g}" if state.baseline is not None else ""
    return f"{value:g}{baseline} ({pipeline}/{ordinal})"


def read_number(value: object) -> float | None:
    """Of a field of Feldera's stats."""
    if isinstance(value, str):
        return LEVELS.get(value)
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:  # an integer of hundreds of digits
        return None


def build_value(per: str, pipeline: str, value: float | None, divisor: float | None, at: float) -> Value | None:
    """None: there is nothing to observe. `at`: when it was answered, by a monotonic clock."""
    if value is None or (per and per != PER_SECOND and divisor is None):
        return None
    return Value(value, pipeline, divisor=(at if per == PER_SECOND else divisor) if per else None)
