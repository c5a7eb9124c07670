"""Short execs are bounded per pod, per node and in all, and waiting leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest

from samply_operator.kube.limits import ExecLimits, KeyedLimit


async def count_most(limits: ExecLimits, places: list[tuple[str, str]]) -> int:
    """How many slots were held at the same time."""
    held = most = 0

    async def work(pod: str, node: str) -> None:
        nonlocal held, most
        async with limits.slot("space", pod, node):
            held += 1
            most = max(most, held)
            for _ in range(5):
                await asyncio.sleep(0)
            held -= 1

    await asyncio.gather(*(work(pod, node) for pod, node in places))
    return most


@pytest.mark.parametrize(
    ("places", "wanted"),
    [
        ([("pod", "node")] * 10, 2),
        ([(f"pod-{n}", "node") for n in range(10)], 3),
        ([(f"pod-{n}", f"node-{n}") for n in range(10)], 5),
        ([(f"pod-{n}", "") for n in range(10)], 5),
    ],
    ids=["one pod", "one node", "many nodes", "nodes unknown"],
)
async def test_the_bounds_hold(places: list[tuple[str, str]], wanted: int) -> None:
    assert await count_most(ExecLimits(total=5, per_node=3, per_pod=2), places) == wanted


async def test_a_cancelled_waiter_gives_its_place_back() -> None:
    limit = KeyedLimit(1)
    async with limit.hold("key"):
        waiting = asyncio.create_task(limit.hold("key").__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert len(limit) == 0
    async with asyncio.timeout(1), limit.hold("key"):
        assert len(limit) == 1
