"""Half an hour of recordings, kills and changing namespaces: memory, tasks and open files do not grow.

SAMPLY_SOAK_MINUTES shortens it. The first third warms up, and holds the kills of the release's own containers, since a
killed process begins anew; what the last third takes is compared with what the second one took.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from cluster import pipelines, profiles, release
from cluster.node import Node
from cluster.pipelines import Pipeline
from cluster.release import Install
from cluster.rights import Rights
from support import kubectl

MINUTES = float(os.environ.get("SAMPLY_SOAK_MINUTES", "30"))
pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(60 * MINUTES + 600)]

OPERATOR, API = "samply_operator_process", "process"
WATCHED = {
    f"{OPERATOR}_resident_memory_bytes": 12 * 1024 * 1024,
    f"{OPERATOR}_open_fds": 6,
    "samply_operator_tasks": 6,
    f"{API}_resident_memory_bytes": 12 * 1024 * 1024,
    f"{API}_open_fds": 10,
}
"""By how much the last third's median may lie above the second third's. A process that leaks on each recording is far
above that: there are hundreds."""
CONFIG = {
    "recording": {"mode": "InPlace", "minCoverage": 0},
    "retention": {"maxPerOrdinal": 3, "maxFailuresPerOrdinal": 2, "objectTtlSecs": 20},
}


@dataclass
class Soak:
    install: Install
    node: Node
    steady: Pipeline
    shaky: Pipeline
    began: float = field(default_factory=time.monotonic)
    seen: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Of the time that has passed."""
        return (time.monotonic() - self.began) / (60 * MINUTES)

    def count(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1

    def look(self) -> None:
        self.seen.append((self.share, self.install.read_metrics()))


@pytest.fixture
def soak() -> Iterator[Soak]:
    with (
        release.fresh_namespace("soak-steady") as steady,
        release.fresh_namespace("soak-shaky") as shaky,
        release.installed("soak", config=CONFIG | {"targets": {"namespaces": [steady, shaky]}}) as install,
    ):
        node = Node(install.namespace)
        node.start()
        started = [pipelines.start(namespace, "demo") for namespace in (steady, shaky)]
        for pipeline in started:
            pipeline.wait_ready()
        yield Soak(install, node, *started)


def record_by_object(soak: Soak) -> None:
    name = profiles.make(soak.steady, durationSeconds=1)
    profiles.wait_succeeded(soak.steady, name)
    profiles.delete(soak.steady, name)


def record_by_annotation(soak: Soak) -> None:
    known = {profiles.uid_of(item) for item in profiles.find(soak.steady)}
    soak.steady.annotate_set("1s")

    def list_new() -> list[profiles.Object]:
        return [item for item in profiles.find(soak.steady) if profiles.uid_of(item) not in known]

    kubectl.poll(lambda: len(list_new()) == 2, timeout=30, what=lambda: f"two new objects, there are {list_new()}")
    for item in list_new():
        profiles.wait_succeeded(soak.steady, profiles.name_of(item))


def record_over_http(soak: Soak) -> None:
    where = f"?namespace={soak.steady.namespace}&ordinal=1"
    with soak.install.open() as service:
        answer = service.profile(soak.steady.name, f"{where}&duration_secs=1", method="POST")
        assert answer.status == 202, answer
        ended = kubectl.poll(
            lambda: (got := service.profile(soak.steady.name, f"{where}&latest=true")).status != 204 and got,
            timeout=60,
            what="the profile is stored",
        )
        assert ended.status == 200, ended


def cancel(soak: Soak) -> None:
    name = profiles.make(soak.steady, durationSeconds=60)
    profiles.wait(soak.steady, name, "Recording", timeout=30)
    profiles.delete(soak.steady, name)
    soak.steady.wait_untouched()


def kill_a_pipeline(soak: Soak) -> None:
    """In the middle of a recording: it fails, with a word about it."""
    name = profiles.make(soak.steady, ordinal=1, durationSeconds=60)
    profiles.wait(soak.steady, name, "Recording", timeout=30)
    kubectl.succeed("-n", soak.steady.namespace, "delete", "pod", soak.steady.pod(1), "--wait=false")
    profiles.wait_failed(soak.steady, name, "PodDeleted")
    soak.steady.wait_ready()


def take_rights(soak: Soak) -> None:
    rights = Rights.read(soak.install, soak.shaky.namespace)
    rights.take()
    record_by_object(soak)
    rights.give_back()
    profiles.wait_succeeded(soak.shaky, profiles.make(soak.shaky, durationSeconds=1))


def make_namespace_again(soak: Soak) -> None:
    rights = Rights.read(soak.install, soak.shaky.namespace)
    kubectl.succeed("delete", "namespace", soak.shaky.namespace, "--timeout=100s")
    kubectl.succeed("create", "namespace", soak.shaky.namespace)
    rights.give_back()
    pipelines.start(soak.shaky.namespace, soak.shaky.name).wait_ready()
    profiles.wait_succeeded(soak.shaky, profiles.make(soak.shaky, durationSeconds=1))


def kill_containers(soak: Soak) -> None:
    """Both of the release's, while one records: the next ones go on with it."""
    name = profiles.make(soak.steady, durationSeconds=5)
    profiles.wait(soak.steady, name, "Recording", timeout=30)
    before = {kind: soak.install.container(kind) for kind in ("operator", "api")}
    for status in before.values():
        soak.node.signal(status["containerID"], "KILL")
    for kind, status in before.items():
        kubectl.poll(
            lambda kind=kind, status=status: (
                (now := soak.install.container(kind))["ready"] and now["restartCount"] > status["restartCount"]
            ),
            timeout=90,
            what=f"{kind} is back",
        )
    profiles.wait_succeeded(soak.steady, name)


Step = Callable[[Soak], None]
USUAL: tuple[Step, ...] = (record_by_object, record_by_annotation, record_over_http, cancel)
ROUND: tuple[Step, ...] = (*USUAL, take_rights, *USUAL, kill_a_pipeline, *USUAL, make_namespace_again)


def test_half_an_hour_of_everything_leaves_nothing_behind(soak: Soak) -> None:
    kill_containers(soak)
    for step in itertools.cycle(ROUND):
        if soak.share >= 1:
            break
        step(soak)
        soak.count(step.__name__)
        if soak.share < 1 / 3 and soak.done.get("kill_containers", 0) < soak.done.get("make_namespace_again", 0):
            kill_containers(soak)
            soak.count("kill_containers")
        soak.look()
    soak.steady.wait_ready()
    for ordinal in range(2):
        soak.steady.wait_untouched(ordinal)
    print(json.dumps({"steps": soak.done, "last": pick(soak.seen[-1][1])}, indent=1))
    grown = {key: found for key, limit in WATCHED.items() if (found := compare(soak.seen, key))[1] - found[0] > limit}
    assert not grown, f"what grew, from the second third to the last one: {grown}"


def pick(numbers: dict[str, float]) -> dict[str, float]:
    return {key: numbers[key] for key in WATCHED}


def compare(seen: list[tuple[float, dict[str, float]]], key: str) -> tuple[float, float]:
    """Medians of the second third and of the last one."""
    second = [numbers[key] for share, numbers in seen if 1 / 3 <= share < 2 / 3]
    last = [numbers[key] for share, numbers in seen if share >= 2 / 3]
    return statistics.median(second), statistics.median(last)
