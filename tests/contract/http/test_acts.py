"""DELETE of a profile, POST …/stop, PUT and DELETE …/pin: the operator acts, the api passes its answer on unchanged."""

from __future__ import annotations

import pytest

from samply_operator import errors
from samply_operator.control.messages import ActReply
from support.fake_operator import make_recording

from .conftest import Service, make_id

HISTORY = "/v0/pipelines/orders/samply_profiles"


def obey(service: Service) -> None:
    """Remove what is stored, end what runs, as the operator does."""

    def act(verb: str, profile_id: str) -> ActReply:
        if verb == "stop":
            return ActReply(profile_id, "Stopping")
        if service.volume.remove(profile_id):
            service.operator.store_generation += 1
            service.operator.push()
            return ActReply(profile_id, "Removed")
        return ActReply(profile_id, "Cancelling")

    service.operator.act = act


async def test_a_deleted_profile_is_gone_for_the_next_get(service: Service) -> None:
    service.put(1)
    service.put(2)
    await service.settle()
    obey(service)
    answer = await service.ask("DELETE", f"{HISTORY}/{make_id(2)}")
    assert (answer.status, answer.body) == (204, b"")
    assert service.operator.acts == [("delete", make_id(2))]
    (await service.get(f"{HISTORY}/{make_id(2)}")).assert_error(404, "UnknownProfile")
    assert make_id(1) in (await service.get(HISTORY)).body.decode()


async def test_one_that_runs_is_cancelled(service: Service) -> None:
    service.operator.recordings = (make_recording(make_id(9), "orders"),)
    await service.settle()
    obey(service)
    answer = await service.ask("DELETE", f"{HISTORY}/{make_id(9)}")
    assert (answer.status, answer.headers["Retry-After"]) == (202, "1")


async def test_stop_is_202_and_says_where_the_profile_will_be(service: Service) -> None:
    service.operator.recordings = (make_recording(make_id(9), "orders"),)
    await service.settle()
    obey(service)
    answer = await service.post(f"{HISTORY}/{make_id(9)}/stop")
    assert (answer.status, answer.body) == (202, b"")
    assert answer.headers["Location"] == f"{HISTORY}/{make_id(9)}"
    assert service.operator.acts == [("stop", make_id(9))]


async def test_a_pin_is_seen_by_the_next_get(service: Service) -> None:
    def act(verb: str, profile_id: str) -> ActReply:
        service.operator.pinned = (profile_id,) if verb == "pin" else ()
        service.operator.push()
        return ActReply(profile_id, "Pinned" if verb == "pin" else "Unpinned")

    service.put(1)
    await service.settle()
    service.operator.act = act
    url = f"{HISTORY}/{make_id(1)}"
    for method, is_pinned in (("PUT", True), ("DELETE", False)):
        answer = await service.ask(method, f"{url}/pin")
        assert (answer.status, answer.body) == (204, b"")
        assert (await service.get(url)).read_json()["pinned"] is is_pinned
        assert (await service.get(HISTORY)).read_json()["profiles"][0]["pinned"] is is_pinned
    assert service.operator.acts == [("pin", make_id(1)), ("unpin", make_id(1))]
    await service.send_away()
    assert (await service.get(url)).read_json()["pinned"] is None


async def test_the_operators_refusal_is_passed_on_unchanged(service: Service) -> None:
    service.put(1)
    await service.settle()

    def refuse(verb: str, profile_id: str) -> ActReply:
        raise errors.NotRecording("It ended.", details={"profile": profile_id, "state": "Succeeded"})

    service.operator.act = refuse
    details = (await service.post(f"{HISTORY}/{make_id(1)}/stop")).assert_error(409, "NotRecording")
    assert details == {"profile": make_id(1), "state": "Succeeded"}


@pytest.mark.parametrize(("method", "suffix"), [("DELETE", ""), ("POST", "/stop")])
@pytest.mark.parametrize("profile_id", [make_id(1), make_id(7), "..%2f..", "x" * 300])
async def test_ids_of_other_pipelines_never_reach_the_operator(
    service: Service, method: str, suffix: str, profile_id: str
) -> None:
    service.put(1, pipeline="other")
    await service.settle()
    obey(service)
    assert (await service.ask(method, f"{HISTORY}/{profile_id}{suffix}")).status == 404
    assert service.operator.acts == []


@pytest.mark.parametrize(("method", "suffix"), [("DELETE", ""), ("POST", "/stop")])
async def test_without_the_operator_nothing_is_done(service: Service, method: str, suffix: str) -> None:
    service.put(1)
    await service.settle()
    await service.send_away()
    answer = await service.ask(method, f"{HISTORY}/{make_id(1)}{suffix}")
    answer.assert_error(503, "OperatorUnavailable")
    assert answer.headers["Retry-After"] == "5"
    assert service.volume.has(make_id(1))
