"""What is limited, whatever the load: files read at once, pods cleaned at once, requests and writes for waiting
objects, and how long a single step blocks the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from samply_operator.kube import objects
from samply_operator.recorder import memory, run, runs
from samply_operator.recorder.pod import finish
from samply_operator.recorder.pod.cleaning import Left
from samply_operator.settings import Ephemeral, Recording, Retention, Settings
from support import stored
from support.fake_cluster import FakeCluster
from support.operator_process import NAMESPACE, OperatorProcess, add_pipeline, ask
from support.samples import make_entry

from .test_ephemeral import list_helpers, list_states

MIB = 1024 * 1024
ORDINALS = 3


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here must outlive the machine."""
    monkeypatch.setattr("os.fsync", lambda fd: None)


class Gauge:
    """How many are under way, and the most there ever were."""

    def __init__(self) -> None:
        self.now = self.most = self.ended = 0

    @contextlib.contextmanager
    def count(self) -> Iterator[None]:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            yield
        finally:
            self.now -= 1
            self.ended += 1


@pytest.fixture
def bakes(monkeypatch: pytest.MonkeyPatch) -> Gauge:
    """Counts profiles that are read at the same time; each takes a while."""
    gauge, real = Gauge(), finish.finish

    async def slow(*arguments: Any) -> finish.Finished:
        with gauge.count():
            await asyncio.sleep(0.3)
            return await real(*arguments)

    monkeypatch.setattr(finish, "finish", slow)
    return gauge


async def test_profiles_are_read_one_after_the_other_also_after_a_restart(
    cluster: FakeCluster, tmp_path: Path, settings: Settings, bakes: Gauge
) -> None:
    """Several recordings end at once, the process ends while the first file is read, and the next one finds them all
    in the journal at once."""
    add_pipeline(cluster, ordinals=ORDINALS)
    async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
        for ordinal in range(ORDINALS):
            ask(cluster, f"p-{ordinal}", ordinal=ordinal)
        await operator.reach(lambda: [r.entry.step for r in operator.engine.runs.values()] == ["Collecting"] * ORDINALS)
        await operator.reach(lambda: bakes.now)
    assert (bakes.now, bakes.most) == (0, 1)
    async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
        for ordinal in range(ORDINALS):
            status = await operator.reach_phase(f"p-{ordinal}", "Succeeded", "Failed")
            assert status["phase"] == "Succeeded", status
    assert bakes.most == 1
    assert bakes.ended > ORDINALS


@pytest.mark.parametrize(
    ("limit", "bakes"),
    [("max", 1), (str(1024 * MIB), 1), (str(4096 * MIB), 2), (str(200 * MIB), 1)],
    ids=["no limit", "the chart's", "four times as much", "too little"],
)
def test_memory_says_how_many_are_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, bakes: int
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    assert memory.count_bakes(768 * MIB, (tmp_path / "absent", tmp_path / "memory.max")) == bakes


async def test_pods_are_cleaned_side_by_side_but_not_all_at_once(
    operator: OperatorProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One on a dead node takes ten seconds."""
    gauge = Gauge()

    async def clean(*_: object) -> Left:
        with gauge.count():
            await asyncio.sleep(0.05)
            return Left.NOTHING

    monkeypatch.setattr(run, "clean", clean)
    for _ in range(3 * runs.CLEANERS):
        operator.engine.runs.register_ended(make_entry(id=stored.make_id(), step="Cleaning", lease=""))
    await operator.engine.runs.clean(lambda profile_id: False)
    assert (gauge.ended, gauge.most) == (3 * runs.CLEANERS, runs.CLEANERS)


class TestWaiting:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(recording=Recording(min_free_bytes=1, max_concurrent=1, min_coverage=0))

    async def count_requests(self, operator: OperatorProcess, name: str, count: int) -> int:
        """Of so many that wait for each other, each of which ends with a refusal of preflight. Fails where one was
        written too often."""
        cluster = operator.cluster
        for container in add_pipeline(cluster, name, ordinals=count):
            container.facts["paranoid"] = "2"
        before = len(cluster.calls)
        for ordinal in range(count):
            ask(cluster, f"{name}-{ordinal}", pipeline=name, ordinal=ordinal)
        for ordinal in range(count):
            await operator.reach_phase(f"{name}-{ordinal}", "Failed")
        await operator.reach_rest()
        calls = cluster.calls[before:]
        writes = Counter(what for verb, what in calls if verb == "patch" and what.endswith("/status"))
        assert len(writes) == count
        # One of the end, the others of its place.
        assert max(writes.values()) <= 1 + 4, writes
        return len(calls)

    async def test_requests_grow_with_their_number_alone(self, operator: OperatorProcess) -> None:
        few = await self.count_requests(operator, "few", 4)
        many = await self.count_requests(operator, "many", 16)
        assert many / 16 < 1.2 * few / 4
        assert many / 16 < 20


class TestLate:
    @pytest.fixture
    def settings(self) -> Settings:
        recording = Recording(min_free_bytes=1, min_coverage=0)
        return Settings(recording=recording, ephemeral=Ephemeral(start_deadline_secs=1))

    async def test_a_helper_that_comes_late_is_ended_at_once(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """Its image takes longer than anybody waits: once it runs, the next sweep ends it, and nothing is left."""
        add_pipeline(cluster)
        cluster.helper_state = {"waiting": {"reason": "ContainerCreating"}}
        ask(cluster, mode="Ephemeral")
        status = await operator.reach_phase("p-1", "Failed")
        assert status["failure"]["reason"] == "EphemeralTimeout"
        await operator.reach(lambda: not operator.engine.runs)
        await operator.engine.sweep()
        assert list_helpers(cluster) == [("samply-operator-1", "waiting")]
        assert list((operator.volume.root / "journal").iterdir())
        path = objects.pods(NAMESPACE, "pipeline-a-0")
        raw = cluster.objects[path]
        raw["status"]["ephemeralContainerStatuses"][0]["state"] = {"running": {}}
        cluster.put(path, raw)
        await operator.engine.sweep()
        assert [state for _, state in list_states(cluster)] == ["terminated"]
        await operator.reach_rest()


# ------------------------------------------------------------------------------------------------------ the event loop

MANIFESTS = 3000
PIECE_SECS = 0.02
"""The longest that one piece of work may hold the loop."""


@contextlib.asynccontextmanager
async def watched(pieces: list[float]) -> AsyncIterator[None]:
    """Notes the CPU time that the loop's thread takes between two turns: what others do to the machine is not in it.
    Nor is the garbage collector, which goes through all that the fake cluster holds."""

    async def watch() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            pieces.append(time.thread_time() - before)

    watching = asyncio.create_task(watch())
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        watching.cancel()


class TestThousands:
    @pytest.fixture
    def settings(self) -> Settings:
        retention = Retention(max_per_ordinal=10**6, max_total=10**6, max_volume_percent=100)
        return Settings(recording=Recording(min_free_bytes=1), retention=retention)

    @pytest.mark.timeout(240)
    async def test_retention_and_deletions_do_not_hold_the_loop(
        self, operator: OperatorProcess, cluster: FakeCluster
    ) -> None:
        """Most of the objects are gone. The longest piece of the best of three sweeps counts."""
        for number in range(MANIFESTS):
            stored.store(cluster, operator.volume, f"p-{number}", age=number)
            if number % 5:
                stored.forget(cluster, f"p-{number}")
        await operator.list_all()
        longest = []
        for _ in range(3):
            pieces: list[float] = []
            async with watched(pieces):
                await operator.engine.sweep()
            longest.append(max(pieces))
        assert len(operator.engine.retention.catalog.by_id) == MANIFESTS
        assert min(longest) < PIECE_SECS, longest
