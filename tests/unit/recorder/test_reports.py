"""What the object is told: the newest status, at last; never a successor of the same name."""

from __future__ import annotations

from typing import Any

import pytest

from samply_operator.errors import KubeConflict, KubeUnavailable
from samply_operator.kube import objects
from samply_operator.recorder import reports
from samply_operator.rules import status
from support.fake_cluster import FakeCluster
from support.operator_process import NAMESPACE, OperatorProcess, ask

from .test_trouble import fail


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


async def test_a_successor_of_the_same_name_is_never_told(operator: OperatorProcess, cluster: FakeCluster) -> None:
    """Its uid is another one; so is that of an object that is gone."""
    ask(cluster, pipeline="none")
    await operator.reach_phase("p-1", "Failed")
    before = operator.find_status("p-1")
    assert not await reports.write_status(operator.context, NAMESPACE, "p-1", "other", lambda old: {"message": "x"})
    assert not await reports.write_status(operator.context, NAMESPACE, "gone", "other", lambda old: {"message": "x"})
    assert operator.find_status("p-1") == before


async def test_a_successor_that_comes_between_read_and_write_is_never_told(
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
    reporter = reports.Reporter(operator.context, NAMESPACE, "p-1", uid)
    for number in range(5):
        reporter.want(lambda old, number=number: {"message": str(number)})
    await reporter.flush()
    assert operator.find_status("p-1")["message"] == "4"


async def test_a_report_to_an_object_that_is_gone_ends(operator: OperatorProcess) -> None:
    """There is nobody to be told."""
    reporter = reports.Reporter(operator.context, NAMESPACE, "gone", "uid")
    reporter.want(lambda old: {"message": "x"})
    await reporter.flush()
