"""The child process: takes a job on stdin, answers on stdout, under limits that it sets for itself before it reads.

Exit status 0: stdout is the whole answer. 3: stderr is the error as JSON. 4: no memory. 5: no space. Else it died.
Run as `python -m samply_operator.profiles.worker.child MEMORY_BYTES CPU_SECS OUT_BYTES`.
"""

from __future__ import annotations

import errno
import os
import resource
import sys

import msgspec

from samply_operator.errors import ProfileError
from samply_operator.profiles.format import vectors
from samply_operator.profiles.worker import commands, jobs

EXIT_ERROR = 3
EXIT_NO_MEMORY = 4
EXIT_NO_SPACE = 5
OPEN_FILES = 64
PIECE = 64 << 10


class Failure(msgspec.Struct, frozen=True):
    """A ProfileError on its way to the parent."""

    code: str
    message: str
    remedy: str
    details: dict[str, object]


def set_limits(memory_bytes: int, cpu_secs: int, out_bytes: int) -> None:
    """Hard limits, which the process cannot raise again. Lower existing limits stay."""
    for kind, wanted, spare in (
        (resource.RLIMIT_AS, memory_bytes, 0),
        # A second between the signal that can be told apart (SIGXCPU) and the one that can't (SIGKILL).
        (resource.RLIMIT_CPU, cpu_secs, 1),
        (resource.RLIMIT_FSIZE, out_bytes, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES, 0),
        (resource.RLIMIT_CORE, 0, 0),
    ):
        _, hard = resource.getrlimit(kind)
        ceiling = wanted + spare if hard == resource.RLIM_INFINITY else min(wanted + spare, hard)
        resource.setrlimit(kind, (min(wanted, ceiling), ceiling))


def main(arguments: list[str]) -> int:
    """Run one job. Every problem with the file is an exit status, never a traceback."""
    memory_bytes, cpu_secs, out_bytes = map(int, arguments)
    set_limits(memory_bytes, cpu_secs, out_bytes)
    try:
        job = msgspec.json.decode(sys.stdin.buffer.read(), type=jobs.AnyJob)
        # Before the file is read: a library that later fails to load, for lack of memory, ends the process silently.
        vectors.load()
        _answer(job)
    except ProfileError as error:
        failure = Failure(type(error).code, error.message, error.remedy, error.details)
        sys.stderr.buffer.write(msgspec.json.encode(failure))
        return EXIT_ERROR
    except MemoryError:
        return EXIT_NO_MEMORY
    except OSError as error:
        if error.errno not in (errno.EFBIG, errno.ENOSPC, errno.EDQUOT):
            raise
        return EXIT_NO_SPACE
    return 0


def _answer(job: jobs.AnyJob) -> None:
    gathered = bytearray()
    for piece in commands.run(job):
        gathered += piece
        if len(gathered) >= PIECE:
            sys.stdout.buffer.write(gathered)
            gathered.clear()
    sys.stdout.buffer.write(gathered)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    status = main(sys.argv[1:])
    sys.stderr.flush()
    # Freeing a large heap takes longer than some jobs; the kernel does it at once.
    os._exit(status)
