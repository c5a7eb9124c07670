"""The work queue: one worker for each key at a time, no key is lost, failures are retried after growing pauses."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from samply_operator.discovery import work_queue as queue
from samply_operator.discovery.work_queue import WorkQueue
from samply_operator.errors import KubeUnavailable


@asynccontextmanager
async def running(work: WorkQueue[str]) -> AsyncIterator[None]:
    task = asyncio.create_task(work.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def reach(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not is_so():
            await asyncio.sleep(0.001)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "FIRST_PAUSE_SECS", 0.01)
    monkeypatch.setattr(queue, "LONGEST_PAUSE_SECS", 0.04)


async def test_a_key_put_in_often_before_it_is_taken_is_worked_on_once() -> None:
    """A hundred events of one object are one look at it."""
    done: list[str] = []

    async def work(key: str) -> None:
        done.append(key)

    tested: WorkQueue[str] = WorkQueue(work)
    for _ in range(100):
        tested.put("a")
    tested.put("b")
    async with running(tested):
        await reach(lambda: len(done) == 2)
    assert sorted(done) == ["a", "b"]


async def test_a_key_put_in_while_it_is_worked_on_is_worked_on_again_afterwards_and_never_twice_at_a_time() -> None:
    """What changed meanwhile is seen; two workers never fight over one object."""
    begun, busy = Counter[str](), 0
    go = asyncio.Event()

    async def work(key: str) -> None:
        nonlocal busy
        busy += 1
        assert busy == 1
        begun[key] += 1
        await go.wait()
        busy -= 1

    tested: WorkQueue[str] = WorkQueue(work)
    async with running(tested):
        tested.put("a")
        await reach(lambda: begun["a"] == 1)
        for _ in range(10):
            tested.put("a")
        go.set()
        await reach(lambda: begun["a"] == 2 and busy == 0)
    assert begun["a"] == 2


async def test_other_keys_are_worked_on_meanwhile_up_to_the_number_of_workers() -> None:
    """One slow object doesn't hold up the others."""
    begun: set[str] = set()
    go = asyncio.Event()

    async def work(key: str) -> None:
        begun.add(key)
        await go.wait()

    tested: WorkQueue[str] = WorkQueue(work, workers=2)
    for key in "abc":
        tested.put(key)
    async with running(tested):
        await reach(lambda: len(begun) == 2)
        await asyncio.sleep(0)
        assert len(begun) == 2
        go.set()
        await reach(lambda: len(begun) == 3)


async def test_a_failure_is_tried_again_after_growing_pauses_and_the_count_starts_anew_after_a_success(
    quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    """Until it works; the pauses stop growing at a limit."""
    outcomes = [False, False, False, False, True, False, True]

    async def work(_: str) -> None:
        if not outcomes.pop(0):
            raise KubeUnavailable("away")

    tested: WorkQueue[str] = WorkQueue(work)
    caplog.set_level(logging.WARNING)
    async with running(tested):
        tested.put("a")
        await reach(lambda: len(outcomes) == 2)
        tested.put("a")
        await reach(lambda: not outcomes)
    pauses = [record.getMessage().rpartition("again in ")[2] for record in caplog.records]
    assert pauses == ["0.01 s", "0.02 s", "0.04 s", "0.04 s", "0.01 s"]


async def test_a_defect_on_one_key_ends_neither_the_others_nor_itself(
    quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged with its traceback and tried again much later."""
    seen = Counter[str]()

    async def work(key: str) -> None:
        seen[key] += 1
        if key == "bad" and seen[key] == 1:
            raise ZeroDivisionError

    tested: WorkQueue[str] = WorkQueue(work, workers=1)
    async with running(tested):
        tested.put("bad")
        tested.put("good")
        await reach(lambda: seen == {"bad": 2, "good": 1})
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "ZeroDivisionError" in caplog.text


async def test_a_key_put_in_for_later_comes_later() -> None:
    """Not at once, and not never."""
    done: list[float] = []
    loop = asyncio.get_running_loop()

    async def work(_: str) -> None:
        done.append(loop.time())

    tested: WorkQueue[str] = WorkQueue(work)
    async with running(tested):
        start = loop.time()
        tested.put_later("a", 0.05)
        await reach(lambda: bool(done))
    assert done[0] - start >= 0.05


async def test_a_key_that_is_put_in_for_later_comes_once_at_the_earliest_time() -> None:
    """However often that is asked for."""
    seen: list[str] = []

    async def work(key: str) -> None:
        seen.append(key)

    keys: WorkQueue[str] = WorkQueue(work)
    async with running(keys):
        for pause_secs in (0.3, 0.05, 0.2, 0.05):
            keys.put_later("a", pause_secs)
        keys.put_later("b", 0.1)
        await reach(lambda: len(seen) == 2)
        await asyncio.sleep(0.35)
        assert seen == ["a", "b"]
        keys.put_later("a", 0.01)
        await reach(lambda: len(seen) == 3)
