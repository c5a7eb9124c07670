"""Fetches what Feldera says of a pipeline while it is sampled: the attachments of its profile.

A recording never fails because of them. What cannot be had is missing, with the reason.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

from samply_operator.errors import FelderaError, FelderaNotFound, SamplyOperatorError, StoreError
from samply_operator.feldera import directory
from samply_operator.feldera.answers import PipelineInfo
from samply_operator.feldera.client import Document, FelderaClient, Login
from samply_operator.model.attachment import NAMES, Kind
from samply_operator.model.manifest import Attachment, JournalEntry
from samply_operator.recorder.context import Context
from samply_operator.recorder.pod.collect import Attached
from samply_operator.rules import times
from samply_operator.store import content, durable
from samply_operator.store.durable import Medium

logger = logging.getLogger(__name__)

DOCUMENTS: Mapping[Kind, Document] = {
    "Stats": "stats",
    "Metrics": "metrics",
    "CircuitProfile": "circuit_json_profile",
    "HeapProfile": "heap_profile",
}
ANSWER_SECS = 20.0
"""How long all of them may take."""
MESSAGE_LIMIT = 300
LATE = f"Feldera had not answered after {ANSWER_SECS:g} s."
GZIP = frozenset({"HeapProfile"})
"""Feldera compresses them itself."""


class AttachmentTooLargeError(SamplyOperatorError):
    code = "AttachmentTooLarge"


class Attachments:
    """Of one recording. `start` at most once; then `take`, or `drop`."""

    def __init__(self, context: Context, entry: JournalEntry) -> None:
        self._context = context
        self._entry = entry
        self._found: dict[str, Attachment] = {}
        self._is_urgent = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self, wait_secs: float) -> None:
        """Fetch them after this time, or when `hurry` is called."""
        if self._entry.attachments and self._task is None:
            self._task = asyncio.create_task(self._fetch_all(wait_secs))

    def hurry(self) -> None:
        """Sampling has ended."""
        self.start(0)
        self._is_urgent.set()

    async def take(self) -> Attached:
        """What was fetched, and why the rest was not."""
        if self._task is not None:
            await self._task
        wanted = self._entry.attachments
        facts = tuple(self._found.get(kind) or Attachment(kind, problem=LATE) for kind in wanted)
        return Attached(facts, {each.name: self._find_path(each.name) for each in facts if each.file})

    async def drop(self) -> None:
        """They are not needed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _fetch_all(self, wait_secs: float) -> None:
        try:
            async with asyncio.timeout(wait_secs):
                await self._is_urgent.wait()
        except TimeoutError:
            pass  # the usual case
        try:
            async with asyncio.timeout(ANSWER_SECS):
                await self._fetch_in_turn()
        except TimeoutError:
            self._note_all(LATE)
        except (FelderaError, StoreError) as error:
            self._note_all(str(error))
        except Exception as error:  # a defect here must not end the recording
            logger.exception("%s/%s: its attachments", self._entry.namespace, self._entry.name)
            self._note_all(f"{type(error).__name__}: {error}")

    def _note_all(self, problem: str) -> None:
        """About those that nothing is known of yet."""
        for kind in self._entry.attachments:
            self._found.setdefault(kind, Attachment(kind, problem=problem[:MESSAGE_LIMIT]))

    async def _fetch_in_turn(self) -> None:
        client, limits = self._context.feldera, self._context.settings.recording
        if client is None:
            self._note_all("config.feldera.url is empty in the values of the operator's chart.")
            return
        if not self._entry.pipeline_id:
            raise FelderaNotFound(f"Pod {self._entry.pod} does not say which pipeline of Feldera's it is.")
        left = limits.max_attachments_bytes
        with await asyncio.to_thread(self._context.volume.reserve, left):
            info, login = await directory.find(client, self._context.settings, self._entry.pipeline_id)
            for kind in self._entry.attachments:
                limit = min(left, limits.max_attachment_bytes)
                found = self._found[kind] = await self._fetch(client, info, login, cast("Kind", kind), limit)
                left -= found.file.size_bytes if found.file else 0

    async def _fetch(
        self, client: FelderaClient, info: PipelineInfo, login: Login, kind: Kind, limit: int
    ) -> Attachment:
        path, at = self._find_path(NAMES[kind]), times.format_time(self._context.now())
        medium = self._context.volume.medium
        try:
            out = await asyncio.to_thread(_PackedFile, path, limit, medium, is_packed=kind in GZIP)
            try:
                await client.save(info.name, DOCUMENTS[kind], login, cast("Any", out))
            finally:
                await asyncio.to_thread(out.close)
            with durable.translated(f"read {path.name}", medium):
                return Attachment(kind, NAMES[kind], await asyncio.to_thread(content.describe, path, out.raw_bytes), at)
        except (FelderaError, StoreError, AttachmentTooLargeError) as error:
            with durable.translated(f"remove {path.name}", medium):
                await asyncio.to_thread(path.unlink, missing_ok=True)
            return Attachment(kind, problem=str(error)[:MESSAGE_LIMIT])

    def _find_path(self, name: str) -> Path:
        return self._context.volume.tmp_path(self._entry.id, name)


class _PackedFile:
    """A file as gzip, of at most `max_bytes` on the disk. Raises AttachmentTooLargeError, StoreFull, StoreError."""

    def __init__(self, path: Path, max_bytes: int, medium: Medium, *, is_packed: bool) -> None:
        self.raw_bytes = 0
        self._max_bytes = max_bytes
        self._medium = medium
        with self._translated():
            self._file = path.open("wb")
        self._packer = None if is_packed else gzip.GzipFile("", "wb", 6, self._file, mtime=0)

    def _translated(self) -> AbstractContextManager[None]:
        return durable.translated("write an attachment", self._medium)

    def write(self, data: bytes) -> None:
        with self._translated():
            (self._packer or self._file).write(data)
        self.raw_bytes += len(data)
        self._check(self._file.tell())

    def close(self) -> None:
        with self._translated(), self._file:
            if self._packer is not None:
                self._packer.close()
            size = self._file.tell()
        self._check(size)

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise AttachmentTooLargeError(
                f"It is larger than {self._max_bytes} bytes, compressed (config.recording.maxAttachmentBytes, "
                "maxAttachmentsBytes)."
            )
