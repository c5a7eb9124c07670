"""A fake cluster, and the operator's process over it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest

from samply_operator.recorder import reports
from samply_operator.settings import Feldera, Paths, Recording, Settings
from support.fake_cluster import FakeCluster
from support.fake_feldera import READER, STRANGER, FakeFeldera, Pipeline
from support.operator_process import OperatorProcess

SETTINGS = Settings(recording=Recording(min_free_bytes=1, unreachable_secs=60, min_coverage=0))


def use_keys(settings: Settings, folder: Path) -> Settings:
    """With keys of two of Feldera's tenants, in a new folder."""
    folder.mkdir()
    for name, key in {"acme": READER, "other": STRANGER}.items():
        (folder / name).write_text(key)
    paths = Paths(feldera_keys=str(folder))
    return msgspec.structs.replace(settings, feldera=Feldera("http://unused", "keys"), paths=paths)


@pytest.fixture
def orders(feldera: FakeFeldera) -> Pipeline:
    """The first pipeline of a test's own Feldera."""
    return feldera.pipelines[0]


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
