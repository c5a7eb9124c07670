"""Evaluations of operators from the engine's markers: node, start, end, CPU time. Pure.

Category `Operator` (the engine has no others in it), text `<node name> <node id> used Nμs real time, Mμs CPU time`: one
for each evaluation (crate `dbsp`, `CircuitBase::eval_node`). The end is written after an await, so evaluations on one
thread may interleave; that of a nested circuit holds those of its inner nodes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from samply_operator.profiles.attribution import marker_texts
from samply_operator.profiles.format import intervals
from samply_operator.profiles.format.lazy_numpy import np
from samply_operator.profiles.format.markers import Markers

if TYPE_CHECKING:
    from samply_operator.profiles.format.vectors import Floats, Ints, Longs

CATEGORY = "Operator"
CPU_TOLERANCE, CPU_SLACK_US = 1.1, 1000
"""Of what an evaluation may claim more than it lasted: the two are of different clocks."""
NODE_ID = re.compile(r"n(?:n\d+(?:_n\d+)*)?", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Node:
    """`id`: the path of node numbers from the root circuit, as `nn5_n3`."""

    id: str
    name: str


@dataclass(slots=True)
class NodeIndex:
    """Numbers nodes in the order of their first appearance."""

    nodes: list[Node] = field(default_factory=list)
    _by_head: dict[bytes, int] = field(default_factory=dict)

    def number(self, head: bytes) -> int:
        """Of `<node name> <node id>`; -1 if it is no such text."""
        number = self._by_head.get(head)
        if number is None:
            name, _, node_id = head.decode("utf-8", "replace").rpartition(" ")
            number = len(self.nodes) if NODE_ID.fullmatch(node_id) else -1
            if number >= 0:
                self.nodes.append(Node(node_id, name))
            self._by_head[head] = number
        return number


@dataclass(frozen=True, slots=True)
class Evaluations:
    """One thread's, in the order of `intervals.sort`. `node`: number in the NodeIndex. `unparsed`: how many markers of
    evaluations have another text than this engine's; `overclaimed`: how many claim more CPU time than they lasted.
    `cpu_us` is at most what they lasted: one thread can't use more."""

    start_ms: Floats
    end_ms: Floats
    node: Ints
    cpu_us: Longs
    unparsed: int
    overclaimed: int = 0

    def count(self) -> int:
        return len(self.start_ms)

    def pick(self, rows: Longs) -> Evaluations:
        return replace(
            self,
            start_ms=self.start_ms[rows],
            end_ms=self.end_ms[rows],
            node=self.node[rows],
            cpu_us=self.cpu_us[rows],
        )


def read(markers: Markers, index: NodeIndex) -> Evaluations:
    """The evaluations among one thread's markers."""
    rows = np.flatnonzero(markers.find_category(CATEGORY))
    is_all = len(rows) == len(markers.text)
    parsed = marker_texts.parse(markers.text if is_all else [markers.text[row] for row in rows.tolist()])
    nodes = np.array([index.number(head) for head in parsed.heads], dtype=np.int64)[parsed.head]
    good = np.flatnonzero(nodes >= 0)
    starts, ends = markers.start_ms[rows[good]], markers.end_ms[rows[good]]
    lasted_us, cpu_us = 1000 * (ends - starts), parsed.cpu_us[good]
    is_over = cpu_us > CPU_TOLERANCE * lasted_us + CPU_SLACK_US
    order = intervals.sort(starts, ends)
    return Evaluations(
        start_ms=starts[order],
        end_ms=ends[order],
        node=nodes[good][order].astype(np.int32),
        cpu_us=np.where(is_over, lasted_us, cpu_us).astype(np.int64)[order] if is_over.any() else cpu_us[order],
        unparsed=len(rows) - len(good),
        overclaimed=int(is_over.sum()),
    )
