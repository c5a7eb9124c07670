"""Fetches what Feldera says of a pipeline while it is sampled: the attachments of its profile.

A recording never fails because of them. What cannot be had is missing, with the reason.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

from samply_operator.errors import (
    FelderaError,
    FelderaNotFound,
    FelderaUnavailable,
    SamplyOperatorError,
    StoreError,
    StoreFull,
)
from samply_operator.feldera import directory
from samply_operator.feldera.answers import PipelineInfo
from samply_operator.feldera.client import Document, FelderaClient, Login
from samply_operator.model.attachment import NAMES, Kind
from samply_operator.model.manifest import Attachment, JournalEntry, StoredFile
from samply_operator.recorder.context import Context
from samply_operator.recorder.journal import Journal
from samply_operator.recorder.pod.collect import Attached
from samply_operator.rules import times
from samply_operator.rules.recording import attachments
from samply_operator.store import content, durable
from samply_operator.store.durable import Medium
from samply_operator.store.space import Reservation
from samply_operator.store.store import Store

logger = logging.getLogger(__name__)

DOCUMENTS: Mapping[Kind, Document] = {
    "Stats": "stats",
    "Metrics": "metrics",
    "CircuitProfile": "circuit_json_profile",
    "HeapProfile": "heap_profile",
}
ANSWER_SECS = 20.0
"""How long all of them may take, and therefore how much later a profile may be stored."""
SLOW = frozenset({"CircuitProfile", "HeapProfile"})
"""The engine answers between two of its steps, which may be long just when somebody wants to know why: these may use
all of ANSWER_SECS, the others the client's own limit."""
SPARE = 4
"""That many times the room that they may take must be free: the profile, which is copied later, goes first."""
MESSAGE_LIMIT = 300
LATE = f"Feldera had not answered after {ANSWER_SECS:g} s."
NOT_CONFIGURED = "config.feldera.url is empty in the values of the operator's chart."


class AttachmentTooLargeError(SamplyOperatorError):
    code = "AttachmentTooLarge"


class Attachments:
    """Of one recording. `resume`, `start` and `hurry` as often as needed; then `take`, or `drop`. After `give_up`
    there is nothing to take but the reason."""

    def __init__(self, context: Context, journal: Journal) -> None:
        self._context = context
        self._journal = journal
        self._found: dict[str, Attachment] = {}
        self._is_urgent = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Fetch them when half of the sampling is over, or as soon as `hurry` is called."""
        if self._entry.attachments and self._task is None:
            self._task = asyncio.create_task(self._fetch_all())

    def resume(self) -> None:
        """An earlier process may have begun to sample."""
        if self._entry.started_at:
            self.start()

    def hurry(self) -> None:
        """Sampling has ended, or is about to."""
        self._is_urgent.set()
        self.start()

    async def take(self) -> Attached:
        """What was fetched, and why the rest was not."""
        if self._task is not None and not self._task.cancelled():
            await self._task
        facts = tuple(self._found.get(kind) or Attachment(kind, problem=LATE) for kind in self._entry.attachments)
        return Attached(facts, {each.name: self._find_path(each.name) for each in facts if each.file})

    async def drop(self) -> None:
        """They are not needed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def give_up(self, problem: str) -> bool:
        """Free the room that they take. False: they take none. Raises StoreError."""
        if self._task is None:
            return False
        await self.drop()
        with durable.translated("remove attachments", self._context.volume.medium):
            for kind in self._entry.attachments:
                await asyncio.to_thread(self._find_path(NAMES[cast("Kind", kind)]).unlink, missing_ok=True)
        self._found = {kind: each for kind, each in self._found.items() if not each.file}
        self._note_missing(problem)
        await self._journal.save_if_possible(attached=tuple(self._found.values()))
        return True

    @property
    def _entry(self) -> JournalEntry:
        return self._journal.entry

    async def _fetch_all(self) -> None:
        try:
            async with asyncio.timeout(attachments.find_wait(self._entry, self._context.now())):
                await self._is_urgent.wait()
        except TimeoutError:
            pass  # the usual case
        try:
            async with asyncio.timeout(ANSWER_SECS):
                await self._take_over()
                await self._fetch_missing()
        except TimeoutError:
            self._note_missing(LATE)
        except (FelderaError, StoreError) as error:
            self._note_missing(str(error))
        except Exception as error:  # a defect here must not end the recording
            logger.exception("%s/%s: its attachments", self._entry.namespace, self._entry.name)
            self._note_missing(f"{type(error).__name__}: {error}")
        found = tuple(self._found.values())
        if found != self._entry.attached:
            await self._journal.save_if_possible(attached=found)

    async def _take_over(self) -> None:
        """What an earlier process fetched, where its file is still there as it was, be it moved for a publication that
        was killed."""
        volume, profile_id = self._context.volume, self._entry.id
        for each in self._entry.attached:
            if each.file is not None and (
                await asyncio.to_thread(_is_whole, self._find_path(each.name), each.file)
                or await asyncio.to_thread(volume.take_back, profile_id, each.name, each.file.sha256)
            ):
                self._found[each.kind] = each

    def _list_missing(self) -> list[Kind]:
        """Those of which nothing is known yet."""
        return [cast("Kind", kind) for kind in self._entry.attachments if kind not in self._found]

    def _note_missing(self, problem: str) -> None:
        for kind in self._list_missing():
            self._found[kind] = Attachment(kind, problem=problem[:MESSAGE_LIMIT])

    async def _fetch_missing(self) -> None:
        client, limits, wanted = self._context.feldera, self._context.settings.recording, self._list_missing()
        if not wanted:
            return
        if attachments.is_too_late(self._entry, self._context.now()):
            self._found |= {each.kind: each for each in self._entry.attached if each.problem}
            self._note_missing(attachments.TOO_LATE)
            return
        if client is None:
            self._note_missing(NOT_CONFIGURED)
            return
        if not self._entry.pipeline_id:
            raise FelderaNotFound(f"Pod {self._entry.pod} does not say which pipeline of Feldera's it is.")
        if self._entry.pipeline_doubt:
            self._note_missing(self._entry.pipeline_doubt)
            return
        left = max(0, limits.max_attachments_bytes - _count_bytes(self._found))
        await asyncio.to_thread(_check_room, self._context.volume, left)
        reserve = partial(self._context.volume.reserve, left)
        with await durable.open_in_thread(reserve, Reservation.release) as room:
            info, login = await directory.find(client, self._context.settings, self._entry.pipeline_id)
            for kind in sorted(wanted, key=SLOW.__contains__):  # the slow ones last
                limit = min(left, limits.max_attachment_bytes)
                found = self._found[kind] = await self._fetch(client, info, login, kind, limit)
                size_bytes = found.file.size_bytes if found.file else 0
                room.consume(size_bytes)
                left -= size_bytes

    async def _fetch(
        self, client: FelderaClient, info: PipelineInfo, login: Login, kind: Kind, limit: int
    ) -> Attachment:
        path, at = self._find_path(NAMES[kind]), times.format_time(self._context.now())
        medium = self._context.volume.medium
        try:
            out = await durable.open_in_thread(partial(PackedFile, path, limit, medium), PackedFile.close)
            try:
                secs = ANSWER_SECS if kind in SLOW else None
                await client.save(info.name, DOCUMENTS[kind], login, cast("Any", out), total_secs=secs)
                await asyncio.to_thread(out.finish)
            finally:
                await asyncio.to_thread(out.close)
            if out.is_empty:
                raise FelderaUnavailable("Feldera's answer is empty.")
            with durable.translated(f"read {path.name}", medium):
                return Attachment(kind, NAMES[kind], await asyncio.to_thread(content.describe, path, out.raw_bytes), at)
        except (FelderaError, StoreError, AttachmentTooLargeError) as error:
            with durable.translated(f"remove {path.name}", medium):
                await asyncio.to_thread(path.unlink, missing_ok=True)
            return Attachment(kind, problem=str(error)[:MESSAGE_LIMIT])

    def _find_path(self, name: str) -> Path:
        return self._context.volume.tmp_path(self._entry.id, name)


def _check_room(volume: Store, size_bytes: int) -> None:
    """Raises StoreFull, StoreError."""
    room = volume.room_bytes()
    if room < SPARE * size_bytes:
        raise StoreFull(
            f"the {volume.medium.name} has too little space for attachments: {SPARE * size_bytes} bytes must be free, "
            f"{max(room, 0)} can be used.",
            remedy=volume.medium.remedy,
        )


def _count_bytes(found: Mapping[str, Attachment]) -> int:
    return sum(each.file.size_bytes for each in found.values() if each.file)


def _is_whole(path: Path, file: StoredFile | None) -> bool:
    try:
        return file is not None and content.describe(path, file.raw_bytes) == file
    except OSError:
        return False


class PackedFile:
    """A file as gzip, of at most `max_bytes`; what comes as gzip stays as it is. All calls block; all but
    `close` may raise AttachmentTooLargeError, StoreFull, StoreError. A write that was given up goes on in its thread:
    `close` waits for it, and a later one does nothing."""

    def __init__(self, path: Path, max_bytes: int, medium: Medium) -> None:
        self.raw_bytes = 0
        """Size after gunzip; 0: unknown, since it came as gzip."""
        self.is_empty = True
        self._max_bytes = max_bytes
        self._medium = medium
        self._lock = threading.Lock()
        self._packer: gzip.GzipFile | None = None
        with durable.translated("write an attachment", self._medium):
            self._file = path.open("wb")

    def write(self, data: bytes) -> None:
        with self._lock, durable.translated("write an attachment", self._medium):
            if self._file.closed or not data:
                return
            # Neither JSON nor text nor a protobuf of pprof begins with this byte.
            if self.is_empty and not data.startswith(b"\x1f"):
                self._packer = gzip.GzipFile("", "wb", 6, self._file, mtime=0)
            self.is_empty = False
            if self._packer is None:
                self._file.write(data)
            else:
                self._packer.write(data)
                self.raw_bytes += len(data)
            self._check()

    def finish(self) -> None:
        """Write what is left."""
        with self._lock, durable.translated("write an attachment", self._medium):
            if self._packer is not None:
                self._packer.close()
            self._file.flush()
            self._check()

    def close(self) -> None:
        """Never raises: it may be called while something else is raised, such as a cancellation."""
        with self._lock:
            for each in (self._packer, self._file):
                with suppress(OSError):
                    if each is not None:
                        each.close()

    def _check(self) -> None:
        if self._file.tell() > self._max_bytes:
            raise AttachmentTooLargeError(
                f"It has more than the {self._max_bytes} bytes, compressed, that are left for it.",
                remedy="Raise config.recording.maxAttachmentBytes, or maxAttachmentsBytes.",
            )
