"""Requests on unwatched objects are reported in an Event and in the log, with the selector that would match."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from samply_operator.discovery.changes import Changes
from samply_operator.discovery.unwatched_sweep import UnwatchedSweep
from samply_operator.discovery.world import World
from samply_operator.errors import KubeForbidden
from samply_operator.kube.client import ObjectList
from samply_operator.model import names
from samply_operator.model.pipeline import Pod, StatefulSet
from samply_operator.rules.discovery.selectors import is_selected
from samply_operator.settings import Targets
from support.fake_feldera import make_pipeline_id
from support.samples import LABELS, make_pod, make_set

ASKED = {names.TRIGGER: "30s"}
FELDERAS = f"pipeline-{make_pipeline_id(1)}"


class Cluster:
    """Lists, and a sink of Events."""

    def __init__(self) -> None:
        self.sets: list[StatefulSet] = []
        self.pods: list[Pod] = []
        self.error: Exception | None = None
        self.listed: list[str] = []
        self.published: list[tuple[str, str, str]] = []
        """(kind, name, message)"""

    async def list_objects(self, path: str, parse: Any, *, label_selector: str) -> ObjectList[Any]:
        if self.error is not None:
            raise self.error
        listed: list[Any] = [*(self.sets if path.endswith("statefulsets") else self.pods)]
        found = [each for each in listed if is_selected([label_selector], each.labels)]
        self.listed += [each.name for each in found]
        return ObjectList(found, [], "1")

    async def publish(self, about: Mapping[str, str], kind: str, reason: str, message: str) -> None:
        assert (kind, reason) == ("Warning", "NotWatched")
        self.published.append((about["kind"], about["name"], message))


class Swept:
    """A sweep over a cluster, of which nothing is watched yet."""

    def __init__(self, targets: Targets) -> None:
        self.cluster = Cluster()
        self.world = World(targets, Changes())
        self.carriers: list[str] = []
        self.sweep = UnwatchedSweep(
            self.cluster,  # type: ignore[arg-type]
            self.cluster,  # type: ignore[arg-type]
            targets,
            self.world,
            ("prod",),
            lambda found: self.carriers.append(found.name),
        )


@pytest.fixture
def swept() -> Swept:
    return Swept(Targets())


async def test_an_annotated_set_that_is_not_watched_gets_an_event(swept: Swept) -> None:
    """Once, with the selector that would match."""
    labels = {"app.kubernetes.io/name": "db", "pod-template": "x"}
    swept.cluster.sets = [make_set("db", labels={}, template_labels=labels, annotations=ASKED)]
    for _ in range(3):
        await swept.sweep.sweep()
    ((kind, name, message),) = swept.cluster.published
    assert (kind, name) == ("StatefulSet", "db")
    assert '"app.kubernetes.io/name=db"' in message
    assert "config.targets.podSelector" in message


async def test_an_annotated_pod_that_is_not_watched_gets_an_event(swept: Swept) -> None:
    swept.cluster.pods = [make_pod("x-0", labels={"app": "x"}, annotations=ASKED), make_pod("y-0", labels={})]
    await swept.sweep.sweep()
    assert [each[:2] for each in swept.cluster.published] == [("Pod", "x-0")]


async def test_what_is_watched_is_not_listed_again(swept: Swept) -> None:
    """Thousands of pods, every few seconds."""
    swept.cluster.pods = [make_pod("orders-0", labels=LABELS), make_pod("x-0", labels={"app": "x"}, annotations=ASKED)]
    swept.cluster.sets = [make_set("orders", labels=LABELS), make_set("db", labels={}, template_labels=LABELS)]
    await swept.sweep.sweep()
    assert swept.cluster.listed == ["db", "x-0"]


async def test_unrelated_objects_get_no_events(swept: Swept) -> None:
    """Without an annotation there is no Event, whatever the object looks like."""
    swept.cluster.sets = [
        make_set(FELDERAS, labels={}, template_labels={}),
        make_set("db", labels={}, template_labels={"app": "db"}),
    ]
    swept.cluster.pods = [make_pod("z-0", labels={}), make_pod(annotations=ASKED)]
    await swept.sweep.sweep()
    assert swept.cluster.published == []


async def test_a_set_whose_template_alone_is_selected_is_brought_in(swept: Swept) -> None:
    """And is removed with it: the watch selects StatefulSets by their own labels."""
    swept.cluster.sets = [make_set("pipeline-a", labels={}, template_labels=LABELS, replicas=2, annotations=ASKED)]
    await swept.sweep.sweep()
    assert swept.world.pipelines["prod", "a"].ordinals == (0, 1)
    assert swept.carriers == ["pipeline-a"]
    assert swept.cluster.published == []
    swept.cluster.sets = []
    await swept.sweep.sweep()
    assert swept.world.pipelines == {}


async def test_that_nothing_matches_is_logged_once(swept: Swept, caplog: pytest.LogCaptureFixture) -> None:
    """With what may be pipelines."""
    swept.cluster.sets = [
        make_set(FELDERAS, labels={}, template_labels={"feldera.com/pipeline-id": FELDERAS, "app": "a"})
    ]
    swept.world.cover("prod")
    for _ in range(2):
        await swept.sweep.sweep()
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert FELDERAS in record.getMessage()
    assert '"app=a"' in record.getMessage()


async def test_what_matches_is_not_logged(swept: Swept, caplog: pytest.LogCaptureFixture) -> None:
    swept.world.see_pod(make_pod())
    swept.world.cover("prod")
    await swept.sweep.sweep()
    assert caplog.records == []


async def test_a_namespace_that_may_not_be_listed_ends_nothing(swept: Swept) -> None:
    swept.cluster.error = KubeForbidden("LIST: 403")
    await swept.sweep.sweep()
    assert swept.cluster.published == []
