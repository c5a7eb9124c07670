"""Space on the volume: reserved before a copy starts, so that concurrent copies do not fill it together."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from samply_operator.errors import StoreFull
from samply_operator.store import durable
from samply_operator.store.durable import Medium

BLOCK = 512
"""Bytes in a unit of st_blocks, whatever the file system."""


class Space:
    """Counts reservations on the volume of `root`. Thread-safe."""

    def __init__(self, root: Path, min_free_bytes: int, max_bytes: int = 0, medium: Medium = durable.VOLUME) -> None:
        """`max_bytes`: limit for the files, however much is free; 0: no limit."""
        self._root = root
        self._medium = medium
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._lock = threading.Lock()
        self._reserved_bytes = 0

    def free_bytes(self) -> int:
        found = os.statvfs(self._root)
        free = found.f_bavail * found.f_frsize
        return min(free, self._max_bytes - measure(self._root)) if self._max_bytes else free

    def room_bytes(self) -> int:
        with self._lock:
            return self._measure_room()

    def _measure_room(self) -> int:
        return self.free_bytes() - self._reserved_bytes - self._min_free_bytes

    def reserve(self, size_bytes: int) -> Reservation:
        """Raises StoreFull if it does not fit in addition to the reservations and the space that must stay free;
        OSError."""
        with self._lock:
            room = self._measure_room()
            if size_bytes > room:
                raise StoreFull(
                    f"the {self._medium.name} has too little space: {size_bytes} bytes are needed, "
                    f"{max(room, 0)} can be used.",
                    remedy=self._medium.remedy,
                    details={"needed_bytes": size_bytes, "usable_bytes": max(room, 0)},
                )
            self._reserved_bytes += size_bytes
        return Reservation(self, size_bytes)

    def give_back(self, size_bytes: int) -> None:
        with self._lock:
            self._reserved_bytes -= size_bytes


def measure(root: Path) -> int:
    """Bytes used by the files below a folder. Files removed meanwhile may or may not count."""
    total = 0
    for path in root.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.lstat().st_blocks * BLOCK
    return total


@dataclass(frozen=True, slots=True)
class Backlog:
    """Finished attempts in the spool that are not in the bucket yet."""

    attempts: int
    used_bytes: int
    """Of the whole spool, running recordings included."""
    oldest_at: float | None
    """Unix time at which the oldest one was stored; None: there is none."""


class Reservation:
    """Reserved bytes. `consume` as they are written (then the disk counts them), `release` at the end."""

    def __init__(self, space: Space, size_bytes: int) -> None:
        self._space = space
        self._left_bytes = size_bytes

    def consume(self, size_bytes: int) -> None:
        taken = min(size_bytes, self._left_bytes)
        self._left_bytes -= taken
        self._space.give_back(taken)

    def release(self) -> None:
        self.consume(self._left_bytes)

    def __enter__(self) -> Reservation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
