"""Whole call trees as columns, in numpy: merged, inverted, pruned. Parents always come first. Pure.

`func` are numbers below `width`; `group` parts the roots: paths of different groups never fall together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from samply_operator.profiles.errors import build_broken
from samply_operator.profiles.format import vectors
from samply_operator.profiles.format.lazy_numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from samply_operator.profiles.format.vectors import Floats, Ints, Longs

MAX_DEPTH = 10_000
"""No program has deeper stacks. The work is done level by level."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One node for each different path. `totals` hold what is in `selves` and below. Nodes come level by level."""

    parent: Longs
    func: Longs
    group: Longs
    selves: tuple[Floats, ...]
    totals: tuple[Floats, ...]
    is_cut: Longs
    """1 where nodes below were left out."""


def build(parent: Ints, func: Ints, group: Ints, selves: Sequence[Floats], width: int) -> Tree:
    """Lay all paths that have a value over each other. `selves` are columns over the nodes."""
    merged = np.zeros(len(parent), dtype=np.int64)
    parts: list[tuple[Longs, Longs, Longs]] = []
    ends = [0]
    for level, nodes in enumerate(split_levels(vectors.measure_depth(parent))):
        over = merged[parent[nodes]] if level else group[nodes].astype(np.int64)
        keys, place = np.unique(over * width + func[nodes], return_inverse=True)
        merged[nodes] = ends[-1] + place
        over = keys // width
        called = keys - over * width
        if level:
            parts.append((over, called, parts[-1][2][over - ends[-2]]))
        else:
            parts.append((np.full(len(keys), -1), called, over))
        ends.append(ends[-1] + len(keys))
    above, called, grouped = (_join(part[column] for part in parts) for column in range(3))
    own = [vectors.sum_by_row(merged, ends[-1], column) for column in selves]
    totals = [_sum_levels(above, ends, column) for column in own]
    whole = Tree(above, called, grouped, tuple(own), tuple(totals), np.zeros(ends[-1], dtype=np.int64))
    return _drop_unused(whole, ends)


def _sum_levels(parent: Longs, ends: Sequence[int], column: Floats) -> Floats:
    """What each node and all below it have. The nodes of level n are those from `ends[n]` on."""
    sums = column.copy()
    for start, middle, end in reversed(list(zip(ends, ends[1:], ends[2:], strict=False))):
        sums[start:middle] += vectors.sum_by_row(parent[middle:end] - start, middle - start, sums[middle:end])
    return sums


def _drop_unused(tree: Tree, ends: Sequence[int]) -> Tree:
    """Without the nodes below which nothing has a value."""
    if np.logical_or.reduce([column != 0 for column in tree.totals]).all():
        return tree
    has_value = np.logical_or.reduce([column != 0 for column in tree.selves])
    used = np.flatnonzero(_sum_levels(tree.parent, ends, has_value.astype(np.float64)))
    if len(used) == len(tree.parent):
        return tree
    return replace(take(tree, used), is_cut=np.zeros(len(used), dtype=np.int64))


def invert(
    tree: Tree, width: int, *, starts: Longs | None = None, path: Sequence[frozenset[int]] = (), least: float
) -> Tree:
    """Callers below what they call. It starts at what was spent in each node itself, or at `starts` with all below
    them; `path` picks one function for each of the first levels. Subtrees smaller than `least` of all are left out.
    """
    columns = tree.selves if starts is None else tree.totals
    if starts is None:
        starts = np.flatnonzero(np.logical_or.reduce([column != 0 for column in columns]))
    at, over, values = starts, tree.group[starts], [column[starts] for column in columns]
    levels: list[_Level] = []
    size, limits = 0, [0.0 for _ in columns]
    while at.size:
        depth = len(levels)
        if depth < len(path):
            inside = np.isin(tree.func[at], list(path[depth]))
            at, over, values = at[inside], over[inside], [column[inside] for column in values]
        if depth <= len(path):
            limits = [least * float(column.sum()) for column in values]
        keys, which, place = np.unique(over * width + tree.func[at], return_index=True, return_inverse=True)
        sums = [vectors.sum_by_row(place, len(keys), column) for column in values]
        is_big = np.logical_or.reduce([column >= limit for column, limit in zip(sums, limits, strict=True)])[place]
        above = tree.parent[at]
        is_cut = vectors.sum_by_row(place[~is_big & (above >= 0)], len(keys)) > 0
        parent = keys // width if depth else np.full(len(keys), -1)
        levels.append(_Level(parent, tree.func[at[which]], tree.group[at[which]], is_cut.astype(np.int64), sums))
        onward = is_big & (above >= 0)
        at, over, values = above[onward], (size + place)[onward], [column[onward] for column in values]
        size += len(keys)
    return _join_levels(levels, len(columns))


@dataclass(frozen=True, slots=True)
class _Level:
    parent: Longs
    func: Longs
    group: Longs
    is_cut: Longs
    totals: list[Floats]


def _join_levels(levels: Sequence[_Level], columns: int) -> Tree:
    parent = _join(level.parent for level in levels)
    totals = tuple(
        np.concatenate([np.zeros(0), *(level.totals[column] for level in levels)]) for column in range(columns)
    )
    return Tree(
        parent,
        _join(level.func for level in levels),
        _join(level.group for level in levels),
        tuple(_subtract_children(parent, column) for column in totals),
        totals,
        _join(level.is_cut for level in levels),
    )


def split(parent: Ints, keys: Longs, groups: int) -> tuple[Longs, Longs]:
    """Part nodes by the group of what lies below them. `keys`: `node * groups + group` of each value. The nodes, and
    the group of each; one may be there more than once."""
    is_found = np.zeros(len(parent) * groups, dtype=bool)
    frontier = keys
    while frontier.size:
        is_found[frontier] = True
        above = parent[frontier // groups].astype(np.int64)
        onward = np.unique(above[above >= 0] * groups + (frontier % groups)[above >= 0])
        frontier = onward[~is_found[onward]]
    found = np.flatnonzero(is_found)
    return found // groups, found % groups


def split_levels(depth: NDArray[np.uint16]) -> list[Longs]:
    """The nodes of each level, in order."""
    ends = np.cumsum(np.bincount(depth)) if len(depth) else depth
    if len(ends) > MAX_DEPTH:
        raise build_broken("stackTable", f"stacks are deeper than {MAX_DEPTH} functions")
    order = np.argsort(depth, kind="stable")
    return np.split(order, ends[:-1]) if len(ends) else []


def find_below(tree: Tree, roots: Longs) -> Longs:
    """The nodes below and including `roots`, in order."""
    is_inside = np.zeros(len(tree.parent), dtype=bool)
    is_inside[roots] = True
    for nodes in split_levels(vectors.measure_depth(tree.parent.astype(np.int32))):
        above = tree.parent[nodes]
        is_inside[nodes] |= (above >= 0) & is_inside[above]
    return np.flatnonzero(is_inside)


def find_outermost(tree: Tree, func: int) -> Longs:
    """The nodes of a function that aren't below another one of it."""
    own = np.flatnonzero(tree.func == func)
    nested = np.zeros(len(tree.parent), dtype=bool)
    below = find_below(tree, own)
    nested[below] = True
    above = tree.parent[own]
    return own[(above < 0) | ~nested[above]]


def take(tree: Tree, nodes: Longs) -> Tree:
    """Some of the nodes; one whose parent isn't among them becomes a root, and one that lost a child is cut."""
    place = np.full(len(tree.parent) + 1, -1, dtype=np.int64)
    place[nodes] = np.arange(len(nodes))
    is_cut = tree.is_cut.copy()
    lost = np.ones(len(tree.parent), dtype=bool)
    lost[nodes] = False
    above = tree.parent[lost]
    is_cut[above[above >= 0]] = 1
    return Tree(
        place[tree.parent[nodes]],
        tree.func[nodes],
        tree.group[nodes],
        tuple(column[nodes] for column in tree.selves),
        tuple(column[nodes] for column in tree.totals),
        is_cut[nodes],
    )


def find_largest(tree: Tree, limit: int) -> Longs:
    """The nodes with the largest shares, in order. No node has a larger one than its parent, and of equal ones the
    first are taken: they hang together."""
    if len(tree.parent) <= limit:
        return np.arange(len(tree.parent))
    shares = np.maximum.reduce([column / (_sum_roots(tree, column) or 1.0) for column in tree.totals])
    least = np.partition(shares, len(shares) - limit)[len(shares) - limit]
    larger = np.flatnonzero(shares > least)
    return np.sort(np.concatenate([larger, np.flatnonzero(shares == least)[: limit - len(larger)]]))


def sum_functions(tree: Tree, width: int, is_outermost: bytearray) -> tuple[list[Floats], list[Floats]]:
    """By function and column: what was spent in it, and in it and below."""
    outer = vectors.view_bytes(is_outermost)
    return (
        [vectors.sum_by_row(tree.func, width, column) for column in tree.selves],
        [vectors.sum_by_row(tree.func, width, column * outer) for column in tree.totals],
    )


def _sum_roots(tree: Tree, column: Floats) -> float:
    return float(column[tree.parent < 0].sum())


def _subtract_children(parent: Longs, totals: Floats) -> Floats:
    return totals - vectors.sum_by_row(parent, len(totals), totals)


def _join(parts: Iterable[Longs]) -> Longs:
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])
