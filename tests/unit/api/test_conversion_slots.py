"""ConversionQueue: one conversion at a time, callers in turn, and an abandoned place is free at once."""

from __future__ import annotations

import asyncio

import pytest

from samply_operator import errors
from samply_operator.api.content import conversion_slots
from samply_operator.api.content.conversion_slots import ConversionQueue


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Crew:
    """Callers whose work ends when the test allows it."""

    def __init__(self) -> None:
        self.queue = ConversionQueue()
        self.began: list[str] = []
        self._ends: dict[str, asyncio.Event] = {}

    def come(self, name: str, caller: str) -> asyncio.Task[None]:
        return asyncio.create_task(self._work(name, caller))

    async def _work(self, name: str, caller: str) -> None:
        async with self.queue.take(caller):
            self.began.append(name)
            self._ends[name] = asyncio.Event()
            await self._ends[name].wait()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await settle()


@pytest.fixture
def crew() -> Crew:
    return Crew()


async def test_one_at_a_time_and_callers_in_turn(crew: Crew) -> None:
    """A caller with many requests delays only itself."""
    tasks = [crew.come(f"a{n}", "a") for n in range(4)]
    await settle()
    tasks += [crew.come("b0", "b"), crew.come("c0", "c")]
    await settle()
    assert crew.began == ["a0"]
    for name in ("a0", "a1", "b0", "c0", "a2", "a3"):
        assert crew.began[-1] == name
        await crew.end(name)
    await asyncio.gather(*tasks)
    assert crew.queue.waiting == 0


async def test_a_caller_that_leaves_gives_up_its_place_and_turn(crew: Crew) -> None:
    first, second, third = [crew.come(name, name) for name in ("a", "b", "c")]
    await settle()
    second.cancel()
    await settle()
    assert crew.queue.waiting == 1
    first.cancel()
    await settle()
    assert crew.began == ["a", "c"]
    await crew.end("c")
    await third


async def test_a_turn_that_was_given_in_the_moment_of_going_is_passed_on(crew: Crew) -> None:
    first, second, third = [crew.come(name, name) for name in ("a", "b", "c")]
    await settle()
    crew._ends["a"].set()
    while not first.done():
        await asyncio.sleep(0)
    second.cancel()
    await settle()
    assert crew.began[-1] == "c"
    await crew.end("c")
    await third
    async with crew.queue.take("d"):
        pass


async def test_no_caller_jumps_the_queue(crew: Crew) -> None:
    """The turn belongs to the next caller as soon as it is passed on, even before that caller has noticed."""
    first, second = crew.come("a", "a"), crew.come("b", "b")
    await settle()
    crew._ends["a"].set()
    while not first.done():
        await asyncio.sleep(0)
    late = crew.come("c", "c")
    await settle()
    assert crew.began == ["a", "b"]
    for name, task in (("b", second), ("c", late)):
        await crew.end(name)
        await task


async def test_places_are_few_and_fewer_for_one(crew: Crew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion_slots, "MAX_WAITING", 3)
    monkeypatch.setattr(conversion_slots, "MAX_WAITING_OF_ONE", 2)
    tasks = [crew.come("a0", "a"), crew.come("a1", "a"), crew.come("a2", "a")]
    await settle()
    with pytest.raises(errors.TooManyRequests):
        await crew.come("a3", "a")
    tasks.append(crew.come("b0", "b"))
    await settle()
    with pytest.raises(errors.TooManyRequests):
        await crew.come("c0", "c")
    for name in ("a0", "a1", "b0", "a2"):
        await crew.end(name)
    await asyncio.gather(*tasks)


async def test_a_caller_that_waits_too_long_is_refused_and_frees_its_place(
    crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion_slots, "WAIT_SECS", 0.01)
    first = crew.come("a", "a")
    await settle()
    with pytest.raises(errors.TooManyRequests):
        await crew.come("b", "b")
    assert crew.queue.waiting == 0
    await crew.end("a")
    await first
