"""Which pods belong to a pipeline, and at which ordinal."""

from __future__ import annotations

from typing import Any

import pytest

from samply_operator.discovery.pipeline_index import PipelineIndex
from samply_operator.model import names
from samply_operator.model.pipeline import Pipeline, Pod, StatefulSet
from samply_operator.rules.discovery import locate
from samply_operator.settings import Targets
from support.samples import LABELS, make_pod, make_set

TARGETS = Targets()


def find_pipelines(pods: list[Pod], sets: list[StatefulSet], targets: Targets) -> tuple[Pipeline, ...]:
    """By namespace and name."""
    index = PipelineIndex(targets)
    for pod in pods:
        index.put_pod(pod)
    for each in sets:
        index.put_set(each)
    return tuple(index.pipelines[key] for key in sorted(index.pipelines))


@pytest.mark.parametrize("name", ["..", ".x", "a/b", "a b", "Ü", "x" * 101, "a\nb"])
def test_names_that_no_object_can_have_are_ignored(name: str) -> None:
    """No pipeline has such a name: the StatefulSet's name is used."""
    own = {names.PIPELINE: name}
    pod, stateful_set = make_pod("orders-0", annotations=own), make_set("orders", annotations=own)
    assert [found.name for found in find_pipelines([pod], [stateful_set], TARGETS)] == ["orders"]


@pytest.mark.parametrize(
    ("pod", "labels", "ordinal"),
    [
        pytest.param("pipeline-a-3", {}, 3, id="trailing number"),
        pytest.param("pipeline-a-3", {names.POD_INDEX: "5"}, 5, id="label wins"),
        pytest.param("pipeline-a-3", {names.POD_INDEX: ""}, 3, id="empty label"),
        pytest.param("pipeline-a-3", {names.POD_INDEX: "x"}, 3, id="label that is no number"),
        pytest.param("pipeline-a-3", {names.POD_INDEX: "-1"}, 3, id="negative label"),
        pytest.param("pipeline-a-3", {names.POD_INDEX: "²"}, 3, id="superscript"),
        pytest.param("pipeline-a-3", {names.POD_INDEX: "٣"}, 3, id="Arabic digit"),
        pytest.param(
            "pipeline-a-3", {names.POD_INDEX: str(2**31 - 1)}, 2**31 - 1, id="the highest that an object takes"
        ),
        pytest.param("pipeline-a-3", {names.POD_INDEX: str(2**31)}, None, id="higher"),
        pytest.param("pipeline-a-3", {names.POD_INDEX: "9" * 63}, None, id="more digits than any encoder takes"),
        pytest.param("pipeline-a", {}, None, id="no number"),
        pytest.param("pipeline7", {}, None, id="number without a dash"),
        pytest.param("pipeline-a-1234567890", {}, None, id="too long for an ordinal"),
        pytest.param("pipeline-a-012", {}, 12, id="leading zero"),
        pytest.param("pipeline-a-3\n", {}, 3, id="harmless: the API server allows no newline"),
    ],
)
def test_a_pods_ordinal_is(pod: str, labels: dict[str, str], ordinal: int | None) -> None:
    """The controller's label, else the number that the pod's name ends in, else unknown."""
    assert locate.find_ordinal(make_pod(pod, labels=labels)) == ordinal


def find_one(pods: list[str], *sets: tuple[str, int, int]) -> Pipeline:
    (found,) = find_pipelines(
        [make_pod(name, owner="pipeline-a", labels=LABELS | {names.PIPELINE: "a"}) for name in pods],
        [
            make_set(name, start=start, replicas=replicas, labels={names.PIPELINE: "a"})
            for name, start, replicas in sets
        ],
        TARGETS,
    )
    return found


@pytest.mark.parametrize(
    ("pods", "sets", "ordinals", "running"),
    [
        pytest.param(["a-0", "a-1"], [("a", 0, 2)], (0, 1), [0, 1], id="all there"),
        pytest.param(["a-1"], [("a", 0, 2)], (0, 1), [1], id="one pod missing"),
        pytest.param([], [("a", 0, 0)], (), [], id="scaled to 0"),
        pytest.param(["a-0"], [("a", 0, 0)], (), [0], id="scaled to 0, a pod still there"),
        pytest.param(["a-5"], [("a", 5, 2)], (5, 6), [5], id="ordinals that start at 5"),
        pytest.param(["a-0", "b-1"], [("a", 0, 1), ("b", 1, 1)], (0, 1), [0, 1], id="two sets, one pipeline"),
        pytest.param(["a-0"], [], (), [0], id="a pod without its set"),
    ],
)
def test_a_pipeline_has_the_ordinals_of_its_sets_and_the_pods_that_are(
    pods: list[str], sets: list[tuple[str, int, int]], ordinals: tuple[int, ...], running: list[int]
) -> None:
    """`ordinals` are those that should be, `pods` those that are."""
    found = find_one(pods, *sets)
    assert (found.ordinals, sorted(found.pods)) == (ordinals, running)
    assert found.is_running == bool(running)


@pytest.mark.parametrize("order", [1, -1], ids=["old first", "new first"])
def test_a_running_pod_takes_the_place_of_a_dead_one_of_the_same_ordinal(order: int) -> None:
    """In whatever order they are seen."""
    old = make_pod("old-0", owner="pipeline-a", phase="Failed")
    new = make_pod("new-0", owner="pipeline-a")
    (found,) = find_pipelines([old, new][::order], [], TARGETS)
    assert found.pods == {0: new}


def test_the_same_name_in_two_namespaces_is_two_pipelines_in_order() -> None:
    """Namespaces keep them apart."""
    pods = [make_pod(namespace="z"), make_pod(namespace="b")]
    assert [(p.namespace, p.name) for p in find_pipelines(pods, [], TARGETS)] == [("b", "a"), ("z", "a")]


@pytest.mark.parametrize(
    ("annotations", "by"),
    [
        ({}, ""),
        ({names.ENABLED: "true"}, ""),
        ({names.ENABLED: " True "}, ""),
        ({names.ENABLED: "false"}, "pipeline-a"),
        ({names.ENABLED: "no"}, "pipeline-a"),
        ({names.ENABLED: ""}, "pipeline-a"),
    ],
)
def test_a_set_can_switch_its_pipeline_off(annotations: dict[str, str], by: str) -> None:
    """Anything but a clear yes means no: the owner wants the pipeline left alone."""
    (found,) = find_pipelines([make_pod()], [make_set(annotations=annotations)], TARGETS)
    assert found.switched_off_by == by


@pytest.mark.parametrize(
    "changes",
    [{"template_labels": {}}, {"template_labels": {names.PIPELINE: "orders"}}],
    ids=["its template has no label", "its next pods are called something else"],
)
def test_the_pods_of_a_set_that_is_switched_off_are_so_whatever_their_labels(changes: dict[str, Any]) -> None:
    """A user who may label pods must not undo the decision of the set's owner."""
    off = make_set(annotations={names.ENABLED: "false"}, **changes)
    found = [p for p in find_pipelines([make_pod()], [off], TARGETS) if p.pods]
    assert [p.switched_off_by for p in found] == ["pipeline-a"]
