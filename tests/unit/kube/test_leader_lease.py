"""Leader election: one of two pods leads; the other takes over soon after it ends, and at once after a release."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import pytest

from samply_operator.errors import KubeError
from samply_operator.kube import leader_lease, objects
from samply_operator.kube.client import KubeClient
from samply_operator.kube.connection import load_plain
from samply_operator.kube.leader_lease import LeaderLease
from samply_operator.rules import leadership
from support.fake_kube import FakeKube

NAME = leadership.build_name("release")


class Clock:
    """A clock that the test moves forward."""

    def __init__(self) -> None:
        self.secs = 100.0

    def __call__(self) -> float:
        return self.secs


@pytest.fixture
async def kube() -> AsyncIterator[FakeKube]:
    async with FakeKube() as kube:
        yield kube


@pytest.fixture
async def client(kube: FakeKube) -> AsyncIterator[KubeClient]:
    async with KubeClient(load_plain(kube.url)) as client:
        yield client


@pytest.fixture
def clock() -> Clock:
    return Clock()


def build(client: KubeClient, clock: Clock, pod: str, *, now: float = 1.8e9) -> LeaderLease:
    return LeaderLease(client, "ns", NAME, pod, f"{pod}:8080", now=lambda: now, uptime=clock)


async def test_the_first_one_leads_and_the_other_has_its_address(client: KubeClient, clock: Clock) -> None:
    one, two = build(client, clock, "one"), build(client, clock, "two")
    assert await one.try_acquire()
    assert not await two.try_acquire()
    assert one.is_ours
    assert not two.is_ours
    assert two.leader is not None
    assert (two.leader.holder, two.leader.address) == ("one", "one:8080")


async def test_only_one_of_two_that_try_at_once_leads(client: KubeClient, clock: Clock) -> None:
    leases = [build(client, clock, f"pod-{number}") for number in range(5)]
    assert sum(await asyncio.gather(*(lease.try_acquire() for lease in leases))) == 1


async def test_a_silent_leader_is_followed_after_its_time_and_no_earlier(client: KubeClient, clock: Clock) -> None:
    one, two = build(client, clock, "one"), build(client, clock, "two")
    assert await one.try_acquire()
    assert not await two.try_acquire()
    clock.secs += leadership.DURATION_SECS - 0.1
    assert not await two.try_acquire()
    clock.secs += 0.2
    assert await two.try_acquire()
    raw = await client.get(objects.leases("ns", NAME))
    assert raw["spec"]["leaseTransitions"] == 1
    assert not await one.try_acquire()


@pytest.mark.parametrize("nows", [(0.0, 4e9), (4e9, 0.0)])
async def test_clocks_that_differ_by_a_century_change_nothing(
    client: KubeClient, clock: Clock, nows: tuple[float, float]
) -> None:
    one, two = build(client, clock, "one", now=nows[0]), build(client, clock, "two", now=nows[1])
    assert await one.try_acquire()
    assert not await two.try_acquire()
    clock.secs += leadership.DURATION_SECS - 0.1
    assert not await two.try_acquire()
    await one.release()
    assert await two.try_acquire()
    assert not await one.try_acquire()


async def test_a_renewal_is_seen(client: KubeClient, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leadership, "RENEW_SECS", 0.01)
    one, two = build(client, clock, "one"), build(client, clock, "two")
    assert await one.try_acquire()
    assert not await two.try_acquire()
    clock.secs += leadership.DURATION_SECS - 1
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await one.keep()
    assert not await two.try_acquire()
    clock.secs += leadership.DURATION_SECS - 1
    assert not await two.try_acquire()


async def test_a_released_lease_is_taken_over_at_once(client: KubeClient, clock: Clock) -> None:
    one, two = build(client, clock, "one"), build(client, clock, "two")
    assert await one.try_acquire()
    assert not await two.try_acquire()
    await one.release()
    await one.release()
    assert await two.try_acquire()
    await one.release()
    assert not await one.try_acquire()


async def test_a_leader_that_slept_finds_that_it_is_none(
    client: KubeClient, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leadership, "RENEW_SECS", 0.01)
    one, two = build(client, clock, "one"), build(client, clock, "two")
    assert await one.try_acquire()
    assert not await two.try_acquire()
    clock.secs += 60
    assert await two.try_acquire()
    async with asyncio.timeout(5):
        await one.keep()
    assert not one.is_ours


async def test_an_unavailable_api_server_does_not_end_the_leadership(
    kube: FakeKube, client: KubeClient, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leadership, "RENEW_SECS", 0.01)
    monkeypatch.setattr(leader_lease, "REQUEST_SECS", 0.1)
    one = build(client, clock, "one")
    assert await one.try_acquire()
    kube.failures = deque([503] * 1000)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await one.keep()
    assert one.is_ours
    with pytest.raises(KubeError):
        await build(client, clock, "two").try_acquire()


@pytest.mark.parametrize("raw", [{}, {"spec": None}, {"spec": {"holderIdentity": None, "leaseTransitions": "x"}}])
def test_an_invalid_lease_has_no_holder(raw: dict[str, object]) -> None:
    assert leadership.parse(raw).holder == ""
    assert leadership.may_take(leadership.parse(raw), "me", 0)
