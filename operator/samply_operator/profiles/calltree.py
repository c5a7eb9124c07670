"""Call trees by function: stacks that differ only in addresses or lines fall together. Pure.

One `Forest` serves all threads that share their tables; a thread's sums are laid over it. Functions have one number
in the whole profile, whichever thread saw them: a `FunctionIndex` gives it out.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from samply_operator.profiles.fact_sheet import NO_LIB
from samply_operator.profiles.profile import Profile, Tables, Thread


@dataclass(frozen=True, slots=True, order=True)
class Function:
    """One function, as far as it can be told from another: by name and library."""

    name: str
    lib: str
    file: str = field(default="", compare=False)


@dataclass(slots=True)
class FunctionIndex:
    """Numbers functions in the order in which they turn up."""

    functions: list[Function] = field(default_factory=list)
    _numbers: dict[tuple[str, str], int] = field(default_factory=dict)

    def number(self, name: str, lib: str, file: str = "") -> int:
        number = self._numbers.setdefault((name, lib), len(self.functions))
        if number == len(self.functions):
            self.functions.append(Function(name, lib, file))
        return number


@dataclass(frozen=True, slots=True)
class Forest:
    """Nodes, parents first. `node_of_stack` leads from the profile's stacks to them.

    `is_outermost[n]` is 0 where the node's function is called from itself further up: such a node adds nothing to the
    function's total.
    """

    parent: array[int]
    func: array[int]
    node_of_stack: array[int]
    is_outermost: bytearray


class Forests:
    """The forest of each thread; of threads that share their tables it is built once."""

    def __init__(self, profile: Profile, index: FunctionIndex) -> None:
        self._profile = profile
        self._index = index
        self._last: tuple[int, Forest] | None = None

    def of(self, thread: Thread) -> Forest:
        if self._last is None or self._last[0] != thread.table_key:
            self._last = None  # the one before goes first: two at a time are never needed
            self._last = (thread.table_key, build_forest(thread.load_tables(), self._profile, self._index))
        return self._last[1]


def build_forest(tables: Tables, profile: Profile, index: FunctionIndex) -> Forest:
    """One pass over the stack table."""
    functions = _number_functions(tables, profile, index)
    func_of_frame = [functions[func] for func in tables.frame_func]
    width = len(index.functions) + 1
    parent, func = array("i"), array("i")
    # One entry more, for the parent of roots: index -1 is the last.
    node_of_stack = array("i", [-1]) * (len(tables.stack_frame) + 1)
    nodes: dict[int, int] = {}
    find = nodes.get
    called = map(func_of_frame.__getitem__, tables.stack_frame)
    for stack, (prefix, number) in enumerate(zip(tables.stack_prefix, called, strict=True)):
        above = node_of_stack[prefix]
        key = above * width + number
        node = find(key)
        if node is None:
            node = nodes[key] = len(parent)
            parent.append(above)
            func.append(number)
        node_of_stack[stack] = node
    return Forest(parent, func, node_of_stack, find_outermost(parent, func, width))


def find_outermost(parent: array[int], func: array[int], width: int) -> bytearray:
    """Walk the forest depth first, counting how often each function is on the way."""
    first_child = array("i", [-1]) * (len(parent) + 1)
    next_sibling = array("i", [-1]) * len(parent)
    for node in range(len(parent) - 1, -1, -1):
        next_sibling[node] = first_child[parent[node]]  # roots hang under -1, the last entry
        first_child[parent[node]] = node
    is_outermost = bytearray(len(parent))
    on_path = [0] * width
    node = first_child[-1]
    while node != -1:
        number = func[node]
        is_outermost[node] = on_path[number] == 0
        on_path[number] += 1
        below = first_child[node]
        node = below if below != -1 else _step_back(node, parent, func, next_sibling, on_path)
    return is_outermost


def _step_back(node: int, parent: array[int], func: array[int], next_sibling: array[int], on_path: list[int]) -> int:
    while node != -1:
        on_path[func[node]] -= 1
        if next_sibling[node] != -1:
            return next_sibling[node]
        node = parent[node]
    return -1


def lay_over(forest: Forest, by_stack: Mapping[int, float]) -> dict[int, float]:
    """A thread's sums by stack as sums by node; samples without a stack (-1) are left out."""
    by_node: dict[int, float] = defaultdict(float)
    node_of_stack = forest.node_of_stack
    for stack, value in by_stack.items():
        if stack >= 0:
            by_node[node_of_stack[stack]] += value
    return by_node


def sum_totals(forest: Forest, self_by_node: Mapping[int, float]) -> dict[int, float]:
    """By function: what was spent in it and below it. A call from itself further up isn't counted again."""
    values = dict(self_by_node)
    sums: dict[int, float] = defaultdict(float)
    parent, func, is_outermost = forest.parent, forest.func, forest.is_outermost
    for node in _touched(forest, values):
        value = values.pop(node, 0.0)
        if value:
            if is_outermost[node]:
                sums[func[node]] += value
            above = parent[node]
            if above >= 0:
                values[above] = values.get(above, 0.0) + value
    return dict(sums)


def sum_selves(forest: Forest, self_by_node: Mapping[int, float]) -> dict[int, float]:
    """By function: what was spent in it."""
    sums: dict[int, float] = defaultdict(float)
    func = forest.func
    for node, value in self_by_node.items():
        sums[func[node]] += value
    return dict(sums)


def _touched(forest: Forest, self_by_node: Mapping[int, float]) -> Iterable[int]:
    """Nodes on the way from a sum to the root, children before parents."""
    if len(self_by_node) * 8 > len(forest.parent):
        return range(len(forest.parent) - 1, -1, -1)
    touched: set[int] = set()
    for start in self_by_node:
        node = start
        while node != -1 and node not in touched:
            touched.add(node)
            node = forest.parent[node]
    return sorted(touched, reverse=True)


def _number_functions(tables: Tables, profile: Profile, index: FunctionIndex) -> list[int]:
    libs = [lib.name for lib in profile.libs]
    libs.append(NO_LIB)
    return [
        index.number(tables.strings[name], libs[lib], tables.files[file] if file >= 0 else "")
        for name, lib, file in zip(tables.func_name, tables.func_lib, tables.func_file, strict=True)
    ]
