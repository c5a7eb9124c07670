"""Writes that survive a power failure, and errors of the volume as this project's own. The order is always: temporary
name, fsync, rename, fsync of the folder.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from samply_operator.errors import StoreError, StoreFull
from samply_operator.rules.recording import failures

Opened = TypeVar("Opened")

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Medium:
    """What the files are on, for messages about a lack of space."""

    name: str
    remedy: str


VOLUME = Medium("volume", failures.REMEDIES["StoreFull"])
SPOOL = Medium(
    "spool",
    "Check in the operator's log why profiles are not uploaded to the bucket, or raise config.storage.spoolBytes.",
)


@contextmanager
def translated(what: str, medium: Medium = VOLUME) -> Iterator[None]:
    """Turn an OSError into StoreFull or StoreError with the attempted operation."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise StoreFull(f"the {medium.name} is full: cannot {what}.", remedy=medium.remedy) from error
        raise StoreError(f"cannot {what}: {error.strerror or error}.", details={"errno": error.errno}) from error


def list_names(folder: Path) -> list[str]:
    """Names in a folder; none if there is no such folder. Raises OSError."""
    try:
        with os.scandir(folder) as found:
            return sorted(entry.name for entry in found)
    except FileNotFoundError:
        return []


def sync(path: Path) -> None:
    """fsync of a file or of a folder."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write(path: Path, data: bytes) -> None:
    """Write a new file and fsync it (not its folder). Leaves no file after a failure."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
    except OSError:
        path.unlink(missing_ok=True)
        raise


async def open_in_thread(open_file: Callable[[], Opened], close: Callable[[Opened], None]) -> Opened:
    """What `open_file` returns. If the caller is cancelled meanwhile, it is closed: nothing else would do that."""
    opening = asyncio.ensure_future(asyncio.to_thread(open_file))

    def close_opened(opened: asyncio.Future[Opened]) -> None:
        if not opened.cancelled() and opened.exception() is None:
            close(opened.result())

    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(close_opened)
        raise
