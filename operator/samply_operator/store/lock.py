"""One writer per volume: a lock that the kernel releases when its process ends. Two pods of one release on one volume
would otherwise share the journal and take over each other's recordings.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

UNSUPPORTED = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
"""Errors of file systems without locks."""


class Lock:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def acquire(self) -> bool:
        """True: locked until `release`, or the file system has no locks. False: another process has it. Raises
        OSError."""
        if self._descriptor >= 0:
            return True
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
                return False
            if error.errno in UNSUPPORTED:
                return True
            raise
        self._descriptor = fd
        return True

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
