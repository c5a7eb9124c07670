"""Which nodes of a graph lie on a cycle: here, which functions can call themselves, also through others. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def find_on_cycles(size: int, edges: Iterable[tuple[int, int]]) -> bytearray:
    """1 for each of the nodes 0..size-1 that has a path back to itself.

    Tarjan's strongly connected components, without recursion: call chains are deeper than Python's stack.
    """
    onward: dict[int, list[int]] = {}
    is_on_cycle = bytearray(size)
    for start, end in edges:
        if start == end:
            is_on_cycle[start] = 1
        else:
            onward.setdefault(start, []).append(end)
    search = _Search(onward, size)
    for start in onward:
        for component in search.components_from(start):
            for node in component:
                is_on_cycle[node] = 1
    return is_on_cycle


class _Search:
    """Tarjan's bookkeeping: `order` is when a node was met (0: not yet), `low` the earliest that it leads back to."""

    def __init__(self, onward: Mapping[int, Sequence[int]], size: int) -> None:
        self.onward = onward
        self.order = [0] * size
        self.low = [0] * size
        self.is_open = bytearray(size)
        self.open: list[int] = []
        self.met = 0

    def components_from(self, start: int) -> Iterable[list[int]]:
        """Components of more than one node that can be reached from here and weren't met before."""
        if self.order[start]:
            return
        path = [(start, iter(self.onward.get(start, ())))]
        self._meet(start)
        while path:
            node, ends = path[-1]
            below = self._next(node, ends)
            if below is not None:
                self._meet(below)
                path.append((below, iter(self.onward.get(below, ()))))
                continue
            path.pop()
            if path:
                above = path[-1][0]
                self.low[above] = min(self.low[above], self.low[node])
            if self.low[node] == self.order[node]:
                component = self._close(node)
                if len(component) > 1:
                    yield component

    def _meet(self, node: int) -> None:
        self.met += 1
        self.order[node] = self.low[node] = self.met
        self.open.append(node)
        self.is_open[node] = 1

    def _next(self, node: int, ends: Iterable[int]) -> int | None:
        for end in ends:
            if not self.order[end]:
                return end
            if self.is_open[end]:
                self.low[node] = min(self.low[node], self.order[end])
        return None

    def _close(self, node: int) -> list[int]:
        component: list[int] = []
        while not component or component[-1] != node:
            component.append(self.open.pop())
        for each in component:
            self.is_open[each] = 0
        return component
