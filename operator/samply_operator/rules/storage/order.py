"""Which of two attempts is newer: the one that ended later, unless the clock was set back in between.

A place is a time in ms, usually `finished_at`. An attempt that ends before the newest stored one instead has that one's
place plus one; the displayed time stays that of the clock.
"""

from __future__ import annotations

import msgspec

from samply_operator.model.manifest import Manifest
from samply_operator.rules import times


def find_place(manifest: Manifest) -> int:
    """Newer ones are higher; 0 if unknown."""
    if manifest.sequence:
        return manifest.sequence
    try:
        return round(times.parse_time(manifest.finished_at) * 1000)
    except ValueError:
        return 0


def build_key(manifest: Manifest) -> tuple[int, str, str, str]:
    """Sorts the oldest first; ties are ordered too."""
    return find_place(manifest), manifest.finished_at, manifest.requested_at, manifest.id


def number(manifest: Manifest, newest: int) -> Manifest:
    """The attempt numbered after all stored ones; `newest` is the highest place there, 0 if there is none."""
    if find_place(manifest) >= newest:
        return manifest
    return msgspec.structs.replace(manifest, sequence=newest + 1)
