"""Two pods on one bucket: the standby serves stored profiles, and forwards everything else to the leader."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from samply_operator.control.messages import LeaderState, StartReply
from samply_operator.settings import Storage
from support import buckets
from support.buckets import Server
from support.fake_operator import KEY, bearer, make_pipeline, make_recording
from support.service import Service, make_id, serving, wait_until

URL = "/v0/pipelines/orders/samply_profile"
HISTORY = "/v0/pipelines/orders/samply_profiles"


@dataclass
class Pair:
    leader: Service
    standby: Service

    async def point(self, address: str) -> None:
        self.standby.operator.leader = LeaderState(leads=not address, address=address)
        self.standby.operator.push()

        async def is_known() -> bool:
            return self.standby.client.leader_address == address

        await wait_until(is_known)


@pytest.fixture
def folders() -> Iterator[tuple[Path, Path]]:
    with tempfile.TemporaryDirectory(prefix="so-") as one, tempfile.TemporaryDirectory(prefix="so-") as two:
        for name in (one, two):
            buckets.write_credentials(Path(name), buckets.KEYS)
        yield Path(one), Path(two)


@pytest.fixture
def storage(moto: Server) -> Storage:
    return buckets.build_storage(moto)


@pytest.fixture
async def pair(folders: tuple[Path, Path], storage: Storage) -> AsyncIterator[Pair]:
    async with (
        serving(folders[0], storage=storage) as leader,
        serving(folders[1], storage=storage, writes=False) as standby,
    ):
        pair = Pair(leader, standby)
        leader.operator.pipelines = (make_pipeline("orders"),)
        standby.operator.is_synced = False
        await leader.settle()
        await pair.point(f"127.0.0.1:{leader.port}")
        yield pair


async def test_a_start_reaches_the_leader_with_the_callers_own_token(pair: Pair) -> None:
    pair.leader.operator.answer = lambda wanted: StartReply(make_id(1), "feldera", "p-1", "Recording")
    answer = await pair.standby.post(f"{URL}?duration_secs=5")
    assert answer.status == 202
    assert [each.duration_secs for each in pair.leader.operator.started] == [5]
    assert pair.leader.operator.bearers == [KEY]
    assert pair.standby.operator.started == []


async def test_a_caller_without_rights_gains_none_through_a_standby(pair: Pair) -> None:
    refused = await pair.standby.ask("POST", URL, Authorization="")
    refused.assert_error(401, "Unauthenticated")
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    (await pair.standby.ask("POST", URL, Authorization="Bearer sok_no_such")).assert_error(401, "Unauthenticated")


async def test_running_recordings_are_those_of_the_leader(pair: Pair) -> None:
    pair.leader.operator.recordings = (make_recording(make_id(7), "orders"),)
    await pair.leader.settle()
    answer = await pair.standby.get(f"{URL}?latest=true")
    assert answer.status == 204
    assert int(answer.headers["Retry-After"]) >= 1
    assert (await pair.standby.get(f"{HISTORY}/{make_id(7)}")).read_json()["state"] == "Recording"


async def test_the_newest_is_what_the_leader_has(pair: Pair) -> None:
    """The standby may not know of it yet."""
    pair.leader.put(1, b"new")
    await pair.leader.settle()
    answer = await pair.standby.get(URL)
    assert (answer.status, answer.body) == (200, b"new")
    part = await pair.standby.get(URL, Range="bytes=1-")
    assert (part.status, part.body) == (206, b"ew")
    assert (await pair.standby.get(URL, If_None_Match=answer.headers["ETag"])).status == 304


async def test_a_stored_profile_comes_from_the_pod_that_is_asked(pair: Pair) -> None:
    pair.leader.put(1, b"stored")
    await pair.leader.settle()
    await pair.standby.state.look_again()
    await pair.point("127.0.0.1:1")
    assert (await pair.standby.get(f"{HISTORY}/{make_id(1)}/profile")).body == b"stored"


async def test_without_a_leader_what_is_stored_is_served_and_the_rest_waits(pair: Pair) -> None:
    pair.leader.put(1, b"stored")
    await pair.leader.settle()
    await pair.standby.state.look_again()
    await pair.point("127.0.0.1:1")
    assert (await pair.standby.get(URL)).body == b"stored"
    (await pair.standby.get(f"{URL}?latest=true")).assert_error(503, "OperatorUnavailable")
    assert (await pair.standby.get("/readyz")).status == 200


async def test_it_is_passed_on_once_only(pair: Pair) -> None:
    """Two that take each other for the leader."""
    pair.leader.operator.leader = LeaderState(leads=False, address=f"127.0.0.1:{pair.standby.port}")
    pair.leader.operator.push()

    async def is_known() -> bool:
        return bool(pair.leader.client.leader_address)

    await wait_until(is_known)
    answer = await pair.standby.get(URL)
    assert answer.status == 400
    assert bearer(KEY)
