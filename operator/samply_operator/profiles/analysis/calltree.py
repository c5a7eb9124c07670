"""Call trees by function: stacks that differ only in addresses or lines fall together. Pure.

One `Forest` serves all threads that share their tables; a thread's sums are laid over it. Functions have one number
in the whole profile, whichever thread saw them: a `FunctionIndex` gives it out.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from samply_operator.profiles.analysis import cycles, libraries, naming
from samply_operator.profiles.format import vectors
from samply_operator.profiles.format.profile import Profile, Tables, Thread

if TYPE_CHECKING:
    from samply_operator.profiles.format.vectors import Floats


@dataclass(frozen=True, slots=True, order=True)
class Function:
    """The identity of a function: name and library, and the build if it has no name."""

    name: str
    lib: str
    file: str = field(default="", compare=False)
    build: str = field(default="", compare=False)


@dataclass(slots=True)
class FunctionIndex:
    """Numbers functions in the order of their first appearance."""

    functions: list[Function] = field(default_factory=list)
    _numbers: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def number(self, name: str, lib: str, file: str = "", build: str = "") -> int:
        """`lib` is its label; `build` its build id, which is used only if the name is an address."""
        kept = build if naming.is_unresolved(name) else ""
        number = self._numbers.setdefault((name, lib, kept), len(self.functions))
        if number == len(self.functions):
            self.functions.append(Function(name, lib, file, kept))
        return number

    def show_builds(self) -> None:
        """Call when all are known: if two differ only in the build, it is shown after the library."""
        seen: dict[Function, int] = Counter(self.functions)
        for number, function in enumerate(self.functions):
            if seen[function] > 1:
                lib = f"{function.lib}, build {libraries.shorten(function.build)}"
                self.functions[number] = replace(function, lib=lib)


@dataclass(frozen=True, slots=True)
class Stacks:
    """The profile's stacks as a call tree, parents first: enough for sums by function, and quick to make.

    `is_outermost[n]` is 0 where the node's function is called from itself further up: such a node adds nothing to the
    function's total.
    """

    parent: array[int]
    func: array[int]
    is_outermost: bytearray


@dataclass(frozen=True, slots=True)
class Forest(Stacks):
    """A node for each different path of functions. `node_of_stack` leads from the profile's stacks to them; -1, for
    samples without one, is its last entry.
    """

    node_of_stack: array[int]


Tree = TypeVar("Tree", bound=Stacks)


class Forests(Generic[Tree]):
    """The call tree of each thread, made by `build`; of threads that share their tables it is made once."""

    def __init__(
        self, profile: Profile, index: FunctionIndex, build: Callable[[Tables, Profile, FunctionIndex], Tree]
    ) -> None:
        self._profile = profile
        self._index = index
        self._build = build
        self._last: tuple[int, Tree] | None = None

    def of(self, thread: Thread) -> Tree:
        if self._last is None or self._last[0] != thread.table_key:
            self._last = None  # release the previous one first: two are never needed at a time
            self._last = (thread.table_key, self._build(thread.load_tables(), self._profile, self._index))
        return self._last[1]


def take_stacks(tables: Tables, profile: Profile, index: FunctionIndex) -> Stacks:
    """The stack table as it is, a node for each stack."""
    taken = take_functions(tables, profile, index)
    is_outermost = find_outermost(taken.parent, taken.func, len(index.functions) + 1)
    return Stacks(taken.parent, taken.func, is_outermost)


def take_functions(tables: Tables, profile: Profile, index: FunctionIndex) -> Stacks:
    """The same where no totals by function are asked for: `is_outermost` is empty."""
    func_of_frame = array("i", _number_functions(tables, profile, index))
    return Stacks(tables.stack_prefix, vectors.take(func_of_frame, tables.stack_frame), bytearray())


def build_forest(tables: Tables, profile: Profile, index: FunctionIndex) -> Forest:
    """A node for each different path of functions. One pass over the stack table."""
    func_of_frame = _number_functions(tables, profile, index)
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
    return Forest(parent, func, find_outermost(parent, func, width), node_of_stack)


def find_outermost(parent: array[int], func: array[int], width: int) -> bytearray:
    """1 for nodes whose function has no other node further up.

    Few functions of a program can reach themselves. Who calls whom tells which, and only their nodes are looked at; a
    profile in which they are too many, or too deep, is walked depth first.
    """
    recursive = find_recursive(parent, func, width)
    is_outermost = vectors.find_outermost(parent, func, recursive)
    return _walk_depth_first(parent, func, width) if is_outermost is None else is_outermost


def find_recursive(parent: array[int], func: array[int], width: int) -> bytearray:
    """1 for functions that call themselves, directly or through others."""
    return cycles.find_on_cycles(width, vectors.find_edges(parent, func, width))


def _walk_depth_first(parent: array[int], func: array[int], width: int) -> bytearray:
    """Counts on the way how often each function is open."""
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


def sum_selves(forest: Stacks, self_by_node: Floats) -> dict[int, float]:
    """By function: what was spent in it."""
    return vectors.sum_known(vectors.view(forest.func), self_by_node)


def sum_totals(forest: Stacks, selves: Sequence[Floats]) -> list[dict[int, float]]:
    """By function: what was spent in it and below it. A call from itself further up isn't counted again.

    One answer for each of the columns, which are used up.
    """
    parent, func = vectors.view(forest.parent), vectors.view(forest.func)
    outer = vectors.view_bytes(forest.is_outermost)
    touched = vectors.find_touched(parent, selves)
    if touched is not None:
        # One of many threads that share their tables: most nodes are the others'.
        parent = vectors.renumber(parent, touched)
        func, outer, selves = func[touched], outer[touched], [column[touched] for column in selves]
    vectors.sum_subtrees(parent, selves)
    for column in selves:
        column *= outer  # noqa: PLW2901 - in place
    return [vectors.sum_known(func, column) for column in selves]


def _number_functions(tables: Tables, profile: Profile, index: FunctionIndex) -> list[int]:
    """The function of each frame. Frames of one row of the function table may be of several libraries."""
    labels = libraries.label(profile.libs)
    builds = [*map(libraries.find_build, profile.libs), ""]
    pairs, row_of_frame = vectors.group_pairs(tables.frame_func, tables.frame_lib)
    numbers = []
    for func, lib in pairs:
        file = tables.func_file[func]
        name, path = tables.strings[tables.func_name[func]], tables.files[file] if file >= 0 else ""
        numbers.append(index.number(name, labels[lib], path, builds[lib]))
    return list(map(numbers.__getitem__, row_of_frame))
