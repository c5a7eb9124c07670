"""Runs a job on profiles in a child process with limits on memory, CPU time, wall time and size of what it writes.

A profile comes from a pod and is not trusted: it can harm only the child. This is the way
in which a service touches profiles; the CLI on a user's own files needs no child.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

import samply_operator
from samply_operator.errors import ProfileError
from samply_operator.profiles import errors
from samply_operator.profiles.analysis.comparing import Comparison
from samply_operator.profiles.analysis.fact_sheet import ProfileFacts
from samply_operator.profiles.analysis.summary import Summary
from samply_operator.profiles.analysis.tally import TimeRange
from samply_operator.profiles.attribution.labels import By
from samply_operator.profiles.attribution.naming import NodeNames
from samply_operator.profiles.format import source
from samply_operator.profiles.format.gzipping import Written
from samply_operator.profiles.symbols.baking import BakeResult
from samply_operator.profiles.symbols.label import Label
from samply_operator.profiles.worker import child, jobs

Answer = TypeVar("Answer")
PIECE = 64 << 10
STDERR_BYTES = 64 << 10
MAX_ANSWER_BYTES = 64 << 20
"""Of what is decoded here. The names in a hostile profile may be as long as the profile."""
NO_MEMORY = (b"MemoryError", b"OpenBLAS error: Memory allocation", b"failed to map segment")
"""Messages of Python, numpy's BLAS and the dynamic linker."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a child may use. `memory_bytes` is address space: Python and numpy take about 120 MB of it."""

    memory_bytes: int = 1 << 30
    cpu_secs: int = 120
    wall_secs: float = 180.0
    out_bytes: int = 1 << 30
    max_raw_bytes: int = source.MAX_RAW_BYTES


async def facts(profile: Path, limits: Limits) -> ProfileFacts:
    return await _ask(jobs.Facts(profile=str(profile), max_raw_bytes=limits.max_raw_bytes), ProfileFacts, limits)


async def bake(
    profile: Path, sidecar: Path | None, out: Path, *, label: Label, limits: Limits, window: TimeRange | None = None
) -> BakeResult:
    """See `bake.bake`. On any error `out` may be there, half written: remove it, and publish what `pack` makes."""
    job = jobs.Bake(
        profile=str(profile),
        sidecar=None if sidecar is None else str(sidecar),
        out=str(out),
        label=label,
        window=window,
        max_raw_bytes=limits.max_raw_bytes,
    )
    return await _ask(job, BakeResult, limits)


async def name(dataflow: Path, circuit: Path, limits: Limits) -> NodeNames:
    """What Feldera calls the operators; see `naming.join`."""
    return await _ask(jobs.Name(dataflow=str(dataflow), circuit=str(circuit)), NodeNames, limits)


async def pack(profile: Path, out: Path, limits: Limits) -> Written:
    """The raw file as gzip, without a look at its content."""
    return await _ask(
        jobs.Pack(profile=str(profile), out=str(out), max_raw_bytes=limits.max_raw_bytes), Written, limits
    )


async def top(
    profile: Path,
    limits: Limits,
    *,
    limit: int = 20,
    thread: str | None = None,
    time_range: TimeRange | None = None,
) -> Summary:
    job = jobs.Top(
        profile=str(profile), limit=limit, thread=thread, time_range=time_range, max_raw_bytes=limits.max_raw_bytes
    )
    return await _ask(job, Summary, limits)


async def diff(before: Path, after: Path, limits: Limits, *, limit: int = 30) -> Comparison:
    job = jobs.Diff(before=str(before), after=str(after), limit=limit, max_raw_bytes=limits.max_raw_bytes)
    return await _ask(job, Comparison, limits)


async def diff_kinds(
    before: Path, after: Path, limits: Limits, kinds: Sequence[By], *, limit: int = 30
) -> dict[By, Comparison]:
    """By each of `kinds` that both profiles have."""
    job = jobs.DiffKinds(
        before=str(before), after=str(after), kinds=tuple(kinds), limit=limit, max_raw_bytes=limits.max_raw_bytes
    )
    return await _ask(job, dict[By, Comparison], limits)


async def _ask(job: jobs.AnyJob, shape: type[Answer], limits: Limits) -> Answer:
    answer = bytearray()
    async with contextlib.aclosing(stream(job, limits)) as pieces:
        async for piece in pieces:
            answer += piece
            if len(answer) > MAX_ANSWER_BYTES:
                raise build_failure("OutOfMemory", f"Its answer has more than {MAX_ANSWER_BYTES >> 20} MiB.", None)
    return msgspec.json.decode(answer, type=shape)


async def stream(job: jobs.AnyJob, limits: Limits) -> AsyncGenerator[bytes, None]:
    """The answer as it comes. An error may come after the first pieces.

    The child is gone when this ends. Who stops half-way closes the iterator (`contextlib.aclosing`), which ends it too.
    """
    process = await _start(limits, asyncio.subprocess.PIPE)
    complaint = asyncio.create_task(_read_stderr(process))
    deadline = asyncio.get_running_loop().time() + limits.wall_secs
    try:
        await _send(process, msgspec.json.encode(job))
        # No `asyncio.timeout` around a `yield`: it would fire in the caller's code.
        while piece := await _receive(process, deadline):
            yield piece
        async with asyncio.timeout_at(deadline):
            status = await process.wait()
            stderr = await complaint
    except TimeoutError as error:
        raise _build_late(limits) from error
    finally:
        await _end(process)
        complaint.cancel()
    if status != 0:
        raise explain(status, stderr)


async def write(job: jobs.AnyJob, limits: Limits, out: BinaryIO) -> None:
    """The whole answer into an open, empty file of `limits.out_bytes` at most. The child is gone when this ends."""
    process = await _start(limits, out)
    complaint = asyncio.create_task(_read_stderr(process))
    try:
        async with asyncio.timeout(limits.wall_secs):
            await _send(process, msgspec.json.encode(job))
            status = await process.wait()
            stderr = await complaint
    except TimeoutError as error:
        raise _build_late(limits) from error
    finally:
        await _end(process)
        complaint.cancel()
    if status != 0:
        raise explain(status, stderr)


async def _start(limits: Limits, stdout: int | BinaryIO) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        child.__name__,
        *map(str, (limits.memory_bytes, limits.cpu_secs, limits.out_bytes)),
        stdin=asyncio.subprocess.PIPE,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        limit=PIECE,
        # A clean environment: a process that reads untrusted files has no access to the service's secrets.
        # Nothing here multiplies matrices: numpy's BLAS would start threads and reserve memory for them.
        env={
            "PYTHONPATH": str(Path(samply_operator.__file__).parents[1]),
            "MALLOC_ARENA_MAX": "1",
            "OPENBLAS_NUM_THREADS": "1",
        },
    )


def _build_late(limits: Limits) -> errors.ProfileJobFailed:
    return build_failure("Timeout", f"It took longer than {limits.wall_secs:g} s.", None)


async def _send(process: asyncio.subprocess.Process, request: bytes) -> None:
    if process.stdin is not None:
        # If the child died before it read, its exit status says why.
        with contextlib.suppress(ConnectionError):
            process.stdin.write(request)
            await process.stdin.drain()
        process.stdin.close()


async def _receive(process: asyncio.subprocess.Process, deadline: float) -> bytes:
    if process.stdout is None:
        return b""
    async with asyncio.timeout_at(deadline):
        return await process.stdout.read(PIECE)


async def _read_stderr(process: asyncio.subprocess.Process) -> bytes:
    """The beginning of the stream; the rest is discarded, so that the child never blocks."""
    kept = b""
    if process.stderr is not None:
        while piece := await process.stderr.read(PIECE):
            kept = (kept + piece)[:STDERR_BYTES]
    return kept


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


def explain(status: int, stderr: bytes) -> ProfileError:
    """The error that an exit status stands for."""
    if status == child.EXIT_ERROR:
        try:
            failure = msgspec.json.decode(stderr, type=child.Failure)
        except msgspec.DecodeError:
            return build_failure("Crashed", "The child's error could not be read.", status)
        kind = KINDS.get(failure.code, ProfileError)
        return kind(failure.message, remedy=failure.remedy, details=failure.details)
    if status in (child.EXIT_NO_MEMORY, -signal.SIGKILL) or any(sign in stderr for sign in NO_MEMORY):
        return build_failure("OutOfMemory", "It needs more memory than it may have.", status)
    if status == -signal.SIGXCPU:
        return build_failure("Timeout", "It needs more CPU time than it may have.", status)
    if status == child.EXIT_NO_SPACE:
        return build_failure("OutOfSpace", "The disk is full, or it writes more than it may.", status)
    last = stderr.decode("utf-8", "replace").strip().rsplit("\n", 1)[-1][:300]
    return build_failure("Crashed", f"The child ended with status {status}. {last}".strip(), status)


def build_failure(reason: str, what: str, status: int | None) -> errors.ProfileJobFailed:
    return errors.ProfileJobFailed(
        f"The work on the profile was stopped. {what}",
        remedy="Record for a shorter time or at a lower rate, or allow more memory and time.",
        details={"reason": reason, "exit_code": status},
    )


KINDS: dict[str, type[ProfileError]] = {
    kind.code: kind
    for kind in (
        errors.UnreadableProfile,
        errors.BrokenProfile,
        errors.UnsupportedVersion,
        errors.ProfileTooLarge,
        errors.UnreadableSymbols,
        errors.NoMarkers,
        errors.InvalidRules,
        errors.NotInProfile,
        errors.ProfileJobFailed,
    )
}
