"""If SamplyTriggers cannot be listed, none are known: this is reported once, and whatever can be listed is watched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from samply_operator.activity import Activity
from samply_operator.discovery.object_table import Key
from samply_operator.errors import KubeError, KubeForbidden, KubeNotFound
from samply_operator.triggers import watch
from samply_operator.triggers.watch import TriggerWatch
from support.operator_process import NAMESPACE, put_trigger

from .conftest import Stage


@contextmanager
def running(work: Callable[[], Any]) -> Iterator[None]:
    task = asyncio.create_task(work())
    try:
        yield
    finally:
        task.cancel()


@pytest.mark.parametrize("error", [KubeForbidden("no right"), KubeNotFound("no CRD")], ids=["rights", "CRD"])
async def test_a_failed_list_is_reported_once_and_retried(
    error: KubeError, stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watch, "RETRY_SECS", 0.02)
    put_trigger(stage.cluster)
    stage.cluster.fault = lambda verb, what: error if verb == "list" else None
    seen: set[Key] = set()
    client: Any = stage.cluster
    found = TriggerWatch(client, (NAMESPACE,), Activity(), seen.update)
    assert not found.is_synced
    with running(found.run):
        async with asyncio.timeout(10):
            while stage.cluster.calls.count(("list", stage.cluster.calls[0][1] if stage.cluster.calls else "")) < 3:
                await asyncio.sleep(0.01)
        assert (found.is_synced, dict(found.triggers)) == (True, {})
        assert len([r for r in caplog.records if "cannot be watched" in r.message]) == 1
        stage.cluster.fault = lambda verb, what: None
        async with asyncio.timeout(10):
            while not found.triggers:
                await asyncio.sleep(0.01)
    assert seen == {(NAMESPACE, "t-1")}
