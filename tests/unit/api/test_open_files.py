"""Open files: shared while in use, closed when unused, never handed out once removed or changed."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from samply_operator.api.content import open_files
from samply_operator.api.content.open_files import OpenFiles
from samply_operator.api.content.remote_files import RemoteFile, RemoteFiles
from samply_operator.api.content.stored_files import Extra
from samply_operator.errors import StoreError, UnknownProfile
from samply_operator.model.manifest import Manifest, StoredFile
from samply_operator.store.volume import Volume

IDS = [f"00000000-0000-4000-8000-{number:012x}" for number in range(4)]


@pytest.fixture
def volume(tmp_path: Path) -> Volume:
    volume = Volume(tmp_path)
    volume.prepare()
    for profile_id in IDS:
        path = volume.tmp_path(profile_id, "profile")
        path.write_bytes(b"data")
        volume.publish(make_manifest(profile_id), path)
    return volume


def make_manifest(profile_id: str) -> Manifest:
    facts = StoredFile(4, hashlib.sha256(b"data").hexdigest())
    return Manifest(profile_id, "n", "r", "p", 0, "Succeeded", "", "", file=facts)


@asynccontextmanager
async def borrow(files: OpenFiles, profile_id: str) -> AsyncIterator[BinaryIO]:
    async with files.acquire_all([(make_manifest(profile_id), 0, 4)]) as (file,):
        assert not isinstance(file, RemoteFile)
        yield file


@pytest.fixture
async def files(volume: Volume) -> AsyncIterator[OpenFiles]:
    async with OpenFiles(volume) as files:
        yield files


async def test_many_users_share_one_file(files: OpenFiles) -> None:
    async with borrow(files, IDS[0]) as first, borrow(files, IDS[0]) as second:
        assert first is second
        assert os.pread(first.fileno(), 4, 0) == b"data"


async def test_it_is_closed_after_a_while_without_requests(files: OpenFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_files, "KEEP_SECS", 0.02)
    async with borrow(files, IDS[0]) as file:
        await asyncio.sleep(0.1)
        assert not file.closed
    assert not file.closed
    async with asyncio.timeout(5):
        while not file.closed:
            await asyncio.sleep(0.01)
    async with borrow(files, IDS[0]) as again:
        assert again is not file


async def test_a_removed_profile_is_not_given_out_and_its_user_reads_on(files: OpenFiles, volume: Volume) -> None:
    async with borrow(files, IDS[0]) as file:
        volume.remove(IDS[0])
        with pytest.raises(UnknownProfile):
            async with borrow(files, IDS[0]):
                pass
        assert os.pread(file.fileno(), 4, 0) == b"data"
    assert file.closed


async def test_a_file_of_another_size_is_not_given_out(files: OpenFiles, volume: Volume) -> None:
    async with borrow(files, IDS[0]):
        pass
    (volume.root / "profiles" / IDS[0] / "profile.json.gz").write_bytes(b"longer")
    with pytest.raises(StoreError):
        async with borrow(files, IDS[0]):
            pass


async def test_an_additional_file_is_another_one_than_its_profile(files: OpenFiles, volume: Volume) -> None:
    (volume.root / "profiles" / IDS[0] / "attachment-x").write_bytes(b"beside")
    manifest = make_manifest(IDS[0])
    extra, gone = (Extra(manifest, name, StoredFile(6, "")) for name in ("attachment-x", "attachment-y"))
    async with files.acquire_all([(manifest, 0, 4), (extra, 0, 6)]) as (own, beside):
        assert not isinstance(own, RemoteFile)
        assert not isinstance(beside, RemoteFile)
        assert (os.pread(own.fileno(), 9, 0), os.pread(beside.fileno(), 9, 0)) == (b"data", b"beside")
    assert files.is_open(extra)
    assert not files.is_open(gone)
    with pytest.raises(UnknownProfile):
        await files.check_there(gone)
    await files.check_there(extra)
    volume.remove(IDS[0])
    with pytest.raises(UnknownProfile):
        await files.check_there(extra)


async def test_too_many_are_opened_for_one_use_only(files: OpenFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_files, "MAX_KEPT", 2)
    opened = []
    for profile_id in IDS:
        async with borrow(files, profile_id) as file:
            opened.append(file)
    assert [file.closed for file in opened] == [False, False, True, True]


async def test_two_who_open_at_once_both_read_and_nothing_leaks(files: OpenFiles) -> None:
    async def read() -> tuple[object, bytes]:
        async with borrow(files, IDS[0]) as file:
            await asyncio.sleep(0)
            return file, os.pread(file.fileno(), 4, 0)

    found = await asyncio.gather(*(read() for _ in range(5)))
    assert {data for _, data in found} == {b"data"}
    assert sum(not file.closed for file in {file for file, _ in found}) == 1  # type: ignore[attr-defined]


async def test_what_opens_when_its_user_has_gone_is_closed(files: OpenFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that hangs up while a slow volume still opens the file."""
    begun, go = asyncio.Event(), threading.Event()
    loop, really_open = asyncio.get_running_loop(), files._open
    opened: list[BinaryIO] = []

    def open_slowly(profile_id: str, size_bytes: int) -> BinaryIO:
        loop.call_soon_threadsafe(begun.set)
        assert go.wait(5)
        file = really_open(profile_id, size_bytes)
        assert not isinstance(file, RemoteFiles)
        opened.append(file)
        return opened[0]

    monkeypatch.setattr(files, "_open", open_slowly)
    taking = asyncio.create_task(files.take(IDS[0], 4))
    await begun.wait()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    go.set()
    async with asyncio.timeout(5):
        while not (opened and opened[0].closed):
            await asyncio.sleep(0.001)


async def test_all_are_closed_at_the_end(volume: Volume) -> None:
    async with OpenFiles(volume) as files, borrow(files, IDS[0]) as file:
        pass
    assert file.closed
