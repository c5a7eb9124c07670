"""Output files that are replaced atomically, through a temporary file in the same folder."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from samply_operator.errors import InvalidParam

NEW_FILE = 0o666


def write(pieces: Iterable[bytes], out: Path, *, inputs: Iterable[Path] = ()) -> None:
    """Writes all of the pieces, or leaves `out` unchanged. Raises InvalidParam (see `open_temporary`)."""
    with open_temporary(out, inputs=inputs) as path, path.open("wb") as file:
        file.writelines(pieces)


@contextlib.contextmanager
def open_temporary(out: Path, *, inputs: Iterable[Path] = ()) -> Iterator[Path]:
    """A new path beside `out`, which takes its place when all is written, with the rights that it had.

    What is no file of its own (/dev/stdout, a pipe) is written to as it is. Raises InvalidParam where `out` is one of
    the inputs, by whatever name.
    """
    for each in inputs:
        if out.exists() and each.exists() and out.samefile(each):
            raise InvalidParam(f"{out.name} is read here, so it cannot be written.", remedy="Name another file.")
    target = Path(os.path.realpath(out))
    if target.exists() and not target.is_file():
        yield target
        return
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent)
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        beside.chmod(stat.S_IMODE(target.stat().st_mode) if target.exists() else NEW_FILE & ~_read_umask())
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _read_umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
