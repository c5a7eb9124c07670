"""Reads the texts of evaluations, a million at once: byte by byte from the end of each, on whole columns. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from samply_operator.profiles.format.lazy_numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from samply_operator.profiles.format.vectors import Longs

MAX_DIGITS = 15
MAX_HEAD = 1000
"""No node has a longer name; it is read 8 bytes at a time."""
FACTOR = 0x9E3779B97F4A7C15
PADDING = 32
"""Padding after the last line, so that a literal can be searched for anywhere."""
CPU, REAL, USED = ("μs CPU time".encode(), "μs real time, ".encode(), b" used ")


@dataclass(frozen=True, slots=True)
class Parsed:
    """`head`: for each text its row in `heads`, of which there are few; `cpu_us` as in the text."""

    heads: list[bytes]
    head: Longs
    cpu_us: Longs


def parse(texts: Sequence[str]) -> Parsed:
    """Of each `<head> used Nμs real time, Mμs CPU time` the head and M; of any other text an empty head."""
    if not texts:
        return Parsed([], np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    data = "\n".join(texts).encode("utf-8", "replace")
    cursor = _Cursor(data)
    if len(cursor.starts) != len(texts):
        return parse([text.replace("\n", " ") for text in texts])
    cursor.pass_literal(CPU)
    cpu_us = cursor.pass_number()
    cursor.pass_literal(REAL)
    cursor.pass_number(is_wanted=False)
    cursor.pass_literal(USED)
    cursor.is_good &= cursor.at - cursor.starts <= MAX_HEAD
    starts, ends = cursor.starts, np.where(cursor.is_good, cursor.at, cursor.starts)
    _, first, head = np.unique(cursor.hash_between(starts, ends), return_index=True, return_inverse=True)
    heads = [data[start:end] for start, end in zip(starts[first].tolist(), ends[first].tolist(), strict=True)]
    return Parsed(heads, head, cpu_us)


class _Cursor:
    """A position in each line, which moves backwards; `is_good` where everything matched so far."""

    def __init__(self, data: bytes) -> None:
        self.data = np.frombuffer(data, dtype=np.uint8)
        breaks = np.flatnonzero(self.data == ord("\n"))
        self.starts = np.concatenate([[0], breaks + 1])
        self.at = np.append(breaks, len(data))
        self.is_good: NDArray[np.bool_] = np.ones(len(self.at), dtype=bool)
        # The bytes from each place on, as one number: a comparison for several bytes.
        padded = data + bytes(PADDING)
        self._words = {size: _view_words(padded, size) for size in (4, 8)}

    def pass_literal(self, literal: bytes) -> None:
        size = 8 if len(literal) >= 8 else 4
        self.at = self.at - len(literal)
        self.is_good &= self.at >= self.starts
        at = np.where(self.is_good, self.at, 0)
        for offset in (0, len(literal) - size):
            wanted = int.from_bytes(literal[offset : offset + size], "little")
            self.is_good &= self._words[size][at + offset] == wanted

    def pass_number(self, *, is_wanted: bool = True) -> Longs:
        """The digits before each place; there is at least one, and at most MAX_DIGITS are taken. Zeros if they are not
        wanted."""
        values = np.zeros(len(self.at), dtype=np.int64)
        rows = np.flatnonzero(self.is_good)
        at, starts = self.at[rows], self.starts[rows]
        for power in range(MAX_DIGITS):
            digits = self.data[at - 1] - np.uint8(ord("0"))
            found = (digits <= 9) & (at > starts)
            if not found.all():
                self.at[rows] = at
                rows, at, starts, digits = rows[found], at[found], starts[found], digits[found]
            if is_wanted:
                values[rows] += digits.astype(np.int64) * 10**power
            at = at - 1
            if power == 0:
                has_digit = np.zeros(len(self.at), dtype=bool)
                has_digit[rows] = True
            if not len(rows):
                break
        self.at[rows] = at
        self.is_good &= has_digit
        return values

    def hash_between(self, starts: Longs, ends: Longs) -> NDArray[np.uint64]:
        """A number of 64 bits for the bytes from each start to its end: by chance 1 in 2^64 others share it."""
        words, lengths = self._words[8], ends - starts
        hashes = lengths.astype(np.uint64)
        for step in range(int(lengths.max()) // 8):
            rows = np.flatnonzero(lengths >= 8 * (step + 1))
            hashes[rows] = mix(hashes[rows], words[starts[rows] + 8 * step])
        masks = np.array([(1 << 8 * size) - 1 for size in range(8)], dtype=np.uint64)
        return mix(hashes, words[ends - lengths % 8] & masks[lengths % 8])


def mix(hashes: NDArray[np.uint64], words: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.uint64]:
    mixed = (hashes ^ words) * np.uint64(FACTOR)
    return mixed ^ (mixed >> np.uint64(29))


def _view_words(padded: bytes, size: int) -> NDArray[np.unsignedinteger[Any]]:
    return np.ndarray((len(padded) - size + 1,), dtype=f"<u{size}", buffer=padded, strides=(1,))
