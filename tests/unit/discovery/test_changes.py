"""Changes: no waiter misses a change between two waits."""

from __future__ import annotations

import asyncio

from samply_operator.discovery.changes import Notifier as Changes


async def test_a_wait_ends_with_the_next_change() -> None:
    """Every waiter's, not just one's."""
    changes = Changes()
    waits = [asyncio.create_task(changes.wait(0, 60)) for _ in range(3)]
    await asyncio.sleep(0)
    changes.notify()
    assert await asyncio.gather(*waits) == [1, 1, 1]


async def test_a_change_since_the_last_look_ends_the_wait_at_once() -> None:
    """However many there were."""
    changes = Changes()
    changes.notify()
    changes.notify()
    async with asyncio.timeout(1):
        assert await changes.wait(0, 60) == 2


async def test_without_a_change_the_wait_ends_with_its_time() -> None:
    """And says that nothing changed."""
    changes = Changes()
    changes.notify()
    assert await changes.wait(1, 0.01) == 1


async def test_a_seen_change_does_not_end_the_next_wait() -> None:
    """Only a change after the last seen one does."""
    changes = Changes()
    changes.notify()
    wait = asyncio.create_task(changes.wait(1, 60))
    await asyncio.sleep(0)
    assert not wait.done()
    changes.notify()
    assert await wait == 2
