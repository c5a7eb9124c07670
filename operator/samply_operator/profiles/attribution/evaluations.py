"""Evaluations of operators, as the engine's markers tell them: which node, from when to when, how much CPU time. Pure.

Category `Operator`, name `eval`, text `<node name> <node id> used Nμs real time, Mμs CPU time`: one for each evaluation
(crate `dbsp`, `CircuitBase::eval_node`). The end is written after an await, so evaluations on one thread may
interleave; that of a nested circuit holds those of its inner nodes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from samply_operator.profiles.format import intervals, vectors
from samply_operator.profiles.format.lazy_numpy import np
from samply_operator.profiles.format.markers import Markers

if TYPE_CHECKING:
    from samply_operator.profiles.format.vectors import Floats, Ints, Longs

CATEGORY, NAME = "Operator", "eval"
NODE_ID = re.compile(r"n(?:n\d+(?:_n\d+)*)?", re.ASCII)
MAX_DIGITS = 15


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """`id`: the path of node numbers from the root circuit, as `nn5_n3`."""

    id: str
    name: str


@dataclass(slots=True)
class NodeIndex:
    """Numbers nodes in the order in which they turn up."""

    nodes: list[Node] = field(default_factory=list)
    _by_head: dict[str, int] = field(default_factory=dict)

    def number(self, head: str) -> int:
        """Of `<node name> <node id>`; -1 if it is no such text."""
        number = self._by_head.get(head)
        if number is None:
            name, _, node_id = head.rpartition(" ")
            number = len(self.nodes) if NODE_ID.fullmatch(node_id) else -1
            if number >= 0:
                self.nodes.append(Node(node_id, name))
            self._by_head[head] = number
        return number


@dataclass(frozen=True, slots=True)
class Evaluations:
    """One thread's, in the order of `intervals.sort`. `node`: number in the NodeIndex. `unparsed`: how many markers of
    evaluations have another text than this engine's."""

    start_ms: Floats
    end_ms: Floats
    node: Ints
    cpu_us: Longs
    unparsed: int

    def count(self) -> int:
        return len(self.start_ms)


def read(markers: Markers, index: NodeIndex) -> Evaluations:
    """The evaluations among one thread's markers."""
    rows = [
        row
        for row, (category, name) in enumerate(zip(markers.category, markers.name, strict=True))
        if category == CATEGORY and name == NAME
    ]
    parsed = [parse(markers.text[row], index) for row in rows]
    kept = vectors.as_longs([row for row, each in zip(rows, parsed, strict=True) if each])
    good = [each for each in parsed if each]
    order = intervals.sort(markers.start_ms[kept], markers.end_ms[kept])
    return Evaluations(
        start_ms=markers.start_ms[kept][order],
        end_ms=markers.end_ms[kept][order],
        node=np.array([node for node, _ in good], dtype=np.int32)[order],
        cpu_us=vectors.as_longs([cpu_us for _, cpu_us in good])[order],
        unparsed=len(rows) - len(good),
    )


def parse(text: str, index: NodeIndex) -> tuple[int, int] | None:
    """The node's number and the CPU time in microseconds."""
    head, _, times = text.rpartition(" used ")
    _, _, cpu = times.partition("μs real time, ")
    digits = cpu.removesuffix("μs CPU time")
    # Not a regular expression: there may be a million of them.
    if digits == cpu or not (digits.isdecimal() and len(digits) <= MAX_DIGITS):
        return None
    node = index.number(head)
    return None if node < 0 else (node, int(digits))
