"""Metrics: when a value counts as beyond its limit, and that a trigger fires once for it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.model.trigger import Exceeding, Metric, TriggerStatus
from samply_operator.rules import times
from samply_operator.rules.triggers import metric as metrics
from samply_operator.rules.triggers import naming, status
from samply_operator.rules.triggers.decide import decide
from samply_operator.rules.triggers.excursion import BUCKETS, State, find_gap, observe, observe_increase
from samply_operator.rules.triggers.facts import Decision, Facts, Made, Observed, Place, Skip
from samply_operator.rules.triggers.metric import Answer, Value
from support.samples import NOW, make_trigger

A0, A1 = Place("a", 0, pod="a-0", ids=("id-a",)), Place("a", 1, pod="a-1", ids=("id-a",))
B0 = Place("b", 0, pod="b-0", ids=("id-b",))
PROMETHEUS = {"prometheus": {"query": "step_seconds"}}
GAP, NAN = None, math.nan


def make(**fields: Any) -> Metric:
    return msgspec.convert(PROMETHEUS | {"everySeconds": 10} | fields, Metric)


def run(metric: Metric, *values: float | None, state: State | None = None, step: float = 10.0) -> list[State]:
    """The state after each of the values, one every ten seconds."""
    states = [state or State()]
    for number, value in enumerate(values):
        states.append(observe(metric, states[-1], value, NOW + number * step))
    return states[1:]


def show(states: list[State]) -> str:
    """! beyond, . normal"""
    return "".join("." if state.since is None else "!" for state in states)


@pytest.mark.parametrize(
    ("fields", "values", "expected"),
    [
        ({"above": 5}, [5, 5.1, 9, 5, 6], ".!!.!"),
        ({"below": 5}, [5, 4.9, 5, 1], ".!.!"),
        ({"above": 5, "recovery": 3}, [4, 6, 4, 3.1, 3, 4, 6], ".!!!..!"),
        ({"below": 5, "recovery": 7}, [6, 4, 6, 7, 6, 4], ".!!..!"),
        ({"above": 5}, [6, GAP, GAP, GAP, 6], "!!!!!"),
        ({"above": 5}, [6, GAP, GAP, GAP, GAP, 6], "!!!!.!"),
        ({"above": 5}, [6, NAN, NAN, NAN, NAN, 6], "!!!!.!"),
        ({"above": 5}, [NAN, GAP, 4], "..."),
        ({"above": 5}, [math.inf, -math.inf], "!."),
        ({"above": 0}, [0, -1, 1], "..!"),
    ],
)
def test_a_value_beyond_its_limit(fields: dict[str, Any], values: list[float | None], expected: str) -> None:
    assert show(run(make(**fields), *values)) == expected


def test_it_is_beyond_since_the_first_such_value() -> None:
    last = run(make(above=5), 1, 6, GAP, 7)[-1]
    assert (last.since, last.value, last.seen_at) == (NOW + 10, 7, NOW + 30)


@pytest.mark.parametrize("shift", [-3600.0, 3600.0], ids=["back", "forward"])
def test_a_clock_that_was_set_makes_nothing_last_longer(shift: float) -> None:
    metric = make(above=5, forSeconds=60)
    (before,) = run(metric, 6)
    after = observe(metric, before, 6, NOW + 10 + shift)
    assert after.since == NOW + 10 + shift
    fired = observe(metric, replace(before, has_fired=True), 6, NOW + 10 + shift)
    assert (fired.since, fired.has_fired) == (NOW, True)  # and what has fired doesn't fire again


@pytest.mark.parametrize(
    ("outage", "answers", "still_beyond"),
    [
        (0, [GAP] * 3, True),
        (0, [GAP] * 4, False),
        (3600, [GAP], True),
        (3600, [GAP] * 3, True),
        (3600, [GAP] * 4, False),
    ],
)
def test_answers_without_a_value_count_and_not_the_time(
    outage: float, answers: list[float | None], still_beyond: bool
) -> None:
    """What has fired doesn't fire again because its source was away. What had not begins anew."""
    metric = make(above=5, forSeconds=60)
    states = run(metric, 6, 6)
    state = replace(states[-1], has_fired=True)
    for number, value in enumerate(answers):
        state = observe(metric, state, value, NOW + 20 + outage + 10 * number)
    assert (state.since == NOW, state.has_fired) == (still_beyond, still_beyond)
    later = observe(metric, replace(state, has_fired=False), 6, NOW + 20 + outage + 10 * len(answers))
    assert (later.since == NOW) is (still_beyond and not outage)


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        ([], 45),
        ([100], 45),
        ([100, 110, 120, 130, 140], 45),
        ([0, 60, 120, 180, 240], 245),
        ([0, 1000, 1060, 1120, 1180, 1240], 245),
        ([0, 300], 305),
    ],
)
def test_a_gap_is_measured_in_readings(starts: list[float], expected: float) -> None:
    metric = make(above=5, forSeconds=100)
    assert find_gap(metric, starts) == expected
    first = observe(metric, State(), 6, NOW)
    assert observe(metric, first, 6, NOW + expected, gap_secs=expected).since == NOW
    assert observe(metric, first, 6, NOW + expected + 1, gap_secs=expected).since == NOW + expected + 1


def test_values_of_a_place_that_warms_up_count_for_nothing() -> None:
    metric = make(above=5, warmUpSeconds=30)
    warm = observe(metric, State(), 9, NOW + 29, started_at=NOW)
    assert (warm.since, warm.is_warming) == (None, True)
    assert observe(metric, warm, 9, NOW + 30, started_at=NOW).since == NOW + 30
    assert observe(metric, State(), 9, NOW).since == NOW  # the start of its container is not known
    ahead = observe(make(above=5), State(), 9, NOW, started_at=NOW + 60)  # by the node's clock
    assert (ahead.since, ahead.is_warming) == (NOW, False)


def settle(fields: dict[str, Any], value: float = 10.0, count: int = 200) -> tuple[Metric, State]:
    metric = make(baseline={"windowSeconds": 1200} | fields)
    return metric, run(metric, *[value] * count)[-1]


@pytest.mark.parametrize(
    ("fields", "value", "is_beyond"),
    [
        ({"percent": 50}, 15.0, False),
        ({"percent": 50}, 15.1, True),
        ({"percent": 50}, 1.0, False),
        ({"percent": 50, "direction": "Below"}, 4.9, True),
        ({"percent": 50, "direction": "Below"}, 99.0, False),
        ({"percent": 50, "direction": "Both"}, 4.9, True),
        ({"percent": 50, "direction": "Both"}, 15.1, True),
        ({"percent": 50, "minDifference": 6}, 15.9, False),
        ({"percent": 50, "minDifference": 6}, 16.1, True),
    ],
)
def test_a_value_away_from_its_baseline(fields: dict[str, Any], value: float, is_beyond: bool) -> None:
    metric, state = settle(fields)
    assert state.baseline == 10
    assert (observe(metric, state, value, state.seen_at + 10).since is not None) is is_beyond


def test_a_baseline_needs_half_of_its_window() -> None:
    metric = make(baseline={"percent": 50, "windowSeconds": 1200})
    states = run(metric, *[10.0] * 59, 99.0, 99.0, 99.0, 99.0)
    assert show(states[:60]) == "." * 60
    assert states[59].is_warming
    assert not states[-1].is_warming
    assert states[-1].since is not None


def test_a_baseline_needs_ten_values() -> None:
    metric = make(baseline={"percent": 50, "windowSeconds": 1200})
    states = run(metric, *[10.0] * 12, step=100.0)
    assert [state.is_warming for state in states] == [True] * 10 + [False] * 2


def test_a_baseline_follows_what_stays() -> None:
    metric, state = settle({"percent": 50})
    states = [state]
    for number in range(1, 130):
        states.append(observe(metric, states[-1], 30.0, state.seen_at + 10 * number))
    assert states[1].since is not None
    assert (states[-1].since, states[-1].baseline) == (None, 30)


def test_one_spike_moves_no_baseline_and_infinity_none() -> None:
    metric, state = settle({"percent": 50})
    for value in (1e9, math.inf, -math.inf, NAN):
        state = observe(metric, state, value, state.seen_at + 10)
    assert observe(metric, state, 10.0, state.seen_at + 10).baseline == 10


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=300), st.floats(0, 1e6))
def test_no_value_breaks_a_baseline_and_what_is_kept_stays_small(values: list[float | None], step: float) -> None:
    metric = make(baseline={"percent": 50, "windowSeconds": 60, "direction": "Both"})
    for state in run(metric, *values, step=step):
        assert len(state.history) <= BUCKETS + 1
        assert [bucket[0] for bucket in state.history] == sorted({bucket[0] for bucket in state.history})


def test_an_increase_is_divided_and_a_reset_is_a_gap() -> None:
    state, first = observe_increase(State(), 100.0, 10.0)
    state, second = observe_increase(state, 130.0, 20.0)
    state, reset = observe_increase(state, 5.0, 30.0)
    state, still = observe_increase(state, 9.0, 30.0)
    assert (first, second, reset, still) == (None, 3.0, None, None)
    assert observe_increase(state, 10.0, 31.0)[1] == 1.0


# ------------------------------------------------------------------------------------------------- what it is about


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([Value(1)], [1, 1, 1]),
        ([Value(1, "a")], [1, 1, None]),
        ([Value(1, "id-b")], [None, None, 1]),
        ([Value(1, "a", "a-1")], [None, 1, None]),
        ([Value(1, "a", "exporter-7")], [1, 1, None]),
        ([Value(1, "", "a-1")], [None, 1, None]),
        ([Value(1, "", "not-selected-0")], [None, None, None]),
        ([Value(1, "", "exporter-7")], [None, None, None]),
        ([Value(1, "a", "a-2")], [None, None, None]),
        ([Value(1, "id-a", "a-0"), Value(2), Value(3, "", "a-1")], [2, 3, 2]),
        ([Value(1, "a"), Value(3, "a"), Value(NAN, "a")], [3, 3, None]),
        ([Value(1, "unknown")], [None, None, None]),
        ([Value(NAN, "a")], [None, None, None]),
    ],
)
def test_the_places_that_a_series_is_about(values: list[Value], expected: list[float | None]) -> None:
    others = ("not-selected-0", "a-2")  # the latter does not run
    states = metrics.observe_all(make(above=5), (A0, A1, B0), Answer(tuple(values)), {}, NOW, others)
    assert [states[place.key].value for place in (A0, A1, B0)] == expected


def test_many_series_of_many_places_are_matched_once() -> None:
    """Each value is read a few times, not once for each place."""
    reads = 0

    class Counted(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            nonlocal reads
            reads += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    places = [Place(f"p{n}", 0, pod=f"p{n}-0") for n in range(300)]
    values = [Value(n, Counted(f"p{n}"), Counted(f"p{n}-0")) for n in range(300)]
    states = metrics.observe_all(make(above=5), places, Answer(tuple(values)), {}, NOW)
    assert [states[place.key].value for place in places] == list(range(300))
    assert reads < 20 * len(values)


def test_the_lowest_counts_where_a_low_value_is_the_symptom() -> None:
    states = metrics.observe_all(make(below=5), (A0,), Answer((Value(1, "a"), Value(3, "a"))), {}, NOW)
    assert states[A0.key].value == 1


@pytest.mark.parametrize("silent", [{"b"}, set()], ids=["did not answer", "answers later"])
def test_a_pipeline_without_an_answer_keeps_what_has_begun(silent: set[str]) -> None:
    """And no value that would fire meanwhile."""
    before = beyond(60, A0, B0, has_fired=True).states
    answer = Answer((Value(1, "a"),), frozenset({"a"}), frozenset(silent))
    states = before
    for number in range(5):
        states = metrics.observe_all(make(above=5), (A0, B0), answer, states, NOW + 10 * number)
    assert states[A0.key].since is None
    assert states[B0.key] == replace(before[B0.key], value=None if silent else 9.0)


@pytest.mark.parametrize(
    ("per", "divisor", "expected"),
    [("", None, Value(7, "a")), ("second", None, Value(7, "a", divisor=NOW)), ("count", 3, Value(7, "a", divisor=3)),
     ("count", None, None)],
)  # fmt: skip
def test_a_value_per_second_or_per_another_one(per: str, divisor: float | None, expected: Value | None) -> None:
    assert metrics.build_value(per, "a", 7, divisor, NOW) == expected


@pytest.mark.parametrize(
    ("raw", "expected"), [(3, 3.0), (True, 1.0), ("critical", 3.0), ("odd", None), (None, None), (10**400, None)]
)
def test_a_field_of_felderas_stats_as_a_number(raw: object, expected: float | None) -> None:
    assert metrics.read_number(raw) == expected


# --------------------------------------------------------------------------------------------------------- decisions


def make_facts(*places: Place, observed: Observed | None = None, **changes: Any) -> Facts:
    made = changes.pop("made", ())
    metric = PROMETHEUS | {"above": 5, "forSeconds": 60} | changes.pop("metric", {})
    trigger = make_trigger(**{"when": {"metric": metric}} | changes)
    return Facts(trigger, NOW, places or (A0,), made, observed=observed)


def beyond(ago: float, *places: Place, **changes: Any) -> Observed:
    """For so long; what is told is what the status would say."""
    state = State(value=9.0, seen_at=NOW, since=NOW - ago)
    states = {place.key: replace(state, **changes) for place in places or (A0,)}
    return Observed(states, told=metrics.list_exceeding(make(above=5, forSeconds=60), states))


def merge(one: Observed, other: Observed) -> Observed:
    return Observed({**one.states, **other.states}, told=one.told + other.told)


def fired(decision: Decision) -> list[str]:
    return [place.shown for firing in decision.fire for place in firing.places]


def reasons(decision: Decision) -> list[str]:
    return [skip.reason for skip in decision.skips]


@pytest.mark.parametrize(
    ("facts", "places", "told"),
    [
        pytest.param(make_facts(), [], [], id="nothing was read yet"),
        pytest.param(make_facts(observed=beyond(59)), [], [], id="not for long enough"),
        pytest.param(make_facts(observed=beyond(60)), ["a/0"], [], id="long enough"),
        pytest.param(make_facts(observed=beyond(60), suspend=True), [], [], id="suspended"),
        pytest.param(make_facts(observed=beyond(60, has_fired=True)), [], [], id="it has fired"),
        pytest.param(make_facts(A0, A1, observed=beyond(60, A0, A1)), ["a/0", "a/1"], [], id="both pods at once"),
        pytest.param(make_facts(A0, B0, observed=beyond(60, B0)), ["b/0"], [], id="one of two pipelines"),
        pytest.param(
            make_facts(A0, B0, observed=merge(beyond(60, A0, value=None), beyond(60, B0))), ["b/0"], [],
            id="one has no value for a moment",
        ),
        pytest.param(make_facts(observed=beyond(60, value=None)), [], ["NoData"], id="the only one has no value"),
        pytest.param(
            make_facts(observed=beyond(60), made=(Made("t", "u", "r", "a", 0, NOW - 9),)), [], ["CoolingDown"],
            id="limits hold",
        ),
        pytest.param(
            make_facts(replace(A0, obstacle=("PodNotRunning", "no pod")), observed=beyond(60)), [], ["PodNotRunning"],
            id="the pod does not run",
        ),
        pytest.param(make_facts(observed=Observed({A0.key: State()})), [], ["NoData"], id="no value for any place"),
        pytest.param(
            make_facts(observed=Observed({A0.key: State(value=9, is_warming=True)})), [], ["WarmingUp"], id="warms up"
        ),
        pytest.param(
            make_facts(Place("x", 0, ("UnknownPipeline", "x")), observed=Observed({})), [], ["UnknownPipeline"],
            id="no such pipeline",
        ),
    ],
)  # fmt: skip
def test_whether_it_fires_and_why_not(facts: Facts, places: list[str], told: list[str]) -> None:
    decision = decide(facts)
    assert (fired(decision), reasons(decision), decision.fault) == (places, told, None)


def test_it_is_written_before_it_fires() -> None:
    """Else another process would not know when it began."""
    observed = replace(beyond(60), told=())
    decision = decide(make_facts(observed=observed))
    assert (decision.fire, decision.skips) == ((), ())
    assert decision.retry_secs is not None
    known = make_facts(observed=observed).trigger
    new = status.update(known.status, known, decision, (), (), active=0, now=NOW, observed=observed)
    assert fired(decide(make_facts(observed=replace(observed, told=new.exceeding)))) == ["a/0"]
    assert (new.value, new.when) == ("9 (a/0)", "step_seconds > 5 for 60 s")
    assert msgspec.convert({k: v for k, v in status.render(new).items() if v is not None}, type(new)) == new


def test_what_fired_is_marked_until_the_value_has_recovered() -> None:
    facts = make_facts(observed=beyond(60))
    assert facts.observed is not None
    marked = metrics.mark_fired(facts.observed, decide(facts), facts)
    assert fired(decide(replace(facts, observed=marked))) == []
    assert [each.fired for each in metrics.list_exceeding(make(above=5), marked.states)] == [True]
    normal = observe(make(above=5), marked.states[A0.key], 1, NOW + 10)
    assert (normal.since, normal.has_fired) == (None, False)


def test_what_began_while_the_trigger_fired_is_not_marked() -> None:
    """A reading may have come meanwhile: recovered, and beyond again."""
    facts = make_facts(observed=beyond(60))
    newer = beyond(1)
    assert metrics.mark_fired(newer, decide(facts), facts).states == newer.states


@pytest.mark.parametrize("since", ["", "yesterday", "2027-99-99T00:00:00Z"])
def test_an_odd_time_in_the_status_is_ignored(since: str) -> None:
    told = (Exceeding("a", 0, since, fired=True), *beyond(60, B0, has_fired=True).told)
    assert set(metrics.restore(told, make_facts(A0, B0))) == {B0.key}


@pytest.mark.parametrize(
    ("window", "every", "expected"),
    [(200, 10, None), (199, 10, "199"), (60, 15, "60"), (3600, 180, None), (3600, 181, "3600")],
)
def test_a_window_that_never_has_enough_values_is_a_fault(window: int, every: int, expected: str | None) -> None:
    """An older CRD takes it; it would warm up for ever."""
    metric = {"above": None, "baseline": {"percent": 50, "windowSeconds": window}, "everySeconds": every}
    fault = decide(make_facts(metric=metric)).fault
    if expected is None:
        assert fault is None
        states = run(make(**metric), *[1.0] * 12, step=every)
        assert not states[-1].is_warming
    else:
        assert fault is not None
        assert fault.reason == "InvalidBaseline"
        assert f"({expected})" in fault.message
        assert f"Make it {20 * every} or more" in fault.message


def test_the_status_lists_a_bounded_number_and_the_rest_waits() -> None:
    """What has fired stays, else another process would fire for it again; of the rest the oldest come first."""
    many = [Place(f"p{number:03}", 0) for number in range(150)]
    states = {place.key: State(9.0, NOW, NOW - 60 - number, has_fired=number < 30) for number, place in enumerate(many)}
    metric = make(above=5, forSeconds=60)
    told = metrics.list_exceeding(metric, states)
    listed = {each.pipeline for each in told}
    assert listed == {f"p{number:03}" for number in (*range(30), *range(80, 150))}
    assert [each.pipeline for each in told] == sorted(listed)
    facts = make_facts(*many, observed=Observed(states, told=told), metric={"everySeconds": 10})
    decision = decide(facts)
    assert {place.pipeline for firing in decision.fire for place in firing.places} == {
        f"p{number:03}" for number in range(80, 150)
    }
    assert reasons(decision) == ["TooManyExceeding"]
    assert decision.skips[0].message.startswith("50 more pods")
    assert decision.retry_secs is None  # nothing changes by itself
    assert facts.observed is not None
    marked = metrics.mark_fired(facts.observed, decision, facts)
    assert {each.pipeline for each in metrics.list_exceeding(metric, marked.states)} == listed
    recovered = {key: replace(state, since=None, has_fired=False) for key, state in marked.states.items()}
    left = {key: marked.states[key] if 30 <= n < 80 else recovered[key] for n, key in enumerate(states)}
    assert len(metrics.list_exceeding(metric, left)) == 50


def test_an_unreachable_source_is_a_fault_and_forgets_nothing() -> None:
    away = replace(beyond(60), fault=Skip("SourceUnreachable", "away"))
    decision = decide(make_facts(observed=away))
    assert decision.fire == ()
    assert decision.fault == Skip("SourceUnreachable", "away")
    assert fired(decide(make_facts(observed=replace(away, fault=None)))) == ["a/0"]


def make_one(facts: Facts, place: Place) -> Made:
    """As `facts` decides."""
    (firing,) = decide(facts).fire
    request = naming.build_request(facts.trigger, firing.cause)
    return Made(naming.build_name(facts.trigger, request, place), "u", request, place.pipeline, place.ordinal, NOW)


def test_killed_between_the_first_object_and_the_status_the_next_process_makes_the_rest() -> None:
    before = make_facts(A0, A1, observed=beyond(60, A0, A1))
    assert before.observed is not None
    after = make_facts(A0, A1, made=(make_one(before, A0),))
    states = metrics.restore(before.observed.told, after)
    assert {key: state.has_fired for key, state in states.items()} == {A0.key: True, A1.key: False}
    read = metrics.observe_all(make(above=5), (A0, A1), Answer((Value(9.0),)), states, NOW + 5)
    again = decide(replace(after, now=NOW + 5, observed=Observed(read, told=before.observed.told)))
    assert fired(again) == ["a/1"]
    assert naming.build_request(after.trigger, again.fire[0].cause) == after.made[0].request


def test_after_a_restart_what_fired_stays_so_and_the_rest_begins_anew() -> None:
    facts = make_facts(A0, B0)
    told = metrics.list_exceeding(make(above=5), beyond(60, A0, has_fired=True).states | beyond(60, B0).states)
    assert set(metrics.restore(told, facts)) == {A0.key}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"above": 5}, "step_seconds > 5"),
        ({"below": 0.5, "forSeconds": 9}, "step_seconds < 0.5 for 9 s"),
        ({"baseline": {"percent": 50, "direction": "Both"}}, "step_seconds ±50 % of its baseline"),
        ({"prometheus": None, "feldera": {"stat": "cpu_msecs", "per": "second"}, "above": 5}, "cpu_msecs/second > 5"),
        ({"prometheus": {"query": "sum(\n  x" + "x" * 90}, "above": 5}, f"sum( x{'x' * 53}… > 5"),
    ],
)
def test_a_metric_in_a_few_words(fields: dict[str, Any], expected: str) -> None:
    assert metrics.describe(make(**fields)) == expected


def test_a_value_alone_is_no_reason_to_write() -> None:
    trigger = make_facts().trigger
    old = status.update(trigger.status, trigger, Decision(), (), (), active=0, now=NOW, observed=beyond(5))
    assert old.exceeding == ()
    new = msgspec.structs.replace(old, value="7 (a/0)", last_evaluation_time=times.format_time(NOW + 10))
    assert not status.is_worth_writing(old, new)


@pytest.mark.parametrize(("count", "secs"), [(1, 30), (60, 30), (400, 200), (2000, 600)])
def test_a_changed_value_is_written_the_less_often_the_more_triggers_there_are(count: int, secs: int) -> None:
    old = TriggerStatus(value="1 (a/0)", last_evaluation_time=times.format_time(NOW))

    def look(value: str, after: float) -> bool:
        new = msgspec.structs.replace(old, value=value, last_evaluation_time=times.format_time(NOW + after))
        return status.is_worth_writing(old, new, count)

    assert [look("2 (a/0)", secs - 1), look("2 (a/0)", secs), look("1 (a/0)", 599)] == [False, True, False]
