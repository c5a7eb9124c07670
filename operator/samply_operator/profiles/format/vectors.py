"""Arithmetic on whole columns, in numpy. Pure."""

from __future__ import annotations

import warnings
from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from samply_operator.profiles.format.lazy_numpy import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]
    Floats = NDArray[np.float64]

BLOCK = 1 << 16
"""Nodes that are summed up at a time: their columns fit the processor's cache."""

ROWS_AT_ONCE = 1 << 20
"""Samples that are counted at a time: numpy makes 64 bits of each number before."""

MAX_LEVELS = 2048
"""A block with longer chains than this is walked node by node: level by level it would take longer."""

MAX_ROUNDS = 64
"""In which ends of call chains are taken away; longer ones are left to who looks for cycles."""

TABLE_BITS = 20
HASH = 0x9E3779B97F4A7C15 - (1 << 64)
"""Spreads keys over the table: 2^64 divided by the golden ratio, as a signed number."""

MAX_STEPS = 64
"""How far up, on average over all nodes, the way to an earlier call is looked for."""

FEW = 8
"""One node in so many is few."""


def load() -> None:
    """Import numpy."""
    np.zeros(0)


def parse_longs(text: bytes) -> Longs | None:
    """Numbers parted by commas; None if they aren't all plain whole numbers of 64 bits, to be looked at closely."""
    expected = text.count(b",") + 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            numbers = np.fromstring(text, dtype=np.int64, sep=",")
        except (DeprecationWarning, ValueError):
            return None
    # Beyond 64 bits C's `strtol` silently returns the largest number.
    if len(numbers) != expected or abs_max(numbers) > 1 << 62:
        return None
    return numbers


def abs_max(numbers: Longs) -> int:
    return max(int(numbers.max()), -int(numbers.min())) if len(numbers) else 0


def view(column: array[int]) -> Ints:
    """The same memory viewed as 32-bit numbers."""
    return np.frombuffer(column, dtype=np.int32)


def find_place(part: memoryview, whole: memoryview) -> int:
    """Where in `whole` a part of it begins; outside of it if it is none."""
    return int(np.frombuffer(part, dtype=np.uint8).ctypes.data - np.frombuffer(whole, dtype=np.uint8).ctypes.data)


def as_longs(numbers: list[int]) -> Longs:
    """Raises OverflowError where one has more than 64 bits."""
    return np.array(numbers, dtype=np.int64)


def as_floats(numbers: Sequence[float | None]) -> Floats:
    """None is NaN."""
    return np.array(numbers, dtype=np.float64)


def are_within(column: array[int], lowest: int, size: int) -> bool:
    numbers = view(column)
    return bool(numbers.min() >= lowest and numbers.max() < size)


def pack(column: Ints) -> array[int]:
    out = array("i")
    out.frombytes(column.astype(np.int32, copy=False).tobytes())
    return out


def take(column: array[int], rows: array[int]) -> array[int]:
    """`column[row]` for each row; -1 is the last."""
    return pack(view(column)[view(rows)]) if rows else array("i")


def keep_flagged(column: array[int], flags: array[int], bit: int) -> array[int]:
    """The numbers of rows that have the flag, -1 for the others."""
    kept = array(column.typecode)
    numbers = np.frombuffer(column, dtype=np.int64 if column.typecode == "q" else np.int32)
    kept.frombytes(np.where(view(flags) & bit, numbers, numbers.dtype.type(-1)).tobytes())
    return kept


def group_pairs(first: array[int], second: array[int]) -> tuple[list[tuple[int, int]], array[int]]:
    """The different pairs of two columns (of numbers from -1 on), and which of them each row has."""
    if not first:
        return [], array("i")
    width = int(view(second).max()) + 2
    keys, rows = np.unique(view(first).astype(np.int64) * width + view(second) + 1, return_inverse=True)
    pairs = zip((keys // width).tolist(), (keys % width - 1).tolist(), strict=True)
    return list(pairs), pack(rows)


def are_parents_earlier(prefixes: array[int]) -> bool:
    column = view(prefixes)
    return not len(column) or bool((column < np.arange(len(column), dtype=np.int32)).all() and column.min() >= -1)


def view_longs(column: array[int]) -> Longs:
    """The same for an array of 64 bits."""
    return np.frombuffer(column, dtype=np.int64)


def turn_offsets(offsets: array[int]) -> array[int]:
    """Parents from distances (0 is a root): -1 for a root, -2 for what can't be."""
    column = view(offsets)
    rows = np.arange(len(column), dtype=np.int32)
    return pack(np.where(column == 0, -1, np.where((column > 0) & (column <= rows), rows - column, -2)))


def join_floats(pieces: Iterable[list[float]]) -> Floats:
    return np.concatenate([np.zeros(0), *map(np.array, pieces)])


def fill(value: float, size: int) -> Floats:
    return np.full(size, value)


def scale(numbers: Longs | Floats, factor: float) -> Floats:
    return numbers * np.float64(factor)


def sum_all(numbers: Longs | Floats) -> float:
    return float(numbers.sum(dtype=np.float64))


def count_negative(numbers: Ints) -> int:
    return int((numbers < 0).sum())


def find_positive(numbers: Floats) -> Longs:
    """The rows that have more than nothing."""
    return np.flatnonzero(numbers > 0)


def find_at_least(numbers: Ints, lowest: int) -> Longs:
    return np.flatnonzero(numbers >= lowest)


def find_between(times: Floats, start: float, end: float, size: int) -> Longs:
    """The rows, of so many, whose time is from `start` on and before `end`."""
    return np.flatnonzero((times[:size] >= start) & (times[:size] < end))


def find_buckets(times: Floats, first: float, width: float, count: int) -> Longs:
    """Which of the buckets, one behind the other from `first` on, each time lies in."""
    return np.clip((times - first) / width, 0, count - 1).astype(np.int64)


def pick(numbers: Floats, rows: Longs) -> dict[int, float]:
    return dict(zip(rows.tolist(), numbers[rows].tolist(), strict=True))


def sum_by_row(rows: Longs | Ints, size: int, weights: Longs | Floats | None = None) -> Floats:
    """What each row got: how often it is there, or the sum of its weights. Rows of -1 count for nothing."""
    step = max(ROWS_AT_ONCE, 2 * size)
    if len(rows) <= step:
        return np.bincount(rows + 1, weights=weights, minlength=size + 1)[1:].astype(np.float64, copy=False)
    sums = np.zeros(size)
    for start in range(0, len(rows), step):
        end = start + step
        sums += sum_by_row(rows[start:end], size, None if weights is None else weights[start:end])
    return sums


def sum_known(rows: Ints, values: Floats) -> dict[int, float]:
    """The sums by row, without rows that got nothing."""
    sums = np.bincount(rows, weights=values)
    return pick(sums.astype(np.float64, copy=False), np.flatnonzero(sums))


def view_bytes(flags: bytearray) -> NDArray[np.uint8]:
    return np.frombuffer(flags, dtype=np.uint8)


def find_touched(parent: Ints, columns: Sequence[Floats]) -> Longs | None:
    """Nodes that have a value, and all above them, in order; None where they are so many that all may be walked."""
    nodes = np.flatnonzero(np.logical_or.reduce([column != 0 for column in columns]))
    is_touched = np.zeros(len(parent), dtype=bool)
    number = levels = 0
    while nodes.size:
        is_touched[nodes] = True
        number, levels = number + nodes.size, levels + 1
        if number * FEW > len(parent) or levels > MAX_LEVELS:
            return None
        above = parent[nodes]
        above = above[above >= 0]
        nodes = np.unique(above[~is_touched[above]])
    return np.flatnonzero(is_touched)


def renumber(parent: Ints, nodes: Longs) -> Ints:
    """The parents of some nodes, all of which are among these, as places in their list."""
    above = parent[nodes]
    return np.where(above < 0, -1, np.searchsorted(nodes, above)).astype(np.int32)


def sum_subtrees(above: Ints, values: Sequence[Floats]) -> None:
    """Add to each node, in place, what all nodes below it have. Parents come before their children."""
    for start in range((len(above) - 1) // BLOCK * BLOCK, -1, -BLOCK):
        end = min(start + BLOCK, len(above))
        local = above[start:end] - np.int32(start)
        columns = [column[start:end] for column in values]
        _sum_block(local, columns)
        outside = np.flatnonzero((local < 0) & (above[start:end] >= 0))
        for column, part in zip(values, columns, strict=True):
            np.add.at(column, above[start:end][outside], part[outside])


def _sum_block(local: Ints, columns: Sequence[Floats]) -> None:
    """The same within one block; parents outside it are negative."""
    depth = measure_depth(local)
    ends = np.cumsum(np.bincount(depth)).tolist()
    if len(ends) > MAX_LEVELS:
        _sum_one_by_one(local, columns)
        return
    order = np.argsort(depth, kind="stable")
    for level in range(len(ends) - 1, 0, -1):
        nodes = order[ends[level - 1] : ends[level]]
        into = local[nodes]
        for column in columns:
            np.add.at(column, into, column[nodes])


def measure_depth(local: Ints) -> NDArray[np.uint16]:
    """How many parents each node has inside its block; parents outside it are negative.

    New stacks are written from the outermost function inwards, so most nodes come right behind their parent: such a
    chain is looked at as one. Each step looks twice as far up as the one before.
    """
    rows = np.arange(len(local), dtype=np.int32)
    is_head = local != rows - 1
    is_head[:1] = True
    heads = np.flatnonzero(is_head)
    chain = np.cumsum(is_head) - 1
    above = local[heads]
    active = np.flatnonzero(above >= 0)
    depth = np.zeros(len(heads), dtype=np.int64)
    reached = np.full(len(heads), -1, dtype=np.int64)
    reached[active] = chain[above[active]]
    depth[active] = above[active] - heads[reached[active]] + 1
    while active.size:
        up = reached[active]
        further, onward = depth[up], reached[up]
        depth[active] += further
        reached[active] = onward
        active = active[onward >= 0]
    whole: NDArray[np.uint16] = (depth[chain] + rows - heads[chain]).astype(np.uint16)
    return whole


def _sum_one_by_one(local: Ints, columns: Sequence[Floats]) -> None:
    parents = local.tolist()
    for column in columns:
        sums = column.tolist()
        for node in range(len(parents) - 1, -1, -1):
            if parents[node] >= 0:
                sums[parents[node]] += sums[node]
        column[:] = sums


def find_edges(parent: array[int], func: array[int], width: int) -> set[tuple[int, int]]:
    """Who calls whom, as far as it can be part of a cycle: functions that only call or only are
    called are taken away until none is left. A function that calls itself is a pair of its own.
    """
    keys = _find_calls(view(parent), view(func), width)
    start, end = keys // width, keys % width
    own = start[start == end].tolist()
    start, end = start[start != end], end[start != end]
    for _ in range(MAX_ROUNDS):
        has_in = np.zeros(width, dtype=bool)
        has_out = np.zeros(width, dtype=bool)
        has_in[end] = True
        has_out[start] = True
        kept = has_in[start] & has_out[end]
        if kept.all():
            break
        start, end = start[kept], end[kept]
    return {(each, each) for each in own} | set(zip(start.tolist(), end.tolist(), strict=True))


def _find_calls(parent: Ints, func: Ints, width: int) -> Longs:
    """`caller * width + called` of all nodes, nearly each once.

    Most calls are there thousands of times. A table by hash, in which a later one may take the place of another,
    drops nearly all of them, and nothing is sorted.
    """
    table = np.full(1 << TABLE_BITS, -1, dtype=np.int64)
    last = np.zeros(1 << TABLE_BITS, dtype=np.int32)
    found = [as_longs([])]
    for start in range(0, len(parent), BLOCK):
        above = parent[start : start + BLOCK]
        inner = np.flatnonzero(above >= 0)
        keys = func[above[inner]].astype(np.int64) * width + func[start : start + BLOCK][inner]
        slots = (keys * np.int64(HASH)) >> np.int64(64 - TABLE_BITS)  # negative ones count from the table's end
        new = table[slots] != keys
        keys, slots = keys[new], slots[new]
        rows = np.arange(len(keys), dtype=np.int32)
        table[slots] = keys
        last[slots] = rows
        # One of those that came to a slot together, and any that found another there.
        found.append(keys[(last[slots] == rows) | (table[slots] != keys)])
    return np.concatenate(found)


def find_outermost(parent: array[int], func: array[int], recursive: bytearray) -> bytearray | None:
    """1 for nodes whose function isn't further up already. `recursive`: functions for which it can be.

    None where too many stacks are too deep for this way.
    """
    above, own = view(parent), view(func)
    is_outermost = np.ones(len(own), dtype=np.uint8)
    suspects = np.flatnonzero(np.frombuffer(recursive, dtype=np.uint8)[own])
    at, steps = above[suspects], 0
    while suspects.size:
        steps += suspects.size
        if steps > MAX_STEPS * len(own) + BLOCK:
            return None
        inside = at >= 0
        suspects, at = suspects[inside], at[inside]
        same = own[at] == own[suspects]
        is_outermost[suspects[same]] = 0
        suspects, at = suspects[~same], above[at[~same]]
    return bytearray(is_outermost.tobytes())
