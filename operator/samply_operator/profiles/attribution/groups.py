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
        self._known: dict[int, int] = {}
        """Groups of functions by their number in `_index`."""
        self._index: FunctionIndex | None = None
        self._labels = [self.buckets.number_label(Label(name, "group")) for name in self.names]
        self._labels.append(self.buckets.number_label(Label(UNMATCHED, "outside")))

    def attribute(self, thread: Thread, tree: Stacks, index: FunctionIndex, nodes: Ints, times: Floats) -> Ints:
        """See `labels.Attribution`."""
        own = self._match(index, vectors.view(tree.func))
        parent = vectors.view(tree.parent)
        buckets = self._number_buckets(ancestors.find_nearest(parent, own), ancestors.unite_upwards(parent, own))
        # One entry more, for samples without a stack.
        return np.append(buckets, self._number((), len(self.names)))[nodes]

    def find_innermost(self, tree: Stacks, index: FunctionIndex, nodes: Ints) -> Ints:
        """For each sample the number of its group among `names`; `len(names)` where no rule matches. Where the samples
        are few, only what lies above them is looked at."""
        parent, func = vectors.view(tree.parent), vectors.view(tree.func)
        wanted = np.zeros(len(parent))
        wanted[nodes[nodes >= 0]] = 1.0
        touched = vectors.find_touched(parent, [wanted])
        if touched is None:
            inner = ancestors.find_nearest(parent, self._match(index, func))
        else:
            few = vectors.renumber(parent, touched)
            inner = np.full(len(parent), -1)
            inner[touched] = ancestors.find_nearest(few, self._match(index, func[touched]))
        found = np.append(inner, -1)[nodes]
        return np.where(found >= 0, found, len(self.names))

    def _match(self, index: FunctionIndex, numbers: Ints) -> Ints:
        """The group of each of the functions, -1 for none."""
        if self._index is not index:
            self._index, self._known = index, {}
        distinct, places = np.unique(numbers, return_inverse=True)
        groups = [self._match_one(index, number) for number in distinct.tolist()]
        return np.array(groups, dtype=np.int32)[places]

    def _match_one(self, index: FunctionIndex, number: int) -> int:
        if number not in self._known:
            function = index.functions[number]
            self._known[number] = next((group for rule, group in self._rules if rule.matches(function)), -1)
        return self._known[number]

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
