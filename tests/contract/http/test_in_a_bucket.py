"""The interface on a bucket: files as in test_files.py and test_all_ordinals.py, and what is specific to a bucket."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from contract.http import test_attachments as attached
from contract.http.test_all_ordinals import *  # noqa: F403 - the same tests, with the service below
from contract.http.test_attachments import *  # noqa: F403
from contract.http.test_files import *  # noqa: F403
from contract.stores.store_contract import make_manifest
from samply_operator.api import state
from samply_operator.api.content.open_files import FILES
from samply_operator.settings import Auth
from samply_operator.store import layout
from samply_operator.store.bucket import names, reader
from samply_operator.store.volume import Volume
from support import buckets, profile_maker
from support.buckets import Server
from support.fake_operator import make_recording
from support.service import serving, wait_until

from .conftest import Service, make_id

# These look into the volume, or publish what a bucket refuses: a file that isn't what its manifest says.
del (
    test_the_last_profile_of_each_ordinal_in_one_file,  # noqa: F821
    test_only_the_first_chunk_is_sent_corked,  # noqa: F821
    test_a_truncated_file_closes_the_connection_and_is_logged,  # noqa: F821
    test_a_lost_or_damaged_file_is_told,  # noqa: F821
)

URL = "/v0/pipelines/orders/samply_profile"


@pytest.fixture
async def service(folder: Path, auth: Auth, moto: Server) -> AsyncIterator[Service]:
    buckets.write_credentials(folder, buckets.KEYS)
    async with serving(folder, auth=auth, storage=buckets.build_storage(moto)) as service:
        yield service


def find_object(service: Service, number: int) -> str:
    manifest = service.volume.read_manifest(make_id(number))
    assert manifest is not None
    assert manifest.file is not None
    return names.build_file(manifest.id, manifest.file.sha256)


async def test_a_file_that_was_asked_for_comes_from_the_cache(service: Service, folder: Path) -> None:
    data = os.urandom(3_000_000)
    service.put(1, data)
    await service.settle()
    assert (await service.get(URL, Range="bytes=5-9")).body == data[5:10]
    assert [path.name for path in (folder / "cache").iterdir()] == []
    assert (await service.get(URL)).body == data

    async def is_kept() -> bool:
        # The file gets its name after its last piece was sent.
        return [path.name for path in (folder / "cache").iterdir()] == [make_id(1)]

    await wait_until(is_kept)
    service.volume._objects.delete([find_object(service, 1)])  # type: ignore[attr-defined]
    service.listener.app[FILES]._kept.clear()
    assert (await service.get(URL)).body == data


async def test_a_file_deleted_externally_is_reported(service: Service) -> None:
    """A request for the last profile gets the one before it."""
    service.put(1, b"one")
    service.put(2, b"two")
    await service.settle()
    service.volume._objects.delete([find_object(service, 2)])  # type: ignore[attr-defined]
    assert (await service.get(URL)).body == b"one"
    answer = await service.get(f"/v0/pipelines/orders/samply_profiles/{make_id(2)}/profile")
    assert answer.assert_error(404, "UnknownProfile") == {"profile": make_id(2)}
    assert (await service.get(f"/v0/pipelines/orders/samply_profiles/{make_id(2)}")).status == 200


async def test_an_attachment_deleted_externally_is_reported(service: Service) -> None:
    manifest = attached.put(service)
    await service.settle()
    path = names.build_extra(manifest.id, attached.FILE.sha256, attached.NAME)
    service.volume._objects.delete([path])  # type: ignore[attr-defined]
    (await service.get(attached.URL)).assert_error(404, "UnknownProfile")
    assert (await service.get(URL)).body == b"profile"


async def test_an_attachment_that_moves_to_the_bucket_is_served_on(service: Service, folder: Path) -> None:
    """It is known from the spool, where nobody knew yet under which name it will be in the bucket."""
    spool, name, url = Volume(folder / "data"), attached.NAME, attached.URL
    manifest = make_manifest(1, b"profile", id=make_id(1), attachments=(attached.STATS,))
    paths = {each: spool.tmp_path(manifest.id, each) for each in ("profile", name)}
    for each, data in (("profile", b"profile"), (name, attached.DATA)):
        paths[each].write_bytes(data)
    spool.publish(manifest, paths["profile"], extras={name: paths[name]})
    service.operator.store_generation += 1
    service.operator.push()

    async def is_served() -> bool:
        return (await service.get(url)).status == 200

    await wait_until(is_served)
    attached.put(service)
    spool.remove(manifest.id)
    await service.settle()
    files = service.listener.app[FILES]
    for key, kept in list(files._kept.items()):
        files._drop(key, kept)
    assert (await service.get(url)).body == attached.DATA


async def test_a_conversion_fetches_the_file_first(service: Service, tmp_path: Path) -> None:
    document = profile_maker.build([[profile_maker.Sample(("main", "work"), 1.0)] * 5])
    data = profile_maker.save(document, tmp_path / "profile.json.gz").read_bytes()
    service.put(1, data)
    await service.settle()
    answer = await service.get(f"/v0/pipelines/orders/samply_profiles/{make_id(1)}/summary")
    assert answer.status == 200
    assert b"work" in answer.body


async def test_a_range_of_time_fetches_its_files(service: Service, tmp_path: Path) -> None:
    """Those that are no longer there are left out and listed."""
    document = profile_maker.build([[profile_maker.Sample(("main", "work"), 1.0)] * 5])
    data = profile_maker.save(document, tmp_path / "profile.json.gz").read_bytes()
    for number in (1, 2, 3):
        service.put(number, data)
    await service.settle()
    service.volume._objects.delete([find_object(service, 2)])  # type: ignore[attr-defined]
    body = (await service.get("/v0/pipelines/orders/summary?since=2026-01-31T09:00:00Z")).read_json()
    assert (body["ids"], body["all_profiles"]["samples"]) == ([make_id(3), make_id(1)], 10)
    assert [(each["profile"], each["reason"]) for each in body["left_out"]] == [(make_id(2), "UnknownProfile")]


async def test_what_a_bucket_that_hangs_may_have_is_not_denied(
    service: Service, moto: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another pod has stored it since the last list."""
    monkeypatch.setattr(reader, "LIST_SECS", 0.1)
    url = f"/v0/pipelines/orders/samply_profiles/{make_id(1)}/profile"
    await service.settle()
    (await service.get(url)).assert_error(404, "UnknownProfile")
    service.put(1)
    moto.pause()
    try:
        service.operator.push()
        await wait_until(lambda: is_generation_shown(service))
        answer = await service.get(url)
        answer.assert_error(503, "StoreUnavailable")
        assert "Retry-After" in answer.headers
    finally:
        moto.resume()
    monkeypatch.setattr(reader, "LIST_SECS", 60.0)
    monkeypatch.setattr(state, "RELIST_SECS", 0.1)

    async def is_served() -> bool:
        return (await service.get(url)).status == 200

    await wait_until(is_served)


async def is_generation_shown(service: Service) -> bool:
    live = service.state.view.live
    return live is not None and live.store_generation == service.operator.store_generation


async def test_many_at_once_get_the_same_bytes(service: Service) -> None:
    data = os.urandom(2_000_000)
    service.put(1, data)
    await service.settle()
    answers = await asyncio.gather(*(service.get(URL) for _ in range(8)))
    assert all(answer.body == data for answer in answers)


async def test_callers_are_sent_to_the_bucket_where_a_setting_says_so(folder: Path, moto: Server) -> None:
    folder = folder / "r"  # the other service has the lock of the folder itself
    folder.mkdir()
    buckets.write_credentials(folder, buckets.KEYS)
    public = moto.endpoint.replace("127.0.0.1", "localhost")
    storage = buckets.build_storage(moto, redirect=True, redirect_endpoint=public)
    async with serving(folder, storage=storage) as service, aiohttp.ClientSession() as session:
        data = os.urandom(100_000)
        service.put(1, data)
        await service.settle()
        answer = await service.get(URL)
        assert answer.status == 307
        assert answer.headers["Location"].startswith(public)
        assert answer.headers["Cache-Control"] == "no-store"
        async with session.get(answer.headers["Location"]) as response:
            assert await response.read() == data
            assert response.headers["Content-Disposition"] == (
                'attachment; filename="2026-01-31T09:01:30.500Z-samply_profile.json.gz"'
            )
            assert response.headers["Content-Type"] == "application/gzip"
        head = await service.ask("HEAD", URL)
        assert (head.status, head.headers["Content-Length"]) == (200, "100000")
        assert (await service.get(URL, If_None_Match=head.headers["ETag"])).status == 304
        service.put(2, b"newer")
        await service.settle()
        assert (await service.get(URL)).status == 307
        service.volume._objects.delete([find_object(service, 2)])  # type: ignore[attr-defined]
        answer = await service.get(URL)
        async with session.get(answer.headers["Location"]) as response:
            assert await response.read() == data, "nobody is sent to what is gone"


async def test_names_of_operators_are_in_the_bucket_too(service: Service, folder: Path, tmp_path: Path) -> None:
    """As they were stored with the profile, also after the cache was emptied."""
    document = profile_maker.build([[profile_maker.Sample(("main", "work"), 1.0)] * 5])
    data = profile_maker.save(document, tmp_path / "profile.json.gz").read_bytes()
    text = b'{"names":{"nn2":{"label":"Map","operation":"map","relation":"is","view":"totals"}}}'
    service.put(1, data, extras={layout.OPERATORS_FILE: text})
    await service.settle()
    for _ in range(2):
        answer = await service.get(f"/v0/pipelines/orders/samply_profiles/{make_id(1)}/operators")
        assert answer.status == 200
        assert json.loads(answer.body)["names"]["nn2"]["view"] == "totals"
        for path in (folder / "cache").iterdir():
            path.unlink()


async def test_a_profile_that_ends_while_the_bucket_hangs_is_not_called_unknown(
    service: Service, folder: Path, moto: Server
) -> None:
    url = f"/v0/pipelines/orders/samply_profiles/{make_id(2)}/profile"
    service.put(1, b"before")
    await service.settle()
    service.operator.recordings = (make_recording(make_id(2), "orders"),)
    await service.settle()
    (await service.get(url)).assert_error(404, "UnknownProfile")
    moto.pause()
    try:
        spooled = make_manifest(2, b"spooled", id=make_id(2))
        path = folder / "profile"
        path.write_bytes(b"spooled")
        Volume(folder / "data").publish(spooled, path)
        service.operator.recordings = ()
        service.operator.store_generation += 1
        service.operator.push()

        async def is_known() -> bool:
            return bool(service.state.view.unread)

        await wait_until(is_known)
        answer = await service.get(url)
        assert answer.assert_error(503, "StoreUnavailable") == {"profile": make_id(2)}
        assert answer.headers["Retry-After"] == "5"
        (await service.get(url.replace(make_id(2), make_id(3)))).assert_error(404, "UnknownProfile")
        assert (await service.get(f"/v0/pipelines/orders/samply_profiles/{make_id(1)}")).status == 200

        async def is_served() -> bool:
            return (await service.get(url)).status == 200

        await wait_until(is_served)
    finally:
        moto.resume()
