"""Restrictions of the node are found before samply starts, and reported with a remedy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster import pipelines, profiles
from cluster.node import Node
from cluster.pipelines import Pipeline
from cluster.release import Install

pytestmark = [pytest.mark.cluster, pytest.mark.serial]


@pytest.fixture
def paranoid_2(node: Node) -> Iterator[None]:
    """For the whole machine, and so for a moment only."""
    if not node.is_native():
        pytest.skip("the node isn't the tests' own: kernel.perf_event_paranoid belongs to the machine")
    before = node.read_paranoid()
    node.write_paranoid("2")
    try:
        yield
    finally:
        node.write_paranoid(before)


@pytest.mark.usefixtures("paranoid_2")
def test_paranoid_2(pipeline: Pipeline) -> None:
    """samply 0.13.1 fails at perf_event_paranoid 2: reported before it is tried, with the sysctl that helps."""
    failure = profiles.wait_failed(pipeline, profiles.make(pipeline), "PerfEventParanoid", timeout=20)
    assert "kernel.perf_event_paranoid is 2 on the node" in failure["message"]
    assert "sysctl kernel.perf_event_paranoid=1" in failure["remedy"]


@pytest.mark.parametrize(
    ("name", "capabilities", "reason", "remedy"),
    [
        ("no-lock", ["PERFMON"], "LockedMemory", "Add the IPC_LOCK capability"),
        ("no-perfmon", ["IPC_LOCK"], "PerfNotPermitted", "Add the PERFMON capability"),
    ],
)
def test_a_capability_is_missing(
    name: str, capabilities: list[str], reason: str, remedy: str, install: Install
) -> None:
    """Without IPC_LOCK or PERFMON: which one is missing, and no process was touched for it; Event and line say so."""
    target = pipelines.start(
        install.namespace, name, replicas=1, capabilities=capabilities, seccomp="RuntimeDefault", load="1"
    )
    target.wait_ready()
    try:
        made = profiles.make(target)
        failure = profiles.wait_failed(target, made, reason, timeout=30)
        assert remedy in failure["remedy"]
        assert failure["message"] in profiles.wait_event(target.namespace, target.pod(), reason)
        target.wait_untouched()
    finally:
        target.delete()
