"""The result for a token is cached for five seconds and requested once at a time; errors are never cached."""

from __future__ import annotations

import asyncio

import pytest

from samply_operator.api.auth import auth_cache
from samply_operator.api.auth.auth_cache import Found, Verdicts
from samply_operator.errors import AccessUndecided, Unauthenticated
from samply_operator.rules.access.permissions import Who

ALICE, BOB = Who("alice", "Kubernetes"), Who("bob", "Kubernetes")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Asked:
    """Answers in turn; counts."""

    def __init__(self, *answers: Found | Exception) -> None:
        self.answers = list(answers)
        self.count = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self) -> Found:
        self.count += 1
        answer = self.answers.pop(0)
        await self.gate.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kept(clock: Clock) -> Verdicts:
    return Verdicts(clock=clock)


async def test_an_answer_lasts_five_seconds_and_no_longer(kept: Verdicts, clock: Clock) -> None:
    ask = Asked(Found(ALICE), Found(BOB))
    assert await kept.find("q", ask) is ALICE
    clock.now += 4.99
    assert await kept.find("q", ask) is ALICE
    assert ask.count == 1
    clock.now += 0.01
    assert await kept.find("q", ask) is BOB


async def test_the_time_counts_from_the_question(kept: Verdicts, clock: Clock) -> None:
    """An answer that took 4 s is 4 s old."""
    ask = Asked(Found(ALICE), Found(BOB))
    ask.gate.clear()
    task = asyncio.create_task(kept.find("q", ask))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    clock.now += 4
    ask.gate.set()
    assert await task is ALICE
    clock.now += 1
    assert await kept.find("q", ask) is BOB


async def test_an_answer_ends_with_its_token(kept: Verdicts, clock: Clock) -> None:
    ask = Asked(Found(ALICE, keep_secs=2), Unauthenticated("expired"))
    assert await kept.find("q", ask) is ALICE
    clock.now += 2
    with pytest.raises(Unauthenticated):
        await kept.find("q", ask)


async def test_a_refusal_lasts_too(kept: Verdicts, clock: Clock) -> None:
    ask = Asked(Unauthenticated("no", remedy="cure"), Found(ALICE))
    for _ in range(3):
        with pytest.raises(Unauthenticated) as caught:
            await kept.find("q", ask)
        assert (caught.value.message, caught.value.remedy, ask.count) == ("no", "cure", 1)
    clock.now += 5
    assert await kept.find("q", ask) is ALICE


async def test_an_error_is_never_kept(kept: Verdicts) -> None:
    ask = Asked(AccessUndecided("away"), AccessUndecided("away"), Found(ALICE))
    for _ in range(2):
        with pytest.raises(AccessUndecided):
            await kept.find("q", ask)
    assert await kept.find("q", ask) is ALICE


async def test_an_error_does_not_discard_an_older_answer(kept: Verdicts, clock: Clock) -> None:
    """An expired answer is not used, even if no new one is available."""
    ask = Asked(Found(ALICE), AccessUndecided("away"))
    await kept.find("q", ask)
    clock.now += 5
    with pytest.raises(AccessUndecided):
        await kept.find("q", ask)


async def test_simultaneous_callers_share_one_request(kept: Verdicts) -> None:
    ask = Asked(Found(ALICE))
    ask.gate.clear()
    tasks = [asyncio.create_task(kept.find("q", ask)) for _ in range(50)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    tasks[0].cancel()
    ask.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError), "who goes away takes nobody along"
    assert results[1:] == [ALICE] * 49
    assert ask.count == 1


async def test_a_flood_of_bad_tokens_pushes_out_no_good_one(kept: Verdicts) -> None:
    good = Asked(Found(ALICE))
    await kept.find("good", good)
    for number in range(auth_cache.MAX_BAD + 100):
        with pytest.raises(Unauthenticated):
            await kept.find(number, Asked(Unauthenticated("no")))
    assert await kept.find("good", good) is ALICE
    assert len(kept._bad) == auth_cache.MAX_BAD


async def test_a_good_one_that_was_revoked_is_asked_once_and_then_remembered(kept: Verdicts, clock: Clock) -> None:
    ask = Asked(Found(ALICE), *[Unauthenticated("revoked")] * 10)
    assert await kept.find("q", ask) is ALICE
    clock.now += 5
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            await kept.find("q", ask)
    assert ask.count == 2


async def test_callers_without_access_are_cached_briefly_and_evict_no_others(kept: Verdicts, clock: Clock) -> None:
    good = Asked(Found(ALICE))
    await kept.find("good", good)
    for number in range(auth_cache.MAX_BAD + 100):
        await kept.find(number, Asked(Found(BOB, auth_cache.HIDDEN_SECS, sees_something=False)))
    assert await kept.find("good", good) is ALICE
    ask = Asked(Found(BOB, auth_cache.HIDDEN_SECS, sees_something=False), Found(BOB))
    await kept.find("new", ask)
    clock.now += 0.99
    await kept.find("new", ask)
    assert ask.count == 1
    clock.now += 0.01
    await kept.find("new", ask)
    assert ask.count == 2


async def test_good_ones_are_bounded_too(kept: Verdicts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth_cache, "MAX_GOOD", 3)
    for number in range(10):
        await kept.find(number, Asked(Found(ALICE)))
    assert list(kept._good) == [7, 8, 9]


def test_tokens_are_stored_as_hashes_of_this_process(kept: Verdicts) -> None:
    assert kept.hash_token("a") == kept.hash_token("a") != kept.hash_token("b")
    assert kept.hash_token("a") != Verdicts().hash_token("a")
