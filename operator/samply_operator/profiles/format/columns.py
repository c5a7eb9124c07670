"""Columns of numbers, kept as JSON text and decoded in pieces.

A column of ten million numbers as a Python list takes 400 MB, as text 60: so a column stays text until it is read,
piece by piece, and what has to be kept goes into an `array`.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from samply_operator.profiles.errors import BrokenProfile, build_broken, build_undecodable
from samply_operator.profiles.format import vectors

if TYPE_CHECKING:
    from samply_operator.profiles.format.vectors import Floats, Longs

PIECE = 1 << 20
MAX_NUMBER = 1e18
"""As milliseconds 30 million years, as bytes an exabyte."""
DIGIT, POSITIVE, MINUS, POINT = (re.compile(pattern) for pattern in (rb"[0-9]", rb"[1-9]", rb"-", rb"\.|[eE]-"))
_floats = msgspec.json.Decoder(list[float])
_either = msgspec.json.Decoder(list[int | float])


@dataclass(frozen=True, slots=True)
class Column:
    """One column as the file has it. `where` names it in errors; `length` is what its table says."""

    raw: msgspec.Raw
    where: str
    length: int

    @property
    def is_absent(self) -> bool:
        return len(self.raw) == 0 or bytes(memoryview(self.raw)[:4]) == b"null"

    @property
    def has_numbers(self) -> bool:
        """Whether the column exists and is not all null."""
        return not self.is_absent and DIGIT.search(memoryview(self.raw)) is not None

    @property
    def has_fractions(self) -> bool:
        return (
            not self.is_absent
            and POINT.search(memoryview(self.raw)) is not None
            and any(number != int(number) for piece in self.float_pieces() for number in piece)
        )

    @property
    def is_anything_positive(self) -> bool:
        return not self.is_absent and POSITIVE.search(memoryview(self.raw)) is not None

    @property
    def is_anything_negative(self) -> bool:
        """A minus may also be that of an exponent."""
        return (
            not self.is_absent
            and MINUS.search(memoryview(self.raw)) is not None
            and any(min(piece, default=0.0) < 0 for piece in self.float_pieces())
        )

    def is_all(self, text: bytes) -> bool:
        """Whether every row is this text. Decodes no number."""
        raw = memoryview(self.raw)
        if len(raw) != self.length * (len(text) + 1) + 1:
            return False
        run = (text + b",") * min(self.length, PIECE)
        body = raw[1:-1]
        return all(
            body[start : start + len(run)] == run[: len(body) - start] for start in range(0, len(body), len(run))
        )

    def float_pieces(self) -> Iterator[list[float]]:
        """The numbers in order; null counts as 0."""
        return self._pieces(b"0")

    def floats(self) -> Floats:
        """All of them as one array; null counts as 0. Raises BrokenProfile for what no sum can hold."""
        found = vectors.join_floats(self.float_pieces())
        if len(found) and max(found.max(), -found.min()) > MAX_NUMBER:
            raise build_broken(self.where, f"a number is too large ({max(found, key=abs):.3g})")
        return found

    def ints(self, typecode: str = "i", *, null: int = -1) -> array[int]:
        """All of them, compact. "i" is 32 bits wide, "q" 64. `null` stands for JSON's null."""
        limit = 1 << (31 if typecode == "i" else 63)
        # At once and in full: what grows is copied, and leaves holes. A number and a comma are two bytes at least, so
        # the length that the file states is not trusted beyond that.
        out = array(typecode, [0]) * min(self.length, len(self.raw) // 2)
        rows = vectors.view(out) if typecode == "i" else vectors.view_longs(out)
        total = 0
        for text in split(memoryview(self.raw)):
            piece = self._read_piece(text, null)
            if vectors.abs_max(piece) >= limit:
                raise build_broken(self.where, "a number is out of range")
            rows[total : total + len(piece)] = piece[: max(0, len(rows) - total)]
            total += len(piece)
        self._check_length(total)
        return out

    def numbers(self) -> Longs | Floats:
        """All of them, also fractions; null counts as 0."""
        try:
            return vectors.view_longs(self.ints("q", null=0))
        except BrokenProfile:
            # Fractions, or something that the other decoder reports.
            return self.floats()

    def _read_piece(self, text: bytes, null: int) -> Longs:
        body = text[1:-1].replace(b"null", b"%d" % null) if b"null" in text else text[1:-1]
        numbers = vectors.parse_longs(body) if body.strip() else vectors.as_longs([])
        # If they are not samply's plain numbers, the decoder reports what is wrong, if anything.
        return self._look_closely(text, null) if numbers is None else numbers

    def _look_closely(self, text: bytes, null: int) -> Longs:
        clean = text.replace(b"null", b"%d" % null)
        try:
            # Whole numbers may be spelt 2.0 or 2e3.
            numbers = _either.decode(clean)
        except msgspec.DecodeError as error:
            raise build_undecodable(self.where, error) from error
        if any(number != int(number) for number in numbers):
            raise build_broken(self.where, "a number is a fraction, where it can be none")
        try:
            return vectors.as_longs([int(number) for number in numbers])
        except OverflowError as error:
            raise build_broken(self.where, "a number is out of range") from error

    def _pieces(self, null: bytes) -> Iterator[list[float]]:
        total = 0
        for text in split(memoryview(self.raw)):
            clean = text.replace(b"null", null) if b"null" in text else text
            try:
                numbers = _floats.decode(clean)
            except msgspec.DecodeError as error:
                raise build_undecodable(self.where, error) from error
            total += len(numbers)
            yield numbers
        self._check_length(total)

    def _check_length(self, total: int) -> None:
        if total != self.length:
            raise build_broken(self.where, f"{total} rows where the table has {self.length}")


def split(text: memoryview) -> Iterator[bytes]:
    """A JSON array of numbers as several smaller ones."""
    if len(text) <= PIECE:
        yield bytes(text)
        return
    start, end = 1, len(text) - 1
    while start < end:
        piece = bytes(text[start : start + PIECE]) if start + PIECE < end else bytes(text[start:end])
        if start + len(piece) < end:
            cut = piece.rfind(b",")
            # Without a comma in a whole piece it is no column of numbers: the decoder reports it.
            piece = piece[:cut] if cut > 0 else piece
        yield b"[" + piece + b"]"
        start += len(piece) + 1
