"""Labels, what samples are attributed to, and buckets, the sets of labels that one sample counts for. Pure.

A sample counts for the last label of its bucket (self) and for all of them (total).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from samply_operator.profiles.analysis.calltree import FunctionIndex, Stacks
    from samply_operator.profiles.format.profile import Thread
    from samply_operator.profiles.format.vectors import Floats, Ints

By = Literal["function", "operator", "group"]
BYS: tuple[By, ...] = ("function", "operator", "group")
Kind = Literal["operator", "group", "outside"]
Bucket = tuple[int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Label:
    """`node`: the operator's node id, as `nn18`, or `nn5_n3` in a nested circuit; empty for all others.
    `outside`: what belongs to no operator, or matches no rule."""

    name: str
    kind: Kind
    node: str = ""
    note: str = ""
    """Feldera's description of the operator: table, view, place in the SQL."""

    @property
    def title(self) -> str:
        return f"{self.name} ({self.note})" if self.note else self.name


@dataclass(slots=True)
class Buckets:
    """Numbers labels and buckets in the order of their first appearance."""

    labels: list[Label] = field(default_factory=list)
    buckets: list[Bucket] = field(default_factory=list)
    _label_numbers: dict[Label, int] = field(default_factory=dict)
    _bucket_numbers: dict[Bucket, int] = field(default_factory=dict)

    def number_label(self, label: Label) -> int:
        number = self._label_numbers.setdefault(label, len(self.labels))
        if number == len(self.labels):
            self.labels.append(label)
        return number

    def number(self, bucket: Bucket) -> int:
        number = self._bucket_numbers.setdefault(bucket, len(self.buckets))
        if number == len(self.buckets):
            self.buckets.append(bucket)
        return number


class Attribution(Protocol):
    """How the samples of a profile are spread over buckets."""

    buckets: Buckets
    is_nested: bool
    """Whether the labels of a bucket lie in each other (operators of nested circuits), so that a call tree may show
    all of them as frames; else only the last one is shown."""

    def attribute(self, thread: Thread, tree: Stacks, index: FunctionIndex, nodes: Ints, times: Floats) -> Ints:
        """The bucket of each sample, from its node in the call tree (-1: it has no stack) and its time in ms."""
        ...
