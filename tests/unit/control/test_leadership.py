"""Leadership: only a process with both the Lease and the store acts, and losing either ends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NoReturn

import pytest

from samply_operator.control.leadership import Leadership
from samply_operator.control.messages import LeaderState
from samply_operator.kube.client import KubeClient
from samply_operator.kube.connection import load_plain
from samply_operator.kube.leader_lease import LeaderLease
from samply_operator.rules import leadership
from support.fake_kube import FakeKube


class LostError(Exception):
    """Stands for the end of the process."""


def end() -> NoReturn:
    raise LostError


@pytest.fixture
async def client() -> AsyncIterator[KubeClient]:
    async with FakeKube() as kube, KubeClient(load_plain(kube.url)) as client:
        yield client


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "RENEW_SECS", 0.02)
    monkeypatch.setattr(leadership, "LOOK_SECS", 0.02)


def build(client: KubeClient, pod: str) -> Leadership:
    return Leadership(LeaderLease(client, "ns", "release-leader", pod, f"{pod}:8080"), end)


async def test_a_standby_names_the_leader_and_takes_over_when_it_ends(client: KubeClient) -> None:
    one, two = build(client, "one"), build(client, "two")
    await one.lead(lambda: True)
    assert one.state == LeaderState(leads=True)
    following = asyncio.create_task(two.lead(lambda: True))
    async with asyncio.timeout(60):
        while not two.state.address:
            await two.wait(0.1)
    assert two.state == LeaderState(leads=False, address="one:8080")
    await one.close()
    assert one.state.leads is False
    async with asyncio.timeout(60):
        await following
    assert two.state == LeaderState(leads=True)
    await two.close()


async def test_a_standby_works_until_it_leads(client: KubeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samply_operator.control.leadership.STAND_BY_SECS", 0.01)
    calls: list[int] = []
    one, two = build(client, "one"), build(client, "two")
    await one.lead(lambda: True)
    following = asyncio.create_task(two.lead(lambda: True, stand_by=lambda: calls.append(1)))
    async with asyncio.timeout(60):
        while len(calls) < 3:
            await two.wait(0.01)
        await one.close()
        await following
    count = len(calls)
    await asyncio.sleep(0.05)
    assert len(calls) == count
    await two.close()


async def test_a_lease_holder_without_the_store_keeps_the_lease_and_retries(client: KubeClient) -> None:
    answers = iter([False, False, True])
    one, two = build(client, "one"), build(client, "two")
    await one.lead(lambda: next(answers))
    assert one.state.leads
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await two.lead(lambda: True)
    await one.close()
    await two.close()


async def test_losing_the_lease_ends_the_process(client: KubeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    one = build(client, "one")
    await one.lead(lambda: True)
    path = "/apis/coordination.k8s.io/v1/namespaces/ns/leases/release-leader"
    raw = await client.get(path)
    raw["spec"]["holderIdentity"] = "two"
    await client.replace(path, raw)
    assert one._keeping is not None
    async with asyncio.timeout(60):
        with pytest.raises(LostError):
            await one._keeping


async def test_a_volume_needs_no_lease() -> None:
    answers = iter([False, True])
    alone = Leadership(None, end)
    asyncio.get_running_loop().call_later(0, alone._wake)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("samply_operator.control.leadership.LOCK_SECS", 0.01)
        await alone.lead(lambda: next(answers))
    assert alone.state == LeaderState(leads=True)
    await alone.close()
