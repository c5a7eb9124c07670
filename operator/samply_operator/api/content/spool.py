"""Storage for converted responses until their clients have read them: files without a name, in a folder of limited
size. A slow reader does not block conversions, and uses at most a share of the space.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from samply_operator import errors

SHARES = 4
"""The part of the space that one response may use, and that all unread responses of one caller may use."""


class Spool:
    """`limit_bytes` in all, in the folder for temporary files."""

    def __init__(self, limit_bytes: int) -> None:
        self.answer_bytes = limit_bytes // SHARES
        """The size limit of one response."""
        self._limit_bytes = limit_bytes
        self._taken: Counter[str] = Counter()
        """By caller: a response that is being written counts with its size limit."""

    @property
    def taken_bytes(self) -> int:
        return self._taken.total()

    @contextmanager
    def open(self, caller: str) -> Iterator[Answer]:
        """Raises TooManyRequests if there is no space."""
        if self._taken[caller] >= self.answer_bytes or self.taken_bytes + self.answer_bytes > self._limit_bytes:
            raise errors.TooManyRequests(
                "Too many answers were made and not taken yet.", remedy="Take them, or try again in a few seconds."
            )
        with tempfile.TemporaryFile(buffering=0) as file:
            answer = Answer(file, caller, self._taken, self.answer_bytes)
            try:
                yield answer
            finally:
                answer.shrink_to(0)


class Answer:
    """One file, and the space that it uses."""

    def __init__(self, file: BinaryIO, caller: str, taken: Counter[str], size_bytes: int) -> None:
        self.file = file
        self.size_bytes = size_bytes
        self._caller = caller
        self._taken = taken
        taken[caller] += size_bytes

    def shrink_to(self, size_bytes: int) -> None:
        """Call when it is written: the rest of its space is freed."""
        self._taken[self._caller] += size_bytes - self.size_bytes
        self.size_bytes = size_bytes
        if not self._taken[self._caller]:
            del self._taken[self._caller]
