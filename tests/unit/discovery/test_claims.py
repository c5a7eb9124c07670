"""The annotation trigger, carried out: exactly one object for each ordinal, whatever is killed in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from samply_operator.discovery import claims
from samply_operator.discovery.claims import Claims, Kind
from samply_operator.errors import KubeDenied, KubeForbidden, KubeInvalid, KubeUnavailable
from samply_operator.kube import objects
from samply_operator.kube.events import EventSink
from samply_operator.model import names
from samply_operator.recorder.context import Context
from samply_operator.settings import Settings, Targets
from samply_operator.store.volume import Volume
from support.fake_cluster import FakeCluster
from support.operator_process import NAMESPACE
from support.samples import LABELS, REQUEST, make_pod, make_set

SET = objects.stateful_sets(NAMESPACE, "pipeline-a")
POD = objects.pods(NAMESPACE, "pipeline-a-1")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with FakeCluster(tmp_path) as cluster:
        yield cluster


def make_context(cluster: FakeCluster, tmp_path: Path, settings: Settings | None = None) -> Context:
    client: Any = cluster
    return Context(client, Volume(tmp_path), EventSink(client, "operator-0"), settings or Settings(), lambda: 0.0)


@pytest.fixture
def context(cluster: FakeCluster, tmp_path: Path) -> Context:
    return make_context(cluster, tmp_path)


def put_set(cluster: FakeCluster, replicas: int = 2, start: int = 0, labels: Any = LABELS, **annotations: str) -> None:
    cluster.put(
        SET,
        {
            "metadata": {"namespace": NAMESPACE, "name": "pipeline-a", "annotations": annotate(annotations)},
            "spec": {
                "replicas": replicas,
                "ordinals": {"start": start},
                "template": {"metadata": {"labels": labels}},
            },
        },
    )


def put_pod(cluster: FakeCluster, labels: Any = LABELS, **annotations: str) -> None:
    owner = {"kind": "StatefulSet", "name": "pipeline-a", "controller": True}
    meta = {"namespace": NAMESPACE, "name": "pipeline-a-1", "labels": labels, "ownerReferences": [owner]}
    cluster.put(POD, {"metadata": meta | {"annotations": annotate(annotations)}, "spec": {"containers": []}})


def annotate(short: dict[str, str]) -> dict[str, str]:
    known = {"trigger": names.TRIGGER, "claim": names.CLAIM, "refused": names.REFUSED}
    return {known.get(key, key): value for key, value in short.items()}


def annotations_of(cluster: FakeCluster, path: str) -> dict[str, str]:
    annotations: dict[str, str] = cluster.objects[path]["metadata"]["annotations"]
    return annotations


def find_made(cluster: FakeCluster) -> list[dict[str, Any]]:
    """The specs of the made objects, by ordinal."""
    return sorted((raw["spec"] for raw in cluster.find(f"/{names.PLURAL}/")), key=lambda spec: spec["ordinal"])


def find_events(cluster: FakeCluster) -> list[str]:
    return [raw["reason"] for raw in cluster.find("/events/")]


async def take(context: Context, kind: Kind = "StatefulSet") -> None:
    work = Claims(context.client, context.events, context.settings.targets, {})
    await work.take((kind, NAMESPACE, "pipeline-a" if kind == "StatefulSet" else "pipeline-a-1"))


async def test_a_trigger_on_a_set_makes_one_object_for_each_ordinal(cluster: FakeCluster, context: Context) -> None:
    """From its start on; then the annotation is gone, and an Event says what was made."""
    put_set(cluster, replicas=3, start=2, trigger="45s", other="kept")
    await take(context)
    assert find_made(cluster) == [{"pipeline": "a", "ordinal": n, "durationSeconds": 45} for n in (2, 3, 4)]
    assert annotations_of(cluster, SET) == {"other": "kept"}
    assert find_events(cluster) == ["ProfileRequested"]
    made = [raw["metadata"] for raw in cluster.find(f"/{names.PLURAL}/")]
    (request,) = {meta["labels"][names.REQUEST] for meta in made}
    assert {meta["name"] for meta in made} == {f"profile-{request.replace('-', '')[:16]}-{n}" for n in (2, 3, 4)}


async def test_a_trigger_on_a_pod_means_its_ordinal(cluster: FakeCluster, context: Context) -> None:
    """That one alone."""
    put_pod(cluster, trigger="2m")
    await take(context, "Pod")
    assert find_made(cluster) == [{"pipeline": "a", "ordinal": 1, "durationSeconds": 120}]
    assert annotations_of(cluster, POD) == {}


async def test_the_same_command_works_again(cluster: FakeCluster, context: Context) -> None:
    """The second time makes other objects."""
    for _ in range(2):
        put_pod(cluster, trigger="30s")
        await take(context, "Pod")
    assert len(find_made(cluster)) == 2


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "is not a duration"),
        ("abc", "is not a duration"),
        ("0s", "out of range"),
        ("-5", "is not a duration"),
        ("99999s", "out of range"),
        ("٣٠", "is not a duration"),
        ("x" * 100_000, "is not a duration"),
    ],
    ids=["empty", "letters", "zero", "negative", "too long", "Arabic digits", "endless"],
)
async def test_a_value_that_is_no_duration_is_refused_on_the_spot(
    cluster: FakeCluster, context: Context, value: str, said: str
) -> None:
    """The annotation turns into the reason, short enough for an annotation, and the same command works again."""
    put_set(cluster, trigger=value)
    await take(context)
    assert find_made(cluster) == []
    (refusal,) = annotations_of(cluster, SET).values()
    assert annotations_of(cluster, SET) == {names.REFUSED: refusal}
    assert refusal.startswith(f"{names.TRIGGER}: ")
    assert said in refusal
    assert len(refusal) < 400
    assert find_events(cluster) == ["ProfileRefused"]
    put_set(cluster, trigger="30s", refused=refusal)
    await take(context)
    assert len(find_made(cluster)) == 2
    assert annotations_of(cluster, SET) == {}


async def test_a_set_that_is_scaled_to_nothing_is_refused(cluster: FakeCluster, context: Context) -> None:
    """There is nothing to profile, and no object to say so."""
    put_set(cluster, replicas=0, trigger="30s")
    await take(context)
    assert "scaled to 0" in annotations_of(cluster, SET)[names.REFUSED]


async def test_a_claim_that_somebody_wrote_is_refused(cluster: FakeCluster, context: Context) -> None:
    """It never becomes a name."""
    put_set(cluster, claim="../x/30s")
    await take(context)
    assert list(annotations_of(cluster, SET)) == [names.REFUSED]
    assert find_made(cluster) == []


async def test_a_claim_of_a_killed_process_is_carried_out_under_the_same_names(
    cluster: FakeCluster, context: Context
) -> None:
    """What it had made already is not made again; a trigger that came meanwhile is taken next."""
    put_set(cluster, claim=f"{REQUEST}/30s", trigger="60s")
    await take(context)
    assert [spec["durationSeconds"] for spec in find_made(cluster)] == [30, 30]
    assert annotations_of(cluster, SET) == {names.TRIGGER: "60s"}
    await take(context)
    assert sorted(spec["durationSeconds"] for spec in find_made(cluster)) == [30, 30, 60, 60]


class Killed(BaseException):
    """The process ended here."""


VERBS = ("create", "patch")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
async def test_killed_at_any_call_there_is_one_object_for_each_ordinal(
    cluster: FakeCluster, context: Context, count: int, when: str
) -> None:
    """Before the call reached the API server, and after it did but before its answer came."""
    put_set(cluster, replicas=2, trigger="30s")
    left = count

    def kill(verb: str, what: str) -> BaseException | None:
        nonlocal left
        if verb in {name if when == "before" else f"{name} done" for name in VERBS}:
            left -= 1
            return Killed() if left <= 0 else None
        return None

    cluster.fault = kill
    with pytest.raises(Killed):
        await take(context)
    cluster.fault = lambda verb, what: None
    for _ in range(2):
        await take(context)
    assert [spec["ordinal"] for spec in find_made(cluster)] == [0, 1]
    assert annotations_of(cluster, SET) == {}
    (request,) = {raw["metadata"]["labels"][names.REQUEST] for raw in cluster.find(f"/{names.PLURAL}/")}
    assert request


async def test_of_two_operators_one_takes_the_trigger(cluster: FakeCluster, context: Context) -> None:
    """Both see it; the JSON patch with its test lets one through."""
    put_set(cluster, replicas=3, trigger="30s")
    await asyncio.gather(*(take(context) for _ in range(5)))
    assert [spec["ordinal"] for spec in find_made(cluster)] == [0, 1, 2]
    assert annotations_of(cluster, SET) == {}


async def test_trouble_with_the_api_server_is_handed_on_and_nothing_is_lost(
    cluster: FakeCluster, context: Context
) -> None:
    """The queue retries it."""
    put_set(cluster, trigger="30s")
    cluster.fault = lambda verb, what: KubeUnavailable("away") if verb == "create" and names.PLURAL in what else None
    with pytest.raises(KubeUnavailable):
        await take(context)
    cluster.fault = lambda verb, what: None
    await take(context)
    assert len(find_made(cluster)) == 2


async def test_a_concurrently_removed_refusal_does_not_block_the_release(
    cluster: FakeCluster, context: Context
) -> None:
    """A user removed it in between."""
    put_set(cluster, trigger="30s", refused="older")

    def tidy(verb: str, what: str) -> None:
        if verb == "create" and names.PLURAL in what:
            cluster.objects[SET]["metadata"]["annotations"].pop(names.REFUSED, None)

    cluster.fault = tidy
    await take(context)
    await take(context)
    assert annotations_of(cluster, SET) == {}
    assert len(find_made(cluster)) == 2


@pytest.mark.parametrize("kind", ["StatefulSet", "Pod"])
async def test_what_is_no_pipeline_is_left_as_it_is(cluster: FakeCluster, context: Context, kind: Kind) -> None:
    """Other people's objects are never written to."""
    other = {"app.kubernetes.io/name": "postgres"}
    put_set(cluster, labels=other, trigger="30s")
    put_pod(cluster, labels=other, trigger="30s")
    await take(context, kind)
    assert annotations_of(cluster, SET) == annotations_of(cluster, POD) == {names.TRIGGER: "30s"}
    assert find_made(cluster) == []


@pytest.mark.parametrize("kind", ["StatefulSet", "Pod"])
async def test_a_deleted_object_or_trigger_is_ignored(cluster: FakeCluster, context: Context, kind: Kind) -> None:
    """Events arrive late."""
    await take(context, kind)
    put_set(cluster)
    put_pod(cluster)
    await take(context, kind)
    assert find_made(cluster) == []


async def test_the_pipelines_name_is_found_as_everywhere(cluster: FakeCluster, tmp_path: Path) -> None:
    """By the configured label too."""
    context = make_context(cluster, tmp_path, Settings(targets=Targets(name_label="team/pipe")))
    put_pod(cluster, labels=LABELS | {"team/pipe": "Orders_v2"}, trigger="30s")
    await take(context, "Pod")
    assert [spec["pipeline"] for spec in find_made(cluster)] == ["Orders_v2"]


@pytest.mark.parametrize(
    ("annotations", "has"),
    [({}, False), ({names.TRIGGER: ""}, True), ({names.CLAIM: "x"}, True), ({names.REFUSED: "x"}, False)],
)
async def test_a_trigger_is_seen(context: Context, annotations: dict[str, str], has: bool) -> None:
    """An empty one too, so that it is refused rather than overlooked."""
    work = Claims(context.client, context.events, context.settings.targets, {})
    work.see(make_pod(annotations=annotations))
    work.see(make_set(annotations=annotations))
    assert work.queue.length == 2 * has


def refuse(error: Exception, *ordinals: int) -> Callable[[str, str], Exception | None]:
    """As admission does, for some of the objects."""
    left = list(ordinals)

    def fault(verb: str, what: str) -> Exception | None:
        if verb != "create" or not what.endswith(names.PLURAL):
            return None
        return error if left.pop(0) else None

    return fault


QUOTA = 'samplyprofiles "x" is forbidden: exceeded quota: few, requested: 1, used: 1, limited: 1'
LASTING = [
    pytest.param(KubeDenied(QUOTA), "raise the ResourceQuota", id="quota"),
    pytest.param(KubeDenied('admission webhook "no.example.com" denied the request: no'), "webhook", id="webhook"),
    pytest.param(KubeDenied("ValidatingAdmissionPolicy 'p' denied request: no"), "policy", id="policy"),
    pytest.param(KubeInvalid('SamplyProfile "x" is invalid: spec.pipeline: Too long'), "Correct the value", id="name"),
]


@pytest.mark.parametrize(("error", "cure"), LASTING)
async def test_a_permanent_refusal_by_the_cluster_is_reported_like_a_bad_value(
    context: Context, cluster: FakeCluster, error: Exception, cure: str
) -> None:
    """The other ordinals are recorded; reason and remedy are in the annotation and in an Event."""
    put_set(cluster, replicas=3, **{names.TRIGGER: "30s"})
    cluster.fault = refuse(error, False, True, False)
    await take(context)
    assert len(list(cluster.find(f"/{names.PLURAL}/profile"))) == 2
    annotations = cluster.objects[SET]["metadata"]["annotations"]
    assert list(annotations) == [names.REFUSED]
    assert "ordinal 1: " in annotations[names.REFUSED]
    assert cure in annotations[names.REFUSED]
    events = {raw["reason"]: raw["message"] for raw in cluster.find("/events/")}
    assert set(events) == {"ProfileRequested", "ProfileRefused"}
    assert cure in events["ProfileRefused"]


async def test_an_ordinal_is_recorded_once_whatever_is_refused_or_deleted_meanwhile(
    context: Context, cluster: FakeCluster
) -> None:
    """Its object had ended and was deleted before the claim could be carried out for the others."""
    put_set(cluster, replicas=2, **{names.TRIGGER: "30s"})
    cluster.fault = refuse(KubeUnavailable("away"), False, True)
    with pytest.raises(KubeUnavailable):
        await take(context)
    (first,) = [path for path in cluster.objects if f"/{names.PLURAL}/" in path]
    assert cluster.objects[SET]["metadata"]["annotations"][names.CLAIM].endswith("/30s#0")
    cluster.remove(first)
    cluster.fault = lambda verb, what: None
    await take(context)
    assert [path[-1] for path in cluster.objects if f"/{names.PLURAL}/" in path] == ["1"]
    assert not cluster.objects[SET]["metadata"]["annotations"]


async def test_a_policy_that_refuses_the_change_is_told_once(context: Context, cluster: FakeCluster) -> None:
    """On the object, as users see no log of the operator; it is tried again."""
    put_set(cluster, replicas=1, **{names.TRIGGER: "30s"})
    denied = KubeDenied("PATCH …: 422 policy 'p' denied request: no robots", remedy="Exempt it.")
    cluster.fault = lambda verb, what: denied if verb == "patch" else None
    work = Claims(context.client, context.events, context.settings.targets, {})
    for _ in range(2):
        with pytest.raises(KubeDenied):
            await work.take(("StatefulSet", NAMESPACE, "pipeline-a"))
    (said,) = [raw["message"] for raw in cluster.find("/events/") if "no robots. Exempt it." in raw["message"]]
    assert said.startswith(f"{names.TRIGGER}, which is tried again: ")
    cluster.fault = lambda verb, what: None
    await work.take(("StatefulSet", NAMESPACE, "pipeline-a"))
    assert not cluster.objects[SET]["metadata"]["annotations"]


async def test_a_right_that_is_missing_is_waited_for_and_then_refused(
    context: Context, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Role that was just made takes a moment to act."""
    put_set(cluster, replicas=1, **{names.TRIGGER: "30s"})
    lack = KubeForbidden('forbidden: User "operator" cannot create resource "samplyprofiles"', remedy="Grant it.")
    cluster.fault = lambda verb, what: lack if verb == "create" and what.endswith(names.PLURAL) else None
    work = Claims(context.client, context.events, context.settings.targets, {})
    with pytest.raises(KubeForbidden):
        await work.take(("StatefulSet", NAMESPACE, "pipeline-a"))
    monkeypatch.setattr(claims, "RIGHTS_SECS", 0)
    await work.take(("StatefulSet", NAMESPACE, "pipeline-a"))
    assert "Grant it." in cluster.objects[SET]["metadata"]["annotations"][names.REFUSED]
