"""Evaluations that a file holds more than once: on one thread again, or on another thread as well. Pure.

Times are in nanoseconds: no two evaluations of a node begin and end at the same time and use the same CPU time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from samply_operator.profiles.attribution import marker_texts
from samply_operator.profiles.attribution.evaluations import Evaluations
from samply_operator.profiles.format.lazy_numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def drop(found: Mapping[int, Evaluations], threads: Sequence[int]) -> tuple[dict[int, Evaluations], int]:
    """By thread; each evaluation stays on the first of `threads` that has it. And how many were left out."""
    hashes = np.concatenate([_hash(found[thread]) for thread in threads] or [np.zeros(0, dtype=np.uint64)])
    ordered = np.sort(hashes)
    if not (ordered[1:] == ordered[:-1]).any():
        return dict(found), 0
    is_first = np.zeros(len(hashes), dtype=bool)
    is_first[np.unique(hashes, return_index=True)[1]] = True
    ends = np.cumsum([found[thread].count() for thread in threads])
    parts = np.split(is_first, ends[:-1])
    kept = {thread: found[thread].pick(np.flatnonzero(part)) for thread, part in zip(threads, parts, strict=True)}
    return kept, int(len(hashes) - is_first.sum())


def _hash(own: Evaluations) -> NDArray[np.uint64]:
    hashes = own.node.astype(np.uint64)
    for column in (own.start_ms, own.end_ms, own.cpu_us):
        hashes = marker_texts.mix(hashes, column.view(np.uint64))
    return hashes
