"""A small reserve, so that the state of a running recording can be written on a volume filled by others. A file whose
blocks are allocated in advance; it is deleted when a small write finds no space, and allocated again later.
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
"""Errors of file systems that cannot allocate blocks in advance."""


class EmergencySpace:
    """`size_bytes` 0: no reserve. Thread-safe."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._lock = threading.Lock()

    def take(self, free_bytes: int) -> bool:
        """Allocate the reserve unless it exists or would use a large part of the free space. True: it exists. Raises
        OSError."""
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
        """Release the reserve. False: there was none."""
        with self._lock, suppress(FileNotFoundError):
            if self._size_bytes:
                self._path.unlink()
                return True
        return False

    def retry_if_full(self, write: Callable[[], None]) -> None:
        """Call `write`, and again if the volume was full and the reserve could be released. `write` must leave no
        partial file."""
        try:
            write()
        except OSError as error:
            if error.errno not in durable.FULL or not self.drop():
                raise
            write()
