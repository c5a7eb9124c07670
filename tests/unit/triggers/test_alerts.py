"""Alerts: matched by labels, each once, in the namespaces of the sender; those that record nothing are reported."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from samply_operator.errors import KubeDenied, KubeError, KubeForbidden, KubeUnavailable, OperatorUnavailable
from samply_operator.model import names
from samply_operator.model.alert import Alert, AlertOutcome
from samply_operator.triggers import worker
from samply_operator.triggers.alerts import Alerts
from support.operator_process import NAMESPACE, OperatorProcess, add_pipeline, put_trigger

from .conftest import Stage

WHEN = {"alert": {"matchLabels": {"alertname": "SlowStep"}}}
LINK = "http://prometheus:9090/graph"
LONG_SECS = 120.0
"""A recording and a comparison start several processes."""


def make_alert(fingerprint: str = "f-1", **changes: Any) -> Alert:
    labels = {"alertname": "SlowStep"} | changes.pop("labels", {})
    fields = {"starts_at": "2027-01-15T07:59:00Z", "generator_url": LINK} | changes
    return Alert(fingerprint, labels=labels, **fields)


async def send(operator: OperatorProcess, *alerts: Alert, may: bool = True) -> list[AlertOutcome]:
    receiver = Alerts(operator.engine, operator.triggers)
    return list(await receiver.take(alerts, lambda namespace: may and namespace == NAMESPACE))


def put(stage: Stage, **spec: Any) -> None:
    """Long recordings: what is recorded once is recorded still when the next alert comes."""
    template = {"durationSeconds": 600, "mode": "InPlace"}
    put_trigger(stage.cluster, **{"when": WHEN, "template": template, "limits": {"cooldownSeconds": 0}} | spec)


async def test_an_alert_makes_a_profile_that_links_it(stage: Stage) -> None:
    add_pipeline(stage.cluster)
    put(stage)
    async with stage.run() as operator:
        (outcome,) = await send(operator, make_alert())
        (profile,) = stage.profiles()
        assert outcome == AlertOutcome("f-1", "Fired", NAMESPACE, "t-1", (profile["metadata"]["name"],))
        notes = profile["metadata"]["annotations"]
        cause = "Alert SlowStep since 2027-01-15T07:59:00Z"
        assert notes == {names.CAUSE: cause, names.ALERT: LINK, names.WHEN: "alert"}
        assert stage.status()["lastFired"]["cause"] == notes[names.CAUSE]


@pytest.mark.timeout(400)
async def test_an_alert_that_is_repeated_is_answered_with_the_comparison_of_its_profile(stage: Stage) -> None:
    add_pipeline(stage.cluster)
    put(stage, template={"durationSeconds": 1, "mode": "InPlace"})
    async with stage.run() as operator:

        async def record(fingerprint: str) -> AlertOutcome:
            (outcome,) = await send(operator, make_alert(fingerprint))
            (name,) = outcome.profiles
            await operator.reach(lambda: operator.find_status(name).get("comparison"), LONG_SECS)
            await operator.reach_rest()
            (outcome,) = await send(operator, make_alert(fingerprint))
            assert (outcome.state, outcome.profiles) == ("SeenBefore", (name,))
            return outcome

        assert (await record("f-1")).comparisons == (), "there was none before"
        stage.now += 10
        (where,) = (await record("f-2")).comparisons
        assert where.startswith("/console/compare?before=")


async def test_the_same_alert_again_is_seen_before_also_after_a_restart(stage: Stage) -> None:
    add_pipeline(stage.cluster)
    put(stage)
    for count in range(2):
        async with stage.run() as operator:
            for _ in range(2):
                (outcome,) = await send(operator, make_alert())
            assert outcome.state == "SeenBefore"
            assert len(stage.profiles()) == 1, count


async def test_two_notifications_at_the_same_time_make_one_profile(stage: Stage) -> None:
    add_pipeline(stage.cluster)
    put(stage)
    async with stage.run() as operator:
        found = await asyncio.gather(*(send(operator, make_alert()) for _ in range(5)))
        assert sorted(outcome.state for (outcome,) in found) == ["Fired", *["SeenBefore"] * 4]
        assert len(stage.profiles()) == 1


@pytest.mark.parametrize(
    ("alert", "state", "reason"),
    [
        pytest.param(make_alert(status="resolved"), "Resolved", "", id="resolved"),
        pytest.param(make_alert(labels={"alertname": "Other"}), "NotMatched", "", id="other labels"),
        pytest.param(make_alert(labels={"pipeline": "b"}), "NotFired", "UnknownPipeline", id="unknown pipeline"),
        pytest.param(make_alert(labels={"pipeline": "a"}), "Fired", "", id="a pipeline by its name"),
        pytest.param(make_alert(labels={"pod": "pipeline-a-1"}), "Fired", "", id="a pod by its name"),
        pytest.param(make_alert(labels={"pod": "exporter-0"}), "Fired", "", id="an unrelated pod"),
        pytest.param(make_alert(generator_url="javascript:alert(1)"), "Fired", "", id="no link"),
    ],
)
async def test_what_an_alert_is_about(alert: Alert, state: str, reason: str, stage: Stage) -> None:
    add_pipeline(stage.cluster, ordinals=2)
    put(stage)
    async with stage.run() as operator:
        (outcome,) = await send(operator, alert)
        assert (outcome.state, outcome.reason) == (state, reason)
        assert bool(outcome.message) is (state in {"NotMatched", "NotFired"})
        expected = {"Fired": 2}.get(state, 0) if alert.labels.get("pod") != "pipeline-a-1" else 1
        assert len(stage.profiles()) == expected
        assert all(p["metadata"]["annotations"].get(names.ALERT, LINK) == LINK for p in stage.profiles())


async def test_alerts_of_unauthorized_senders_match_nothing(stage: Stage) -> None:
    add_pipeline(stage.cluster)
    put(stage)
    async with stage.run() as operator:
        (outcome,) = await send(operator, make_alert(), may=False)
        assert (outcome.state, outcome.namespace, outcome.trigger) == ("NotMatched", "", "")
        assert stage.profiles() == []


@pytest.mark.parametrize(
    ("spec", "state", "reason"),
    [({"dryRun": True}, "DryRun", ""), ({"suspend": True}, "NotFired", "Suspended")],
)
async def test_alerts_that_record_nothing_report_why(
    spec: dict[str, Any], state: str, reason: str, stage: Stage
) -> None:
    add_pipeline(stage.cluster)
    put(stage, **spec)
    async with stage.run() as operator:
        (outcome,) = await send(operator, make_alert())
        assert (outcome.state, outcome.reason) == (state, reason)
        assert stage.profiles() == []


async def test_flapping_is_held_by_the_cooldown(stage: Stage) -> None:
    add_pipeline(stage.cluster)
    put(stage, limits={})
    async with stage.run() as operator:
        await send(operator, make_alert())
        (outcome,) = await send(operator, make_alert(starts_at="2027-01-15T08:00:00Z"))
        assert (outcome.state, outcome.reason) == ("NotFired", "AlreadyRecording")
        for profile in stage.profiles():
            stage.cluster.remove(
                f"/apis/{names.API_VERSION}/namespaces/{NAMESPACE}/{names.PLURAL}/{profile['metadata']['name']}"
            )
        await operator.reach(lambda: not operator.engine.runs)
        (outcome,) = await send(operator, make_alert(starts_at="2027-01-15T08:00:01Z"))
        assert (outcome.state, outcome.reason) == ("NotFired", "CoolingDown")


async def test_an_alert_replaces_what_another_one_records(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        add_pipeline(stage.cluster, name)
    put(stage, concurrencyPolicy="Replace")
    monkeypatch.setattr(worker, "REPLACED_SECS", 60.0)
    async with stage.run() as operator:
        for name in ("a", "b"):
            (outcome,) = await send(operator, make_alert(name, labels={"pipeline": name}))
            assert outcome.state == "Fired"
            assert [profile["spec"]["pipeline"] for profile in stage.profiles()] == [name]
            (profile,) = stage.profiles()
            await operator.reach_phase(profile["metadata"]["name"], "Recording")


async def test_an_alert_is_to_come_again_while_what_it_replaces_has_not_ended(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        add_pipeline(stage.cluster, name)
    put(stage, concurrencyPolicy="Replace")
    monkeypatch.setattr(worker, "REPLACED_SECS", 0.0)
    async with stage.run() as operator:
        await send(operator, make_alert("a", labels={"pipeline": "a"}))
        with pytest.raises(OperatorUnavailable, match="have not ended yet"):
            await send(operator, make_alert("b", labels={"pipeline": "b"}))


async def test_a_trigger_that_cannot_be_written_holds_up_no_other_one(stage: Stage) -> None:
    add_pipeline(stage.cluster)
    put(stage)
    put_trigger(stage.cluster, "t-2", when=WHEN, pipelines={"names": ["nobody"]})
    async with stage.run() as operator:
        await stage.reach_decision("t-2")
        stage.cluster.fault = lambda verb, what: KubeDenied("no") if "/t-1" in what and verb == "patch" else None
        outcomes = await send(operator, make_alert(), make_alert("f-2", labels={"pod": "x"}))
        assert [(each.trigger, each.state, each.reason) for each in outcomes] == [
            ("t-1", "Fired", ""),
            ("t-2", "NotFired", "UnknownPipeline"),
            ("t-1", "NotFired", "AlreadyRecording"),
            ("t-2", "NotFired", "UnknownPipeline"),
        ]
        stage.cluster.fault = lambda verb, what: None
        await operator.reach(lambda: stage.status().get("fired") == 1)


async def test_alerts_after_one_that_is_to_come_again_are_taken(stage: Stage) -> None:
    for name in ("a", "b"):
        add_pipeline(stage.cluster, name)
    put(stage)
    async with stage.run() as operator:
        alerts = [make_alert(name, labels={"pipeline": name}) for name in ("a", "b")]
        tried: list[str] = []

        def fault(verb: str, what: str) -> BaseException | None:
            if verb == "create" and what.endswith(names.PLURAL):
                tried.append(what)
                return KubeUnavailable("away") if len(tried) == 1 else None
            return None

        stage.cluster.fault = fault
        with pytest.raises(KubeUnavailable):
            await send(operator, *alerts)
        assert [profile["spec"]["pipeline"] for profile in stage.profiles()] == ["b"]
        assert [outcome.state for outcome in await send(operator, *alerts)] == ["Fired", "SeenBefore"]


async def test_what_the_cluster_refused_is_tried_again_with_the_next_notification(stage: Stage) -> None:
    add_pipeline(stage.cluster)
    put(stage, limits={})
    async with stage.run() as operator:
        stage.cluster.fault = lambda verb, what: (
            KubeForbidden("no") if verb == "create" and what.endswith(names.PLURAL) else None
        )
        (outcome,) = await send(operator, make_alert())
        assert (outcome.state, outcome.reason) == ("NotFired", "Refused")
        stage.cluster.fault = lambda verb, what: None
        (outcome,) = await send(operator, make_alert())
        assert outcome.state == "Fired"


async def test_a_trigger_that_is_gone_does_not_fire(stage: Stage) -> None:
    add_pipeline(stage.cluster)
    put(stage)
    async with stage.run() as operator:
        await stage.reach_decision()
        triggers = operator.triggers
        (trigger,) = triggers.watch.triggers.values()
        match = trigger.spec.when.alert
        assert match is not None
        carried = await triggers.take_alert(replace(trigger, uid="of an earlier one"), match, make_alert())
        assert ([skip.reason for skip in carried.skips], stage.profiles()) == (["Deleted"], [])


async def test_retryable_alerts_raise_an_error(stage: Stage) -> None:
    add_pipeline(stage.cluster)
    put(stage)
    async with stage.run() as operator:
        stage.cluster.fault = lambda verb, what: KubeUnavailable("away") if verb == "create" else None
        with pytest.raises(KubeError) as caught:
            await send(operator, make_alert())
        assert caught.value.is_transient
        stage.cluster.fault = lambda verb, what: None
        (outcome,) = await send(operator, make_alert())
        assert outcome.state == "Fired"


async def test_before_everything_was_listed_it_is_to_come_again(stage: Stage) -> None:
    put(stage)
    async with stage.run() as operator:
        operator.engine.world.uncover(NAMESPACE)
        with pytest.raises(OperatorUnavailable):
            await send(operator, make_alert())
        operator.triggers.watch._awaited.add(NAMESPACE)
        with pytest.raises(OperatorUnavailable):
            await send(operator, make_alert())
