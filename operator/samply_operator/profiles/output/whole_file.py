"""Output files that are replaced atomically, through a temporary file in the same folder; and stdout."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from samply_operator.errors import InvalidParam, SamplyOperatorError

NEW_FILE = 0o666
REMEDIES = {
    errno.EACCES: "Name a file in a folder that you may write to.",
    errno.EPERM: "Name a file in a folder that you may write to.",
    errno.EROFS: "Name a file in a folder that can be written to.",
    errno.EISDIR: "Name a file in it.",
    errno.ENOSPC: "Free some space, or name a file on another disk.",
    errno.EDQUOT: "Free some space, or name a file on another disk.",
    errno.ENAMETOOLONG: "Give it a shorter name.",
}


class OutputError(SamplyOperatorError):
    """An output can't be written. Its message has the name that the user gave."""

    code = "Output"


def write(pieces: Iterable[bytes], out: Path, *, inputs: Iterable[Path] = ()) -> int:
    """Writes all of the pieces, or leaves `out` unchanged. Returns their size in bytes. Raises as `open_temporary`."""
    with open_temporary(out, inputs=inputs) as path, path.open("wb") as file:
        return sum(file.write(piece) for piece in pieces)


def write_stdout(pieces: Iterable[bytes]) -> None:
    """Raises OutputError, or BrokenPipeError where the reader has closed the pipe."""
    if sys.stdout is None:
        raise OutputError("The output is closed.", remedy="Name a file with --out, or leave stdout open.")
    try:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    except OSError as error:
        # Nothing more can be written, not even what is left at exit.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - open till the end
        if isinstance(error, BrokenPipeError):
            raise
        raise _build_error("The output", error) from error


@contextlib.contextmanager
def open_temporary(out: Path, *, inputs: Iterable[Path] = ()) -> Iterator[Path]:
    """A new path beside `out`, which takes its place when all is written, with the rights that it had.

    What is no file of its own (/dev/stdout, a pipe) is written to as it is. Raises InvalidParam where `out` is one of
    the inputs, by whatever name, and OutputError where it can't be written.
    """
    read = list(inputs)
    try:
        with _open_beside(out, read) as path:
            yield path
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename in map(str, read):
            raise
        raise _build_error(str(out), error, folder=out.parent) from error


@contextlib.contextmanager
def _open_beside(out: Path, inputs: Iterable[Path]) -> Iterator[Path]:
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


def _build_error(name: str, error: OSError, *, folder: Path | None = None) -> OutputError:
    if folder is not None and error.errno in (errno.ENOENT, errno.ENOTDIR):
        return OutputError(f"{name} can't be written: there is no folder {folder}.", remedy="Create it first.")
    remedy = REMEDIES.get(error.errno or 0, "Name another file.")
    return OutputError(f"{name} can't be written: {error.strerror}.", remedy=remedy)


def _read_umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
