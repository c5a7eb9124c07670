"""`kubectl annotate`: one profile per ordinal and command, whatever the value, and whatever is killed in between."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cluster import pipelines, profiles
from cluster.pipelines import Pipeline
from cluster.release import Install, Service
from samply_operator.model import names
from samply_operator.rules.discovery import triggers
from support import kubectl

pytestmark = pytest.mark.cluster

ACCEPTED = "whole seconds or minutes from 1s to 3600s"


def wait_new(pipeline: Pipeline, known: set[str], count: int) -> list[profiles.Object]:
    """`count` objects that weren't there before."""
    found: list[profiles.Object] = []

    def look() -> bool:
        found[:] = [item for item in profiles.find(pipeline) if profiles.uid_of(item) not in known]
        return len(found) >= count

    kubectl.poll(look, timeout=20, what=lambda: f"{count} new objects of {pipeline.name}, there are {len(found)}")
    return found


def uids(pipeline: Pipeline) -> set[str]:
    return {profiles.uid_of(item) for item in profiles.find(pipeline)}


def take(pipeline: Pipeline, trigger: Callable[[], None], kind: str, ordinals: list[int]) -> None:
    """Trigger, and see each ordinal recorded, exactly once, and nothing of ours left on the object."""
    known = uids(pipeline)
    trigger()
    for item in wait_new(pipeline, known, len(ordinals)):
        profiles.wait_succeeded(pipeline, profiles.name_of(item))
    made = [item for item in profiles.find(pipeline) if profiles.uid_of(item) not in known]
    assert [item["spec"]["ordinal"] for item in made] == ordinals
    assert len({item["metadata"]["labels"][names.REQUEST] for item in made}) == 1
    assert [item["spec"]["durationSeconds"] for item in made] == [3] * len(ordinals)
    kubectl.poll(
        lambda: not set(pipeline.annotations(kind, ordinals[0])) & {names.TRIGGER, names.CLAIM, names.REFUSED},
        timeout=5,
        what="the annotations are gone",
    )


def test_a_pod_gives_one_profile_of_its_ordinal(pipeline: Pipeline) -> None:
    """Annotating a Pod gives exactly one, of its ordinal; annotation and claim are removed, an Event reports it."""
    take(pipeline, lambda: pipeline.annotate_pod(1, "3s"), "pod", [1])
    message = profiles.wait_event(pipeline.namespace, pipeline.pod(1), "ProfileRequested")
    assert message.startswith("1 profile of 3 s requested")


def test_a_stateful_set_gives_one_profile_per_ordinal_and_the_same_command_works_again(pipeline: Pipeline) -> None:
    """Annotating a StatefulSet gives one profile for each ordinal; typing the same line again gives them again."""
    for _ in range(2):
        take(pipeline, lambda: pipeline.annotate_set("3s"), "statefulset", [0, 1])


@pytest.mark.parametrize("value", ["", "99999s"], ids=["empty", "99999s"])
def test_a_value_that_means_nothing_is_refused(value: str, pipeline: Pipeline) -> None:
    """The annotation turns into a refusal that lists accepted values, as does an Event; nothing is recorded."""
    known = uids(pipeline)
    pipeline.annotate_pod(0, value)
    refused = kubectl.poll(
        lambda: repr(value) in (found := pipeline.annotations("pod", 0)).get(names.REFUSED, "") and found,
        timeout=15,
        what=f"{value!r} is refused",
    )
    assert set(refused) & {names.TRIGGER, names.CLAIM} == set()
    assert ACCEPTED in refused[names.REFUSED]
    kubectl.poll(
        lambda: refused[names.REFUSED] in profiles.find_events(pipeline.namespace, pipeline.pod(0), "ProfileRefused"),
        timeout=15,
        what="the Event that says the same",
    )
    assert uids(pipeline) == known


@pytest.mark.parametrize(
    ("value", "seconds"), [pytest.param("30", 30, marks=pytest.mark.slow), pytest.param("2m", 120)]
)
def test_other_duration_formats_and_a_withdrawn_trigger(
    value: str, seconds: int, pipeline: Pipeline, service: Service
) -> None:
    """`30` and `2m` are durations and clear an older refusal; deleting the object cancels: nothing is kept."""
    known = uids(pipeline)
    pipeline.annotate_pod(0, value)
    (item,) = wait_new(pipeline, known, 1)
    assert item["spec"]["durationSeconds"] == seconds
    profiles.wait(pipeline, profiles.name_of(item), "Recording")
    assert pipeline.annotations("pod", 0) == {}
    profiles.delete(pipeline, profiles.name_of(item))
    pipeline.wait_untouched(0)
    assert service.stored(pipeline.name, profiles.uid_of(item)).problem()[:2] == (404, "UnknownProfile")
    assert uids(pipeline) == known


def test_a_set_without_pods_is_refused(install: Install) -> None:
    """A StatefulSet scaled to 0 has nothing to profile, and this is reported."""
    empty = pipelines.start(install.namespace, "trigger-empty", replicas=0)
    empty.annotate_set("3s")
    message = profiles.wait_event(empty.namespace, empty.stateful_set, "ProfileRefused")
    assert "is scaled to 0" in message
    assert profiles.find(empty) == []


# ------------------------------------------------------------------------------------------ killed in between


@pytest.fixture(scope="module")
def interrupted(install: Install, pipeline: Pipeline) -> Iterator[dict[str, Pipeline]]:
    """Three pipelines, each as an operator leaves it that is killed at another instant; then the operator is back."""
    found = {
        "trigger": pipeline,
        "claim": pipelines.start(install.namespace, "claimed"),
        "object": pipelines.start(install.namespace, "half-made"),
    }
    for each in found.values():
        each.wait_ready()
    install.scale(0)
    for item in profiles.find(pipeline):
        profiles.delete(pipeline, profiles.name_of(item))
    pipeline.annotate_set("3s")
    claim(found["claim"])
    make_claimed(found["object"], claim(found["object"]), 0)
    install.scale(1)
    yield found
    found["claim"].delete()
    found["object"].delete()


def claim(pipeline: Pipeline) -> str:
    """The claim as the operator writes it; its request."""
    request = str(uuid.uuid4())
    pipeline.annotate_set(triggers.render_claim(request, "3s"), names.CLAIM)
    return request


def make_claimed(pipeline: Pipeline, request: str, ordinal: int) -> None:
    """The object as the operator makes it for this claim."""
    body: dict[str, Any] = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": triggers.build_name(request, ordinal), "labels": {names.REQUEST: request}},
        "spec": {"pipeline": pipeline.name, "ordinal": ordinal, "durationSeconds": 3},
    }
    kubectl.succeed("-n", pipeline.namespace, "create", "-f", "-", body=body)


@pytest.mark.slow
@pytest.mark.parametrize("instant", ["trigger", "claim", "object"])
def test_killed_before_it_was_done(instant: str, interrupted: dict[str, Pipeline], install: Install) -> None:
    """Killed with the trigger seen, with the claim made, or with half of the objects made: one profile per ordinal."""
    pipeline = interrupted[instant]
    for item in wait_new(pipeline, set(), 2):
        profiles.wait_succeeded(pipeline, profiles.name_of(item))
    kubectl.poll(lambda: not pipeline.annotations("statefulset"), timeout=10, what="the claim is gone")
    assert [item["spec"]["ordinal"] for item in profiles.find(pipeline)] == [0, 1]
    for ordinal in range(2):
        pipeline.wait_untouched(ordinal)


def test_killed_before_the_claim_was_released(install: Install, pipeline: Pipeline) -> None:
    """All objects of a claim exist and have ended, only the claim is left: it is removed, and nothing is recorded."""
    known = uids(pipeline)
    done = profiles.make(pipeline, ordinal=1)
    request = str(uuid.uuid4())
    make_claimed(pipeline, request, 0)
    profiles.wait_succeeded(pipeline, done)
    profiles.wait_succeeded(pipeline, triggers.build_name(request, 0))
    pipeline.annotate_pod(0, triggers.render_claim(request, "3s"), names.CLAIM)
    kubectl.poll(lambda: not pipeline.annotations("pod", 0), timeout=10, what="the claim is gone")
    assert len(uids(pipeline) - known) == 2


def test_a_claim_written_by_hand_is_refused(pipeline: Pipeline) -> None:
    """The claim is the operator's own: what isn't one is refused with the annotation that was meant."""
    known = uids(pipeline)
    pipeline.annotate_pod(1, "30s", names.CLAIM)
    refused = kubectl.poll(
        lambda: pipeline.annotations("pod", 1).get(names.REFUSED), timeout=10, what="the claim is refused"
    )
    assert f"Set {names.TRIGGER} instead" in refused
    assert uids(pipeline) == known
