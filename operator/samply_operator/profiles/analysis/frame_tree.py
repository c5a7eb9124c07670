"""The call tree of one profile, or of two laid over each other, as a viewer asks for it: a part of it, bounded. Pure.

What is left out is marked, never summed up under another name: whoever wants to see it asks for the subtree.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samply_operator.profiles.analysis import calltree, frame_forest
from samply_operator.profiles.analysis.calltree import Function
from samply_operator.profiles.analysis.frame_forest import Forest
from samply_operator.profiles.analysis.selection import Measure, Query, Roots, View
from samply_operator.profiles.format import trees, vectors
from samply_operator.profiles.format.lazy_numpy import np
from samply_operator.profiles.format.profile import Profile
from samply_operator.profiles.format.trees import Tree

if TYPE_CHECKING:
    from samply_operator.profiles.format.vectors import Floats, Longs

LEAST = 1e-5
"""Callers of less than this share of what is shown are not looked for."""
MAX_NAME = 2000
"""A longer name is cut."""

Number = int | float


@dataclass(frozen=True, slots=True)
class FunctionTable:
    """The functions that nodes refer to, then others by what was spent in and below them, up to the limit. `selves` and
    `totals` have one column for each profile; a recursive call counts once. `lib` and `file` are places in their lists.
    """

    total: int
    libs: tuple[str, ...]
    files: tuple[str, ...]
    name: list[str]
    lib: list[int]
    file: list[int]
    key: list[str]
    selves: list[list[Number]]
    totals: list[list[Number]]


@dataclass(frozen=True, slots=True)
class NodeTable:
    """The nodes, level by level. `parent`: -1 is a root. `function`: a row of the functions; below -1 it is a group,
    -2 the first one. `cut`: 1 where there is more below, which can be asked for."""

    total: int
    parent: list[int]
    function: list[int]
    cut: list[int]
    selves: list[list[Number]]
    totals: list[list[Number]]


@dataclass(frozen=True, slots=True)
class FrameTree:
    """`sums` are of all that was chosen, one for each profile; `path` was found down to its `path_found`-th frame."""

    view: View
    by: Roots
    measure: Measure
    products: tuple[str, ...]
    sums: list[Number]
    has_cpu: bool
    path_found: int
    groups: tuple[str, ...]
    group_keys: tuple[str, ...]
    functions: FunctionTable
    nodes: NodeTable


def build(profiles: Sequence[Profile], query: Query) -> FrameTree:
    """The tree of the first profile; those of the others are further columns of its nodes. Raises NoMarkers."""
    forest = frame_forest.Forest(len(profiles), query.by, query.measure)
    for column, profile in enumerate(profiles):
        forest.add(profile, column, query.threads, query.time_range)
    width = len(forest.index.functions) + 1
    whole = forest.merge(width)
    keys = [find_key(each.name, each.lib) for each in forest.index.functions]
    shown, found = _choose(whole, query, keys, forest.groups, width)
    return _render(profiles, query, forest, keys, whole, shown, found)


def find_key(name: str, lib: str = "") -> str:
    """Names a function, or a group, in an address: the same in each answer."""
    both = f"{name}\0{lib}".encode("utf-8", "replace")
    return f"{zlib.crc32(both):08x}"


def _choose(whole: Tree, query: Query, keys: Sequence[str], groups: Sequence[str], width: int) -> tuple[Tree, int]:
    """The part that is wanted, and how far down its path was found."""
    path, found = list(query.path), 0
    if query.by != "none" and path:
        wanted = [number for number, name in enumerate(groups) if find_key(name) == path[0]]
        whole = trees.take(whole, np.flatnonzero(np.isin(whole.group, wanted)))
        path, found = path[1:], 1 if wanted else 0
    if query.view in ("bottom-up", "callers"):
        starts = None if query.view == "bottom-up" else _find_function(whole, keys, query.function)
        sets = [frozenset(number for number, key in enumerate(keys) if key == each) for each in path]
        tree = trees.invert(whole, width, starts=starts, path=sets, least=LEAST)
    elif query.view == "callees":
        tree = _gather_callees(whole, _find_function(whole, keys, query.function), width)
    else:
        tree = whole
    return _descend(tree, path, keys, found)


def _find_function(tree: Tree, keys: Sequence[str], wanted: str) -> Longs:
    numbers = [number for number, key in enumerate(keys) if key == wanted]
    return np.concatenate([np.zeros(0, np.int64), *(trees.find_outermost(tree, number) for number in numbers)])


def _gather_callees(tree: Tree, starts: Longs, width: int) -> Tree:
    part = trees.take(tree, trees.find_below(tree, starts))
    return trees.build(
        part.parent.astype(np.int32), part.func.astype(np.int32), part.group.astype(np.int32), part.selves, width
    )


def _descend(tree: Tree, path: Sequence[str], keys: Sequence[str], found: int) -> tuple[Tree, int]:
    """The subtree below the path's last frame, with the frames that lead to it."""
    line: list[int] = []
    here = np.flatnonzero(tree.parent < 0)
    for wanted in path:
        match = [node for node in here.tolist() if keys[tree.func[node]] == wanted]
        if not match:
            break
        line.append(match[0])
        here = np.flatnonzero(tree.parent == match[0])
    if not line:
        return tree, found
    below = trees.find_below(tree, np.array(line[-1:]))
    nodes = np.union1d(np.array(line), below)
    part = trees.take(tree, nodes)
    # Beside the line there is more, as whoever asks knows: what is cut are the nodes below.
    part.is_cut[np.searchsorted(nodes, line[:-1])] = 0
    return part, found + len(line)


def _render(
    profiles: Sequence[Profile],
    query: Query,
    forest: Forest,
    keys: Sequence[str],
    whole: Tree,
    shown: Tree,
    found: int,
) -> FrameTree:
    part = trees.take(shown, trees.find_largest(shown, query.limit))
    chosen, table = _render_functions(forest.index.functions, keys, whole, part, query.limit)
    return FrameTree(
        view=query.view,
        by=query.by,
        measure=query.measure,
        products=tuple(each.meta.product for each in profiles),
        sums=[_plain(column.sum(keepdims=True))[0] for column in whole.selves],
        has_cpu=forest.has_cpu,
        path_found=found,
        groups=tuple(forest.groups),
        group_keys=tuple(find_key(name) for name in forest.groups),
        functions=table,
        nodes=_render_nodes(shown, part, chosen, query),
    )


def _render_functions(
    functions: Sequence[Function], keys: Sequence[str], whole: Tree, part: Tree, limit: int
) -> tuple[Longs, FunctionTable]:
    """The table, and the row of each function in it."""
    width = len(functions) + 1
    outer = calltree.find_outermost(_pack(whole.parent), _pack(whole.func), width)
    selves, totals = trees.sum_functions(whole, width, outer)
    weight = np.maximum.reduce([column / (column.sum() or 1.0) for column in totals])
    ranked = np.argsort(-weight, kind="stable")
    ranked = ranked[weight[ranked] > 0]
    is_more = np.zeros(width, dtype=bool)
    is_more[part.func] = True
    is_more[ranked[:limit]] = False
    rows = np.concatenate([ranked[:limit], np.flatnonzero(is_more)])
    place = np.full(width, -1, dtype=np.int64)
    place[rows] = np.arange(len(rows))
    held = [functions[row] for row in rows.tolist()]
    libs = list(dict.fromkeys(each.lib for each in held))
    files = list(dict.fromkeys(each.file for each in held))
    lib_row, file_row = ({name: row for row, name in enumerate(names)} for names in (libs, files))
    return place, FunctionTable(
        total=len(ranked),
        libs=tuple(libs),
        files=tuple(files),
        name=[_cut(each.name) for each in held],
        lib=[lib_row[each.lib] for each in held],
        file=[file_row[each.file] for each in held],
        key=[keys[row] for row in rows.tolist()],
        selves=[_plain(column[rows]) for column in selves],
        totals=[_plain(column[rows]) for column in totals],
    )


def _render_nodes(shown: Tree, part: Tree, place: Longs, query: Query) -> NodeTable:
    """With a group as a frame below its roots, where there are groups."""
    parent, func = part.parent, place[part.func]
    selves, totals, cut = list(part.selves), list(part.totals), part.is_cut
    if query.by != "none":
        groups = np.unique(shown.group)
        count = len(groups)
        parent = np.concatenate(
            [np.full(count, -1), np.where(parent < 0, np.searchsorted(groups, part.group), parent + count)]
        )
        func = np.concatenate([-2 - groups, func])
        roots = shown.parent < 0
        which = np.searchsorted(groups, shown.group[roots])
        sums = [vectors.sum_by_row(which, count, column[roots]) for column in shown.totals]
        totals = [np.concatenate(pair) for pair in zip(sums, totals, strict=True)]
        selves = [np.concatenate([np.zeros(count), column]) for column in selves]
        shown_roots = vectors.sum_by_row(np.searchsorted(groups, part.group[part.parent < 0]), count)
        cut = np.concatenate([(vectors.sum_by_row(which, count) > shown_roots).astype(np.int64), cut])
    return NodeTable(
        total=len(shown.parent),
        parent=parent.tolist(),
        function=func.tolist(),
        cut=cut.tolist(),
        selves=[_plain(column) for column in selves],
        totals=[_plain(column) for column in totals],
    )


def _plain(column: Floats) -> list[Number]:
    """Whole numbers where all are."""
    if bool((column == np.floor(column)).all()):
        numbers: list[Number] = column.astype(np.int64).tolist()
        return numbers
    return [round(value, 3) for value in column.tolist()]


def _pack(column: Longs) -> array[int]:
    return vectors.pack(column)  # type: ignore[arg-type]


def _cut(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"
