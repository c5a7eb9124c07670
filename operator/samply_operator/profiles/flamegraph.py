"""A flame graph as one SVG file that needs nothing else: titles without a script, search and zoom with the one inside.

Frames too narrow to be seen are left out, so the size of the file is bounded whatever the profile. Pure.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from samply_operator.profiles import flametree, naming
from samply_operator.profiles.errors import build_broken
from samply_operator.profiles.flametree import FlameTree
from samply_operator.profiles.profile import Profile
from samply_operator.profiles.weighing import Measure

WIDTH = 1200
ROW = 16
TOP = 56
MIN_WIDTH = 0.3
MAX_DEPTH = 500
CHARACTER = 6.6
UNITS: dict[Measure, str] = {"samples": "samples", "cpu": "µs CPU"}


@dataclass(frozen=True, slots=True)
class Box:
    """One frame as drawn. `before` is None in a graph of one profile."""

    x: float
    width: float
    depth: int
    name: str
    lib: str
    value: float
    before: float | None
    self_change: float


def convert(profile: Profile, *, measure: Measure = "samples", by_thread: bool = True) -> Iterator[bytes]:
    """The flame graph of one profile."""
    tree = flametree.build([profile], measure=measure, by_thread=by_thread)
    title = f"{profile.meta.product or 'profile'}: {UNITS[measure]}"
    return draw(tree, title=title, unit=UNITS[measure])


def compare(before: Profile, after: Profile, *, measure: Measure = "cpu") -> Iterator[bytes]:
    """The differential one: widths as in `after`; red spends a larger share than in `before`, blue a smaller one."""
    tree = flametree.build([after, before], measure=measure)
    title = f"{before.meta.product or 'before'} → {after.meta.product or 'after'}: share of all {UNITS[measure]}"
    return draw(tree, title=title, unit=UNITS[measure])


def draw(tree: FlameTree, *, title: str, unit: str) -> Iterator[bytes]:
    """The SVG in pieces. The first column gives the widths, a second one the colours."""
    boxes = list(lay_out(tree))
    depth = max((box.depth for box in boxes), default=0) + 1
    height = TOP + depth * ROW + 24
    hidden = len(tree.parent) - len(boxes)
    yield _head(title, height, hidden)
    total = tree.sum(0) or 1.0
    for box in boxes:
        yield _box(box, height, total, unit)
    yield b"</g>\n</svg>\n"


def lay_out(tree: FlameTree) -> Iterator[Box]:
    """Boxes from the root up, siblings by name; what is narrower than can be seen is left out with all above it."""
    total = tree.sum(0)
    if total <= 0:
        return
    scale = WIDTH / total
    below = tree.children()
    functions = tree.index.functions
    stack = [(-1, 0.0, 0)]
    while stack:
        node, x, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise build_broken("stackTable", f"stacks are deeper than {MAX_DEPTH} functions")
        for child in sorted(below.get(node, ()), key=lambda each: functions[tree.func[each]]):
            width = tree.totals[0][child] * scale
            if width >= MIN_WIDTH:
                yield _build_box(tree, child, x, width, depth)
                stack.append((child, x, depth + 1))
                x += width


def _build_box(tree: FlameTree, node: int, x: float, width: float, depth: int) -> Box:
    function = tree.index.functions[tree.func[node]]
    before, change = None, 0.0
    if len(tree.totals) > 1:
        before = tree.totals[1][node]
        shares = [selves[node] / (sum(selves) or 1.0) for selves in tree.selves]
        change = shares[0] - shares[1]
    return Box(x, width, depth, function.name, function.lib, tree.totals[0][node], before, change)


def _head(title: str, height: int, hidden: int) -> bytes:
    script = Path(__file__).with_name("flamegraph.js").read_text(encoding="utf-8")
    note = f"{hidden} frames too narrow to be drawn are left out" if hidden else "all frames are drawn"
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<svg xmlns="http://www.w3.org/2000/svg" version="1.1" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="monospace" font-size="11">\n'
        f"<title>{naming.escape(title)}</title>\n"
        f"<style>rect{{stroke:#fff;stroke-width:.5}}text{{pointer-events:none}}.b{{cursor:pointer}}"
        f".hit rect{{fill:#c0f}}</style>\n"
        f"<script><![CDATA[\n{script}]]></script>\n"
        f'<rect width="100%" height="100%" fill="#fff"/>\n'
        f'<text x="8" y="20" font-size="14">{naming.escape(title)}</text>\n'
        f'<text x="8" y="38" id="note">{naming.escape(note)}</text>\n'
        f'<text x="{WIDTH - 8}" y="20" text-anchor="end" id="search" class="b" '
        f'style="pointer-events:all">search (ctrl-f)</text>\n'
        f'<g id="boxes">\n'
    ).encode()


def _box(box: Box, height: int, total: float, unit: str) -> bytes:
    y = height - 20 - (box.depth + 1) * ROW
    name, lib = naming.escape(box.name, limit=1000), naming.escape(box.lib)
    told = f"{name} [{lib}] {box.value:,.0f} {unit}, {100 * box.value / total:.2f} %"
    if box.before is not None:
        told += f", before {box.before:,.0f}, self {100 * box.self_change:+.2f} points"
    letters = int((box.width - 4) / CHARACTER)
    label = naming.escape(box.name, limit=letters) if letters >= 3 else ""
    return (
        f'<g class="b"><title>{told}</title>'
        f'<rect x="{box.x:.2f}" y="{y}" width="{box.width:.2f}" height="{ROW - 1}" fill="{_colour(box)}"/>'
        f'<text x="{box.x + 2:.2f}" y="{y + 11}">{label}</text></g>\n'
    ).encode("utf-8", "replace")


def _colour(box: Box) -> str:
    if box.before is None:
        # The same function has the same colour in every graph.
        seed = zlib.crc32(f"{box.lib}\0{box.name}".encode("utf-8", "replace"))
        return f"rgb({205 + seed % 50},{90 + (seed >> 8) % 110},{(seed >> 16) % 60})"
    strength = min(1.0, abs(box.self_change) * 10)
    faded = round(255 - 175 * strength)
    if box.self_change > 0:
        return f"rgb(255,{faded},{faded})"
    return f"rgb({faded},{faded},255)" if box.self_change < 0 else "rgb(245,245,245)"
