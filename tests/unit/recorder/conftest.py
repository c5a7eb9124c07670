"""A fake cluster, and the operator's process over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from samply_operator.recorder import reports
from samply_operator.settings import Recording, Settings
from support.fake_cluster import FakeCluster
from support.operator_process import OperatorProcess

SETTINGS = Settings(recording=Recording(min_free_bytes=1, unreachable_secs=60, min_coverage=0))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    root = tmp_path / "cluster"
    root.mkdir()
    with FakeCluster(root) as cluster:
        yield cluster


@pytest.fixture
def settings() -> Settings:
    """Overridden by tests that need others."""
    return SETTINGS


@pytest.fixture
async def operator(
    cluster: FakeCluster, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[OperatorProcess]:
    monkeypatch.setattr(reports, "FIRST_PAUSE_SECS", 0.05)
    async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
        yield operator
