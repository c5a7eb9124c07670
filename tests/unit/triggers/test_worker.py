"""SamplyTriggers: exactly one profile for each cause and target, whatever is killed or refused, and reported."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from samply_operator.errors import KubeDenied, KubeForbidden, KubeUnavailable
from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.rules.triggers.facts import Made
from samply_operator.triggers import gathering, measures, worker
from support.fake_cluster import Json
from support.operator_process import NAMESPACE, add_pipeline, add_pod, ask, put_trigger
from support.samples import LABELS

from .conftest import Stage


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "CHANGES_SECS", 0.02)


def list_reasons(stage: Stage, name: str = "t-1") -> list[str]:
    found = stage.cluster.find("/events/")
    return [raw["reason"] for raw in found if raw["involvedObject"]["name"] == name]


async def test_a_schedule_makes_one_profile_for_each_pod_and_says_so(stage: Stage) -> None:
    add_pipeline(stage.cluster, ordinals=2)
    put_trigger(stage.cluster, labels={"team": "payments"})
    async with stage.run() as operator:
        await operator.reach(lambda: [p.get("status", {}).get("phase") for p in stage.profiles()] == ["Succeeded"] * 2)
        first, second = stage.profiles()
        spec = {"pipeline": "a", "ordinal": 0, "durationSeconds": 1, "mode": "InPlace"}
        assert first["spec"] == spec | {"comparison": {"baseline": "Last"}}
        assert first["metadata"]["labels"].items() >= {"team": "payments", names.MADE_BY: "t-1"}.items()
        assert first["metadata"]["annotations"][names.CAUSE].startswith("Schedule of 2027-01-15T08:00:00.000Z")
        assert second["spec"]["ordinal"] == 1
        await operator.reach(lambda: stage.status()["active"] == 0)
        status = stage.status()
        assert (status["fired"], status["when"]) == (1, "every 10s")
        assert status["lastScheduleTime"] == "2027-01-15T08:00:00.000Z"
        assert status["nextTime"] == "2027-01-15T08:00:10.000Z"
        assert status["lastFired"]["message"].split(", ") == [p["metadata"]["name"] for p in (first, second)]
        assert list_reasons(stage) == ["Fired"]
        manifests = [operator.volume.read_manifest(p["metadata"]["uid"]) for p in stage.profiles()]
        assert [m.trigger.name for m in manifests if m and m.trigger] == ["t-1", "t-1"]


async def test_each_time_fires_once_and_the_next_one_again(stage: Stage) -> None:
    add_pipeline(stage.cluster)
    put_trigger(stage.cluster)
    async with stage.run() as operator:
        for count in (1, 2):
            stage.now += 10
            for _ in range(3):
                stage.look()
                await operator.reach(lambda: operator.triggers.queue.is_idle)
            await stage.reach_profiles(count)
            await operator.reach(lambda: not (operator.engine.world.unended or operator.engine.runs))
        assert len({p["metadata"]["name"] for p in stage.profiles()}) == 2


class Dead(BaseException):
    """What a dead process would do next."""


@pytest.mark.parametrize("step", range(1, 15))
async def test_killed_at_any_call_the_next_process_makes_exactly_the_rest(step: int, stage: Stage) -> None:
    """Before or after the API server has done what was asked."""
    add_pipeline(stage.cluster, ordinals=2)
    put_trigger(stage.cluster, template={"durationSeconds": 600, "mode": "InPlace"})
    calls = 0

    def fault(verb: str, what: str) -> BaseException | None:
        nonlocal calls
        calls += names.PLURAL in what or names.TRIGGER_PLURAL in what or "events" in what
        return Dead() if calls >= step else None

    stage.cluster.fault = fault
    try:
        async with asyncio.timeout(0.5), stage.run() as operator:
            await operator.reach(lambda: stage.status().get("fired") and calls >= step)
    except (Dead, TimeoutError, BaseExceptionGroup):
        pass
    stage.cluster.fault = lambda verb, what: None
    stage.now += 3
    async with stage.run() as operator:
        await operator.reach(lambda: stage.status().get("lastScheduleTime") and len(stage.profiles()) == 2)
        await operator.reach(lambda: operator.triggers.queue.is_idle)
        assert [p["spec"]["ordinal"] for p in stage.profiles()] == [0, 1]


async def test_trouble_with_the_api_server_is_waited_for(stage: Stage) -> None:
    add_pipeline(stage.cluster, ordinals=2)
    put_trigger(stage.cluster)
    tries = 0

    def fault(verb: str, what: str) -> BaseException | None:
        nonlocal tries
        if verb == "create" and what.endswith(names.PLURAL):
            tries += 1
            return KubeUnavailable("away") if tries in {2, 3} else None
        return None

    stage.cluster.fault = fault
    async with stage.run() as operator:
        await operator.reach(lambda: stage.status().get("fired"))
        assert len(stage.profiles()) == 2


async def test_after_trouble_with_one_cause_the_others_fire_too(stage: Stage) -> None:
    containers = add_pipeline(stage.cluster, ordinals=3)
    put_trigger(stage.cluster, when={"restart": {}}, limits={"cooldownSeconds": 0, "maxSampledPercent": 100})
    tries = 0

    def fault(verb: str, what: str) -> BaseException | None:
        nonlocal tries
        if verb == "create" and what.endswith(names.PLURAL):
            tries += 1
            return KubeUnavailable("away") if tries == 1 else None
        return None

    stage.cluster.fault = fault
    for ordinal in range(len(containers)):
        set_started(stage, "2027-01-15T08:00:00Z", f"containerd://{ordinal}", ordinal)
    async with stage.run():
        await stage.reach_profiles(len(containers))


async def test_a_pause_is_not_taken_for_a_slow_source(stage: Stage) -> None:
    """What is beyond the limit after it begins anew."""
    put_trigger(stage.cluster, suspend=True)
    async with stage.run() as operator:
        (trigger,) = operator.triggers.watch.triggers.values()
        known = operator.triggers._know(trigger)
        known.starts.extend([0.0, 7200.0])
        stage.look()
        await operator.reach(lambda: not known.starts)


def test_a_profile_that_is_gone_is_not_deleted_again() -> None:
    made = Made("p-1", "uid-1", "r-1", "a", 0, 0.0, is_active=True)
    engine: Any = SimpleNamespace(runs={})
    assert gathering._refresh(engine, made) == replace(made, uid="", is_active=False)
    engine.runs["uid-1"] = "its recording"
    assert gathering._refresh(engine, made) == made


async def test_without_triggers_their_number_is_0(stage: Stage) -> None:
    measures.TRIGGERS.clear()
    async with stage.run():
        found = {sample.labels["when"]: sample.value for sample in next(iter(measures.TRIGGERS.collect())).samples}
        assert found == {"schedule": 0, "metric": 0, "alert": 0, "restart": 0}


@pytest.mark.parametrize("error", [KubeDenied("exceeded quota"), KubeForbidden("no")], ids=["quota", "rights"])
async def test_a_refusal_by_the_cluster_is_reported_and_the_schedule_continues(stage: Stage, error: Exception) -> None:
    add_pipeline(stage.cluster)
    put_trigger(stage.cluster)
    stage.cluster.fault = lambda verb, what: (
        error if (verb, what.rpartition("/")[2]) == ("create", names.PLURAL) else None
    )
    async with stage.run() as operator:
        await operator.reach(lambda: stage.status().get("lastNotFired"))
        assert stage.status()["lastNotFired"]["reason"] == "Refused"
        await operator.reach(lambda: "Refused" in list_reasons(stage))
        stage.cluster.fault = lambda verb, what: None
        stage.now += 10
        stage.look()
        await stage.reach_profiles(1)


async def test_a_broken_line_is_reported_and_stops_no_other_trigger(stage: Stage) -> None:
    add_pipeline(stage.cluster)
    put_trigger(stage.cluster, "broken", when={"schedule": {"cron": "61 * * * *"}})
    put_trigger(stage.cluster, "odd", when={"schedule": {"every": 5}})
    put_trigger(stage.cluster)
    async with stage.run() as operator:
        await stage.reach_profiles(1)
        for name, reason, said in (("broken", "InvalidSchedule", "Bad minute"), ("odd", "Unreadable", "every")):
            await operator.reach(lambda name=name: stage.status(name).get("conditions"))
            (condition,) = stage.status(name)["conditions"]
            assert (condition["status"], condition["reason"]) == ("False", reason)
            assert said in condition["message"]


@pytest.mark.parametrize(
    ("spec", "fired", "would", "state"),
    [({"suspend": True}, 0, 0, "Suspended"), ({"dryRun": True}, 0, 1, "DryRun")],
)
async def test_nothing_is_made_while_it_is_suspended_or_a_dry_run(
    stage: Stage, spec: Json, fired: int, would: int, state: str
) -> None:
    add_pipeline(stage.cluster)
    put_trigger(stage.cluster, **spec)
    async with stage.run():
        status = await stage.reach_decision()
        assert (status["fired"], status.get("wouldHaveFired", 0)) == (fired, would)
        assert status["conditions"][0]["reason"] == state
        assert stage.profiles() == []


async def test_a_dry_run_keeps_to_the_limits(stage: Stage) -> None:
    add_pipeline(stage.cluster)
    put_trigger(stage.cluster, dryRun=True, limits={"cooldownSeconds": 15})
    async with stage.run() as operator:
        for _ in range(3):
            stage.look()
            await operator.reach(lambda: operator.triggers.queue.is_idle)
            stage.now += 10
        assert stage.status()["wouldHaveFired"] == 2
        assert stage.status()["lastNotFired"]["reason"] == "CoolingDown"


async def test_replace_cancels_what_is_recorded_and_then_records(stage: Stage) -> None:
    add_pipeline(stage.cluster)
    put_trigger(stage.cluster, concurrencyPolicy="Replace", template={"durationSeconds": 600, "mode": "InPlace"})
    async with stage.run() as operator:
        await operator.reach(lambda: [p.get("status", {}).get("phase") for p in stage.profiles()] == ["Recording"])
        (before,) = stage.profiles()
        stage.now += 10
        stage.look()
        await operator.reach(
            lambda: (
                [p.get("status", {}).get("phase") for p in stage.profiles()] == ["Recording"]
                and stage.profiles()[0]["metadata"]["name"] != before["metadata"]["name"]
            )
        )
        assert stage.status()["fired"] == 2


async def test_a_manual_recording_takes_precedence(stage: Stage) -> None:
    add_pipeline(stage.cluster)
    ask(stage.cluster, durationSeconds=600)
    async with stage.run() as operator:
        await operator.reach_phase("p-1", "Recording")
        put_trigger(stage.cluster)
        await operator.reach(lambda: stage.status().get("lastNotFired"))
        assert stage.status()["lastNotFired"]["reason"] == "AlreadyRecording"
        assert len(stage.profiles()) == 1


async def test_history_limits_delete_the_oldest(stage: Stage) -> None:
    put_trigger(stage.cluster, successfulProfilesHistoryLimit=1, suspend=True)
    for name in ("p-1", "p-2"):
        raw = ask(stage.cluster, name)
        raw["metadata"] |= {"labels": {names.MADE_BY: "t-1"}, "creationTimestamp": f"2027-01-14T00:00:0{name[-1]}Z"}
        stage.cluster.put(objects.samply_profiles(NAMESPACE, name), raw | {"status": {"phase": "Succeeded"}})
    async with stage.run():
        await stage.reach_profiles(1)
        assert stage.profiles()[0]["metadata"]["name"] == "p-2"


def set_started(stage: Stage, at: str, container: str, ordinal: int = 0) -> None:
    path = objects.pods(NAMESPACE, f"pipeline-a-{ordinal}")
    raw: Any = stage.cluster.objects[path]
    raw["status"]["containerStatuses"][0] |= {"state": {"running": {"startedAt": at}}, "containerID": container}
    stage.cluster.put(path, raw)


async def test_a_container_that_restarts_is_recorded_once(stage: Stage) -> None:
    add_pipeline(stage.cluster)
    put_trigger(stage.cluster, when={"restart": {}}, limits={"cooldownSeconds": 0})
    async with stage.run() as operator:
        assert (await stage.reach_decision())["when"] == "restart"
        assert stage.profiles() == []
        add_pod(stage.cluster, "pipeline-a", 0)
        raw: Any = stage.cluster.objects[objects.pods(NAMESPACE, "pipeline-a-0")]
        set_started(stage, "2027-01-15T08:00:00Z", raw["status"]["containerStatuses"][0]["containerID"])
        await operator.reach(lambda: [p.get("status", {}).get("phase") for p in stage.profiles()] == ["Succeeded"])
        for profile in stage.profiles():
            assert "started at 2027-01-15T08:00:00" in profile["metadata"]["annotations"][names.CAUSE]
            stage.cluster.remove(objects.samply_profiles(NAMESPACE, profile["metadata"]["name"]))
        stage.look()
        await asyncio.sleep(0.1)
        assert stage.profiles() == []  # it was recorded, whoever deleted it


async def test_a_deleted_trigger_fires_no_more_and_its_profiles_stay(stage: Stage) -> None:
    add_pipeline(stage.cluster)
    put_trigger(stage.cluster)
    async with stage.run() as operator:
        await operator.reach(lambda: stage.status().get("fired"))
        stage.cluster.remove(objects.samply_triggers(NAMESPACE, "t-1"))
        stage.now += 10
        stage.look()
        await operator.reach(lambda: operator.triggers.queue.is_idle)
        assert len(stage.profiles()) == 1


async def test_200_triggers_on_500_pipelines_fire_once_each(stage: Stage) -> None:
    for number in range(500):
        add_idle_pipeline(stage, f"p{number}")
    for number in range(200):
        spec = {"pipelines": {"names": [f"p{2 * number}", f"p{2 * number + 1}"]}, "dryRun": True}
        put_trigger(stage.cluster, f"t-{number}", **spec)
    async with stage.run() as operator:
        await operator.reach(lambda: all(stage.status(f"t-{n}").get("wouldHaveFired") for n in range(200)))
        assert {stage.status(f"t-{n}")["wouldHaveFired"] for n in range(200)} == {1}
        assert all(len(stage.status(f"t-{n}")["lastFired"]["message"].split(", ")) == 3 for n in range(200))


def add_idle_pipeline(stage: Stage, name: str) -> None:
    """One pod that runs, without any process behind it."""
    owner = {"kind": "StatefulSet", "name": f"pipeline-{name}", "controller": True}
    meta = {"namespace": NAMESPACE, "name": f"pipeline-{name}-0", "labels": LABELS, "ownerReferences": [owner]}
    state = {"name": "pipeline", "state": {"running": {}}, "containerID": f"containerd://{name}"}
    status = {"phase": "Running", "containerStatuses": [state]}
    pod = {"kind": "Pod", "metadata": meta, "spec": {"containers": [{"name": "pipeline"}]}, "status": status}
    stage.cluster.put(objects.pods(NAMESPACE, meta["name"]), pod)
