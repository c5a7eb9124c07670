"""Files removed since the index was read: a request that finds one missing looks again and serves what is left."""

from __future__ import annotations

import asyncio
import io
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from samply_operator.api.content import conversions
from samply_operator.store.volume import Volume

from .conftest import Answer, Service, make_id

PROFILE = "/v0/pipelines/orders/samply_profile"
HISTORY = f"{PROFILE}s"
PROFILE_DATA = Path(__file__).parents[2] / "data" / "profiles" / "demo-v55.json.gz"


def drop_folder(volume: Volume, profile_id: str) -> None:
    """As the operator does, before anyone can be notified."""
    volume.remove(profile_id)


def drop_file(volume: Volume, profile_id: str) -> None:
    """Its manifest is kept, so that reading the volume again shows nothing new."""
    (volume.root / "profiles" / profile_id / "profile.json.gz").unlink()


Drop = Callable[[Volume, str], None]
ways = pytest.mark.parametrize("drop", [drop_folder, drop_file])


def list_members(answer: Answer) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(answer.body)) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


async def store(service: Service, *numbers: int) -> None:
    for number in numbers:
        service.put(number, b"number %d" % number)
    await service.settle()


@ways
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_next_one_is_served_when_the_newest_was_removed(service: Service, drop: Drop, method: str) -> None:
    await store(service, 1, 2, 3)
    etag = (await service.get(PROFILE)).headers["ETag"]
    for number in (3, 2):
        drop(service.volume, make_id(number))
    answer = await service.ask(method, PROFILE)
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(b"number 1")))
    assert answer.headers["ETag"] != etag


@ways
async def test_a_removed_profile_is_never_reported_as_unchanged(service: Service, drop: Drop) -> None:
    await store(service, 1, 2)
    etag = (await service.get(PROFILE)).headers["ETag"]
    assert (await service.get(PROFILE, If_None_Match=etag)).status == 304
    drop(service.volume, make_id(2))
    assert (await service.get(PROFILE, If_None_Match=etag)).body == b"number 1"


@ways
async def test_a_zip_of_all_ordinals_holds_what_is_there(service: Service, drop: Drop) -> None:
    service.put(1, b"old", ordinal=0)
    service.put(2, b"new", ordinal=0)
    service.put(3, b"other", ordinal=1)
    await service.settle()
    drop(service.volume, make_id(2))
    assert list_members(await service.get(f"{PROFILE}?ordinal=all")) == {
        "orders-0.json.gz": b"old",
        "orders-1.json.gz": b"other",
    }
    drop(service.volume, make_id(3))
    answer = await service.get(f"{PROFILE}?ordinal=all")
    assert list_members(answer) == {"orders-0.json.gz": b"old"}


@ways
async def test_an_export_holds_what_is_there(service: Service, drop: Drop) -> None:
    await store(service, 1, 2)
    drop(service.volume, make_id(2))
    names = [name for name in list_members(await service.get("/v0/pipelines/orders/export")) if "/profiles/" in name]
    assert len(names) == 1
    assert make_id(1) in names[0]


@ways
async def test_views_are_of_what_is_there(service: Service, drop: Drop) -> None:
    data = PROFILE_DATA.read_bytes()
    for number in (1, 2):
        service.put(number, data)
    await service.settle()
    before = await service.get(f"{PROFILE}?format=folded")
    drop(service.volume, make_id(2))
    for path in (f"{PROFILE}?format=folded", "/v0/pipelines/orders/summary"):
        assert (await service.get(path)).status == 200
    assert (await service.get(f"{PROFILE}?format=folded")).body == before.body
    (await service.get(f"{HISTORY}/{make_id(2)}/summary")).assert_error(404, "UnknownProfile")


@ways
async def test_one_that_was_named_is_gone_and_nothing_else_takes_its_place(service: Service, drop: Drop) -> None:
    """Nor is a link made to it."""
    await store(service, 1, 2)
    drop(service.volume, make_id(2))
    (await service.get(f"{HISTORY}/{make_id(2)}/profile")).assert_error(404, "UnknownProfile")
    (await service.post(f"{HISTORY}/{make_id(2)}/links")).assert_error(404, "UnknownProfile")


@ways
async def test_removing_the_last_profile_equals_having_none(service: Service, drop: Drop) -> None:
    await store(service, 1, 2)
    for number in (1, 2):
        drop(service.volume, make_id(number))
    (await service.get(PROFILE)).assert_error(404, "UnknownPipelineName")


async def test_a_profile_removed_during_conversion_is_replaced_by_the_next_one(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file existed when the request arrived, but not when the child process opened it."""
    data = PROFILE_DATA.read_bytes()
    for number in (1, 2):
        service.put(number, data)
    await service.settle()
    genuine = conversions.send

    async def send(request: object, made: conversions.Made) -> object:
        folder = service.volume.root / "profiles" / make_id(2)
        if folder.exists():
            await asyncio.to_thread(shutil.rmtree, folder)
        return await genuine(request, made)  # type: ignore[arg-type]

    monkeypatch.setattr(conversions, "send", send)
    assert (await service.get(f"{PROFILE}?format=folded")).status == 200
