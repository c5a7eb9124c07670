"""Whether a trigger fires: policies, limits, missed deadlines, restarts of pods, repeated decisions, history."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from samply_operator.model import names
from samply_operator.model.trigger import LastNotFired
from samply_operator.rules import times
from samply_operator.rules.triggers import naming, status
from samply_operator.rules.triggers.decide import decide, find_expired
from samply_operator.rules.triggers.facts import Cause, Decision, Facts, Made, Place, Skip
from support.samples import NOW, make_trigger

DUE = 1_800_000_000.0
"""A multiple of 5 minutes."""
A0, A1, B0 = Place("a", 0), Place("a", 1), Place("b", 0)
HANDLED = {"lastScheduleTime": times.format_time(DUE - 300)}


def make_facts(*places: Place, **changes: Any) -> Facts:
    fields = {name: changes.pop(name) for name in ("made", "sampled", "now", "duration_secs") if name in changes}
    return Facts(make_trigger(**{"status": HANDLED} | changes), **{"now": NOW, "places": places or (A0,)} | fields)


def make_made(place: Place = A0, ago: float = 300.0, request: str = "", **changes: Any) -> Made:
    fields = {"name": f"t-1-{ago:.0f}-{place.ordinal}", "uid": f"uid-{ago}"} | changes
    return Made(request=request or f"r-{ago}", pipeline=place.pipeline, ordinal=place.ordinal, at=NOW - ago, **fields)


def fired(decision: Decision) -> list[str]:
    return [place.shown for firing in decision.fire for place in firing.places]


def reasons(decision: Decision) -> list[str]:
    return [skip.reason for skip in decision.skips]


def test_what_is_due_fires_for_each_place_and_is_handled() -> None:
    decision = decide(make_facts(A0, A1, B0))
    assert fired(decision) == ["a/0", "a/1", "b/0"]
    assert (decision.handled_at, decision.next_at, decision.skips) == (DUE, DUE + 300, ())


def test_what_was_handled_does_not_fire_again() -> None:
    decision = decide(make_facts(status={"lastScheduleTime": times.format_time(DUE)}))
    assert decision == Decision(next_at=DUE + 300)


@pytest.mark.parametrize("changes", [{"schedule": {"every": "5m"}}, {"schedule": {"cron": "*/5 * * * *"}}])
def test_a_clock_that_was_a_day_ahead_stops_no_schedule(changes: dict[str, Any]) -> None:
    """The first look says from when on it counts again."""
    facts = make_facts(when=changes, status={"lastScheduleTime": times.format_time(NOW + 86400)})
    decision = decide(facts)
    assert (decision.fire, decision.handled_at, decision.next_at) == ((), NOW, DUE + 300)
    later = make_facts(when=changes, status={"lastScheduleTime": times.format_time(NOW)}, now=NOW + 300)
    assert fired(decide(later)) == ["a/0"]


def test_a_status_that_was_edited_stops_no_schedule() -> None:
    assert fired(decide(make_facts(status={"lastScheduleTime": "soon"}))) == ["a/0"]


def test_a_profile_from_the_future_does_not_cool_down() -> None:
    assert fired(decide(make_facts(made=(make_made(ago=-7200),), limits={"cooldownSeconds": 300}))) == ["a/0"]
    soon = make_facts(made=(make_made(ago=-30),), limits={"cooldownSeconds": 300})
    assert reasons(decide(soon)) == ["CoolingDown"]


def test_a_repeated_decision_creates_only_what_is_left() -> None:
    """The operator was killed between the first object and the status."""
    before = decide(make_facts(A0, A1))
    trigger = make_trigger()
    request = naming.build_request(trigger, before.fire[0].cause)
    again = decide(make_facts(A0, A1, made=(make_made(A0, 0.1, request, is_active=True),)))
    assert fired(again) == ["a/1"]
    assert naming.build_request(trigger, again.fire[0].cause) == request
    whole = decide(make_facts(A0, made=(make_made(A0, 0.1, request, is_active=True),), concurrencyPolicy="Forbid"))
    assert (whole.fire, whole.skips, whole.handled_at) == ((), (), DUE)


ACTIVE = (make_made(is_active=True),)


@pytest.mark.parametrize(
    ("facts", "places", "told"),
    [
        pytest.param(make_facts(suspend=True), [], [], id="suspended"),
        pytest.param(make_facts(made=ACTIVE), ["a/0"], [], id="Allow"),
        pytest.param(make_facts(made=ACTIVE, concurrencyPolicy="Forbid"), [], ["StillActive"], id="Forbid"),
        pytest.param(make_facts(made=(make_made(),), concurrencyPolicy="Forbid"), ["a/0"], [], id="it has ended"),
        pytest.param(
            make_facts(replace(A0, obstacle=("PodNotRunning", "no pod")), A1), ["a/1"], ["PodNotRunning"],
            id="one pod does not run",
        ),
        pytest.param(
            make_facts(limits={"cooldownSeconds": 301}, made=(make_made(),)), [], ["CoolingDown"], id="cools down"
        ),
        pytest.param(
            make_facts(limits={"cooldownSeconds": 300}, made=(make_made(),)), ["a/0"], [], id="has cooled down"
        ),
        pytest.param(
            make_facts(A0, B0, limits={"cooldownSeconds": 400}, made=(make_made(),)), ["b/0"], ["CoolingDown"],
            id="each pipeline cools down by itself",
        ),
        pytest.param(
            make_facts(limits={"maxFirings": 2}, made=(make_made(ago=300), make_made(ago=3599))),
            [], ["TooManyFirings"], id="too many in the window",
        ),
        pytest.param(
            make_facts(limits={"maxFirings": 2}, made=(make_made(ago=300), make_made(ago=3600))), ["a/0"], [],
            id="one has left the window",
        ),
        pytest.param(
            make_facts(A0, A1, limits={"maxFirings": 2}, made=(make_made(A0, 300), make_made(A1, 300))),
            ["a/0", "a/1"], [], id="two pods of one firing count once",
        ),
        pytest.param(
            make_facts(sampled={A0.key: 870.0}, duration_secs=30), ["a/0"], [], id="a quarter of the hour is sampled"
        ),
        pytest.param(
            make_facts(sampled={A0.key: 871.0}, duration_secs=30), [], ["SampledEnough"], id="more than a quarter"
        ),
        pytest.param(
            make_facts(when={"schedule": {"every": "5m", "startingDeadlineSeconds": 0}}), [], ["MissedDeadline"],
            id="later than the deadline",
        ),
        pytest.param(
            make_facts(when={"schedule": {"every": "5m", "startingDeadlineSeconds": 1}}), ["a/0"], [],
            id="within the deadline",
        ),
    ],
)  # fmt: skip
def test_whether_it_fires_and_why_not(facts: Facts, places: list[str], told: list[str]) -> None:
    decision = decide(facts)
    assert fired(decision) == places
    assert reasons(decision) == told


def test_an_empty_selection_is_reported() -> None:
    decision = decide(replace(make_facts(), places=()))
    assert (reasons(decision), decision.handled_at) == (["NoPipeline"], DUE)


def test_forbid_fires_when_the_earlier_one_has_ended_as_a_cronjob_does() -> None:
    waiting = decide(make_facts(made=ACTIVE, concurrencyPolicy="Forbid"))
    assert waiting.handled_at is None
    assert waiting.retry_secs is not None


def test_replace_cancels_first_and_fires_then() -> None:
    decision = decide(make_facts(made=ACTIVE, concurrencyPolicy="Replace"))
    assert (decision.replace, decision.fire, decision.handled_at) == (ACTIVE, (), None)
    assert fired(decide(make_facts(made=(make_made(),), concurrencyPolicy="Replace"))) == ["a/0"]


RESTART = {"restart": {"withinSeconds": 120}}


def started(ago: float, place: Place = A0, container: str = "containerd://1") -> Place:
    return replace(place, container_id=container, started_at=NOW - ago)


@pytest.mark.parametrize(
    ("places", "made", "expected"),
    [
        pytest.param([started(60)], (), ["a/0"], id="just started"),
        pytest.param([started(121)], (), [], id="too long ago"),
        pytest.param([started(60), started(30, B0, "containerd://2")], (), ["a/0", "b/0"], id="two pipelines"),
        pytest.param([started(60)], (make_made(A0, 30),), [], id="cools down: a crash loop makes few profiles"),
        pytest.param([A0], (), [], id="no container runs"),
    ],
)
def test_a_container_that_starts(places: list[Place], made: tuple[Made, ...], expected: list[str]) -> None:
    decision = decide(make_facts(*places, when=RESTART, made=made))
    assert fired(decision) == expected
    assert (decision.retry_secs is not None) is ("CoolingDown" in reasons(decision))


def test_each_start_of_a_container_fires_once() -> None:
    facts = make_facts(started(60), when=RESTART)
    request = naming.build_request(facts.trigger, decide(facts).fire[0].cause)
    assert decide(replace(facts, made=(make_made(A0, 1, request),))).fire == ()


def test_what_started_before_the_trigger_was_created_does_not_fire() -> None:
    assert fired(decide(make_facts(started(60), when=RESTART, created_at=times.format_time(NOW - 30)))) == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"when": {"schedule": {"cron": "99 * * * *"}}}, "InvalidSchedule"),
        ({"when": {}}, "Unreadable"),
        ({"fault": "spec.when: bad"}, "Unreadable"),
    ],
)
def test_what_can_never_fire_is_a_fault(changes: dict[str, Any], reason: str) -> None:
    fault = decide(make_facts(**changes)).fault
    assert fault is not None
    assert fault.reason == reason


def test_history_limits_spare_what_is_pinned_or_still_counts() -> None:
    made = (
        make_made(ago=9000), make_made(ago=8000, is_pinned=True), make_made(ago=7000), make_made(ago=6000),
        make_made(ago=100), make_made(ago=5000, is_active=True), make_made(ago=5500, has_failed=True),
    )  # fmt: skip
    facts = make_facts(made=made, successfulProfilesHistoryLimit=1, failedProfilesHistoryLimit=0)
    assert {NOW - m.at for m in find_expired(facts)} == {9000, 7000, 6000, 5500}
    assert find_expired(replace(facts, trigger=make_trigger())) == ()


CAUSE = Cause("schedule/1", "Schedule of noon")


def test_an_object_carries_name_cause_and_labels_and_has_no_owner() -> None:
    labels = {"team": "payments", "app.kubernetes.io/instance": "argo", "helm.sh/chart": "x", names.PIPELINE: "b"}
    trigger = make_trigger(labels=labels, template={"durationSeconds": 60, "rateHz": 99})
    body = naming.build_object(trigger, CAUSE, A1)
    meta = body["metadata"]
    assert "ownerReferences" not in meta
    assert meta["labels"] == {
        "team": "payments",
        names.MADE_BY: "t-1",
        names.REQUEST: naming.build_request(trigger, CAUSE),
    }
    assert meta["annotations"] == {names.CAUSE: "Schedule of noon", names.WHEN: names.SCHEDULE}
    spec = {"pipeline": "a", "ordinal": 1, "durationSeconds": 60, "rateHz": 99}
    assert body["spec"] == spec | {"comparison": {"baseline": "Last"}}


def test_a_template_says_what_its_profiles_are_compared_with() -> None:
    wanted = {"baseline": "PreviousVersion", "regressedAbove": 5.0}
    body = naming.build_object(make_trigger(template={"comparison": wanted}), CAUSE, A1)
    assert body["spec"]["comparison"] == wanted


@pytest.mark.parametrize("wanted", [[], ["Stats", "HeapProfile"]], ids=["none", "two"])
def test_a_template_says_what_is_kept_beside_its_profiles(wanted: list[str]) -> None:
    """Nothing is not the same as no wish."""
    body = naming.build_object(make_trigger(template={"attachments": wanted}), CAUSE, A1)
    assert list(body["spec"]["attachments"]) == wanted


def test_names_differ_by_trigger_cause_pipeline_and_ordinal_and_stay_the_same() -> None:
    wanted = [
        (trigger, cause, place)
        for trigger in (make_trigger(), make_trigger(uid="other"), make_trigger(name="t" * 52))
        for cause in (CAUSE, Cause("schedule/2", ""))
        for place in (A0, A1, B0)
    ]
    made = [naming.build_object(*each)["metadata"]["name"] for each in wanted]
    assert len(set(made)) == len(wanted)
    assert max(map(len, made)) <= 63 + 10
    assert made == [naming.build_object(*each)["metadata"]["name"] for each in wanted]


# ------------------------------------------------------------------------------------------------------------ status


def build_status(decision: Decision, *outcomes: status.Outcome, skips: tuple[Skip, ...] = (), **changes: Any) -> Any:
    trigger = make_trigger(**changes)
    return status.update(trigger.status, trigger, decision, outcomes, skips, active=len(outcomes), now=NOW)


def test_the_status_says_what_fired_and_what_comes_next() -> None:
    new = build_status(Decision(handled_at=DUE, next_at=DUE + 300), status.Outcome("why", ("p-1", "p-2")))
    assert (new.fired, new.would_have_fired, new.active, new.when) == (1, 0, 1, "every 5m")
    assert (new.last_fired.cause, new.last_fired.message) == ("why", "p-1, p-2")
    assert (times.parse_time(new.last_schedule_time), times.parse_time(new.next_time)) == (DUE, DUE + 300)
    assert [(c["type"], c["status"], c["reason"]) for c in new.conditions] == [("Ready", "True", "Waiting")]


def test_a_dry_run_counts_apart() -> None:
    new = build_status(Decision(), status.Outcome("why", ("p-1",)), dryRun=True)
    assert (new.fired, new.would_have_fired) == (0, 1)
    assert new.last_fired.message.startswith("dryRun")
    assert new.conditions[0]["reason"] == "DryRun"


@pytest.mark.parametrize(
    ("when", "shown"),
    [
        ({"schedule": {"every": "5m"}}, "every 5m"),
        ({"schedule": {"cron": "0 2 * * *", "timeZone": "Europe/Berlin"}}, "0 2 * * * (Europe/Berlin)"),
        ({"restart": {}}, "restart"),
        ({"alert": {"matchLabels": {"severity": "page", "alertname": "StepsSlow"}}}, "alert StepsSlow severity=page"),
        ({"alert": {"matchLabels": {"team": "a"}}}, "alert team=a"),
        ({"alert": {"matchLabels": {"alertname": "x" * 80}}}, f"alert {'x' * 53}…"),
    ],
)
def test_what_it_waits_for_in_a_few_words(when: dict[str, Any], shown: str) -> None:
    assert status.describe_when(make_trigger(when=when).spec) == shown


def test_a_fault_is_reported_as_the_reason() -> None:
    new = build_status(Decision(fault=Skip("InvalidSchedule", "cron: …")))
    assert (new.last_not_fired.reason, new.conditions[0]["reason"]) == ("InvalidSchedule", "InvalidSchedule")


def test_what_is_written_is_read_again_and_what_is_empty_is_removed() -> None:
    new = build_status(Decision(next_at=DUE), status.Outcome("why", ("p-1",)), skips=(Skip("CoolingDown", "x"),))
    rendered = status.render(new)
    known = {key: value for key, value in rendered.items() if value is not None}
    assert msgspec.convert(known, type(new)) == new
    assert rendered["lastScheduleTime"] is None
    assert rendered["active"] == 1


def test_the_same_again_is_not_written_at_once() -> None:
    old = build_status(Decision(next_at=DUE), skips=(Skip("CoolingDown", "x"),))
    later = msgspec.structs.replace(old, last_evaluation_time=times.format_time(NOW + 599))
    assert not status.is_worth_writing(old, later)
    assert status.is_worth_writing(old, msgspec.structs.replace(old, last_evaluation_time=times.format_time(NOW + 600)))
    assert status.is_worth_writing(old, msgspec.structs.replace(later, active=3))
    same = build_status(Decision(), skips=(Skip("CoolingDown", "x"),), status=msgspec.to_builtins(old))
    assert same.last_not_fired == old.last_not_fired
    assert isinstance(old.last_not_fired, LastNotFired)
