"""Evaluations that a file holds more than once: on one thread again, or on another thread as well. Pure.

On one thread no two evaluations of a node begin and end at the same time and use the same CPU time. On two threads a
few may: only if half of a thread's evaluations are those of earlier ones, they are copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from samply_operator.profiles.attribution import marker_texts
from samply_operator.profiles.attribution.evaluations import Evaluations
from samply_operator.profiles.format.lazy_numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from samply_operator.profiles.format.vectors import Floats, Longs

    Hashes = NDArray[np.uint64]
    Flags = NDArray[np.bool_]

SHARE = 0.5
SAMPLED = 50_000
"""About so many evaluations, of all threads, are looked at to find out which threads have copies."""
ENOUGH = 100
"""Of a thread with fewer of them among the sampled, all are looked at."""


def drop(found: Mapping[int, Evaluations], threads: Sequence[int]) -> tuple[dict[int, Evaluations], int]:
    """By thread; a copy stays on the first of `threads` that has it. And how many were left out."""
    columns = [_hash(found[thread]) for thread in threads]
    counts = np.array([len(column) for column in columns], dtype=np.int64)
    hashes = np.concatenate([np.zeros(0, dtype=np.uint64), *columns])
    # The place of its thread in `threads`, for each evaluation.
    place = np.repeat(np.arange(len(threads)), counts)
    is_kept = np.concatenate([np.zeros(0, dtype=bool), *map(_find_first, (found[each] for each in threads), columns)])
    is_copy = _measure_share(hashes, place, counts) >= SHARE
    if is_copy.any():
        is_kept &= ~(is_copy[place] & _find_copied(hashes, place))
    parts = np.split(is_kept, np.cumsum(counts)[:-1]) if len(threads) else []
    kept = {thread: _pick(found[thread], part) for thread, part in zip(threads, parts, strict=True)}
    return kept, int(len(hashes) - is_kept.sum())


def _measure_share(hashes: Hashes, place: Longs, counts: Longs) -> Floats:
    """For each thread the share of its evaluations that earlier ones have too; by a sample where there are many."""
    chosen = np.arange(len(hashes))
    if len(hashes) > SAMPLED:
        is_chosen = hashes < np.uint64(2**64 * SAMPLED // len(hashes))
        is_few = np.bincount(place[is_chosen], minlength=len(counts)) < np.minimum(counts, ENOUGH)
        if is_few.any():
            is_chosen |= np.isin(hashes, hashes[is_few[place]])
        chosen = np.flatnonzero(is_chosen)
    copied = np.bincount(place[chosen], weights=_find_copied(hashes[chosen], place[chosen]), minlength=len(counts))
    share: Floats = copied / np.maximum(1, np.bincount(place[chosen], minlength=len(counts)))
    return share


def _find_copied(hashes: Hashes, place: Longs) -> Flags:
    """Which of them an earlier thread has too. Places ascend."""
    _, first, row = np.unique(hashes, return_index=True, return_inverse=True)
    is_copied: Flags = place[first][row] < place
    return is_copied


def _find_first(own: Evaluations, hashes: Hashes) -> Flags:
    """Which of one thread's evaluations are no repeated ones. Times are sorted."""
    is_same = (own.start_ms[1:] == own.start_ms[:-1]) & (own.end_ms[1:] == own.end_ms[:-1])
    if not is_same.any():
        return np.ones(own.count(), dtype=bool)
    is_first = np.zeros(own.count(), dtype=bool)
    is_first[np.unique(hashes, return_index=True)[1]] = True
    return is_first


def _pick(own: Evaluations, is_kept: Flags) -> Evaluations:
    return own if is_kept.all() else own.pick(np.flatnonzero(is_kept))


def _hash(own: Evaluations) -> Hashes:
    hashes = own.node.astype(np.uint64)
    for column in (own.start_ms, own.end_ms, own.cpu_us):
        hashes = marker_texts.mix(hashes, column.view(np.uint64))
    return hashes
