"""Delayed watches: an object that has ended, was refused or was deleted is not started again because an older state
shows it as waiting. Each object is read before it is started."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from samply_operator.errors import KubeUnavailable, PipelineUnreachable
from samply_operator.kube import objects
from samply_operator.model.profile import parse_object
from samply_operator.recorder.calls.actions import Acts
from samply_operator.recorder.pod import script_calls
from samply_operator.settings import Recording, Settings
from support.fake_cluster import FakeCluster, Json
from support.operator_process import NAMESPACE, OperatorProcess, add_pipeline, ask

from .test_engine import assert_nothing_left, count_starts
from .test_requests import start
from .test_trouble import fail

LAG_SECS = 1.0
PATH = objects.samply_profiles(NAMESPACE, "p-1")
PREFLIGHT = script_calls.read_script("preflight.sh")


def count_preflights(cluster: FakeCluster) -> int:
    return sum(verb == "exec" and PREFLIGHT in what for verb, what in cluster.calls)


async def outlast(operator: OperatorProcess) -> None:
    """Until the watchers know everything, with looks at all objects meanwhile as each recording's end causes them."""
    loop = asyncio.get_running_loop()
    until = loop.time() + operator.cluster.watch_lag_secs + 0.3
    while loop.time() < until:
        for key in list(operator.engine.world.profiles):
            operator.engine.queue.put(key)
        await asyncio.sleep(0.02)


async def test_a_preflight_that_has_ended_is_not_done_again(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """It leaves no manifest that would show it."""
    add_pipeline(cluster)
    cluster.watch_lag_secs = LAG_SECS
    ask(cluster, preflightOnly=True)
    await operator.reach_phase("p-1", "Succeeded")
    await outlast(operator)
    assert count_preflights(cluster) == 1
    assert operator.list_events("p-1") == []


async def test_one_that_was_refused_is_not_recorded_later(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """When what it was refused for has ended, and the watch doesn't show the refusal yet."""
    add_pipeline(cluster)
    ask(cluster, "p-1", durationSeconds=600)
    await operator.reach_phase("p-1", "Recording")
    ask(cluster, "p-2")
    cluster.watch_lag_secs = 4 * LAG_SECS
    refused = await operator.reach_phase("p-2", "Failed")
    assert refused["failure"]["reason"] == "AlreadyRecording"
    (run,) = operator.engine.runs.values()
    run.stop("keep")
    await operator.reach_phase("p-1", "Succeeded")
    await outlast(operator)
    await operator.reach_rest()
    assert operator.find_status("p-2") == refused
    assert count_starts(cluster) == 1


async def test_one_that_was_deleted_before_it_could_begin_is_not_begun(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    add_pipeline(cluster)
    uid = ask(cluster)["metadata"]["uid"]
    cluster.fault = fail(lambda verb, _: verb == "exec", KubeUnavailable("away"))
    await operator.reach(lambda: any(run.trouble for run in operator.engine.runs.values()))
    cluster.watch_lag_secs = LAG_SECS
    assert await Acts(operator.engine).delete(uid) == "Cancelling"
    cluster.fault = lambda verb, what: None
    await operator.reach_rest()
    await outlast(operator)
    await operator.reach_rest()
    assert count_starts(cluster) == 0
    assert not operator.volume.list_ids()


async def test_one_that_somebody_else_deleted_is_not_begun(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """For example with kubectl, before the watch reported its creation."""
    add_pipeline(cluster)
    cluster.watch_lag_secs = 0.2
    ask(cluster)
    cluster.watch_lag_secs = LAG_SECS
    await cluster.delete(PATH)
    await operator.reach(lambda: ("get", PATH) in cluster.calls)
    await outlast(operator)
    await operator.reach_rest()
    assert count_starts(cluster) == 0


async def test_one_that_is_deleted_while_it_is_read_is_not_begun(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read is older than its deletion then."""
    add_pipeline(cluster)
    get, answers = FakeCluster.get, []

    async def get_late(self: FakeCluster, path: str, **options: Any) -> Json:
        raw = await get(self, path, **options)
        if path == PATH and not answers:
            self.watch_lag_secs = LAG_SECS
            answers.append(await Acts(operator.engine).delete(raw["metadata"]["uid"]))
        return raw

    monkeypatch.setattr(FakeCluster, "get", get_late)
    ask(cluster)
    await operator.reach(lambda: answers)
    await outlast(operator)
    await operator.reach_rest()
    assert answers == ["Removed"]
    assert count_preflights(cluster) == 0


async def test_one_that_is_being_deleted_is_not_begun(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """Somebody's finalizer keeps it."""
    add_pipeline(cluster)
    cluster.watch_lag_secs = 0.2
    raw = ask(cluster)
    cluster.watch_lag_secs = LAG_SECS
    raw["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    cluster.put(PATH, raw)
    await operator.reach(lambda: ("get", PATH) in cluster.calls)
    await outlast(operator)
    assert count_preflights(cluster) == 0


async def test_the_successor_of_a_name_is_begun_and_not_its_predecessor(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """The watch still shows the first one."""
    add_pipeline(cluster)
    cluster.watch_lag_secs = 0.3
    ask(cluster, durationSeconds=600)
    await cluster.delete(PATH)
    uid = ask(cluster)["metadata"]["uid"]
    await operator.reach_phase("p-1", "Succeeded")
    await operator.reach_rest()
    assert operator.volume.list_ids() == {uid}
    assert count_starts(cluster) == 1


async def test_a_request_that_is_taken_back_is_not_begun_again(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """The caller got a 503: nothing may be recorded after that."""
    add_pipeline(cluster)
    cluster.fault = fail(lambda verb, _: verb == "exec", KubeUnavailable("away"))
    cluster.watch_lag_secs = LAG_SECS
    with pytest.raises(PipelineUnreachable):
        await start(operator, wait_secs=0.5)
    cluster.fault = lambda verb, what: None
    await outlast(operator)
    assert not operator.engine.runs
    assert count_starts(cluster) == 0
    assert_nothing_left(operator)


async def test_a_recording_waits_for_an_unavailable_api_server(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """The read is retried."""
    add_pipeline(cluster)
    cluster.fault = fail(lambda verb, what: verb == "get" and what == PATH, KubeUnavailable("away"), 2)
    ask(cluster)
    await operator.reach_phase("p-1", "Succeeded")
    assert count_starts(cluster) == 1


async def test_lists_that_are_older_than_an_end_change_nothing(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They were asked for before it, and came after it."""
    add_pipeline(cluster)
    ask(cluster, preflightOnly=True)
    world, replace = operator.engine.world, operator.engine.world.replace_profiles
    await operator.reach_phase("p-1", "Succeeded")
    await operator.reach_rest()
    stale = parse_object(cluster.objects[PATH] | {"status": {}})
    monkeypatch.setattr(world, "replace_profiles", lambda scope, profiles: replace(scope, [stale]))
    await operator.list_all()
    assert world.profiles[NAMESPACE, "p-1"].phase is None
    await outlast(operator)
    assert count_preflights(cluster) == 1
    assert world.profiles[NAMESPACE, "p-1"].phase == "Succeeded"


class TestWaiting:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(recording=Recording(min_free_bytes=1, max_concurrent=1, min_coverage=0))

    async def test_one_that_waits_is_not_read_each_time(self, operator: OperatorProcess, cluster: FakeCluster) -> None:
        """It says already that it waits; only before it begins is it read again."""
        add_pipeline(cluster, ordinals=2)
        ask(cluster, "p-0", ordinal=1, durationSeconds=600)
        await operator.reach_phase("p-0", "Recording")
        ask(cluster)
        await operator.reach_phase("p-1", "Pending")
        await operator.reach(lambda: not operator.engine.queue.length)
        before = len(cluster.calls)
        await outlast(operator)
        assert cluster.calls[before:] == []

    async def test_a_profile_recorded_by_another_operator_leaves_the_queue(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """The other operator had room: younger profiles here don't wait for it forever."""
        add_pipeline(cluster, ordinals=3)
        ask(cluster, "p-0", ordinal=1, durationSeconds=600)
        await operator.reach_phase("p-0", "Recording")
        raw = ask(cluster)
        status = await operator.reach_phase("p-1", "Pending")
        cluster.put(PATH, raw | {"status": status | {"phase": "Succeeded"}})
        younger = ask(cluster, "p-2", ordinal=2)
        younger["metadata"]["creationTimestamp"] = "2027-01-15T08:00:01Z"
        cluster.put(objects.samply_profiles(NAMESPACE, "p-2"), younger)
        await operator.reach_phase("p-2", "Pending")
        (run,) = operator.engine.runs.values()
        run.stop("keep")
        status = await operator.reach_phase("p-2", "Succeeded", "Failed")
        assert status["phase"] == "Succeeded", status

    async def test_a_refused_object_never_reports_waiting(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """The reason for the refusal has gone, and the watch shows it as it was before."""
        add_pipeline(cluster, ordinals=2)
        ask(cluster, "p-0", ordinal=1, durationSeconds=600)
        await operator.reach_phase("p-0", "Recording")
        cluster.watch_lag_secs = 0.2
        raw = ask(cluster)
        cluster.watch_lag_secs = LAG_SECS
        cluster.put(PATH, raw | {"status": {"phase": "Failed"}})
        await operator.reach(lambda: ("get", PATH) in cluster.calls)
        await outlast(operator)
        assert operator.find_status("p-1") == {"phase": "Failed"}


async def test_a_removed_watcher_gets_no_events(cluster: FakeCluster, tmp_path: Path, settings: Settings) -> None:
    """A test of the fake itself: a killed operator sees nothing more."""
    seen: list[str] = []

    def see(kind: str, raw: Json) -> None:
        seen.append(kind)

    cluster.watchers.append(see)
    cluster.watch_lag_secs = 0.01
    ask(cluster)
    ask(cluster, "p-2")
    await asyncio.sleep(0.05)
    ask(cluster, "p-3")
    cluster.watchers.remove(see)
    await asyncio.sleep(0.05)
    assert seen == ["ADDED", "ADDED"]
