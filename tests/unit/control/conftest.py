"""A fake cluster, and the operator's process over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from samply_operator.settings import Recording, Settings
from support.fake_cluster import FakeCluster
from support.operator_process import OperatorProcess


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    (tmp_path / "cluster").mkdir()
    with FakeCluster(tmp_path / "cluster") as cluster:
        yield cluster


@pytest.fixture
async def operator(cluster: FakeCluster, tmp_path: Path) -> AsyncIterator[OperatorProcess]:
    settings = Settings(recording=Recording(min_free_bytes=1, min_coverage=0))
    async with OperatorProcess(cluster, tmp_path / "data", settings) as operator:
        yield operator
