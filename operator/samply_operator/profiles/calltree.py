"""Call trees by function: stacks that differ only in addresses or lines fall together. Pure.

One `Forest` serves all threads that share their tables; a thread's sums are laid over it. Functions have one number
in the whole profile, whichever thread saw them: a `FunctionIndex` gives it out.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from samply_operator.profiles.fact_sheet import NO_LIB
from samply_operator.profiles.profile import Profile, Tables


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
    _numbers: dict[Function, int] = field(default_factory=dict)

    def number(self, function: Function) -> int:
        number = self._numbers.setdefault(function, len(self.functions))
        if number == len(self.functions):
            self.functions.append(function)
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


def build_forest(tables: Tables, profile: Profile, index: FunctionIndex) -> Forest:
    """One pass over the stack table."""
    functions = _number_functions(tables, profile, index)
    func_of_frame = [functions[func] for func in tables.frame_func]
    width = len(index.functions) + 1
    parent, func = array("i"), array("i")
    node_of_stack = array("i", [0]) * len(tables.stack_frame)
    nodes: dict[int, int] = {}
    for stack, (prefix, frame) in enumerate(zip(tables.stack_prefix, tables.stack_frame, strict=True)):
        above = node_of_stack[prefix] if prefix >= 0 else -1
        key = (above + 1) * width + func_of_frame[frame]
        node = nodes.get(key)
        if node is None:
            node = nodes[key] = len(parent)
            parent.append(above)
            func.append(func_of_frame[frame])
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


def accumulate(forest: Forest, self_by_node: Mapping[int, float]) -> dict[int, float]:
    """Sums of each node and all below it. Only nodes on the way to a sum are visited."""
    touched: set[int] = set()
    parent = forest.parent
    for start in self_by_node:
        node = start
        while node != -1 and node not in touched:
            touched.add(node)
            node = parent[node]
    totals: dict[int, float] = defaultdict(float)
    for node in sorted(touched, reverse=True):
        totals[node] += self_by_node.get(node, 0.0)
        above = parent[node]
        if above != -1:
            totals[above] += totals[node]
    return totals


def _number_functions(tables: Tables, profile: Profile, index: FunctionIndex) -> list[int]:
    libs = [lib.name for lib in profile.libs]
    libs.append(NO_LIB)
    return [
        index.number(Function(tables.strings[name], libs[lib], tables.files[file] if file >= 0 else ""))
        for name, lib, file in zip(tables.func_name, tables.func_lib, tables.func_file, strict=True)
    ]
