"""Status updates of objects: the newest status is written eventually, and never to a successor of the same name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from samply_operator.errors import KubeConflict, KubeError, KubeForbidden, KubeInvalid, KubeUnavailable
from samply_operator.kube import objects
from samply_operator.recorder import reports
from samply_operator.recorder.journal import Journal
from samply_operator.rules.recording import status
from support.fake_cluster import FakeCluster
from support.operator_process import NAMESPACE, OperatorProcess, add_pipeline, ask
from support.samples import UID, make_entry

from .test_engine import assert_nothing_left, count_starts
from .test_lag import count_preflights
from .test_trouble import fail


def is_status(verb: str, what: str) -> bool:
    return verb == "patch" and what.endswith("/status")


def make_reporter(operator: OperatorProcess, name: str, uid: str) -> reports.Reporter:
    entry = make_entry(namespace=NAMESPACE, name=name, id=uid)
    return reports.Reporter(operator.context, Journal(operator.volume, entry))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals are believed soon."""
    monkeypatch.setattr(reports, "LONGEST_PAUSE_SECS", 0.05)


async def test_a_status_is_rendered_from_the_one_that_is_there(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """And says which generation it is about."""
    uid = ask(cluster, pipeline="none")["metadata"]["uid"]
    await operator.reach_phase("p-1", "Failed")
    seen: list[Any] = []

    def render(old: Any) -> status.Status:
        seen.append(old["phase"])
        return {"message": "new"}

    assert await reports.write_status(operator.context, NAMESPACE, "p-1", uid, render)
    written = operator.find_status("p-1")
    assert seen == ["Failed"]
    assert (written["phase"], written["message"], written["observedGeneration"]) == ("Failed", "new", 1)


async def test_a_successor_of_the_same_name_is_never_written(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """Its uid is another one; so is that of an object that is gone."""
    ask(cluster, pipeline="none")
    await operator.reach_phase("p-1", "Failed")
    before = operator.find_status("p-1")
    assert not await reports.write_status(operator.context, NAMESPACE, "p-1", "other", lambda old: {"message": "x"})
    assert not await reports.write_status(operator.context, NAMESPACE, "gone", "other", lambda old: {"message": "x"})
    assert operator.find_status("p-1") == before


async def test_a_successor_that_comes_between_read_and_write_is_never_written(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """The patch carries the uid: the API server refuses it."""
    uid = ask(cluster, pipeline="none")["metadata"]["uid"]
    await operator.reach_phase("p-1", "Failed")

    def replace(old: Any) -> status.Status:
        cluster.objects[objects.samply_profiles(NAMESPACE, "p-1")]["metadata"]["uid"] = "successor"
        return {"message": "x"}

    with pytest.raises(KubeConflict):
        await reports.write_status(operator.context, NAMESPACE, "p-1", uid, replace)


async def test_of_many_wanted_statuses_the_newest_is_written_at_last(
    operator: OperatorProcess, cluster: FakeCluster
) -> None:
    """However long the API server was away; older ones may be skipped."""
    uid = ask(cluster, pipeline="none")["metadata"]["uid"]
    await operator.reach_phase("p-1", "Failed")
    cluster.fault = fail(lambda verb, what: verb == "patch" and "/status" in what, KubeUnavailable("away"), 2)
    reporter = make_reporter(operator, "p-1", uid)
    for number in range(5):
        reporter.want(lambda old, number=number: {"message": str(number)})
    await reporter.flush()
    assert operator.find_status("p-1")["message"] == "4"


async def test_a_report_to_an_object_that_is_gone_ends(operator: OperatorProcess) -> None:
    """There is nothing to update."""
    reporter = make_reporter(operator, "gone", UID)
    reporter.want(lambda old: {"message": "x"})
    await reporter.flush()


async def test_a_final_status_is_not_overwritten(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """A reported end stays as it is."""
    uid = ask(cluster, pipeline="none")["metadata"]["uid"]
    await operator.reach_phase("p-1", "Failed")
    before = operator.find_status("p-1")
    render = reports.unless_ended(lambda old: {"message": "x"})
    assert not await reports.write_status(operator.context, NAMESPACE, "p-1", uid, render)
    assert operator.find_status("p-1") == before
    assert render({"phase": "Pending"}) == {"message": "x"}


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        pytest.param(KubeInvalid("422"), 1, id="what the schema refuses"),
        pytest.param(KubeForbidden("403"), reports.REFUSALS, id="a right that is missing"),
    ],
)
async def test_what_is_refused_for_good_is_given_up(
    operator: OperatorProcess, cluster: FakeCluster, quick: None, error: KubeError, tries: int
) -> None:
    """It is logged once, and retried only for a newer request: then the newest status is written."""
    uid = ask(cluster, pipeline="none")["metadata"]["uid"]
    await operator.reach_phase("p-1", "Failed")
    cluster.fault = fail(is_status, error)
    reporter = make_reporter(operator, "p-1", uid)
    before = sum(is_status(*call) for call in cluster.calls)
    reporter.want(lambda old: {"message": "1"})
    await reporter.flush()
    assert sum(is_status(*call) for call in cluster.calls) - before == tries
    assert not reporter.is_done
    reporter.want(lambda old: {"message": "2"})
    await reporter.flush()
    assert sum(is_status(*call) for call in cluster.calls) - before == tries + 1
    cluster.fault = lambda verb, what: None
    reporter.retry()
    await reporter.flush()
    assert reporter.is_done
    assert operator.find_status("p-1")["message"] == "2"
    reporter.retry()
    await reporter.flush()


async def test_waiting_for_a_report_is_bounded(
    operator: OperatorProcess, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It continues in the background."""
    monkeypatch.setattr(reports, "FLUSH_SECS", 0.1)
    uid = ask(cluster, pipeline="none")["metadata"]["uid"]
    await operator.reach_phase("p-1", "Failed")
    cluster.fault = fail(is_status, KubeUnavailable("away"))
    reporter = make_reporter(operator, "p-1", uid)
    reporter.want(lambda old: {"message": "x"})
    async with asyncio.timeout(1):
        await reporter.flush()
    cluster.fault = lambda verb, what: None
    await operator.reach(lambda: operator.find_status("p-1")["message"] == "x")


@pytest.mark.parametrize("error", [KubeInvalid("422"), KubeForbidden("403"), KubeUnavailable("503")])
async def test_a_status_that_is_refused_keeps_nothing_in_the_pod(
    operator: OperatorProcess, cluster: FakeCluster, quick: None, monkeypatch: pytest.MonkeyPatch, error: KubeError
) -> None:
    """The folder and the Lease are removed; the object is updated as soon as that is allowed."""
    monkeypatch.setattr(reports, "FLUSH_SECS", 0.5)
    add_pipeline(cluster)
    cluster.fault = fail(is_status, error)
    raw = ask(cluster)
    await operator.reach(lambda: raw["metadata"]["uid"] in operator.volume.list_ids())
    await operator.reach_rest()
    assert_nothing_left(operator)
    await operator.reach(lambda: not list(cluster.find("/leases/")))
    cluster.fault = lambda verb, what: None
    operator.engine.queue.put((NAMESPACE, "p-1"))
    assert await operator.reach_phase("p-1", "Succeeded")
    assert count_starts(cluster) == 1


async def test_an_unreported_end_does_not_restart_the_preflight(
    operator: OperatorProcess, cluster: FakeCluster, quick: None
) -> None:
    """A preflight leaves no manifest: its object stays Pending until the end can be written; nothing is repeated."""
    add_pipeline(cluster)
    cluster.fault = fail(is_status, KubeInvalid("422"))
    uid = ask(cluster, preflightOnly=True)["metadata"]["uid"]
    await operator.reach(lambda: count_preflights(cluster) == 1)
    await operator.reach_rest()
    for _ in range(3):
        await operator.engine.sweep()
        await operator.engine.reconcile((NAMESPACE, "p-1"))
    cluster.fault = lambda verb, what: None
    await operator.engine.sweep()
    assert (await operator.reach_phase("p-1", "Succeeded"))["phase"] == "Succeeded"
    assert count_preflights(cluster) == 1
    await operator.engine.sweep()
    assert operator.engine.runs.find_ended(uid) is None
