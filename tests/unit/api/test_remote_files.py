"""Downloads from a bucket: in parts ahead of the client, with limited memory, and whatever breaks meanwhile."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from samply_operator.api.content import remote_files
from samply_operator.api.content.file_cache import FileCache
from samply_operator.api.content.remote_files import AHEAD, FEW, PART_BYTES, RemoteFile, RemoteFiles
from samply_operator.errors import StoreUnavailable, UnknownProfile
from samply_operator.model.manifest import Manifest, StoredFile
from samply_operator.profiles.attribution import naming

SIZE = 5 * PART_BYTES + 17
NAMES = b'{"names": {}}'
DATA = bytes(range(251)) * (SIZE // 251 + 1)


def make_manifest(size_bytes: int = SIZE) -> Manifest:
    return Manifest(
        id="00000000-0000-4000-8000-000000000001", namespace="feldera", name="p", pipeline="orders", ordinal=0,
        outcome="Succeeded", requested_at="2026-01-31T09:00:00.000Z", finished_at="2026-01-31T09:00:30.000Z",
        file=StoredFile(size_bytes, "0" * 64),
    )  # fmt: skip


class FakeBucket:
    """`asked`: the ranges. `fail` is called with each range before its bytes come."""

    def __init__(self, fail: Callable[[int, int], None] = lambda *_: None) -> None:
        self.asked: list[tuple[int, int]] = []
        self.given = 0
        self.fail = fail
        self.is_removed = False

    async def open_stream(self, _: Manifest, start: int, stop: int, name: str = "") -> Any:
        self.asked.append((start, stop))
        return None if self.is_removed else FakeStream(self, start, stop)

    def read_operators(self, _: Manifest) -> bytes:
        return NAMES

    def find_local(self, _: str) -> None:
        """It is not in the spool."""


class FakeStream:
    size_bytes = SIZE

    def __init__(self, bucket: FakeBucket, start: int, stop: int) -> None:
        self._bucket = bucket
        self._range = start, stop

    async def read(self, piece_bytes: int) -> AsyncGenerator[memoryview, None]:
        start, stop = self._range
        for offset in range(start, stop, piece_bytes):
            await asyncio.sleep(0)
            self._bucket.fail(start, stop)
            piece = memoryview(DATA)[offset : min(offset + piece_bytes, stop)]
            self._bucket.given += len(piece)
            yield piece


def open_file(bucket: FakeBucket, folder: Path) -> RemoteFile:
    return RemoteFile(bucket, FileCache(folder, 0), make_manifest())  # type: ignore[arg-type]


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_files, "PAUSE_SECS", 0.0)


async def read_all(file: RemoteFile, start: int = 0, stop: int = SIZE) -> bytes:
    await file.open(start, stop)
    return b"".join([bytes(piece) async for piece in file.stream(start, stop)])


async def let_run() -> None:
    for _ in range(100):
        await asyncio.sleep(0)


@pytest.mark.parametrize(("start", "stop"), [(0, SIZE), (5, 9), (3, PART_BYTES + 4), (PART_BYTES, SIZE)])
async def test_parts_are_sent_in_order(start: int, stop: int, tmp_path: Path) -> None:
    bucket = FakeBucket()
    assert await read_all(open_file(bucket, tmp_path), start, stop) == DATA[start:stop]
    expected = [(each, min(each + PART_BYTES, stop)) for each in range(start, stop, PART_BYTES)]
    whole = [(start, stop)] if len(expected) > 1 else []
    assert sorted(bucket.asked) == sorted(expected + whole), "each part is requested once"
    assert bucket.given == stop - start, "nothing is read twice"


@pytest.mark.parametrize("start", [0, 7])
async def test_a_file_that_is_removed_meanwhile_is_sent_to_its_end(start: int, tmp_path: Path) -> None:
    bucket = FakeBucket()
    file = open_file(bucket, tmp_path)
    await file.open(start, SIZE)
    async with aclosing(file.stream(start, SIZE)) as pieces:
        received = [bytes(await anext(pieces))]
        assert bucket.given < SIZE - start
        bucket.is_removed = True
        received += [bytes(piece) async for piece in pieces]
    assert b"".join(received) == DATA[start:SIZE]
    with pytest.raises(UnknownProfile):
        await open_file(bucket, tmp_path).open(start, SIZE)


async def test_a_slow_client_limits_what_is_requested(tmp_path: Path) -> None:
    bucket = FakeBucket()
    async with aclosing(open_file(bucket, tmp_path).stream(0, SIZE)) as pieces:
        await anext(pieces)
        await let_run()
        assert bucket.given == PART_BYTES * (AHEAD + 1)
        assert len(bucket.asked) == AHEAD + 1


async def test_a_client_that_disconnects_ends_the_requests(tmp_path: Path) -> None:
    bucket = FakeBucket()
    async with aclosing(open_file(bucket, tmp_path).stream(0, SIZE)) as pieces:
        await anext(pieces)
    assert RemoteFile.reading == 0
    given = bucket.given
    await let_run()
    assert bucket.given == given
    assert len(asyncio.all_tasks()) == 1, "only this test"


async def test_of_many_downloads_only_a_few_use_memory_for_parts(tmp_path: Path) -> None:
    opened = [open_file(FakeBucket(), tmp_path).stream(0, SIZE) for _ in range(FEW)]
    for pieces in opened:
        await anext(pieces)
    bucket = FakeBucket()
    assert await read_all(open_file(bucket, tmp_path)) == DATA[:SIZE]
    assert bucket.asked == [(0, SIZE)]
    for pieces in opened:
        await pieces.aclose()
    assert RemoteFile.reading == 0


@pytest.mark.usefixtures("no_pause")
async def test_a_part_whose_connection_breaks_is_requested_again(tmp_path: Path) -> None:
    broken = [PART_BYTES, 2 * PART_BYTES]

    def fail(start: int, _: int) -> None:
        if start in broken:
            broken.remove(start)
            raise StoreUnavailable("cannot read: connection reset.")

    assert await read_all(open_file(FakeBucket(fail), tmp_path)) == DATA[:SIZE]
    assert broken == []


@pytest.mark.usefixtures("no_pause")
async def test_a_bucket_that_stays_away_ends_the_download(tmp_path: Path) -> None:
    def fail(start: int, _: int) -> None:
        if start >= 2 * PART_BYTES:
            raise StoreUnavailable("cannot read: connection reset.")

    pieces = open_file(FakeBucket(fail), tmp_path).stream(0, SIZE)
    received = [bytes(await anext(pieces)) for _ in range(2)]
    assert b"".join(received) == DATA[: 2 * PART_BYTES]
    with pytest.raises(StoreUnavailable):
        await anext(pieces)
    assert RemoteFile.reading == 0


async def test_another_object_than_the_manifest_describes_is_not_sent(tmp_path: Path) -> None:
    file = RemoteFile(FakeBucket(), FileCache(tmp_path, 0), make_manifest(SIZE - 1))  # type: ignore[arg-type]
    with pytest.raises(UnknownProfile):
        await file.open(0, SIZE - 1)


async def test_the_cache_keeps_only_what_is_complete(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, 8 * SIZE)
    file = RemoteFile(FakeBucket(), cache, make_manifest())  # type: ignore[arg-type]
    async with aclosing(file.stream(0, SIZE)) as pieces:
        await anext(pieces)
    assert cache.open(make_manifest().id, SIZE) is None
    assert await read_all(file) == DATA[:SIZE]
    kept = cache.open(make_manifest().id, SIZE)
    assert kept is not None
    with kept:
        assert kept.read() == DATA[:SIZE]


async def test_a_file_is_fetched_once_for_all_users_and_its_lock_is_not_kept(tmp_path: Path) -> None:
    bucket, manifest = FakeBucket(), make_manifest()
    files = RemoteFiles(bucket, FileCache(tmp_path, 8 * SIZE))  # type: ignore[arg-type]

    async def read() -> bytes:
        async with files.use([manifest]):
            return files.find_path(manifest.id).read_bytes()

    assert await asyncio.gather(read(), read()) == [DATA[:SIZE]] * 2
    assert bucket.given == SIZE
    assert len(files._fetching) == 0


async def test_names_of_operators_are_cached_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket, manifest = FakeBucket(), make_manifest()
    files = RemoteFiles(bucket, FileCache(tmp_path, 0))  # type: ignore[arg-type]
    path = naming.find_path(files.find_path(manifest.id))
    write = Path.write_bytes

    def fill_the_disk(self: Path, data: bytes) -> int:
        write(self, data[:3])
        assert not path.exists(), "other requests would use it"
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", fill_the_disk)
        with pytest.raises(OSError, match="No space left"):
            await files._fetch_operators(manifest)
    assert list(path.parent.iterdir()) == []
    await files._fetch_operators(manifest)
    assert path.read_bytes() == NAMES
