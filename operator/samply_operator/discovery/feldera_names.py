"""Feldera's names of its pipelines: read periodically, stored on the volume, passed to the world.

While Feldera or one of its tenants does not answer, the known names are kept. Names of pipelines here are stored as
well, so that profiles recorded under an earlier name are found under the current one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path

from samply_operator.discovery.changes import Changes
from samply_operator.discovery.world import World
from samply_operator.errors import FelderaError, StoreError
from samply_operator.feldera import directory
from samply_operator.feldera.client import FelderaClient
from samply_operator.feldera.directory import Directory
from samply_operator.model.manifest import PipelineNames
from samply_operator.rules.discovery import naming
from samply_operator.settings import Settings
from samply_operator.store import pipeline_names

logger = logging.getLogger(__name__)

POLL_SECS = 15.0
LOOK_SECS = 1.0
"""How soon Feldera is asked about a new pipeline, so that its first profile has its name."""
MAX_SHOWN = 20_000
"""Maximum number of stored names; the oldest are removed first."""


class FelderaNames:
    """`feldera` None: it is not asked, and names are those of labels and ids."""

    def __init__(self, feldera: FelderaClient | None, settings: Settings, world: World, changes: Changes) -> None:
        self._feldera = feldera
        self._settings = settings
        self._world = world
        self._changes = changes
        self._root = Path(settings.paths.data)
        self._known = PipelineNames()
        self._logged: dict[str, str] = {}

    async def load(self) -> None:
        """What was remembered. Call before anything is watched."""
        try:
            self._known = await asyncio.to_thread(pipeline_names.read, self._root)
        except StoreError as error:
            logger.error("names of pipelines: %s", error)
        self._use(self._known)

    async def run(self) -> None:
        """Run forever."""
        while True:
            await self.update()
            await asyncio.sleep(LOOK_SECS)
            until = time.monotonic() + POLL_SECS
            while not self._is_new() and (left := until - time.monotonic()) > 0:
                await self._changes.wait(self._changes.count, left)

    def _is_new(self) -> bool:
        """Whether a pipeline came, or got another name, since Feldera was asked."""
        return not self._world.list_names().items() <= self._known.shown.items()

    async def update(self) -> None:
        """Ask once, and note what pipelines are called now."""
        pairs = self._known.pairs if self._feldera is None else await self._ask(self._feldera)
        self._world.rename(naming.drop_ambiguous(pairs.items()))
        shown = {**self._known.shown, **self._world.list_names()}
        found = PipelineNames(pairs, dict(list(shown.items())[-MAX_SHOWN:]))
        if found != self._known:
            self._use(found)
            try:
                await asyncio.to_thread(pipeline_names.write, self._root, found)
            except StoreError as error:
                logger.error("names of pipelines are not remembered: %s", error)

    def _use(self, found: PipelineNames) -> None:
        self._known = found
        self._world.rename(naming.drop_ambiguous(found.pairs.items()))
        self._changes.note_names(found.shown)

    async def _ask(self, feldera: FelderaClient) -> dict[str, str]:
        try:
            answer = await directory.look_up(feldera, self._settings)
        except FelderaError as error:
            answer = Directory(faults={self._settings.feldera.secret_name: error})
        self._log_faults({name: str(error) for name, error in {**answer.skipped, **answer.faults}.items()})
        heard = dict(answer.pairs)
        return {**self._known.pairs, **heard} if answer.faults else heard

    def _log_faults(self, faults: dict[str, str]) -> None:
        """Each once, until it changes."""
        for name, text in faults.items():
            if self._logged.get(name) != text:
                logger.error("names of Feldera's pipelines, key %s: %s", name, text)
        for name in self._logged.keys() - faults.keys():
            logger.info("names of Feldera's pipelines, key %s: it answers again", name)
        self._logged = faults
