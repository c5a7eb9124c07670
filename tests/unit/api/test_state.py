"""The state: a snapshot is shown once the volume was read for it, and a disconnected operator's state is discarded."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from samply_operator.api.state import ServiceState, View
from samply_operator.control.live import Live, build_live
from samply_operator.control.messages import OrdinalState, PipelineState, RecordingState, Snapshot
from samply_operator.errors import StoreError
from samply_operator.store.index import Index
from samply_operator.store.volume import Volume

PIPELINE = PipelineState("n", "p", (OrdinalState(0, "p-0", True),))


def make_recording(number: int, *, ends_at: float | None, preflight_only: bool = False) -> RecordingState:
    return RecordingState(
        str(number), "n", f"r-{number}", "p", 0, "Recording", f"{number}", preflight_only, ends_at, 30
    )


def make_snapshot(generation: int = 0, *recordings: RecordingState, is_synced: bool = True) -> Live:
    return build_live(Snapshot((PIPELINE,), recordings, generation, 0.0, is_synced))


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(tmp_path)
    volume.prepare()
    return volume


class Gate:
    """Holds the reading of the volume until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened = threading.Event()
        self.opened.set()
        self.reads = 0
        genuine = Index.refresh

        def refresh(index: Index, volume: Volume) -> object:
            self.reads += 1
            assert self.opened.wait(10)
            return genuine(index, volume)

        monkeypatch.setattr(Index, "refresh", refresh)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


async def test_a_snapshot_is_shown_once_its_generation_was_read(volume: Volume, gate: Gate) -> None:
    async with ServiceState(volume) as state:
        state.take(make_snapshot(1, make_recording(1, ends_at=5)))
        assert await state.wait_for(lambda view: view.live is not None, 5)
        gate.opened.clear()
        state.take(make_snapshot(2))
        assert not await state.wait_for(lambda view: not view.list_recordings("n", "p"), 0.1)
        gate.opened.set()
        assert await state.wait_for(lambda view: not view.list_recordings("n", "p"), 5)


async def test_the_same_generation_needs_no_reading(volume: Volume, gate: Gate) -> None:
    async with ServiceState(volume) as state:
        state.take(make_snapshot(1))
        assert await state.wait_for(lambda view: view.is_certain, 5)
        reads = gate.reads
        state.take(make_snapshot(1, make_recording(1, ends_at=None)))
        assert state.view.list_recordings("n", "p")
        assert gate.reads == reads


async def test_a_recording_that_vanishes_without_a_new_generation_has_the_volume_read(
    volume: Volume, gate: Gate
) -> None:
    """An operator's beat may come between the end of a recording and the news of it."""
    async with ServiceState(volume) as state:
        state.take(make_snapshot(1, make_recording(1, ends_at=5)))
        assert await state.wait_for(lambda view: view.live is not None, 5)
        reads = gate.reads
        state.take(make_snapshot(1))
        assert state.view.list_recordings("n", "p")
        assert await state.wait_for(lambda view: not view.list_recordings("n", "p"), 5)
        assert gate.reads > reads


async def test_a_lost_operator_is_shown_at_once(volume: Volume) -> None:
    async with ServiceState(volume) as state:
        state.take(make_snapshot(1))
        assert await state.wait_for(lambda view: view.is_certain, 5)
        state.take(None)
        assert state.view.live is None
        assert state.view.is_ready


async def test_after_a_loss_the_same_number_is_another_generation(volume: Volume, gate: Gate) -> None:
    """A restarted operator counts from the start: equal numbers say nothing."""
    async with ServiceState(volume) as state:
        state.take(make_snapshot(1))
        assert await state.wait_for(lambda view: view.is_certain, 5)
        reads = gate.reads
        state.take(None)
        state.take(make_snapshot(1))
        assert await state.wait_for(lambda view: view.is_certain, 5)
        assert gate.reads > reads


async def test_a_loss_while_the_volume_is_read_is_not_forgotten(volume: Volume, gate: Gate) -> None:
    async with ServiceState(volume) as state:
        assert await state.wait_for(lambda view: view.is_ready, 5)
        gate.opened.clear()
        state.take(make_snapshot(1))
        await asyncio.sleep(0)
        state.take(None)
        gate.opened.set()
        assert not await state.wait_for(lambda view: view.live is not None, 0.2)


async def test_a_volume_that_cannot_be_read_makes_nothing_certain(
    volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ServiceState(volume) as state:
        state.take(make_snapshot(1))
        assert await state.wait_for(lambda view: view.is_certain, 5)
        genuine = Index.refresh

        def fail(index: Index, volume: Volume) -> object:
            raise StoreError("gone")

        monkeypatch.setattr(Index, "refresh", fail)
        state.take(make_snapshot(2))
        assert await state.wait_for(lambda view: not view.is_certain, 5)
        monkeypatch.setattr(Index, "refresh", genuine)
        assert await state.wait_for(lambda view: view.is_certain, 5)


def test_the_recording_that_runs_counts_before_one_that_waits_and_preflights_never() -> None:
    runs, waits = make_recording(1, ends_at=9), make_recording(2, ends_at=None)
    preflight = make_recording(3, ends_at=20, preflight_only=True)
    for order in ((runs, waits, preflight), (preflight, waits, runs)):
        live = make_snapshot(0, *order)
        running = View(live=live).gather("n", "p", 0).running
        assert running is not None
        assert running.id == "1"


def test_a_snapshot_that_is_not_synced_is_not_certain() -> None:
    assert not View(live=make_snapshot(is_synced=False)).is_certain
    assert View(live=make_snapshot()).is_certain
    assert not View().is_certain


async def test_what_may_have_been_stored_since_the_last_reading_is_known(volume: Volume, gate: Gate) -> None:
    async with ServiceState(volume) as state:
        state.take(make_snapshot(1, make_recording(1, ends_at=5)))
        assert await state.wait_for(lambda view: view.live is not None, 5)
        assert state.view.unread == {}
        gate.opened.clear()
        state.take(make_snapshot(2, make_recording(2, ends_at=5)))
        state.take(make_snapshot(3))
        assert state.view.unread.keys() == {"1", "2"}
        gate.opened.set()
        assert await state.wait_for(lambda view: not view.unread, 5)
        assert state.view.live is not None
        assert state.view.live.store_generation == 3
