"""Calls to Feldera about the pipeline of one recording, repeated while Feldera is unavailable, until a deadline."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import msgspec

from samply_operator.errors import FelderaError, FelderaUnavailable, ProfileError
from samply_operator.feldera import directory
from samply_operator.feldera.answers import PipelineInfo
from samply_operator.feldera.client import FelderaClient, Login
from samply_operator.model.manifest import JournalEntry
from samply_operator.profiles.attribution.naming import NodeNames
from samply_operator.profiles.worker import bounded
from samply_operator.recorder.context import Backoff, Context
from samply_operator.rules.recording import failures, pipeline_samply

logger = logging.getLogger(__name__)

DATAFLOW, CIRCUIT = "dataflow.json", "circuit.json"

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Place:
    """Feldera's name of the pipeline, and a login that may see it."""

    feldera: FelderaClient
    info: PipelineInfo
    login: Login


class FelderaCalls:
    """`entry` is the recording's. Calls end the recording (RecordingFailed) unless they say otherwise."""

    def __init__(self, context: Context, entry: JournalEntry) -> None:
        self._context = context
        self._entry = entry
        self._place: Place | None = None

    async def find(self) -> Place:
        """Determined once, then cached."""
        if self._place is None:
            self._place = await self._repeat(self._look_up)
        return self._place

    async def is_busy(self) -> bool:
        """Whether the pipeline runs samply on itself just now. False where Feldera does not say; never ends it."""
        if self._context.feldera is None or not self._entry.pipeline_id or self._entry.pipeline_doubt:
            return False
        try:
            return await self._find_wait(await self._look_up()) is not None
        except FelderaError as error:
            logger.info("%s/%s: does its own samply run? %s", self._entry.namespace, self._entry.name, error)
            return False

    async def check_idle(self) -> None:
        place = await self.find()
        if await self._repeat(lambda: self._find_wait(place)) is not None:
            failures.raise_failure(pipeline_samply.build_in_progress())

    async def start(self, *, may_run: bool) -> None:
        """Start a recording in Feldera. `may_run`: it was requested before, so one in progress is ours."""
        place, entry = await self.find(), self._entry
        try:
            await place.feldera.start_samply_profile(
                place.info.name, entry.duration_secs, place.login, ordinal=entry.ordinal
            )
        except FelderaError as error:
            failure = pipeline_samply.explain(error)
            if may_run and failure.reason == "AlreadyRecording":
                return
            # The effect of a request without a response shows in what runs now.
            if failure.reason != "FelderaUnreachable" or await self._repeat(lambda: self._find_wait(place)) is None:
                failures.raise_failure(failure)

    async def read_cpu(self) -> float | None:
        """CPU seconds of the pipeline since its start. None: Feldera does not say; with several ordinals it does not
        say of which. Never ends the recording."""
        if self._entry.ordinal:
            return None
        try:
            place = await self.find()
            stats = await place.feldera.get_stats(place.info.name, place.login)
        except FelderaError as error:
            logger.info("%s/%s: its CPU time: %s", self._entry.namespace, self._entry.name, error)
            return None
        msecs = stats.global_metrics.get("cpu_msecs")
        return msecs / 1000 if isinstance(msecs, int | float) else None

    async def save(self, out: IO[bytes]) -> int | None:
        """Write the file to the beginning of `out`; or return in how many seconds to ask again."""
        place = await self.find()

        async def fetch() -> int | None:
            await asyncio.to_thread(_empty, out)
            return await place.feldera.save_samply_profile(
                place.info.name, place.login, out, ordinal=self._entry.ordinal
            )

        return await self._repeat(fetch)

    async def fetch_names(self) -> NodeNames:
        """Feldera's names of the operators, if the program is still the profiled one. Never ends the recording."""
        place, context = await self.find(), self._context
        dataflow, circuit = (context.volume.tmp_path(self._entry.id, name) for name in (DATAFLOW, CIRCUIT))
        try:
            await self._keep(place.feldera.get_dataflow_graph, dataflow)
            await self._keep(place.feldera.get_circuit_json_profile, circuit)
            now = await place.feldera.get_pipeline(place.info.name, place.login)
            if (now.program_version, now.deployment_id) != (place.info.program_version, place.info.deployment_id):
                return NodeNames(problem="the pipeline was started anew meanwhile, perhaps with another program")
            async with context.bakes:
                limits = bounded.Limits(memory_bytes=context.settings.recording.finish_memory_bytes)
                names = await bounded.name(dataflow, circuit, limits)
        except (FelderaError, ProfileError, OSError) as error:
            return NodeNames(problem=f"they were not to be had when the profile was taken: {error}")
        return msgspec.structs.replace(names, program_version=place.info.program_version)

    async def _keep(self, call: Callable[[str, Login], Awaitable[bytes]], path: Path) -> None:
        place = await self.find()
        await asyncio.to_thread(path.write_bytes, await call(place.info.name, place.login))

    async def _look_up(self) -> Place:
        context, entry = self._context, self._entry
        if context.feldera is None:
            failures.fail("FelderaNotConfigured", "Mode Pipeline asks Feldera, whose address is not configured.")
        if not entry.pipeline_id:
            failures.fail("FelderaNotConfigured", f"Pod {entry.pod} does not say which pipeline of Feldera's it is.")
        if entry.pipeline_doubt:
            failures.fail("FelderaNotConfigured", entry.pipeline_doubt)
        info, login = await directory.find(context.feldera, context.settings, entry.pipeline_id)
        return Place(context.feldera, info, login)

    async def _find_wait(self, place: Place) -> int | None:
        return await place.feldera.find_samply_wait(place.info.name, place.login, ordinal=self._entry.ordinal)

    async def _repeat(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        backoff = Backoff(self._context.settings.recording.unreachable_secs)
        while True:
            try:
                return await call()
            except FelderaError as error:
                failure = pipeline_samply.explain(error)
                if failure.reason != "FelderaUnreachable":
                    failures.raise_failure(failure)
                try:
                    await backoff.pause(error)
                except FelderaUnavailable:
                    failures.raise_failure(failure)


def _empty(out: IO[bytes]) -> None:
    out.seek(0)
    out.truncate()
