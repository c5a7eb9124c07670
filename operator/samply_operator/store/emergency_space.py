"""A little room that is held back, so that a recording under way can be written down on a volume that others filled.

A file whose blocks are taken in advance; it is given up when a small write finds no room, and taken again later.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from samply_operator.store import durable

UNSUPPORTED = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
"""Said by file systems that can't take blocks in advance."""


class EmergencySpace:
    """`size_bytes` 0: none is held. Safe to use from several threads."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._lock = threading.Lock()

    def take(self, free_bytes: int) -> bool:
        """Take the room unless it is taken, or would be a large part of what is free. True: it is held. OSError."""
        with self._lock:
            if not self._size_bytes or self._path.exists():
                return self._path.exists()
            if free_bytes < 8 * self._size_bytes:
                return False
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                os.posix_fallocate(fd, 0, self._size_bytes)
            except OSError as error:
                self._path.unlink()
                if error.errno in UNSUPPORTED | durable.FULL:
                    return False
                raise
            finally:
                os.close(fd)
            return True

    def drop(self) -> bool:
        """Give the room up. False: there was none."""
        with self._lock, suppress(FileNotFoundError):
            if self._size_bytes:
                self._path.unlink()
                return True
        return False

    def rescue(self, write: Callable[[], None]) -> None:
        """`write`, and once more if the volume was full and the room could be given up. `write` leaves no half file."""
        try:
            write()
        except OSError as error:
            if error.errno not in durable.FULL or not self.drop():
                raise
            write()
