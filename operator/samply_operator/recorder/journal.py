"""The journal entry of one recording: written before each step, by one writer at a time, always the newest state."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from samply_operator.errors import StoreError
from samply_operator.model.manifest import JournalEntry
from samply_operator.store.store import Store

logger = logging.getLogger(__name__)


class Journal:
    """`entry` is the current state; `save` writes it to the volume."""

    def __init__(self, volume: Store, entry: JournalEntry) -> None:
        self.entry = entry
        self._volume = volume
        self._saving = asyncio.Lock()

    def change(self, **changes: Any) -> None:
        """Change the entry; written with the next step."""
        self.entry = msgspec.structs.replace(self.entry, **changes)

    async def save(self, **changes: Any) -> None:
        """Raises StoreError."""
        self.change(**changes)
        # Shielded: a started write continues when its caller is cancelled, and must not be overtaken by the next.
        await asyncio.shield(self._write())

    async def _write(self) -> None:
        async with self._saving:
            await asyncio.to_thread(self._volume.write_entry, self.entry)

    async def save_if_possible(self, **changes: Any) -> None:
        """A decision is reported even if it cannot be written: after a restart it is made again."""
        try:
            await self.save(**changes)
        except StoreError as error:
            logger.error("%s/%s: %s", self.entry.namespace, self.entry.name, error)

    async def rest(self) -> None:
        """Return when nothing is being written."""
        async with self._saving:
            pass

    async def remove(self) -> None:
        """Raises StoreError."""
        await asyncio.to_thread(self._volume.remove_entry, self.entry.id)
