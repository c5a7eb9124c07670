"""What kopf is told to watch: the namespaces that may be listed, anew when these are others."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import kopf
import pytest

from samply_operator.handlers import main
from samply_operator.settings import Identity, Settings
from support.fake_cluster import FakeCluster
from support.operator_process import NAMESPACE, OperatorProcess


@pytest.mark.parametrize("is_named", [True, False], ids=["named", "all"])
async def test_watches_begin_anew_when_other_namespaces_may_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_named: bool
) -> None:
    """kopf would end at one that it may not watch, and would never look at one that came back."""
    (tmp_path / "cluster").mkdir()
    told: list[tuple[tuple[str, ...], bool]] = []

    async def watch(*, namespaces: tuple[str, ...], clusterwide: bool, stop_flag: asyncio.Event, **_: Any) -> None:
        told.append((namespaces, clusterwide))
        if len(told) == 1:
            operator.engine.world.namespaces = (NAMESPACE, "back")
            asyncio.get_running_loop().call_later(0.01, stop_flag.set)
            await stop_flag.wait()
        # The second one was told to end, by a signal.

    monkeypatch.setattr(kopf, "operator", watch)
    with FakeCluster(tmp_path / "cluster") as cluster:
        operator = OperatorProcess(cluster, tmp_path / "data", Settings())
        operator.engine.world.namespaces = (NAMESPACE,)
        identity = Identity(pod="operator-0", namespace="here", release="it")
        work = main._watch(Settings(), identity, operator.engine, operator.sync, is_named=is_named)
        await asyncio.wait_for(work, 5)
    expected = [(NAMESPACE,), (NAMESPACE, "back")] if is_named else [(), ()]
    assert told == [(namespaces, not is_named) for namespaces in expected]
