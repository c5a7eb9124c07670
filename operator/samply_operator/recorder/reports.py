"""Reports the state of a recording: the object's status, and Events on object and pod.

A recording never fails because its report failed, and does not wait for it for long: errors of the API server are
retried, refusals only a few times; for a deleted object nothing is reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal

from samply_operator.errors import KubeError, KubeInvalid, KubeNotFound, join_sentences
from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.model.manifest import JournalEntry, Manifest
from samply_operator.model.profile import ENDED, Failure
from samply_operator.recorder.context import Context
from samply_operator.recorder.journal import Journal
from samply_operator.rules.recording import attachments, status

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECS = 0.5
LONGEST_PAUSE_SECS = 30.0
REFUSALS = 8
"""Tries, over a minute, of what the API server refuses: a Role may be under repair. Then once each time it is asked."""
FLUSH_SECS = 10.0

Render = Callable[[Mapping[str, Any]], status.Status | None]
"""The new status from the old one; None: it stays as it is."""


def unless_ended(render: Render) -> Render:
    """The same, but a reported result is not changed."""
    return lambda old: None if old.get("phase") in ENDED else render(old)


async def write_status(context: Context, namespace: str, name: str, uid: str, render: Render) -> bool:
    """Read the object, render its status from the old one, patch. False if nothing was written: that object is gone,
    or its status stays."""
    path = objects.samply_profiles(namespace, name)
    try:
        raw = await context.client.get(path)
        if raw["metadata"]["uid"] != uid:
            return False
        wanted = render(raw.get("status") or {})
        if wanted is None:
            return False
        body = {
            # The API server refuses the patch if a successor took the name in between.
            "metadata": {"uid": uid},
            "status": wanted | {"observedGeneration": raw["metadata"].get("generation", 1)},
        }
        await context.client.patch(objects.samply_profiles(namespace, name, "status"), body)
    except KubeNotFound:
        return False
    return True


def refer(namespace: str, name: str, uid: str) -> dict[str, str]:
    """The object as Events want it."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "namespace": namespace,
        "name": name,
        "uid": uid,
    }


def refer_pod(entry: JournalEntry) -> dict[str, str]:
    return {"apiVersion": "v1", "kind": "Pod", "namespace": entry.namespace, "name": entry.pod, "uid": entry.pod_uid}


async def publish(
    context: Context, entry: JournalEntry, type_: Literal["Normal", "Warning"], reason: str, message: str
) -> None:
    """The same Event on the object and on the pod."""
    await context.events.publish(refer(entry.namespace, entry.name, entry.id), type_, reason, message)
    await context.events.publish(refer_pod(entry), type_, reason, f"{entry.name}: {message}")


class Reporter:
    """Writes the newest wanted status of one object, and tries again until it is written, or the object is gone, or the
    API server refuses it for good. Whatever the journal knows is in it. Events go to the object and to its pod."""

    def __init__(self, context: Context, journal: Journal) -> None:
        self._context = context
        self._journal = journal
        self._wanted: Render | None = None
        self._task: asyncio.Task[None] | None = None
        self._events: set[asyncio.Task[None]] = set()
        self._refusals = 0

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to write."""
        return self._wanted is None

    def want(self, render: Render) -> None:
        """Write this status soon; an older unwritten one is skipped."""
        self._wanted = render
        self.retry()

    def retry(self) -> None:
        """Retry a refused update."""
        if self._wanted is None:
            return
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write())

    def publish(self, type_: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """Publish an Event soon."""
        task = asyncio.create_task(publish(self._context, self._journal.entry, type_, reason, message))
        self._events.add(task)
        task.add_done_callback(self._events.discard)

    async def flush(self) -> None:
        """Return when the newest status is written, refused, or takes too long: then it continues in the background."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_SECS):
                while self._task is not None and not self._task.done():
                    await asyncio.shield(self._task)

    async def flush_events(self) -> None:
        await asyncio.gather(*self._events, return_exceptions=True)

    # ------------------------------------------------------------------------------------------ what there is to say

    def report_pending(self, reason: str, message: str) -> None:
        now = self._context.now()
        self.want(lambda old: status.render_pending(old, reason, message, now) | self._render_known())

    def report_recording(self) -> None:
        entry, now = self._journal.entry, self._context.now()
        self.want(lambda old: status.render_recording(old, entry, now) | self._render_known())
        self.publish("Normal", "Recording", f"samply records {entry.pod} for {entry.duration_secs} s.")

    def report_collecting(self) -> None:
        entry, now = self._journal.entry, self._context.now()
        self.want(lambda old: status.render_collecting(old, entry, now) | self._render_known())

    def report_stored(self, manifest: Manifest) -> None:
        now, quality = self._context.now(), manifest.quality
        self.want(lambda old: status.render_stored(old, manifest, now) | self._render_known())
        share = "" if quality.coverage is None else f", coverage {quality.coverage:.0%}"
        size = manifest.file.size_bytes if manifest.file else 0
        self.publish("Normal", "Stored", f"{status.show_samples(quality)}{share}, {size} bytes are stored.")
        self._publish_missing(manifest)

    def _publish_missing(self, manifest: Manifest) -> None:
        for text in attachments.describe_missing(manifest.attachments):
            self.publish("Warning", "AttachmentMissing", text)

    def report_failed(self, failure: Failure, manifest: Manifest | None) -> None:
        """`manifest`: of a file that is kept although it is no success."""
        now = self._context.now()
        kept = status.render_file(manifest) if manifest else {}
        kept |= {"warnings": [*(manifest or self._journal.entry).warnings]}
        self.want(lambda old: status.render_failed(old, failure, now) | self._render_known() | kept)
        self.publish("Warning", failure.reason, join_sentences(failure.message, failure.remedy))
        if manifest is not None:
            self._publish_missing(manifest)

    def report_preflight_passed(self) -> None:
        entry, now = self._journal.entry, self._context.now()
        self.want(lambda old: status.render_preflight_passed(old, entry, entry.warnings, now) | self._render_known())

    def report_cancelled(self) -> None:
        now = self._context.now()
        self.want(lambda old: status.render_cancelled(old, "Cancelled; nothing was kept.", now) | self._render_known())

    def _render_known(self) -> status.Status:
        return status.render_known(self._journal.entry)

    async def _write(self) -> None:
        pause, entry = FIRST_PAUSE_SECS, self._journal.entry
        while (render := self._wanted) is not None:
            try:
                await write_status(self._context, entry.namespace, entry.name, entry.id, render)
            except KubeError as error:
                self._refusals += not error.is_transient
                if isinstance(error, KubeInvalid) or self._refusals >= REFUSALS:
                    logger.error("status of %s/%s is given up: %s", entry.namespace, entry.name, error)
                    return
                logger.warning("status of %s/%s: %s; again in %g s", entry.namespace, entry.name, error, pause)
                await asyncio.sleep(pause)
                pause = min(LONGEST_PAUSE_SECS, pause * 2)
                continue
            self._refusals = 0
            if self._wanted is render:
                self._wanted = None
