"""Which of two attempts is the newer one: the one that ended later, unless the clock had been set back in between.

A place is a time in ms. Usually `finished_at` is it. An attempt that ends before the newest that is stored has a number
instead, one more than the place of that one; the time that is shown stays what the clock said.
"""

from __future__ import annotations

import msgspec

from samply_operator.model.manifest import Manifest
from samply_operator.rules import times


def find_place(manifest: Manifest) -> int:
    """Later ones have a higher one; 0 where nothing tells."""
    if manifest.sequence:
        return manifest.sequence
    try:
        return round(times.parse_time(manifest.finished_at) * 1000)
    except ValueError:
        return 0


def build_key(manifest: Manifest) -> tuple[int, str, str, str]:
    """Sorts the oldest first; ties have an order too."""
    return find_place(manifest), manifest.finished_at, manifest.requested_at, manifest.id


def number(manifest: Manifest, newest: int) -> Manifest:
    """The attempt as it comes after all that is stored; `newest` is the highest place there, 0 if there is none."""
    if find_place(manifest) >= newest:
        return manifest
    return msgspec.structs.replace(manifest, sequence=newest + 1)
