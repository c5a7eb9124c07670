"""Generated zips are valid to Python's own reader, whatever the names and sizes; large ones by their fields alone."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.api.content import zip_layout
from samply_operator.api.content.zip_layout import Member

TIME = datetime(2026, 1, 31, 9, 30, 58, tzinfo=UTC)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0/\\:"), min_size=1, max_size=20)


def build(contents: dict[str, bytes], time: datetime = TIME) -> bytes:
    layout = zip_layout.lay_out([Member(name, len(data), zlib.crc32(data), time) for name, data in contents.items()])
    pairs = zip(layout.heads, contents.values(), strict=True)
    return b"".join(piece for pair in pairs for piece in pair) + layout.tail


@given(st.dictionaries(NAMES, st.binary(max_size=50), max_size=8))
def test_zips_are_read_back_as_written(contents: dict[str, bytes]) -> None:
    with zipfile.ZipFile(io.BytesIO(build(contents))) as file:
        assert file.testzip() is None
        assert {info.filename: file.read(info) for info in file.infolist()} == contents
        assert all(info.compress_type == zipfile.ZIP_STORED for info in file.infolist())
        assert all(info.external_attr >> 16 == 0o100644 for info in file.infolist())


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (TIME, (2026, 1, 31, 9, 30, 58)),
        (TIME.astimezone(timezone(timedelta(hours=14))), (2026, 1, 31, 9, 30, 58)),
        (datetime.fromtimestamp(0, UTC), (1980, 1, 1, 0, 0, 0)),
    ],
    ids=["UTC", "another zone", "before 1980"],
)
def test_times_are_in_utc(time: datetime, expected: tuple[int, ...]) -> None:
    with zipfile.ZipFile(io.BytesIO(build({"a": b""}, time))) as file:
        assert file.infolist()[0].date_time == expected


def test_more_members_than_16_bits_count() -> None:
    data = build({str(number): b"" for number in range(70_000)})
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert len(file.infolist()) == 70_000


class Sparse(io.RawIOBase):
    """A large file of which only some places are written; the rest is zeros. Only what zipfile asks of one."""

    def __init__(self, size: int, written: dict[int, bytes]) -> None:
        self._size, self._written, self._at = size, written, 0

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        stop = self._size if size < 0 else min(self._size, self._at + size)
        data = bytearray(stop - self._at)
        for start, piece in self._written.items():
            first, last = max(start, self._at), min(start + len(piece), stop)
            if first < last:
                data[first - self._at : last - self._at] = piece[first - start : last - start]
        self._at = stop
        return bytes(data)


def test_sizes_and_offsets_beyond_32_bits() -> None:
    large = 5 << 30
    members = [Member("large", large, 7, TIME), Member("small", 3, zlib.crc32(b"abc"), TIME)]
    layout = zip_layout.lay_out(members)
    second = len(layout.heads[0]) + large
    end = second + len(layout.heads[1]) + 3
    written = {0: layout.heads[0], second: layout.heads[1] + b"abc", end: layout.tail}
    with zipfile.ZipFile(Sparse(end + len(layout.tail), written)) as file:  # type: ignore[arg-type]
        assert [(i.filename, i.file_size, i.header_offset) for i in file.infolist()] == [
            ("large", large, 0), ("small", 3, second)
        ]  # fmt: skip
        assert file.read("small") == b"abc"
    name_size, extra_size = struct.unpack("<HH", layout.heads[0][26:30])
    extra = layout.heads[0][30 + name_size :]
    assert struct.unpack("<HHQQ", extra) == (1, extra_size - 4, large, large)
