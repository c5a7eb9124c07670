"""kopf in its own thread and loop: if it ends, nothing else does, and it is restarted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import kopf
import pytest

from samply_operator.activity import Activity
from samply_operator.discovery import kopf_watch
from samply_operator.discovery.kopf_watch import KopfWatch


class Kopf:
    """In place of `kopf.operator`: what it was given, and how it ends."""

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []
        self.threads: list[threading.Thread] = []
        self.errors: list[BaseException | None] = []
        """How the next lives end, at once; the one after them lasts until it is told to end."""

    async def __call__(self, **given: Any) -> None:
        self.given.append(given)
        self.threads.append(threading.current_thread())
        if self.errors:
            error = self.errors.pop(0)
            # As kopf does at its end.
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            if error is not None:
                raise error
            return
        while not given["stop_flag"].is_set():
            await asyncio.sleep(0.01)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Kopf:
    fake = Kopf()
    monkeypatch.setattr(kopf, "operator", fake)
    monkeypatch.setattr(kopf_watch, "RESTART_SECS", 0.01)
    monkeypatch.setattr(kopf_watch, "FIRST_LIST_SECS", 0.01)
    return fake


class Heard:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.gaps = 0
        self.activity = Activity()

    def note_event(self, kind: str, raw: dict[str, Any]) -> None:
        self.events.append((kind, raw))

    def note_gap(self) -> None:
        self.gaps += 1


@pytest.fixture
async def heard(fake: Kopf) -> AsyncIterator[Heard]:
    heard = Heard()
    watch = KopfWatch("prod", "pod-0", log_in, heard.activity, on_event=heard.note_event, on_gap=heard.note_gap)
    task = asyncio.create_task(watch.run())
    yield heard
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await reach(lambda: not any(thread.is_alive() for thread in fake.threads))


async def log_in() -> kopf.ConnectionInfo:
    return kopf.ConnectionInfo(server="http://nowhere")


async def reach(is_so: Any) -> None:
    async with asyncio.timeout(10):
        while not is_so():
            await asyncio.sleep(0.01)


async def test_the_watch_of_a_scope_runs_in_its_own_thread(fake: Kopf, heard: Heard) -> None:
    await reach(lambda: fake.given)
    assert fake.threads[0] is not threading.main_thread()
    assert (fake.given[0]["namespaces"], fake.given[0]["clusterwide"]) == (("prod",), False)
    await reach(lambda: heard.gaps)
    assert heard.activity.find_stuck() == []


@pytest.mark.parametrize("error", [None, ValueError("a defect"), KeyboardInterrupt()])
async def test_the_end_of_a_watch_affects_nothing_else(fake: Kopf, error: BaseException | None, heard: Heard) -> None:
    """Nor does kopf's cancelling, which is limited to its own loop. Missed changes are listed."""
    mine = asyncio.create_task(asyncio.sleep(60))
    await reach(lambda: heard.gaps == 1)  # one that ends before its first list is over has none
    fake.errors = [error]
    fake.given[0]["stop_flag"].set()
    await reach(lambda: len(fake.given) == 3)
    await reach(lambda: heard.gaps >= 2)
    assert not mine.done()
    mine.cancel()


async def test_events_arrive_in_the_loop_of_the_process(fake: Kopf, heard: Heard) -> None:
    await reach(lambda: fake.given)
    registry = fake.given[0]["registry"]
    (handler,) = [h for h in registry._watching.get_all_handlers() if h.id == "profile"]
    await asyncio.to_thread(asyncio.run, handler.fn(event={"type": "ADDED", "object": {"metadata": {}}}))
    await reach(lambda: heard.events)
    assert heard.events == [("ADDED", {"metadata": {}})]
