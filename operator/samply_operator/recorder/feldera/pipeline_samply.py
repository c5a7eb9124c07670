"""A recording in mode Pipeline: Feldera has the pipeline run samply on itself and returns the file. Nothing is done in
the pod.

Feldera cannot stop it: a cancelled recording ends there by itself and is not fetched. The journal is written before
each step, as in run.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec

from samply_operator.errors import ProfileError, RecordingFailed, StoreFull
from samply_operator.model.manifest import JournalEntry, Manifest
from samply_operator.profiles.attribution.naming import NodeNames
from samply_operator.recorder.context import Context
from samply_operator.recorder.feldera.calls import FelderaCalls
from samply_operator.recorder.journal import Journal
from samply_operator.recorder.pod import collect, finish
from samply_operator.recorder.pod.target_pod import TargetPod
from samply_operator.rules import times
from samply_operator.rules.recording import failures, pipeline_samply, pod_limits, record_output
from samply_operator.rules.recording.pipeline_samply import Reading
from samply_operator.store import durable, layout
from samply_operator.store.durable import Medium

BEFORE_RECORDING = frozenset({"Admitted", "Launching"})
POLL_SECS = 2.0
"""How often a cancellation is checked while Feldera samples."""


class PipelineSamply:
    """One recording. `on_start` is called with the Unix time at which sampling began, `on_end` when it has ended."""

    def __init__(
        self,
        context: Context,
        journal: Journal,
        pod: TargetPod,
        on_start: Callable[[float], None],
        on_end: Callable[[], Awaitable[None]],
        attaching: collect.Attaching,
    ) -> None:
        self._context = context
        self._journal = journal
        self._pod = pod
        self._on_start = on_start
        self._on_end = on_end
        self._attaching = attaching
        self._calls = FelderaCalls(context, journal.entry)
        self._before: Reading | None = None
        self._after: Reading | None = None

    @property
    def entry(self) -> JournalEntry:
        return self._journal.entry

    async def begin(self) -> bool:
        """False: it could not, and mode Auto has other ways. Raises RecordingFailed where there is no other."""
        if self.entry.step not in BEFORE_RECORDING:
            return True
        try:
            if not self._is_discarded():
                await self._prepare()
            if not (self.entry.preflight_only or self._is_discarded()):
                await self._start()
        except RecordingFailed as error:
            failure = failures.failure_of(error)
            if pipeline_samply.is_final(self.entry, failure):
                raise
            refused = f"Mode Pipeline was tried first: {failure.message}"
            await self._journal.save(
                step="Admitted", mode="", samply_version="", warnings=(), refused_by_feldera=refused
            )
            return False
        return True

    async def _prepare(self) -> None:
        """Check whether it would work, as far as possible without a recording."""
        place = await self._calls.find()
        await self._pod.check()
        is_limited = pod_limits.is_cpu_limited(await self._pod.read(), self.entry.container)
        await self._journal.save(
            mode="Pipeline",
            samply_version=f"of Feldera {place.info.platform_version}",
            warnings=pipeline_samply.list_warnings(self.entry, is_limited=is_limited),
        )
        if self.entry.step == "Admitted":
            await self._calls.check_idle()

    async def _start(self) -> None:
        """Start it in Feldera. After a kill in between, a recording that runs is considered ours."""
        was_launched = self.entry.step == "Launching"
        await self._journal.save(step="Launching")
        began = self._context.now()
        await self._calls.start(may_run=was_launched)
        self._on_start(began)
        self._before = await self._read_cpu()

    async def follow(self) -> Manifest | None:
        """Follow it to the end and return the published manifest. None: nothing is kept. Raises
        RecordingFailed, StoreError."""
        if self.entry.preflight_only or not await self._wait():
            return None
        await self._on_end()
        path = self._context.volume.tmp_path(self.entry.id, record_output.PROFILE)
        with durable.translated(f"store profile {self.entry.id}", self._context.volume.medium):
            if not await collect.find_room(lambda: self._fetch(path), self._attaching):
                return None
            await self._pod.check()
            names = await self._calls.fetch_names()
            return await self._publish(path, names)

    async def _wait(self) -> bool:
        """Wait until sampling has ended; the CPU time is read shortly before. False: it was cancelled."""
        until = times.parse_time(self.entry.ends_at) if self.entry.ends_at else 0.0
        read_at = until - pipeline_samply.find_margin(self.entry.duration_secs)
        while not self._is_discarded() and (now := self._context.now()) < until:
            if self._after is None and self._before is not None and now >= read_at:
                self._after = await self._read_cpu()
            await asyncio.sleep(min(POLL_SECS, max(0.05, (read_at if now < read_at else until) - now)))
        return not self._is_discarded()

    async def _read_cpu(self) -> Reading | None:
        cpu_secs = await self._calls.read_cpu()
        return None if cpu_secs is None else Reading(self._context.uptime(), cpu_secs)

    def _is_discarded(self) -> bool:
        return self.entry.stop == "discard"

    async def _fetch(self, path: Path) -> bool:
        """Wait while Feldera reports progress, until the deadline. False: it was cancelled."""
        limits = self._context.settings.recording
        deadline = self._context.uptime() + limits.finish_deadline_secs
        volume = self._context.volume
        room = await asyncio.to_thread(volume.room_bytes)
        opening = partial(_BoundedFile, path, max(0, room // collect.EXPANSION), volume.medium)
        with await durable.open_in_thread(opening, _BoundedFile.close) as out:
            while (wait_secs := await self._calls.save(out)) is not None:
                if self._is_discarded():
                    return False
                if self._context.uptime() > deadline:
                    failures.fail("FinishTimeout", "Feldera was still making the profile at the deadline.")
                await asyncio.sleep(min(wait_secs, POLL_SECS))
        return True

    async def _publish(self, raw: Path, names: NodeNames) -> Manifest:
        context, entry = self._context, self.entry
        size = (await asyncio.to_thread(raw.stat)).st_size
        reserve = partial(asyncio.to_thread, context.volume.reserve, (collect.EXPANSION - 1) * size)
        with await collect.find_room(reserve, self._attaching):
            try:
                async with context.bakes:
                    finished = await finish.finish(context, entry, raw, None, None)
            except finish.HalfFileError:
                failures.fail("PipelineSamplyFailed", "What Feldera handed out is no profile.")
            except ProfileError as error:
                failures.fail("PipelineSamplyFailed", f"What Feldera handed out cannot be kept: {error.message}")
            facts = finished.facts
            cpu_ms, span_ms = (facts.cpu_ms, facts.duration_ms) if facts else (None, 0.0)
            measured = pipeline_samply.measure(self._before, self._after, entry.duration_secs, cpu_ms, span_ms)
            manifest = collect.build_manifest(context, entry, measured.progress, finished)
            more = (*measured.warnings, *pipeline_samply.list_late_warnings(entry, names.problem))
            manifest = msgspec.structs.replace(manifest, warnings=(*manifest.warnings, *more))
            if manifest.file is None:
                return await asyncio.to_thread(context.volume.publish, manifest, None)
            attached = await self._attaching.take()
            manifest = collect.add_attachments(manifest, attached)
            extras = {**await self._keep_extras(raw, finished.path, names), **attached.files}
            return await asyncio.to_thread(context.volume.publish, manifest, finished.path, extras=extras)

    async def _keep_extras(self, raw: Path, published: Path, names: NodeNames) -> dict[str, Path]:
        path = self._context.volume.tmp_path(self.entry.id, layout.OPERATORS_FILE)
        await asyncio.to_thread(path.write_bytes, msgspec.json.encode(names))
        is_raw_kept = self._context.settings.recording.keep_raw
        kept = collect.choose_extras({record_output.PROFILE: raw}, published) if is_raw_kept else {}
        return {**kept, layout.OPERATORS_FILE: path}


class _BoundedFile(FileIO):
    """A file with a size limit. Write errors are errors of the volume, not of Feldera."""

    def __init__(self, path: Path, max_bytes: int, medium: Medium) -> None:
        super().__init__(path, "w")
        self._medium = medium
        self._max_bytes = max_bytes

    def write(self, data: Any, /) -> int:
        """All of it. Raises StoreFull, StoreError."""
        if self.tell() + len(data) > self._max_bytes:
            raise StoreFull("there is no room for the profile that the pipeline took.", remedy=self._medium.remedy)
        with durable.translated("write the profile that the pipeline took", self._medium):
            view = memoryview(data)
            while view:
                view = view[super().write(view) :]
        return len(data)
