"""Values that nodes of a tree inherit from their ancestors, for whole columns. Parents come before children. Pure.

Each step looks twice as far up as the one before, so even a deep tree needs few steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from samply_operator.profiles.format.lazy_numpy import np

if TYPE_CHECKING:
    from samply_operator.profiles.format.vectors import Ints, Longs


def find_nearest(parent: Ints, own: Ints) -> Ints:
    """For each node its own value, or that of the nearest above that has one; -1 is none."""
    found, reached = own.copy(), parent.copy()
    active = np.flatnonzero((found < 0) & (reached >= 0))
    while active.size:
        up = reached[active]
        values, onward = found[up], reached[up]
        found[active] = values
        reached[active] = onward
        active = active[(values < 0) & (onward >= 0)]
    return found


def unite_upwards(parent: Ints, own: Ints) -> Longs:
    """For each node the set of values (0..61, -1 is none) of itself and all above it, as bits of a number."""
    sets = np.where(own >= 0, np.int64(1) << own.clip(0).astype(np.int64), np.int64(0))
    reached = parent.copy()
    active = np.flatnonzero(reached >= 0)
    while active.size:
        up = reached[active]
        values, onward = sets[up], reached[up]
        sets[active] |= values
        reached[active] = onward
        active = active[onward >= 0]
    return sets
