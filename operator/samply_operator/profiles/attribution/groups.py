"""Samples by group: each counts for the innermost function on its stack that a rule matches. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from samply_operator.profiles.analysis.calltree import FunctionIndex, Stacks
from samply_operator.profiles.attribution.labels import Buckets, Label
from samply_operator.profiles.attribution.rules import Rule
from samply_operator.profiles.format import ancestors, vectors
from samply_operator.profiles.format.lazy_numpy import np
from samply_operator.profiles.format.profile import Thread

if TYPE_CHECKING:
    from samply_operator.profiles.format.vectors import Floats, Ints, Longs

UNMATCHED = "(no rule matches)"


class Groups:
    """An `Attribution` by rules on function names and paths."""

    is_nested = False

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.buckets = Buckets()
        self.names = list(dict.fromkeys(rule.name for rule in rules))
        self._rules = [(rule, self.names.index(rule.name)) for rule in rules]
        self._group_of_function: list[int] = []
        self._index: FunctionIndex | None = None
        self._labels = [self.buckets.number_label(Label(name, "group")) for name in self.names]
        self._labels.append(self.buckets.number_label(Label(UNMATCHED, "outside")))

    def attribute(self, thread: Thread, tree: Stacks, index: FunctionIndex, nodes: Ints, times: Floats) -> Ints:
        """See `labels.Attribution`."""
        own = self._find_own(tree, index)
        parent = vectors.view(tree.parent)
        buckets = self._number_buckets(ancestors.find_nearest(parent, own), ancestors.unite_upwards(parent, own))
        # One entry more, for samples without a stack.
        return np.append(buckets, self._number((), len(self.names)))[nodes]

    def find_innermost(self, tree: Stacks, index: FunctionIndex, nodes: Ints) -> Ints:
        """For each sample the number of its group among `names`; `len(names)` where no rule matches."""
        inner = ancestors.find_nearest(vectors.view(tree.parent), self._find_own(tree, index))
        found = np.append(inner, -1)[nodes]
        return np.where(found >= 0, found, len(self.names))

    def _find_own(self, tree: Stacks, index: FunctionIndex) -> Ints:
        """For each node the group of its own function, -1 for none."""
        return np.array(self._match_all(index), dtype=np.int32)[vectors.view(tree.func)]

    def _match_all(self, index: FunctionIndex) -> list[int]:
        if self._index is not index:
            self._index, self._group_of_function = index, []
        for function in index.functions[len(self._group_of_function) :]:
            found = next((group for rule, group in self._rules if rule.matches(function)), -1)
            self._group_of_function.append(found)
        return self._group_of_function

    def _number_buckets(self, inner: Ints, sets: Longs) -> Ints:
        """The bucket of each node. There are few different ones."""
        distinct, place = np.unique(sets, return_inverse=True)
        width = len(self.names) + 1
        keys, at = np.unique(place * width + np.where(inner >= 0, inner, width - 1), return_inverse=True)
        numbers = []
        for key in keys.tolist():
            members = int(distinct[key // width])
            groups = [group for group in range(width - 1) if members >> group & 1]
            numbers.append(self._number(groups, key % width))
        return np.array(numbers, dtype=np.int32)[at]

    def _number(self, members: Sequence[int], last: int) -> int:
        return self.buckets.number((*(self._labels[each] for each in members if each != last), self._labels[last]))
