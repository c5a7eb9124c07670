"""Tombstones and pins in the spool, with each change sent to the bucket: the same interface as SideFiles."""

from __future__ import annotations

from collections.abc import Callable

from samply_operator.model.manifest import Tombstone
from samply_operator.store import layout
from samply_operator.store.bucket.mirror import Mirror
from samply_operator.store.documents import Reading
from samply_operator.store.side_files import SideFiles


class MirroredSideFiles:
    """`send` sends a document to the bucket, now or later."""

    def __init__(self, local: SideFiles, mirror: Mirror, send: Callable[[str], None]) -> None:
        self._local = local
        self._mirror = mirror
        self._send = send

    def write_tombstone(self, tombstone: Tombstone) -> None:
        self._change(layout.build_tombstone(tombstone.id), lambda: self._local.write_tombstone(tombstone))

    def read_tombstones(self) -> Reading[Tombstone]:
        return self._local.read_tombstones()

    def remove_tombstone(self, profile_id: str) -> None:
        self._change(layout.build_tombstone(profile_id), lambda: self._local.remove_tombstone(profile_id))

    def list_pins(self) -> frozenset[str]:
        return self._local.list_pins()

    def pin(self, profile_id: str) -> None:
        self._change(layout.build_pin(profile_id), lambda: self._local.pin(profile_id))

    def unpin(self, profile_id: str) -> None:
        self._change(layout.build_pin(profile_id), lambda: self._local.unpin(profile_id))

    def _change(self, name: str, change: Callable[[], None]) -> None:
        with self._mirror.changing(name):
            change()
        self._send(name)

    def write_clock(self, at: float) -> None:
        """Only of this spool: other processes use their own."""
        self._local.write_clock(at)

    def read_clock(self) -> float | None:
        return self._local.read_clock()
