"""The operator killed at each step of a recording in each mode, and started again: one profile, taken once, with one
SIGINT, nothing left behind. And its session to the pod cut at every thirteenth byte.

A kill is simulated: from that instant on nothing more is written to the volume or sent to the cluster, and all tasks
end. The pod goes on. Every case has a cluster of its own, and all run at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from samply_operator.kube import objects
from samply_operator.model.manifest import Manifest
from samply_operator.settings import BringOwn, Paths, Recording, Settings
from support.fake_cluster import Container, FakeCluster
from support.operator_process import NAMESPACE, OperatorProcess, add_pipeline, ask

from .test_engine import POD, assert_nothing_left, count_starts

SETTINGS = Settings(recording=Recording(min_free_bytes=1, min_coverage=0))
MODES = ("InPlace", "Ephemeral", "BringOwn")
PLACED = "entry-placed"
"""The store's name of the instant when a journal entry is on the disk."""
STARTED = "samply-started"


class Dead(BaseException):
    """What a dead process would do next."""


@dataclass(slots=True)
class Kill:
    """Kills the process right after the `count`-th time that the volume reached `step`."""

    step: str
    count: int
    cluster: FakeCluster
    is_dead: bool = False
    done: asyncio.Event = field(default_factory=asyncio.Event)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def __call__(self, step: str) -> None:
        """As the volume's fault; in a thread."""
        if self.is_dead:
            raise Dead
        if step == self.step:
            self.count -= 1
            if self.count == 0:
                self.strike()

    def strike(self) -> None:
        self.is_dead = True
        self.cluster.fault = lambda verb, what: Dead()
        self.loop.call_soon_threadsafe(self.done.set)

    def watch(self, verb: str, what: str) -> BaseException | None:
        """As the cluster's fault: a call was carried out, and its answer never came."""
        self(f"{verb} {what.split(maxsplit=1)[0].rpartition('/')[2]}")
        return Dead() if self.is_dead else None

    async def wait_for_samply(self) -> None:
        """Between the launch and the first word of it: samply is there, the journal says Launching."""
        while not count_starts(self.cluster):
            await asyncio.sleep(0.005)
        self.strike()


@dataclass(frozen=True, slots=True)
class Outcome:
    was_killed: bool
    phase: str
    reason: str
    starts: int
    signals: tuple[str, ...]
    helpers: tuple[str, ...]
    """States of the ephemeral containers."""
    manifests: tuple[Manifest, ...]
    trouble: str


def make_settings(root: Path) -> Settings:
    """Mode BringOwn brings `root`/own, see `put_own`."""
    paths = Paths(samply=str(root / "own"))
    return Settings(recording=SETTINGS.recording, bring_own=BringOwn(enabled=True), paths=paths)


def put_own(root: Path, container: Container) -> None:
    """A program that becomes the stand-in of that container: its notes stay in one place."""
    (root / "own").write_text(f'#!/bin/sh\nexec {container.path.partition(":")[0]}/samply "$@"\n')


async def live_until_killed(cluster: FakeCluster, root: Path, mode: str, step: str, count: int) -> bool:
    kill = Kill(step, count, cluster)
    cluster.fault = kill.watch
    operator = OperatorProcess(cluster, root / "data", make_settings(root), fault=kill)
    watching = asyncio.create_task(kill.wait_for_samply()) if step == STARTED else None
    await operator.__aenter__()
    ask(cluster, mode=mode)
    ended = asyncio.create_task(operator.reach_phase("p-1", "Succeeded", "Failed"))
    rested = asyncio.create_task(operator.reach_rest())
    killed = asyncio.create_task(kill.done.wait())
    try:
        await asyncio.wait(
            [killed, *filter(None, [watching]), asyncio.gather(ended, rested)], return_when=asyncio.FIRST_COMPLETED
        )
        return killed.done()
    finally:
        cluster.watchers.clear()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def live_on(cluster: FakeCluster, root: Path) -> Outcome:
    cluster.fault = lambda verb, what: None
    async with OperatorProcess(cluster, root / "data", make_settings(root)) as operator:
        status = await operator.reach_phase("p-1", "Succeeded", "Failed", "Cancelled")
        async with asyncio.timeout(30):
            while operator.engine.runs or list((root / "data" / "journal").iterdir()):
                await operator.engine.sweep()
                await asyncio.sleep(0.1)
        trouble = ""
        # A journal entry that was half written when the process was killed: the next start that has no use for it
        # drops it.
        assert all("-draft-" in name for name in operator.volume.clean_tmp())
        try:
            assert_nothing_left(operator)
        except AssertionError as error:
            trouble = str(error)
        return Outcome(
            True,
            status["phase"],
            (status.get("failure") or {}).get("reason", ""),
            count_starts(cluster),
            list_signals(cluster),
            list_helper_states(cluster),
            operator.volume.read_manifests().items,
            trouble,
        )


def list_signals(cluster: FakeCluster) -> tuple[str, ...]:
    noted = Path(cluster.containers[NAMESPACE, POD].path.partition(":")[0]) / "signals"
    return tuple(line.split()[-1] for line in noted.read_text().splitlines()) if noted.exists() else ()


def list_helper_states(cluster: FakeCluster) -> tuple[str, ...]:
    status = cluster.objects[objects.pods(NAMESPACE, POD)]["status"]
    return tuple(next(iter(s["state"])) for s in status.get("ephemeralContainerStatuses", []))


def play(root: Path, mode: str, step: str, count: int) -> Outcome | None:
    """None: the process ended its work before it was to be killed."""
    (root / "cluster").mkdir(parents=True)
    with FakeCluster(root / "cluster") as cluster:
        (container,) = add_pipeline(cluster)
        put_own(root, container)
        if step == CUT:
            cluster.cuts = [count]
        elif not asyncio.run(live_until_killed(cluster, root, mode, step, count)):
            return None
        else:
            cluster.cuts = []
        if step == CUT:
            ask(cluster, mode=mode)
        return asyncio.run(live_on(cluster, root))


Point = tuple[str, str, int]
CUT = "cut at byte"
LAST_PLACED = {"InPlace": 6, "Ephemeral": 7, "BringOwn": 6}
"""So many times at least the journal is written in a recording; how often exactly depends on what comes first."""

POINTS: list[Point] = [(mode, PLACED, count) for mode in MODES for count in range(1, 11)]
POINTS += [
    ("InPlace", step, 1) for step in ("staged", "profile-staged", "manifest-written", "placed", "tmp-dropped", STARTED)
]
POINTS += [
    *(("InPlace", "patch done status", count) for count in (1, 2)),
    ("InPlace", "exec dd", 1),
    ("InPlace", "exec dd", 2),
    ("InPlace", "create done events", 1),
    ("Ephemeral", "patch ephemeralcontainers", 1),
    ("Ephemeral", "patch done ephemeralcontainers", 1),
    ("Ephemeral", STARTED, 1),
    ("BringOwn", STARTED, 1),
]
POINTS += [("InPlace", CUT, count) for count in range(0, 400, 13)]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Point, Future[Outcome | None]]]:
    root = tmp_path_factory.mktemp("restarts")
    with ThreadPoolExecutor(10) as threads:
        yield {point: threads.submit(play, root / "-".join(map(str, point)), *point) for point in POINTS}


@pytest.mark.timeout(200)
@pytest.mark.parametrize("point", POINTS, ids=lambda point: " ".join(map(str, point)))
def test_a_kill_after(point: Point, outcomes: dict[Point, Future[Outcome | None]]) -> None:
    """Exactly one profile, recorded exactly once and ended by one SIGINT, told as stored; nothing is left in the pod or
    on the volume, and an ephemeral container has ended."""
    mode, step, count = point
    outcome = outcomes[point].result(timeout=190)
    if outcome is None:
        assert step == PLACED, "the process ended before it reached this point"
        assert count > LAST_PLACED[mode], "the process ended before it reached this point"
        return
    assert (outcome.phase, outcome.reason) == ("Succeeded", "")
    assert [manifest.outcome for manifest in outcome.manifests] == ["Succeeded"]
    assert [manifest.target.mode for manifest in outcome.manifests] == [mode]
    assert outcome.starts == 1
    assert outcome.signals == ("SIGINT",)
    assert set(outcome.helpers) <= {"terminated"}
    assert len(outcome.helpers) == (mode == "Ephemeral")
    assert outcome.trouble == ""


async def test_an_object_deleted_while_nobody_watched_is_not_recorded_to_its_end(tmp_path: Path) -> None:
    """The operator was away: the journal knows of the recording, the cluster no longer of its object."""
    (tmp_path / "cluster").mkdir()
    with FakeCluster(tmp_path / "cluster") as cluster:
        add_pipeline(cluster)
        async with OperatorProcess(cluster, tmp_path / "data", SETTINGS) as operator:
            ask(cluster, durationSeconds=2)
            await operator.reach_phase("p-1", "Recording")
        cluster.remove(objects.samply_profiles(NAMESPACE, "p-1"))
        async with OperatorProcess(cluster, tmp_path / "data", SETTINGS) as operator:
            await operator.engine.sweep()
            await operator.reach_rest()
            assert_nothing_left(operator)
            assert operator.list_profiles() == []
