"""Documents about a profile other than its own files: its tombstone (it has to be removed, or its removal reported) and
its pin. Also the time of the last retention pass.

They are separate small files, so that a manifest never changes. Only this module accesses them. All calls block.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path

from samply_operator.model.manifest import Tombstone
from samply_operator.store import documents, durable, layout
from samply_operator.store.documents import Reading
from samply_operator.store.durable import Medium

RetryIfFull = Callable[[Callable[[], None]], None]
"""Calls its argument, and again with more space if the volume was full."""


class SideFiles:
    """Tombstones and pins of the volume at `root`. Raises StoreFull, StoreError."""

    def __init__(self, root: Path, retry_if_full: RetryIfFull, medium: Medium = durable.VOLUME) -> None:
        self._root = root
        self._retry_if_full = retry_if_full
        self._medium = medium

    def prepare(self) -> None:
        for name in (layout.TOMBSTONES, layout.PINS):
            (self._root / name).mkdir(mode=0o750, exist_ok=True)

    # ------------------------------------------------------------------------------------------------- tombstones

    def write_tombstone(self, tombstone: Tombstone) -> None:
        """Write or replace it; on return it is on the disk."""
        path = self._root / layout.build_tombstone(tombstone.id)
        draft = self._root / layout.build_tmp(tombstone.id, layout.DRAFT + secrets.token_hex(8))
        with durable.translated(f"note that profile {tombstone.id} goes", self._medium):
            self._retry_if_full(lambda: durable.write(draft, documents.encode(tombstone)))
            draft.rename(path)
            durable.sync(path.parent)

    def read_tombstones(self) -> Reading[Tombstone]:
        """All of them; unreadable ones are in `faults`."""
        with durable.translated("list the tombstones"):
            names = durable.list_names(self._root / layout.TOMBSTONES)
        ids = [profile_id for name in names if (profile_id := layout.parse_journal(name))]
        return documents.collect(ids, self._read_tombstone)

    def _read_tombstone(self, profile_id: str) -> Tombstone | None:
        with durable.translated(f"read the tombstone of {profile_id}"):
            return documents.read_tombstone(self._root / layout.build_tombstone(profile_id), profile_id)

    def remove_tombstone(self, profile_id: str) -> None:
        path = self._root / layout.build_tombstone(profile_id)
        with durable.translated(f"remove the tombstone of {profile_id}"):
            path.unlink(missing_ok=True)
            durable.sync(path.parent)

    # ------------------------------------------------------------------------------------------------------- pins

    def list_pins(self) -> frozenset[str]:
        """Ids of pinned profiles, including those whose objects are gone."""
        with durable.translated("list the pins"):
            return frozenset(filter(layout.is_id, durable.list_names(self._root / layout.PINS)))

    def pin(self, profile_id: str) -> None:
        with durable.translated(f"pin profile {profile_id}", self._medium):
            path = self._root / layout.build_pin(profile_id)
            self._retry_if_full(lambda: path.touch(mode=0o640))
            durable.sync(path.parent)

    def unpin(self, profile_id: str) -> None:
        path = self._root / layout.build_pin(profile_id)
        with durable.translated(f"unpin profile {profile_id}"):
            path.unlink(missing_ok=True)
            durable.sync(path.parent)

    # ------------------------------------------------------------------------------------------------------- time

    def write_clock(self, at: float) -> None:
        """Unix time. If a power failure loses it, it is soon written again."""
        with durable.translated("note the time", self._medium):
            draft = self._root / f"{layout.CLOCK}.new"
            draft.write_text(f"{at:.0f}\n")
            draft.rename(self._root / layout.CLOCK)

    def read_clock(self) -> float | None:
        """None: it was never written, or cannot be read."""
        try:
            return float((self._root / layout.CLOCK).read_text())
        except (OSError, ValueError):
            return None
