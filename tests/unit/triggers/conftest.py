"""A fake cluster, a clock that tests set, and the operator's process over both."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from samply_operator.feldera.client import FelderaClient
from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.settings import Recording, Settings
from support.fake_cluster import FakeCluster, Json
from support.operator_process import NAMESPACE, OperatorProcess
from support.samples import NOW

SETTINGS = Settings(recording=Recording(min_free_bytes=1, unreachable_secs=60, min_coverage=0))


@dataclass
class Stage:
    """`now` is the operator's clock. 08:00:00.25 at first, when the cluster creates all its objects."""

    cluster: FakeCluster
    root: Path
    now: float = NOW
    settings: Settings = SETTINGS
    feldera: FelderaClient | None = None
    uptime: float = 0.0
    """Added to the monotonic clock."""
    operator: OperatorProcess = field(init=False)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[OperatorProcess]:
        """One life of the operator."""
        operator = OperatorProcess(self.cluster, self.root, self.settings, feldera=self.feldera)
        operator.change_context(now=lambda: self.now, uptime=lambda: time.monotonic() + self.uptime)
        async with operator:
            self.operator = operator
            yield operator

    def look(self, name: str = "t-1") -> None:
        """The time has come."""
        self.operator.triggers.queue.put((NAMESPACE, name))

    def status(self, name: str = "t-1") -> Json:
        status: Json = self.cluster.objects[objects.samply_triggers(NAMESPACE, name)].get("status") or {}
        return status

    def profiles(self) -> list[Json]:
        found = self.cluster.find(f"/{names.PLURAL}/")
        return sorted(found, key=lambda raw: (raw["spec"]["pipeline"], raw["spec"].get("ordinal", 0)))

    async def reach_profiles(self, count: int) -> None:
        await self.operator.reach(lambda: len(self.profiles()) == count)

    async def reach_decision(self, name: str = "t-1") -> Json:
        """It was decided on at the time that it is now."""
        await self.operator.reach(lambda: self.status(name).get("lastEvaluationTime") and self._is_quiet())
        return self.status(name)

    def _is_quiet(self) -> bool:
        return self.operator.triggers.queue.is_idle


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    root = tmp_path / "cluster"
    root.mkdir()
    with FakeCluster(root) as cluster:
        yield Stage(cluster, tmp_path / "data")
