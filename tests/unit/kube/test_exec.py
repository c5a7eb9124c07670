"""Broken sessions: each ends in time, with an error that states what is known of the process."""

from __future__ import annotations

import asyncio

import pytest

from samply_operator import errors
from samply_operator.kube import exec as exec_
from samply_operator.kube.client import KubeClient
from samply_operator.kube.exec import ExecResult
from support.exec_server import Fault
from support.fake_kube import FakeKube


async def run(client: KubeClient, *command: str, deadline_secs: float = 20) -> ExecResult:
    return await client.run("space", "pod", "main", command, deadline_secs=deadline_secs)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(empty_frames=True),
        Fault(split_status=True),
        Fault(repeat_status=True),
        Fault(empty_frames=True, split_status=True, repeat_status=True),
    ],
    ids=["empty frames", "split status", "repeated status", "all"],
)
async def test_odd_frames_change_nothing(kube: FakeKube, client: KubeClient, fault: Fault) -> None:
    kube.exec.break_next([fault])
    result = await run(client, "sh", "-c", "echo hello; exit 5")
    assert (result.exit_code, result.stdout) == (5, b"hello\n")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(no_status=True),
        Fault(cut_after=3),
        Fault(cut_after=0),
        Fault(infra_error="error dialing backend: EOF"),
        Fault(text_frame=True),
    ],
    ids=["no status", "cut in the middle", "cut at once", "infrastructure", "text frame"],
)
async def test_no_exit_code_is_worth_repeating(kube: FakeKube, client: KubeClient, fault: Fault) -> None:
    kube.exec.break_next([fault])
    with pytest.raises(errors.ExecFailed) as caught:
        await run(client, "sh", "-c", "echo hello")
    assert caught.value.is_transient
    assert (await run(client, "true")).exit_code == 0


async def test_a_container_that_is_gone_is_not_worth_repeating(kube: FakeKube, client: KubeClient) -> None:
    kube.exec.break_next([Fault(infra_error='container not found ("main")')])
    with pytest.raises(errors.KubeNotFound):
        await run(client, "true")


async def test_a_refused_handshake_reports_the_cause(kube: FakeKube, client: KubeClient) -> None:
    kube.exec.break_next([Fault(refuse=403), Fault(refuse=500)])
    with pytest.raises(errors.KubeForbidden, match="refused by the test"):
        await run(client, "true")
    with pytest.raises(errors.KubeUnavailable, match="refused by the test"):
        await run(client, "true")


async def test_a_close_that_comes_late_costs_little(
    kube: FakeKube, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exec_, "LINGER_SECS", 0.2)
    kube.exec.break_next([Fault(close_late_secs=30)])
    async with asyncio.timeout(5):
        assert (await run(client, "sh", "-c", "exit 4")).exit_code == 4


async def test_a_peer_without_pongs_is_abandoned(
    kube: FakeKube, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exec_, "PING_SECS", 0.1)
    monkeypatch.setattr(exec_, "SILENCE_SECS", 0.4)
    monkeypatch.setattr(exec_, "LINGER_SECS", 0.2)
    kube.exec.break_next([Fault(hang=True)])
    async with asyncio.timeout(5):
        with pytest.raises(errors.ExecFailed, match="sign of life"):
            await run(client, "true")
    # One that answers pings may be silent for longer.
    assert (await run(client, "sleep", "1")).exit_code == 0
    assert kube.exec.pings >= 3


async def test_sessions_end_with_their_context(kube: FakeKube, client: KubeClient) -> None:
    with pytest.raises(KeyError):
        async with client.exec("space", "pod", "main", ["sleep", "20"], deadline_secs=20):
            raise KeyError
    async with asyncio.timeout(5):
        while kube.exec.open_sessions:
            await asyncio.sleep(0.01)


async def test_cancelling_ends_the_session(kube: FakeKube, client: KubeClient) -> None:
    task = asyncio.create_task(run(client, "sleep", "20"))
    async with asyncio.timeout(5):
        while not kube.exec.open_sessions:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while kube.exec.open_sessions:
            await asyncio.sleep(0.01)


async def test_short_sessions_are_bounded_and_attached_ones_are_not(kube: FakeKube, client: KubeClient) -> None:
    await asyncio.gather(*(run(client, "sleep", "0.1") for _ in range(12)))
    assert kube.exec.most_open <= 4
    attached = [client.exec("space", "pod", "main", ["sleep", "20"], deadline_secs=20, attached=True) for _ in range(6)]
    sessions = [await context.__aenter__() for context in attached]
    assert len(sessions) == 6
    async with asyncio.timeout(5):
        assert (await run(client, "true")).exit_code == 0
    for context in attached:
        await context.__aexit__(None, None, None)


async def test_a_slow_reader_holds_the_process_back(kube: FakeKube, client: KubeClient) -> None:
    """What isn't read isn't gathered in memory: the process waits."""
    command = ["head", "-c", "50000000", "/dev/zero"]
    async with client.exec("space", "pod", "main", command, deadline_secs=30) as session:
        taken = len(await session.read())
        await asyncio.sleep(0.5)  # time in which everything could have come
        assert kube.exec.stdout_bytes < 20_000_000  # the kernel's buffers hold some
        async for piece in session.chunks():
            taken += len(piece)
        assert await session.wait() == 0
    assert taken == 50_000_000


async def test_unread_stdin_does_not_hide_the_exit_code(client: KubeClient) -> None:
    result = await client.run("space", "pod", "main", ["sh", "-c", "exit 9"], deadline_secs=20, stdin=bytes(10_000_000))
    assert result.exit_code == 9


async def test_a_line_without_end_is_cut(client: KubeClient) -> None:
    script = "head -c 300000 /dev/zero | tr '\\0' x; echo; echo next"
    async with client.exec("space", "pod", "main", ["sh", "-c", script], deadline_secs=20) as session:
        lines = [line async for line in session.lines()]
    assert len(lines[0]) <= exec_.LINE_LIMIT
    assert lines[-1] == "next"
