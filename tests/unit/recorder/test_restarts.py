"""The operator killed at each step of a recording in each mode, and started again: one profile, taken once, with one
SIGINT, nothing left behind. The same while a recording is ended early, and while it is cancelled. And its session to
the pod cut at every thirteenth byte.

A kill is simulated: from that instant on nothing more is written to the volume or sent to the cluster, and all tasks
end. The pod goes on. Every case has a cluster of its own, and all run at the same time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path

import pytest

from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.model.manifest import Manifest
from samply_operator.recorder.pod import script_calls
from samply_operator.settings import BringOwn, Paths, Recording, Retention, Settings
from support.fake_cluster import Container, FakeCluster
from support.operator_process import NAMESPACE, OperatorProcess, add_pipeline, ask

from .test_engine import POD, assert_nothing_left, count_starts

SETTINGS = Settings(recording=Recording(min_free_bytes=1, min_coverage=0), retention=Retention(absence_grace_secs=0))
MODES = ("InPlace", "Ephemeral", "BringOwn")
STOPPED, CANCELLED = "InPlace stopped", "InPlace cancelled"
HELPER_STOPPED, HELPER_CANCELLED = "Ephemeral stopped", "Ephemeral cancelled"
"""Ended early by the annotation, cancelled by the object's deletion: counted from there on."""
LONG_SECS = 600
WRITTEN = "entry-written"
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
    is_armed: bool = True
    done: asyncio.Event = field(default_factory=asyncio.Event)
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def __call__(self, step: str) -> None:
        """As the volume's fault; in a thread."""
        if self.is_dead:
            raise Dead
        if step == self.step and self.is_armed:
            self.count -= 1
            if self.count == 0:
                self.strike()

    def strike(self) -> None:
        self.is_dead = True
        self.cluster.fault = lambda verb, what: Dead()
        self.loop.call_soon_threadsafe(self.done.set)

    def watch(self, verb: str, what: str) -> BaseException | None:
        """As the cluster's fault: a call that isn't made any more, or was carried out and its answer never came."""
        self(name_call(verb, what))
        return Dead() if self.is_dead else None

    async def wait_for_samply(self) -> None:
        """Between the launch and the first word of it: samply is there, the journal says Launching."""
        while not count_starts(self.cluster):
            await asyncio.sleep(0.005)
        self.strike()


@cache
def list_scripts() -> dict[str, str]:
    """What a command line of each script begins with, and the script's name."""
    folder = resources.files("samply_operator.recorder.pod").joinpath("scripts")
    found = [path.name for path in folder.iterdir() if path.name.endswith(".sh")]
    return {" ".join(script_calls.build_command(name)): name.removesuffix(".sh") for name in found}


def name_call(verb: str, what: str) -> str:
    """The verb and the last part of the path, which is a kind; of an exec the program, and the script if it is ours."""
    if verb.startswith("exec"):
        script = next((name for start, name in list_scripts().items() if what.startswith(start)), "")
        return " ".join(filter(None, [verb, what.split(maxsplit=1)[0], script]))
    parts = what.split("/")
    is_named = verb.startswith(("get", "delete", "replace"))
    return f"{verb} {parts[-2] if is_named else parts[-1]}"


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
    told: frozenset[str]
    """Fields of the status, and of its target."""


def make_settings(root: Path) -> Settings:
    """Mode BringOwn brings `root`/own, see `put_own`."""
    paths = Paths(samply=str(root / "own"))
    own = BringOwn(enabled=True)
    return Settings(recording=SETTINGS.recording, retention=SETTINGS.retention, bring_own=own, paths=paths)


def put_own(root: Path, container: Container) -> None:
    """A program that becomes the stand-in of that container: its notes stay in one place."""
    (root / "own").write_text(f'#!/bin/sh\nexec {container.path.partition(":")[0]}/samply "$@"\n')


async def end_early(operator: OperatorProcess, kill: Kill, story: str) -> None:
    """What a user does while it records."""
    await operator.reach_phase("p-1", "Recording")
    kill.is_armed = True
    path = objects.samply_profiles(NAMESPACE, "p-1")
    if story.endswith("stopped"):
        raw = operator.cluster.objects[path]
        annotated = {**raw["metadata"], "annotations": {names.STOP: "keep"}}
        operator.cluster.put(path, raw | {"metadata": annotated})
        await operator.reach_phase("p-1", "Succeeded", "Failed")
    else:
        operator.cluster.remove(path)


async def live_until_killed(cluster: FakeCluster, root: Path, story: str, step: str, count: int) -> bool:
    kill = Kill(step, count, cluster, is_armed=story in MODES)
    # What the tasks of a dead process end with is nobody's business.
    kill.loop.set_exception_handler(lambda loop, context: None)
    cluster.fault = kill.watch
    operator = OperatorProcess(cluster, root / "data", make_settings(root), fault=kill)
    watching = asyncio.create_task(kill.wait_for_samply()) if step == STARTED else None
    await operator.__aenter__()
    ask(cluster, mode=story.split(maxsplit=1)[0], durationSeconds=1 if story in MODES else LONG_SECS)
    killed = asyncio.create_task(kill.done.wait())

    async def live() -> None:
        if story in MODES:
            await operator.reach_phase("p-1", "Succeeded", "Failed")
        else:
            await end_early(operator, kill, story)
        await operator.reach_rest()

    try:
        await asyncio.wait(
            [killed, *filter(None, [watching]), asyncio.create_task(live())], return_when=asyncio.FIRST_COMPLETED
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
        async with asyncio.timeout(60):
            await sweep_until_rest(operator)
        status = operator.find_status("p-1")
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
            status.get("phase", ""),
            (status.get("failure") or {}).get("reason", ""),
            count_starts(cluster),
            list_signals(cluster),
            list_helper_states(cluster),
            operator.volume.read_manifests().items,
            trouble,
            frozenset(status) | {f"target.{key}" for key in status.get("target") or {}},
        )


async def sweep_until_rest(operator: OperatorProcess) -> None:
    """As every minute; until all has ended that is to end, and nothing is held any more."""

    def has_ended() -> bool:
        phases = {(raw.get("status") or {}).get("phase") for raw in operator.list_profiles()}
        is_told = phases <= {"Succeeded", "Failed", "Cancelled"}
        journal = list((operator.volume.root / "journal").iterdir())
        held = list(operator.cluster.find("/leases/"))
        return is_told and not (
            journal or held or operator.engine.runs or operator.volume.side_files.read_tombstones().items
        )

    while not has_ended():
        await operator.list_all()
        await operator.engine.sweep()
        await asyncio.sleep(0.1)


def list_signals(cluster: FakeCluster) -> tuple[str, ...]:
    noted = Path(cluster.containers[NAMESPACE, POD].path.partition(":")[0]) / "signals"
    return tuple(line.split()[-1] for line in noted.read_text().splitlines()) if noted.exists() else ()


def list_helper_states(cluster: FakeCluster) -> tuple[str, ...]:
    status = cluster.objects[objects.pods(NAMESPACE, POD)]["status"]
    return tuple(next(iter(s["state"])) for s in status.get("ephemeralContainerStatuses", []))


def play(root: Path, story: str, step: str, count: int) -> Outcome | None:
    """None: the process ended its work before it was to be killed."""
    (root / "cluster").mkdir(parents=True)
    with FakeCluster(root / "cluster") as cluster:
        (container,) = add_pipeline(cluster)
        put_own(root, container)
        if step == CUT:
            cluster.cuts = [count]
        elif not asyncio.run(live_until_killed(cluster, root, story, step, count)):
            return None
        else:
            cluster.cuts = []
        if step == CUT:
            ask(cluster, mode=story)
        return asyncio.run(live_on(cluster, root))


TOLD = frozenset({"startedAt", "endsAt", "finishedAt", "requestedBy", "preflight", "profile"}) | {
    f"target.{key}" for key in ("pod", "podUid", "container", "node", "pid", "mode", "samplyVersion")
}
"""What is known of each recording that succeeded, whichever process it was that ended it."""

Point = tuple[str, str, int]
CUT = "cut at byte"
LAST_PLACED = {"InPlace": 6, "Ephemeral": 7, "BringOwn": 6, STOPPED: 4, CANCELLED: 3}
"""So many times at least the journal is written in a recording; how often exactly depends on what comes first."""

POINTS: list[Point] = [(mode, PLACED, count) for mode in MODES for count in range(1, 11)]
POINTS += [("InPlace", WRITTEN, count) for count in range(1, 8)]
PUBLISHING = (
    *("staged", "profile-staged", "files-staged", "manifest-written", "staging-synced", "placed", "placed-synced"),
    "tmp-dropped",
)
POINTS += [("InPlace", step, 1) for step in (*PUBLISHING, STARTED)]
ACTS = ("exec sh stop", "exec done sh stop", "exec sh clean", "exec done sh clean")
"""What an early end does in the pod, each before and after."""
POINTS += [(story, PLACED, count) for story in (STOPPED, CANCELLED) for count in range(1, 6)]
POINTS += [(story, step, 1) for story in (STOPPED, CANCELLED) for step in ACTS]
POINTS += [(story, step, 1) for story in (HELPER_STOPPED, HELPER_CANCELLED) for step in (*ACTS, "exec sh release")]
POINTS += [(STOPPED, step, 1) for step in ("exec sh look", "exec done sh look", "exec dd", "placed")]
POINTS += [
    *(("InPlace", "patch done status", count) for count in (1, 2)),
    *(("InPlace", f"exec sh {script}", 1) for script in ("preflight", "record", "clean")),
    *(("InPlace", f"exec done sh {script}", 1) for script in ("preflight", "clean")),
    ("InPlace", "create leases", 1),
    ("InPlace", "create done leases", 1),
    ("InPlace", "delete leases", 1),
    ("InPlace", "delete done leases", 1),
    ("InPlace", "exec dd", 1),
    ("InPlace", "exec dd", 2),
    ("InPlace", "create done events", 1),
    ("Ephemeral", "patch ephemeralcontainers", 1),
    ("Ephemeral", "patch done ephemeralcontainers", 1),
    ("Ephemeral", "exec sh release", 1),
    ("Ephemeral", STARTED, 1),
    *(("BringOwn", step, 1) for step in ("exec sh look", "exec done sh look", "exec sh record", STARTED)),
]
POINTS += [("InPlace", CUT, count) for count in range(0, 400, 13)]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Point, Future[Outcome | None]]]:
    root = tmp_path_factory.mktemp("restarts")
    with ThreadPoolExecutor(10) as threads:
        yield {
            point: threads.submit(play, root / "-".join(map(str, point)).replace(" ", "-"), *point) for point in POINTS
        }


@pytest.mark.timeout(200)
@pytest.mark.parametrize("point", POINTS, ids=lambda point: " ".join(map(str, point)))
def test_a_kill_after(point: Point, outcomes: dict[Point, Future[Outcome | None]]) -> None:
    """Exactly one profile, recorded exactly once, ended by one SIGINT and reported as stored; none of a cancelled one.
    Nothing is left in the pod, on the volume or in the cluster, and an ephemeral container has ended. The status of a
    success is complete."""
    story, step, count = point
    mode = story.split()[0]
    outcome = outcomes[point].result(timeout=190)
    if outcome is None and story.endswith("cancelled") and step == "exec done sh stop":
        return  # samply's end was told before the answer to who ended it, and with it all was over
    if outcome is None:
        assert step in {PLACED, WRITTEN}, "the process ended before it reached this point"
        assert count > LAST_PLACED[story], "the process ended before it reached this point"
        return
    assert outcome.trouble == ""
    if story.endswith("cancelled"):
        # samply is told to end and killed at once: whether it heard the first is luck.
        assert (outcome.manifests, outcome.starts) == ((), 1)
        assert outcome.signals in {(), ("SIGINT",)}
        return
    assert (outcome.phase, outcome.reason) == ("Succeeded", "")
    assert [manifest.outcome for manifest in outcome.manifests] == ["Succeeded"]
    assert [manifest.target.mode for manifest in outcome.manifests] == [mode]
    assert outcome.starts == 1
    assert outcome.signals == ("SIGINT",)
    assert outcome.told >= TOLD
    assert set(outcome.helpers) <= {"terminated"}
    assert len(outcome.helpers) == (mode == "Ephemeral")


async def test_a_stop_is_on_the_volume_before_it_acts(tmp_path: Path) -> None:
    """After a kill in between, the next process sends samply its one SIGINT, even without a second request."""
    (tmp_path / "cluster").mkdir()
    path = objects.samply_profiles(NAMESPACE, "p-1")
    with FakeCluster(tmp_path / "cluster") as cluster:
        add_pipeline(cluster)
        assert await live_until_killed(cluster, tmp_path, STOPPED, "exec sh stop", 1)
        assert list_signals(cluster) == ()
        raw = cluster.objects[path]
        cluster.put(path, raw | {"metadata": {**raw["metadata"], "annotations": {}}})
        cluster.fault = lambda verb, what: None
        async with OperatorProcess(cluster, tmp_path / "data", SETTINGS) as operator:
            status = await operator.reach_phase("p-1", "Succeeded", "Failed")
            assert status["phase"] == "Succeeded", status
            await operator.reach_rest()
            assert_nothing_left(operator)
        assert (list_signals(cluster), count_starts(cluster)) == (("SIGINT",), 1)


async def test_an_object_deleted_between_watches_is_not_recorded_to_its_end(tmp_path: Path) -> None:
    """The operator was away: the journal knows of the recording, the cluster no longer of its object."""
    (tmp_path / "cluster").mkdir()
    with FakeCluster(tmp_path / "cluster") as cluster:
        add_pipeline(cluster)
        async with OperatorProcess(cluster, tmp_path / "data", SETTINGS) as operator:
            ask(cluster, durationSeconds=LONG_SECS)
            await operator.reach_phase("p-1", "Recording")
            # Where its object lives is on the volume with the next step; without that, nothing is certain.
            run = operator.engine.runs.find(NAMESPACE, "a", 0)
            assert run is not None
            await operator.reach(lambda: run.entry.origin.namespace_uid)
        cluster.remove(objects.samply_profiles(NAMESPACE, "p-1"))
        async with OperatorProcess(cluster, tmp_path / "data", SETTINGS) as operator:
            async with asyncio.timeout(30):
                await sweep_until_rest(operator)
            assert_nothing_left(operator)
            assert operator.volume.list_ids() == frozenset()
