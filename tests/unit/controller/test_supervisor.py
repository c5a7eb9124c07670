"""The process: an unexpected end of any part ends it, a signal ends it from its first instant on, and the liveness
probe fails while a worker is stuck."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from samply_operator.activity import Activity
from samply_operator.controller import main, signals
from samply_operator.supervisor import Supervisor, WorkerEnded


async def last() -> None:
    await asyncio.Event().wait()


async def end() -> None:
    await asyncio.sleep(0)


async def fail() -> None:
    raise ValueError("a defect")


async def cancel_itself() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("work", "said"),
    [
        pytest.param(end, "ended unexpectedly", id="it returns"),
        pytest.param(fail, "ValueError: a defect", id="it raises"),
        pytest.param(cancel_itself, "cancelled unexpectedly", id="it is cancelled by something in it"),
    ],
)
async def test_an_unexpected_end_of_a_worker_ends_everything(
    work: object, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its name and its reason are logged."""
    others: list[asyncio.Task[None]] = []

    async def live() -> None:
        async with Supervisor() as supervisor:
            others.append(supervisor.start("other", last()))
            supervisor.start("worker", work())  # type: ignore[operator]
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        await live()
    (error,) = caught.value.exceptions
    assert isinstance(error, WorkerEnded)
    assert said in error.message
    assert others[0].cancelled()
    assert "worker" in caplog.text


async def test_a_worker_that_somebody_cancels_ends_everything(caplog: pytest.LogCaptureFixture) -> None:
    """Also one that is held by another worker: a TaskGroup would go on without it."""
    held: list[asyncio.Task[None]] = []

    async def hold() -> None:
        async with Supervisor() as inner:
            held.append(inner.start("held", last()))

    async def live() -> None:
        async with Supervisor() as supervisor:
            supervisor.start("holder", hold())
            await asyncio.Event().wait()

    task = asyncio.create_task(live())
    await asyncio.sleep(0.01)
    held[0].cancel()
    with pytest.raises(ExceptionGroup, match="unhandled"):
        await task
    assert "held: it was cancelled" in caplog.text


async def test_what_a_worker_may_end_with_is_handed_on() -> None:
    others: list[asyncio.Task[None]] = []

    async def live() -> None:
        async with Supervisor(passing=(ValueError,)) as supervisor:
            others.append(supervisor.start("other", last()))
            supervisor.start("worker", fail())

    with pytest.raises(ExceptionGroup) as caught:
        await live()
    assert [type(error) for error in caught.value.exceptions] == [ValueError]
    assert others[0].cancelled()


async def test_a_cancellation_from_outside_ends_all_of_them() -> None:
    """As SIGTERM does; that is no error of theirs."""

    async def live() -> None:
        async with Supervisor() as supervisor:
            supervisor.start("worker", last())
            await asyncio.Event().wait()

    task = asyncio.create_task(live())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_signal_ends_the_work_and_is_no_error() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    asyncio.get_running_loop().call_later(0.01, os.kill, os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(signals.run_until_signal(work()), 5)
    assert ended.is_set()


async def test_what_the_work_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="a defect"):
        await signals.run_until_signal(fail())


def test_before_there_is_a_loop_a_signal_ends_the_process() -> None:
    """Otherwise PID 1 of a container would ignore it."""
    program = (
        "import time; from samply_operator.controller import signals; signals.exit_on_signals(); "
        "print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.terminate()
        assert process.wait(10) == 0


def test_a_worker_is_stuck_once_its_time_is_over() -> None:
    now = [0.0]
    activity = Activity(lambda: now[0])
    with activity.doing("lists", 10):
        now[0] = 10.0
        assert activity.find_stuck() == []
        now[0] = 10.1
        assert activity.find_stuck() == ["lists"]
    assert activity.find_stuck() == []
    activity.beat("kopf", 5)
    now[0] = 20.0
    assert activity.find_stuck() == ["kopf"]


async def test_the_heartbeat_stops_while_a_worker_is_stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A loop that turns is not enough."""
    monkeypatch.setattr(main, "HEARTBEAT_SECS", 0.01)
    path, activity = tmp_path / "heartbeat", Activity()
    task = asyncio.create_task(main._beat(path, activity))
    try:
        async with asyncio.timeout(5):
            while not path.exists():
                await asyncio.sleep(0.01)
        activity.beat("queue", -1)
        await asyncio.sleep(0.1)
        os.utime(path, (1, 1))
        await asyncio.sleep(0.1)
        assert path.stat().st_mtime == 1
        activity.forget("queue")
        until = time.monotonic() + 5
        while path.stat().st_mtime == 1:
            assert time.monotonic() < until
            await asyncio.sleep(0.01)
    finally:
        task.cancel()
