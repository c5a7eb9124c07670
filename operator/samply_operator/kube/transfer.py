"""Verified copies out of a pod and into it: own code, since no client's copy verifies anything.

    await copy_out(client, target, remote_path, size=…, sha256=…, local_path=…, deadline_secs=…)
    await copy_in(client, target, data_path, remote_path, deadline_secs=…, mode="700") -> sha256

Output of an exec gets cut, sometimes with Success: only the count and the hash, taken in the pod after the writer
ended, are believed. A cut costs what was in flight: the next session goes on where the count stood. A wrong hash
costs the whole file. Errors beyond errors.Kube*: TransferCorrupt, TransferFailed, both permanent; a local disk's
OSError is handed on as it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from samply_operator.errors import ExecFailed, KubeError, KubeUnavailable
from samply_operator.kube import faults
from samply_operator.kube.client import KubeClient
from samply_operator.kube.exec import ExecSession, converse
from samply_operator.kube.sink import START, Sink

logger = logging.getLogger(__name__)

BLOCK_BYTES = 64 * 1024
"""dd's block: `skip` counts blocks, so a range starts at a multiple, and existing bytes are dropped."""
PIECE_BYTES = 1024 * 1024
"""Written and hashed at once, off the event loop; at most two are in memory."""
RANGE_BYTES = 128 * 1024 * 1024
RANGE_SECS = 3600.0
"""Deadline of a session; that of the copy comes first."""
ATTEMPTS = 3
STALLS = 5
"""Consecutive sessions without progress before the file itself is considered faulty."""
BACKOFF_SECS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class TransferCorrupt(KubeError):
    """The received bytes never match the announced hash."""

    code = "TransferCorrupt"


class TransferFailed(KubeError):
    """The file cannot be read (or written) in the pod."""

    code = "TransferFailed"


class Place(Protocol):
    """Where to run an exec; model.Target is one."""

    @property
    def namespace(self) -> str: ...
    @property
    def pod(self) -> str: ...
    @property
    def container(self) -> str: ...
    @property
    def node(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Source:
    """A finished file in a pod: it is no longer written."""

    path: str
    size: int
    sha256: str


class _Surplus(Exception):
    """A session sent more than requested."""


async def copy_out(
    client: KubeClient,
    target: Place,
    remote_path: str,
    *,
    size: int,
    sha256: str,
    local_path: Path,
    deadline_secs: float,
    range_bytes: int = RANGE_BYTES,
    attempts: int = ATTEMPTS,
) -> None:
    """Bring `remote_path` to `local_path`; returns only when size and SHA-256 agree.

    What is in `local_path` already counts as the file's beginning (the hash decides). It isn't fsynced: who
    publishes it does that. Raises TransferCorrupt after `attempts` wrong hashes, TransferFailed when the pod can't
    read the file, KubeUnavailable when `deadline_secs` passed, KubeNotFound when the pod or container is gone.
    """
    source = Source(remote_path, size, sha256)
    sink = Sink(local_path, size)
    try:
        async with asyncio.timeout(deadline_secs):
            await sink.submit(sink.open)
            for _ in range(attempts):
                await _fill(client, target, source, sink, range_bytes)
                if sink.digest() == sha256:
                    return
                await sink.submit(sink.rewind, START)
    except TimeoutError as error:
        raise KubeUnavailable(f"{sink.offset} of {size} bytes were copied within {deadline_secs:g} s.") from error
    finally:
        await sink.close()
    raise TransferCorrupt(f"{attempts} copies of {faults.cut(remote_path)} had a wrong SHA-256.")


async def _fill(client: KubeClient, target: Place, source: Source, sink: Sink, range_bytes: int) -> None:
    """Sessions until the sink has as many bytes as the source; each continues where the last one stopped."""
    stalls = 0
    while sink.offset < source.size:
        before = sink.offset
        trouble = await _read_range(client, target, source, sink, range_bytes)
        if sink.offset > before:
            stalls = 0
        if trouble is None:
            continue
        stalls += 1
        logger.info("copy of %s: at %d of %d bytes: %s", faults.cut(source.path), sink.offset, source.size, trouble)
        if stalls > STALLS and not trouble.is_transient:
            raise trouble
        await asyncio.sleep(_backoff(stalls))


def _backoff(stalls: int) -> float:
    return BACKOFF_SECS[min(stalls, len(BACKOFF_SECS)) - 1] * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


async def _read_range(
    client: KubeClient, target: Place, source: Source, sink: Sink, range_bytes: int
) -> KubeError | None:
    """One session. Returns the error if another session may help; raises it otherwise."""
    start = sink.mark()
    skip, dropped = divmod(start.offset, BLOCK_BYTES)
    end = min(start.offset + range_bytes, source.size)
    count = -(-end // BLOCK_BYTES) - skip
    end = min((skip + count) * BLOCK_BYTES, source.size)
    command = ("dd", f"if={source.path}", f"bs={BLOCK_BYTES}", f"skip={skip}", f"count={count}")
    try:
        async with client.exec(
            target.namespace,
            target.pod,
            target.container,
            command,
            deadline_secs=RANGE_SECS,
            node=target.node,
            is_bulk=True,
        ) as session:
            await _store(session, dropped, sink, end)
            code = await session.wait()
    except (ExecFailed, KubeUnavailable) as error:
        return error
    except _Surplus:
        # Something in this range was sent twice, at an unknown place.
        await sink.submit(sink.rewind, start)
        return ExecFailed("The session sent more than requested.")
    if code != 0:
        text = faults.cut(session.stderr.decode("utf-8", "replace"))
        return TransferFailed(f"Reading {faults.cut(source.path)} in the pod ended with {code}: {text}")
    if sink.offset < end:
        return TransferCorrupt(f"{faults.cut(source.path)} ended after {sink.offset} of {source.size} bytes.")
    return None


async def _store(session: ExecSession, dropped: int, sink: Sink, end: int) -> None:
    """Receive one piece while the previous one is written: memory stays flat, and neither waits for the other. The
    first `dropped` bytes already exist. Bytes received before a break count."""
    position, pieces, gathered = sink.offset - dropped, [], 0
    writing = sink.submit(sink.write, ())
    try:
        while chunk := await session.read():
            position += len(chunk)
            if position > end:
                raise _Surplus
            if dropped:
                dropped, chunk = max(0, dropped - len(chunk)), chunk[dropped:]
            pieces.append(chunk)
            gathered += len(chunk)
            if gathered >= PIECE_BYTES:
                await writing
                writing = sink.submit(sink.write, pieces)
                pieces, gathered = [], 0
    finally:
        await writing
        await sink.submit(sink.write, pieces)


IN_SCRIPT = """\
set -eu
umask 077
rm -f "$1".part.*
part="$1.part.$$"
trap 'rm -f "$part"' EXIT
head -c "$2" > "$part"
sum=$(sha256sum < "$part")
[ "${sum%% *}" = "$3" ] || exit 65
chmod "$4" "$part"
mv -f "$part" "$1"
"""
"""`head -c` gives stdin a length, since v4 cannot close it. Files of an earlier, killed attempt are deleted first.
Works in dash, busybox and bash."""
WRONG_HASH = 65


async def copy_in(
    client: KubeClient,
    target: Place,
    data_path: Path,
    remote_path: str,
    *,
    deadline_secs: float,
    mode: str = "700",
    attempts: int = ATTEMPTS,
) -> str:
    """Send a local file into the pod; it appears under its name only when the pod agrees on the hash.

    The pod needs sh, head, sha256sum, chmod, mv and rm. Returns the SHA-256. Raises TransferCorrupt after `attempts`
    wrong hashes, TransferFailed when the pod can't write it, KubeUnavailable at the deadline.
    """
    size, sha256 = await asyncio.to_thread(_measure, data_path)
    command = ("sh", "-c", IN_SCRIPT, "sh", remote_path, str(size), sha256, mode)
    wrong, stalls = 0, 0
    try:
        async with asyncio.timeout(deadline_secs):
            while wrong < attempts:
                try:
                    code, text = await _send(client, target, command, data_path, deadline_secs)
                except (ExecFailed, KubeUnavailable):
                    stalls += 1
                    await asyncio.sleep(_backoff(stalls))
                    continue
                if code == 0:
                    return sha256
                if code != WRONG_HASH:
                    raise TransferFailed(f"Writing {faults.cut(remote_path)} in the pod ended with {code}: {text}")
                wrong += 1
    except TimeoutError as error:
        raise KubeUnavailable(f"{faults.cut(remote_path)} was not sent within {deadline_secs:g} s.") from error
    raise TransferCorrupt(f"{attempts} copies into {faults.cut(remote_path)} had a wrong SHA-256.")


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), sha256


async def _send(
    client: KubeClient, target: Place, command: tuple[str, ...], data_path: Path, deadline_secs: float
) -> tuple[int, str]:
    async with client.exec(
        target.namespace,
        target.pod,
        target.container,
        command,
        deadline_secs=deadline_secs,
        stdin=True,
        node=target.node,
    ) as session:
        code = await converse(session.wait(), _feed(session, data_path))
        return code, faults.cut(session.stderr.decode("utf-8", "replace"))


async def _feed(session: ExecSession, data_path: Path) -> None:
    # Not in a thread: if cancelled while it opens, nothing would close it.
    with data_path.open("rb") as file:
        while piece := await asyncio.to_thread(file.read, PIECE_BYTES):
            await session.write(piece)
    await session.close_stdin()
