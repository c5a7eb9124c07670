"""What may be on a volume instead of a valid document: each function creates one at a path that does not exist yet."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def _write(data: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(data)

    return make


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


BAD: dict[str, Callable[[Path], None]] = {
    "a folder": Path.mkdir,
    "a link to itself": _loop,
    "a link elsewhere": _link,
    "a pipe without a writer": os.mkfifo,
    "nested too deeply": _write(b'{"x":' + b"[" * 100_000),
    "too large": _write(b" " * (2 << 20)),
    "empty": _write(b""),
    "no UTF-8": _write(b"\xff\xfe"),
    "half of one": _write(b'{"id": "0000'),
    "of another id": _write(
        b'{"id":"00000000-0000-4000-8000-00000000ffff","namespace":"n","name":"p","pipeline":"p","ordinal":0,'
        b'"outcome":"Failed","requestedAt":"","finishedAt":""}'
    ),
}

ERRORS = (errno.EIO, errno.EACCES, errno.ESTALE)


def refuse(monkeypatch: pytest.MonkeyPatch, path: Path, number: int) -> None:
    """Let the disk answer an open of `path` with an error, as it does not on a sound disk, or to root."""
    genuine = os.open

    def opening(asked: str | bytes | os.PathLike[str], *arguments: int, **named: int | None) -> int:
        if os.fspath(asked) == str(path):
            raise OSError(number, os.strerror(number), str(path))
        return genuine(asked, *arguments, **named)

    monkeypatch.setattr(os, "open", opening)
