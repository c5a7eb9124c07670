"""The api's side of the socket: it knows the operator's state while connected, and reports it unavailable otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from samply_operator import errors
from samply_operator.control.client import OperatorClient, build_error
from samply_operator.control.live import Live
from samply_operator.control.messages import Credentials, ErrorReply, StartReply, StartRequest
from support.fake_operator import LOGIN, FakeOperator, make_pipeline

from .conftest import wait_until


@pytest.fixture
def path(folder: Path) -> Path:
    return folder / "control.sock"


@pytest.fixture
async def operator(path: Path) -> AsyncIterator[FakeOperator]:
    async with FakeOperator(path) as operator:
        yield operator


async def wait_for(client: OperatorClient, *, is_there: bool) -> None:
    async def is_so() -> bool:
        return (client.live is not None) == is_there

    await wait_until(is_so)


async def test_a_snapshot_comes_at_once_and_after_each_change(path: Path, operator: FakeOperator) -> None:
    async with OperatorClient(str(path)) as client:
        await wait_for(client, is_there=True)
        operator.pipelines = (make_pipeline("new"),)
        operator.push()

        async def is_seen() -> bool:
            return client.live is not None and tuple(client.live.pipelines.values()) == operator.pipelines

        await wait_until(is_seen)


async def test_an_operator_that_comes_later_is_found(path: Path) -> None:
    async with OperatorClient(str(path)) as client:
        await asyncio.sleep(0.05)
        assert client.live is None
        async with FakeOperator(path):
            await wait_for(client, is_there=True)


async def test_the_operator_is_available_only_while_its_stream_is_open(path: Path, operator: FakeOperator) -> None:
    seen: list[Live | None] = []
    async with OperatorClient(str(path), on_change=seen.append) as client:
        await wait_for(client, is_there=True)
        await operator.go_away()
        await wait_for(client, is_there=False)
        await operator.come_back()
        await wait_for(client, is_there=True)
    assert [snapshot is None for snapshot in seen[:3]] == [False, True, False]


async def test_a_silent_operator_is_away(path: Path, operator: FakeOperator) -> None:
    async with OperatorClient(str(path), silence_secs=0.3) as client:
        await wait_for(client, is_there=True)
        operator.is_silent = True
        await wait_for(client, is_there=False)
        operator.is_silent = False
        await wait_for(client, is_there=True)


async def test_a_picture_of_megabytes_arrives(path: Path, operator: FakeOperator) -> None:
    operator.pipelines = tuple(make_pipeline(f"pipeline-{n}", running=tuple(range(8))) for n in range(5000))
    async with OperatorClient(str(path)) as client:
        await wait_for(client, is_there=True)
        assert client.live is not None
        assert tuple(client.live.pipelines.values()) == operator.pipelines


async def test_start_gives_the_reply_or_the_operators_own_error(path: Path, operator: FakeOperator) -> None:
    reply = StartReply("id", "n", "r", "Recording", 30)
    operator.answer = lambda request: reply
    async with OperatorClient(str(path)) as client:
        assert await client.start(LOGIN, StartRequest("p", ordinal=1)) == reply
        assert operator.started == [StartRequest("p", ordinal=1)]

        def refuse(request: StartRequest) -> StartReply:
            raise errors.StoreFull("Full.", remedy="Delete.", details={"needed": 1})

        operator.answer = refuse
        with pytest.raises(errors.StoreFull) as caught:
            await client.start(LOGIN, StartRequest("p"))
        assert (caught.value.message, caught.value.remedy) == ("Full.", "Delete.")
        assert caught.value.details == {"needed": 1}


async def test_start_without_an_operator_is_reported_as_such(path: Path) -> None:
    async with OperatorClient(str(path)) as client:
        with pytest.raises(errors.OperatorUnavailable):
            await client.start(LOGIN, StartRequest("p"))


async def test_a_start_that_is_cut_off_is_sent_again_under_the_same_name(path: Path, operator: FakeOperator) -> None:
    """Whatever the first one made, the second one finds it. Another start has another name."""
    reply = StartReply(id="x", namespace="n", name="r", state="Pending")
    operator.answer = lambda request: reply
    operator.breaks = 2
    async with OperatorClient(str(path)) as client:
        assert await client.start(LOGIN, StartRequest("p")) == reply
        await client.start(LOGIN, StartRequest("p"))
    *same, other = operator.named
    assert len(same) == 3
    assert len(set(same)) == 1
    assert other not in same


async def test_a_start_that_no_operator_takes_is_refused_at_once(path: Path) -> None:
    async with OperatorClient(str(path)) as client:
        with pytest.raises(errors.OperatorUnavailable):
            await asyncio.wait_for(client.start(LOGIN, StartRequest("p")), 2)


def test_an_error_of_a_newer_operator_keeps_its_words() -> None:
    error = build_error(ErrorReply("OfANewerRelease", "Something new.", "Do this.", {"a": 1}))
    assert type(error) is errors.SamplyOperatorError
    assert (error.message, error.remedy, error.details) == ("Something new.", "Do this.", {"a": 1})


def test_a_code_that_two_classes_share_gives_the_base() -> None:
    assert type(build_error(ErrorReply(errors.ProfilingFailed.code, "x"))) is errors.ProfilingFailed


async def test_credentials_are_kept_when_the_operator_disconnects(path: Path, operator: FakeOperator) -> None:
    """And one that has just begun, and couldn't read the Secrets yet, takes none away."""
    known = Credentials(link_keys=(b"k" * 32,), read_at=1000.0)
    operator.credentials = known
    async with OperatorClient(str(path)) as client:

        async def is_known() -> bool:
            return client.credentials == known

        await wait_until(is_known)
        await operator.go_away()
        await wait_for(client, is_there=False)
        assert client.credentials == known
        operator.credentials = Credentials()
        await operator.come_back()
        await wait_for(client, is_there=True)
        assert client.credentials == known
        operator.credentials = Credentials(read_at=1001.0)
        operator.push()

        async def is_emptied() -> bool:
            return client.credentials.link_keys == ()

        await wait_until(is_emptied)
