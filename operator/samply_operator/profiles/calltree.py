"""Call trees by function: stacks that differ only in addresses or lines fall together. Pure.

One `Forest` serves all threads that share their tables; a thread's sums are laid over it. Functions have one number
in the whole profile, whichever thread saw them: a `FunctionIndex` gives it out.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import compress

from samply_operator.profiles import cycles
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


Builder = Callable[[Tables, Profile, FunctionIndex], Forest]


class Forests:
    """The forest of each thread; of threads that share their tables it is built once."""

    def __init__(self, profile: Profile, index: FunctionIndex, build: Builder | None = None) -> None:
        self._profile = profile
        self._index = index
        self._build = build_forest if build is None else build
        self._last: tuple[int, Forest] | None = None

    def of(self, thread: Thread) -> Forest:
        if self._last is None or self._last[0] != thread.table_key:
            self._last = None  # the one before goes first: two at a time are never needed
            self._last = (thread.table_key, self._build(thread.load_tables(), self._profile, self._index))
        return self._last[1]


def take_stacks(tables: Tables, profile: Profile, index: FunctionIndex) -> Forest:
    """The stack table as it is, a node for each stack: enough for sums by function, and quick."""
    functions = _number_functions(tables, profile, index)
    func_of_frame = [functions[func] for func in tables.frame_func]
    func = array("i", map(func_of_frame.__getitem__, tables.stack_frame))
    node_of_stack = array("i", range(len(func)))
    node_of_stack.append(-1)
    is_outermost = find_outermost(tables.stack_prefix, func, len(index.functions) + 1)
    return Forest(tables.stack_prefix, func, node_of_stack, is_outermost)


def build_forest(tables: Tables, profile: Profile, index: FunctionIndex) -> Forest:
    """A node for each different path of functions. One pass over the stack table."""
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
    """1 for nodes whose function isn't further up already.

    Few functions of a program can reach themselves. Who calls whom tells which, and only their nodes are looked at; a
    profile in which they are many is walked depth first.
    """
    recursive = find_recursive(parent, func, width)
    suspects = list(compress(range(len(parent)), map(recursive.__getitem__, func)))
    if len(suspects) * 10 > len(parent):
        return _walk_depth_first(parent, func, width)
    is_outermost = bytearray(b"\x01") * len(parent)
    for node in suspects:
        above = parent[node]
        while above != -1 and func[above] != func[node]:
            above = parent[above]
        is_outermost[node] = above == -1
    return is_outermost


def find_recursive(parent: array[int], func: array[int], width: int) -> bytearray:
    """1 for functions that call themselves, directly or through others."""
    callers = array("i", func)
    callers.append(width - 1)  # of roots: no function has this number
    return cycles.find_on_cycles(width, set(zip(map(callers.__getitem__, parent), func, strict=True)))


def _walk_depth_first(parent: array[int], func: array[int], width: int) -> bytearray:
    """Counting on the way how often each function is open."""
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


def sum_totals(forest: Forest, self_by_node: Mapping[int, float]) -> dict[int, float]:
    """By function: what was spent in it and below it. A call from itself further up isn't counted again."""
    size = len(forest.parent)
    nodes = _touch(forest, self_by_node)
    # One entry more, which takes what roots hand up: index -1 is the last.
    values: list[float] | dict[int, float] = [0.0] * (size + 1) if nodes is None else defaultdict(float)
    for node, value in self_by_node.items():
        values[node] = value
    sums = [0.0] * (max(forest.func, default=-1) + 1)
    if nodes is None:
        rows = zip(reversed(forest.parent), reversed(forest.func), reversed(forest.is_outermost), strict=True)
        for node, (above, number, is_outermost) in zip(range(size - 1, -1, -1), rows, strict=True):
            if value := values[node]:
                values[above] += value
                if is_outermost:
                    sums[number] += value
    else:
        for node in nodes:
            values[forest.parent[node]] += values[node]
            if forest.is_outermost[node]:
                sums[forest.func[node]] += values[node]
    return {number: value for number, value in enumerate(sums) if value}


def sum_selves(forest: Forest, self_by_node: Mapping[int, float]) -> dict[int, float]:
    """By function: what was spent in it."""
    sums: dict[int, float] = defaultdict(float)
    func = forest.func
    for node, value in self_by_node.items():
        sums[func[node]] += value
    return dict(sums)


def _touch(forest: Forest, self_by_node: Mapping[int, float]) -> list[int] | None:
    """Nodes on the way from a sum to the root, children before parents; None: so many that all may be walked."""
    if len(self_by_node) * 8 > len(forest.parent):
        return None
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
