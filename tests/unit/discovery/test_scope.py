"""What is watched: complete lists and watches over a real connection; rights that are revoked and restored; namespaces
selected by labels. kopf's part has its own tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import kopf
import pytest

from samply_operator.activity import Activity
from samply_operator.discovery import reflector, scope
from samply_operator.discovery.changes import Changes
from samply_operator.discovery.scope import Listener, ScopeContext
from samply_operator.discovery.watcher import Watcher
from samply_operator.discovery.world import World
from samply_operator.kube import objects
from samply_operator.kube.client import KubeClient
from samply_operator.kube.connection import load_plain
from samply_operator.model import names
from samply_operator.model.pipeline import Pod, StatefulSet
from samply_operator.model.profile import SamplyProfile
from samply_operator.settings import Targets
from support.fake_kube import FakeKube, Json
from support.samples import LABELS

SELECTOR = "app.kubernetes.io/name=feldera-pipeline"


class Silent:
    """In place of kopf's watch, which has tests of its own."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    async def run(self) -> None:
        await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scope, "KopfWatch", Silent)
    monkeypatch.setattr(scope, "FIRST_SECS", 0.02)
    monkeypatch.setattr(scope, "FORBIDDEN_SECS", 0.05)
    monkeypatch.setattr(reflector, "RETRY_SECS", (0.01, 0.05))


class Watched:
    """A world that is kept up to date, and what was heard."""

    def __init__(self, kube: FakeKube, client: KubeClient, namespaces: tuple[str, ...], selector: str) -> None:
        self.kube = kube
        self.world = World(Targets(), Changes())
        self.activity = Activity()
        self.carriers: list[Pod | StatefulSet] = []
        self.profiles: list[SamplyProfile] = []
        self.task: asyncio.Task[None] | None = None
        listener = Listener(self.profiles.append, lambda profile: None, self.carriers.append)
        context = ScopeContext(
            client, self.world, listener, self.activity, log_in, "operator-0", (SELECTOR,), time.time
        )
        self.watcher = Watcher(context, namespaces, selector)

    async def reach(self, is_so: Callable[[], object]) -> None:
        until = time.monotonic() + 20
        while not is_so():
            assert self.task is not None
            assert not self.task.done(), self.task.exception()
            assert time.monotonic() < until, (self.world.scopes, list(self.world.pods), list(self.world.pipelines))
            await asyncio.sleep(0.01)


async def log_in() -> kopf.ConnectionInfo:
    raise AssertionError("kopf isn't started here")


@asynccontextmanager
async def watching(kube: FakeKube, *namespaces: str, selector: str = "") -> AsyncIterator[Watched]:
    async with KubeClient(load_plain(kube.url)) as client:
        watched = Watched(kube, client, namespaces, selector)
        task = watched.task = asyncio.create_task(watched.watcher.run())
        try:
            yield watched
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def kube() -> AsyncIterator[FakeKube]:
    async with FakeKube() as kube:
        yield kube


def put_pod(kube: FakeKube, namespace: str, name: str = "pipeline-a-0", **meta: Any) -> Json:
    owner = [{"kind": "StatefulSet", "name": "pipeline-a", "controller": True}]
    return kube.put(
        objects.pods(namespace, name),
        {
            "metadata": {"namespace": namespace, "labels": LABELS, "ownerReferences": owner} | meta,
            "spec": {"containers": [{"name": "pipeline"}]},
            "status": {"phase": "Running"},
        },
    )


def put_set(kube: FakeKube, namespace: str, replicas: int = 1) -> Json:
    return kube.put(
        objects.stateful_sets(namespace, "pipeline-a"),
        {"metadata": {"namespace": namespace, "labels": LABELS}, "spec": {"replicas": replicas}},
    )


def put_profile(kube: FakeKube, namespace: str, name: str = "p-1") -> Json:
    path = objects.samply_profiles(namespace, name)
    return kube.put(path, {"metadata": {"namespace": namespace}, "spec": {"pipeline": "a"}})


async def test_lists_first_then_what_happens(kube: FakeKube) -> None:
    """Of pods and StatefulSets those with the labels, of profiles all."""
    put_pod(kube, "prod")
    put_pod(kube, "prod", "postgres-0", labels={})
    put_set(kube, "prod", 2)
    put_profile(kube, "prod")
    async with watching(kube, "prod") as watched:
        await watched.reach(lambda: watched.world.is_synced)
        world = watched.world
        assert list(world.pods) == [("prod", "pipeline-a-0")]
        assert world.pipelines["prod", "a"].ordinals == (0, 1)
        assert [profile.name for profile in watched.profiles] == ["p-1"]
        put_pod(kube, "prod", "pipeline-a-1")
        await watched.reach(lambda: len(world.pods) == 2)
        kube.remove(objects.pods("prod", "pipeline-a-0"))
        await watched.reach(lambda: list(world.pods) == [("prod", "pipeline-a-1")])
        assert {carrier.name for carrier in watched.carriers} == {"pipeline-a", "pipeline-a-0", "pipeline-a-1"}


async def test_after_a_gap_of_the_watch_everything_is_listed_again(
    kube: FakeKube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """410: something was missed, such as a deletion."""
    monkeypatch.setattr(reflector, "WATCH_SECS", 1.0)
    put_pod(kube, "prod")
    async with watching(kube, "prod") as watched:
        await watched.reach(lambda: watched.world.is_synced)
        kube.is_deaf = True
        kube.remove(objects.pods("prod", "pipeline-a-0"))
        kube.forgotten = 10**6
        await watched.reach(lambda: not watched.world.pods)
        kube.is_deaf, kube.forgotten = False, 0
        put_pod(kube, "prod", "pipeline-a-1")
        await watched.reach(lambda: watched.world.pods)


@pytest.mark.parametrize("kind", ["pods", "statefulsets", names.PLURAL])
async def test_rights_that_go_and_come_back_are_of_their_namespace_alone(
    kube: FakeKube, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is known of it meanwhile; it is said once; the others go on, and it is watched again by itself."""
    for namespace in ("prod", "other"):
        put_pod(kube, namespace)
        put_profile(kube, namespace)
    path = next(
        path
        for path in (objects.pods("prod"), objects.stateful_sets("prod"), objects.samply_profiles("prod"))
        if path.endswith(kind)
    )
    async with watching(kube, "prod", "other") as watched:
        world = watched.world
        await watched.reach(lambda: world.is_synced)
        kube.forbidden.add(path)
        watched.watcher._scopes[0]._gap.set()  # as kopf's end does; the watches of the others end by themselves
        await watched.reach(lambda: world.scopes == ("other",))
        assert list(world.pods) == [("other", "pipeline-a-0")]
        assert list(world.profiles) == [("other", "p-1")]
        assert world.is_synced
        put_pod(kube, "other", "pipeline-a-1")
        await watched.reach(lambda: ("other", "pipeline-a-1") in world.pods)
        kube.forbidden.clear()
        await watched.reach(lambda: world.scopes == ("other", "prod"))
        assert ("prod", "pipeline-a-0") in world.pods
    assert sum("namespace prod: left out" in record.message for record in caplog.records) == 1


async def test_at_the_start_a_role_has_a_moment_to_act(kube: FakeKube) -> None:
    """Afterwards a namespace that can't be listed is left out, and the others are certain."""
    kube.forbidden.add(objects.pods("gone"))
    async with watching(kube, "prod", "gone") as watched:
        await watched.reach(lambda: watched.world.scopes == ("prod",))
        assert not watched.world.is_synced
        await watched.reach(lambda: watched.world.is_synced)
        kube.forbidden.clear()
        await watched.reach(lambda: watched.world.covers("gone"))


async def test_namespaces_come_and_go_by_their_labels(kube: FakeKube) -> None:
    """Within the same watches: nothing begins anew, and what others run is untouched."""
    for namespace in ("prod", "other"):
        put_pod(kube, namespace)
        put_profile(kube, namespace)
    kube.put("/api/v1/namespaces/prod", {"metadata": {"labels": {"team": "a"}}})
    kube.put("/api/v1/namespaces/other", {"metadata": {}})
    async with watching(kube, selector="team=a") as watched:
        world = watched.world
        await watched.reach(lambda: world.covers("prod"))
        assert (list(world.pipelines), list(world.profiles)) == ([("prod", "a")], [("prod", "p-1")])
        assert not world.covers("other")
        # Four lists (namespaces too), and a watch after each but that of the profiles.
        await watched.reach(lambda: len(kube.requests) == 7)
        kube.put("/api/v1/namespaces/other", {"metadata": {"labels": {"team": "a"}}})
        await watched.reach(lambda: world.covers("other"))
        assert set(world.pipelines) == {("prod", "a"), ("other", "a")}
        assert ("other", "p-1") in world.profiles
        assert "other" in {profile.namespace for profile in watched.profiles}
        kube.remove("/api/v1/namespaces/prod")
        await watched.reach(lambda: not world.covers("prod"))
        assert list(world.pipelines) == [("other", "a")]
        assert len(kube.requests) == 7


async def test_trouble_with_the_api_server_takes_nothing_away(kube: FakeKube) -> None:
    """The old state is kept until there is a newer one."""
    put_pod(kube, "prod")
    async with watching(kube, "prod") as watched:
        await watched.reach(lambda: watched.world.is_synced)
        kube.failures.extend([500, 0, 503] * 5)
        watched.watcher._scopes[0]._gap.set()
        await watched.reach(lambda: not kube.failures)
        assert watched.world.is_synced
        assert list(watched.world.pods) == [("prod", "pipeline-a-0")]


async def test_an_object_that_cannot_be_read_costs_itself_alone(
    kube: FakeKube, caplog: pytest.LogCaptureFixture
) -> None:
    """And a profile that cannot be read is there all the same: absence would mean deletion."""
    put_pod(kube, "prod")
    put_pod(kube, "prod", "odd-0", annotations={"number": 7})
    put_profile(kube, "prod")
    odd = put_profile(kube, "prod", "p-2")
    odd["spec"]["ordinal"] = "second"
    async with watching(kube, "prod") as watched:
        await watched.reach(lambda: watched.world.is_synced)
        assert list(watched.world.pods) == [("prod", "pipeline-a-0")]
        assert "odd-0" in caplog.text
        assert [p.fault != "" for p in watched.world.profiles.values()] == [False, True]


async def test_a_watch_that_hangs_is_found(kube: FakeKube, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each list and each watch says how long it may take; the liveness probe asks."""
    put_pod(kube, "prod")
    now = [0.0]
    async with watching(kube, "prod") as watched:
        watched.activity._now = lambda: now[0]
        await watched.reach(lambda: watched.world.is_synced)
        assert watched.activity.find_stuck() == []
        now[0] += reflector.WATCH_SECS + reflector.PATIENCE_SECS + time.monotonic() + 1
        assert watched.activity.find_stuck() != []
