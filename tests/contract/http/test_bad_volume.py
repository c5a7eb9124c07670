"""A damaged volume: intact profiles are served, damage is reported, and an unreadable volume is not ready."""

from __future__ import annotations

import logging
import threading

import pytest

from samply_operator.api import state
from samply_operator.api.server import measures
from samply_operator.errors import StoreError
from samply_operator.store.index import Index
from samply_operator.store.volume import Volume
from support import bad_entries

from .conftest import Service, make_id, wait_until

PROFILE = "/v0/pipelines/orders/samply_profile"


@pytest.mark.parametrize("kind", bad_entries.BAD)
async def test_one_bad_folder_hides_no_later_profile(
    service: Service, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    service.put(1, b"first")
    await service.settle()
    folder = service.volume.root / "profiles" / make_id(2)
    folder.mkdir()
    bad_entries.BAD[kind](folder / "manifest.json")
    service.put(3, b"third")
    service.operator.push()

    async def is_served() -> bool:
        answer = await service.get(PROFILE)
        return (answer.status, answer.body) == (200, b"third")

    await wait_until(is_served)
    assert (await service.get("/readyz")).read_json() == {"status": "ok", "operator": "Connected"}
    assert [record.levelno for record in caplog.records if make_id(2) in record.getMessage()] == [logging.ERROR]
    assert measures.FAULTS._value.get() == 1


@pytest.mark.parametrize("fault", [StoreError("EIO"), RuntimeError("a defect")], ids=["the disk", "a defect"])
async def test_a_volume_that_cant_be_read_is_not_ready_and_is_read_again(
    service: Service, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """Whatever ended the reading."""
    monkeypatch.setattr(state, "RETRY_SECS", 0.01)
    service.put(1, b"first")
    await service.settle()
    with monkeypatch.context() as patched:

        def fail(index: Index, volume: Volume) -> object:
            raise fault

        patched.setattr(Index, "refresh", fail)
        service.put(2, b"second")
        service.operator.push()

        async def is_not_ready() -> bool:
            return (await service.get("/readyz")).status == 503

        await wait_until(is_not_ready)
        assert (await service.get(PROFILE)).body == b"first", "what was known is served as long as it can be opened"

    async def is_served() -> bool:
        return (await service.get(PROFILE)).body == b"second"

    await wait_until(is_served)
    assert (await service.get("/readyz")).status == 200


async def test_a_volume_that_hangs_is_not_ready(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network's file system may not answer for minutes."""
    monkeypatch.setattr(state, "STALL_SECS", 0.05)
    service.put(1, b"first")
    await service.settle()
    answered, genuine = threading.Event(), Index.refresh

    def hang(index: Index, volume: Volume) -> object:
        answered.wait(10)
        return genuine(index, volume)

    monkeypatch.setattr(Index, "refresh", hang)
    service.put(2, b"second")
    service.operator.push()

    async def has_status(status: int) -> bool:
        return (await service.get("/readyz")).status == status

    await wait_until(lambda: has_status(503))
    assert (await service.get(PROFILE)).body == b"first"
    answered.set()
    await wait_until(lambda: has_status(200))
    assert (await service.get(PROFILE)).body == b"second"
