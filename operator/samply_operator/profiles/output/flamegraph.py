"""A flame graph as one self-contained SVG file: titles without a script, search and zoom with an embedded one.

Frames too narrow to be seen are left out, so the size of the file is bounded whatever the profile. Pure.
"""

from __future__ import annotations

import textwrap
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from samply_operator.plural import count
from samply_operator.profiles.analysis import breakdown, comparing, flametree, naming, weighing
from samply_operator.profiles.analysis.flametree import FlameTree
from samply_operator.profiles.analysis.ranges import Adding
from samply_operator.profiles.analysis.selection import Measure
from samply_operator.profiles.attribution.choosing import BY_FUNCTION, Choice
from samply_operator.profiles.format.profile import Profile
from samply_operator.profiles.output import display_names
from samply_operator.profiles.output.display_names import show_ms, show_number

WIDTH = 1200
ROW = 17
TOP = 92
BOTTOM = 30
NOTE, LINE = 15, 170
"""Height of a line of notes, and how many characters it has."""
MIN_WIDTH = 0.3
MAX_DEPTH = 1000
"""Rows of frames: 17,000 pixels. samply cuts stacks at 500; names of inlined functions and merged files add more."""

MANY = 10
"""Profiles that are left out of a range of time are named up to this number."""
COLUMNS: dict[Measure, int] = {"samples": 0, "cpu": 1}
"""Of the tree of a range of time."""
ELIDED = "not drawn"
"""Shown as the library of frames that are too deep."""
CHARACTER = 6.65
FULL_COLOUR = 0.05
"""A change by so much of the whole is as red or blue as it gets."""

HUES = (24, 208, 150, 268, 340, 52)
"""Of libraries, by what is spent in them: the pipeline's own binary comes first, as a rule."""
THREAD, NAMELESS, OTHERS = "#d5dbe3", "#d8d2c8", "#cfd8d3"

LABELS = (flametree.THREAD, "operator", "group", "outside")
"""What stands for the library of a frame that is no function."""

SCRIPT = Path(__file__).with_name("flamegraph.js")
STYLE = """
text{pointer-events:none;fill:#1c2430}.b{cursor:pointer}.b rect{stroke:#fff;stroke-width:.6}
.b:hover rect{stroke:#1c2430;stroke-width:1}.hit rect{fill:#c026d3}.hit text{fill:#fff}.dim rect{opacity:.35}
.dim text{opacity:.6}.h{font-family:system-ui,sans-serif}.soft{fill:#5b6675}
#reset{cursor:pointer}#reset text{pointer-events:none;fill:#1d4ed8}
#query{box-sizing:border-box;width:230px;height:28px;padding:2px 10px;font:13px system-ui,sans-serif;color:#1c2430;
border:1px solid #b9c2ce;border-radius:6px;background:#fff}
"""


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


def convert(
    profile: Profile,
    *,
    measure: Measure | None = None,
    by_thread: bool = True,
    choice: Choice = BY_FUNCTION,
    note: str = "",
) -> Iterator[bytes]:
    """The flame graph of one profile. `measure` None: that of the tables. `note`: what stands below the title, such as
    its coverage. Raises NotInProfile before the first piece if there is nothing to draw."""
    if measure is None:
        weighing.check(profile, "samples")
        weight_type = weighing.find_weight_type(profile.threads)
        measure = weighing.choose_measure(weight_type, has_cpu=weighing.has_cpu_times(profile))
    unit = weighing.check(profile, measure)
    weighing.require_samples(profile)
    tree = flametree.build([profile], measure=measure, by_thread=by_thread, choice=choice)
    repeats = f"{count(len(profile.repeats), 'thread')} of CPUs not counted" if profile.repeats else ""
    facts = [_sum_up([tree.sum(0)], measure, unit), count(len(profile.threads), "thread"), note, repeats]
    return draw(tree, title=_name(profile.meta.product or "profile", measure, unit), facts=facts, unit=unit)


def compare(before: Profile, after: Profile, *, choice: Choice = BY_FUNCTION) -> Iterator[bytes]:
    """The differential one: widths as in `after`; red spends a larger share than in `before`, blue a smaller one.

    Raises NotInProfile where the two can't be compared.
    """
    traits = [comparing.describe(each, which) for each, which in zip((before, after), comparing.WHICH, strict=True)]
    measure = comparing.choose_measure(*traits)
    unit = weighing.check(after, measure)
    tree = flametree.build([after, before], measure=measure, choice=choice)
    markers = comparing.describe_markers([breakdown.describe_markers(each) for each in reversed(tree.attributions)])
    notes = (*comparing.describe_traits(*traits), *markers)
    title = f"{before.meta.product or 'before'} → {after.meta.product or 'after'}"
    facts = [_sum_up([tree.sum(1), tree.sum(0)], measure, unit), "widths as after"]
    return draw(tree, title=_name(title, measure, unit), facts=facts, unit=unit, notes=notes)


def convert_range(side: Adding, *, measure: Measure | None = None, choice: Choice = BY_FUNCTION) -> Iterator[bytes]:
    """The flame graph of all profiles of a range of time; threads of one name are one. Raises ProfileError before the
    first piece if nothing can be added."""
    tree, (markers,) = flametree.build_ranges([side], with_threads="thread", choice=choice)
    measure = measure or side.choose_measure()
    unit = _name_unit(side, measure)
    tree.select([COLUMNS[measure]])
    tree.index.show_builds()
    tree.close()
    notes = (*side.describe(), *markers.describe(), *_list_left_out(side))
    facts = [_sum_up([tree.sum(0)], measure, unit), _count(side)]
    return draw(tree, title=_name(side.name, measure, unit), facts=facts, unit=unit, notes=notes)


def compare_ranges(before: Adding, after: Adding, *, choice: Choice = BY_FUNCTION) -> Iterator[bytes]:
    """The differential one of two ranges of time, or of one and a profile."""
    tree, found = flametree.build_ranges([after, before], choice=choice)
    sides = (before, after)
    traits = [comparing.describe_range(side, which) for side, which in zip(sides, comparing.WHICH, strict=True)]
    measure = comparing.choose_measure(*traits)
    unit = _name_unit(after, measure)
    tree.select([COLUMNS[measure], 2 + COLUMNS[measure]])
    tree.index.show_builds()
    tree.close()
    notes = (
        *comparing.describe_traits(*traits),
        *comparing.describe_markers([(markers.describe(), markers.first) for markers in reversed(found)]),
        *comparing.describe_intervals(before, after),
        *_list_left_out(before),
        *_list_left_out(after),
    )
    facts = [_sum_up([tree.sum(1), tree.sum(0)], measure, unit), "widths as after"]
    return draw(tree, title=_name(f"{before.name} → {after.name}", measure, unit), facts=facts, unit=unit, notes=notes)


def _name_unit(side: Adding, measure: Measure) -> str:
    return "µs of CPU" if measure == "cpu" else weighing.name_unit(side.weight_type)


def _count(side: Adding) -> str:
    out = f", {len(side.left_out)} left out" if side.left_out else ""
    return count(len(side.parts), "profile") + out


def _list_left_out(side: Adding) -> list[str]:
    lines = [f"Left out: {each.title} ({each.reason}): {each.message}" for each in side.left_out[:MANY]]
    more = len(side.left_out) - MANY
    return [*lines, f"Left out: {more} more."] if more > 0 else lines


def _sum_up(sums: Sequence[float], measure: Measure, unit: str) -> str:
    if measure == "cpu":
        return f"{' → '.join(show_ms(each / 1000) for each in sums)} ms of CPU"
    return f"{' → '.join(map(show_number, sums))} {unit}"


def _name(title: str, measure: Measure, unit: str) -> str:
    """The title, with what widths and percentages are of."""
    return f"{title}, by {weighing.CPU_TIME if measure == 'cpu' else unit}"


def draw(tree: FlameTree, *, title: str, facts: Iterable[str], unit: str, notes: Sequence[str] = ()) -> Iterator[bytes]:
    """The SVG in pieces. The first column sets widths, a second one colours; `notes` are shown below the graph."""
    boxes = list(lay_out(tree))
    depth = max((box.depth for box in boxes), default=0) + 1
    floor = TOP + depth * ROW
    lines = [line for note in notes for line in textwrap.wrap(display_names.clean(note, limit=1000), LINE)]
    height = floor + BOTTOM + NOTE * len(lines)
    hues = _choose_hues(tree)
    legend = _draw_legend(hues) if len(tree.totals) == 1 else _draw_scale()
    yield _head(title, " · ".join(filter(None, facts)), height, _describe_hidden(tree, boxes), legend)
    total = tree.sum(0) or 1.0
    for box in boxes:
        yield _box(box, floor, total, unit, hues)
    yield b"</g>\n"
    for number, line in enumerate(lines):
        y = floor + NOTE * (number + 1)
        yield f'<text x="8" y="{y}" class="h soft">{display_names.escape(line)}</text>\n'.encode()
    yield (
        f'<text x="8" y="{height - 10}" id="details"></text>\n'
        # After the elements that it uses: it runs when it is read.
        f"<script><![CDATA[\n{SCRIPT.read_text(encoding='utf-8')}]]></script>\n</svg>\n"
    ).encode()


def _describe_hidden(tree: FlameTree, boxes: Sequence[Box]) -> str:
    if not boxes:
        return "there is nothing to draw: no samples"
    elided = sum(box.lib == ELIDED for box in boxes)
    hidden = len(tree.parent) - len(boxes) + elided
    said = f"left out: {count(hidden, 'frame')} too narrow to be drawn" if hidden else "all frames are drawn"
    if elided:
        said = f"calls deeper than {MAX_DEPTH} functions are elided (…); not drawn in all: {count(hidden, 'frame')}"
    return said


def lay_out(tree: FlameTree) -> Iterator[Box]:
    """Boxes from the root up, siblings by name; what is narrower than can be seen is left out with all above it. What
    is too deep to be drawn is one box, which says so.
    """
    total = tree.sum(0)
    if total <= 0:
        return
    scale = WIDTH / total
    below = tree.children()
    functions = tree.index.functions
    stack = [(-1, 0.0, 0)]
    while stack:
        node, x, depth = stack.pop()
        if depth >= MAX_DEPTH and node in below:
            inside = sum(tree.totals[0][child] for child in below[node])
            if inside * scale >= MIN_WIDTH:
                yield Box(x, inside * scale, depth, "… (deeper calls)", ELIDED, inside, None, 0.0)
            continue
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
        change = tree.selves[0][node] / (tree.sum(0) or 1.0) - tree.selves[1][node] / (tree.sum(1) or 1.0)
    return Box(x, width, depth, function.name, function.lib, tree.totals[0][node], before, change)


def _head(title: str, facts: str, height: int, note: str, legend: str) -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<svg xmlns="http://www.w3.org/2000/svg" version="1.1" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="ui-monospace,monospace" font-size="11">\n'
        f"<title>{display_names.escape(title)}</title>\n"
        f"<style>{STYLE}</style>\n"
        f'<rect width="100%" height="100%" fill="#fff"/>\n'
        '<text x="8" y="26" class="h" font-size="17" font-weight="600">'
        f"{display_names.escape(title, limit=90)}</text>\n"
        f'<text x="8" y="47" class="h soft" font-size="12">{display_names.escape(facts, limit=150)}</text>\n'
        f'<text x="8" y="67" class="h soft" font-size="12" id="note">{display_names.escape(note)}</text>\n'
        f'<g id="reset" style="display:none"><rect x="868" y="8" width="88" height="28" fill="#fff"/>'
        f'<text x="948" y="27" text-anchor="end" class="h" font-size="13">whole graph</text></g>\n'
        f'<foreignObject x="{WIDTH - 238}" y="8" width="232" height="30"><input '
        f'xmlns="http://www.w3.org/1999/xhtml" id="query" type="search" placeholder="search functions" '
        f'aria-label="search functions"/></foreignObject>\n'
        f"{legend}"
        f'<g id="boxes">\n'
    ).encode()


def _choose_hues(tree: FlameTree) -> dict[str, int]:
    """A colour for each of the libraries in which most is spent."""
    spent: dict[str, float] = defaultdict(float)
    for func, value in zip(tree.func, tree.selves[0], strict=True):
        spent[tree.index.functions[func].lib] += value
    for kind in LABELS:
        spent.pop(kind, None)
    ranked = sorted((lib for lib, value in spent.items() if value), key=lambda lib: (-spent[lib], lib))
    return dict(zip(ranked, HUES, strict=False))


def _draw_legend(hues: dict[str, int]) -> str:
    """Which colour is which library; from the right."""
    chips = [*((lib, f"hsl({hue},80%,68%)") for lib, hue in list(hues.items())[:4]), ("without a name", NAMELESS)]
    out, right = "", WIDTH - 8.0
    for lib, colour in reversed(chips):
        name = display_names.clean(lib, limit=24)
        right -= len(name) * CHARACTER + 24
        out += (
            f'<rect x="{right:.0f}" y="54" width="12" height="12" rx="2" fill="{colour}"/>'
            f'<text x="{right + 17:.0f}" y="64">{display_names.escape(name)}</text>\n'
        )
    return out


def _draw_scale() -> str:
    """What red and blue mean."""
    steps = [step / 5 * FULL_COLOUR for step in range(-5, 6)]
    cells = "".join(
        f'<rect x="{WIDTH - 330 + 18 * at}" y="52" width="18" height="14" fill="{_colour_change(step)}"/>'
        for at, step in enumerate(steps)
    )
    points = 100 * FULL_COLOUR
    return (
        f'{cells}<text x="{WIDTH - 338}" y="63" text-anchor="end">self: −{points:.0f} points</text>'
        f'<text x="{WIDTH - 126}" y="63">+{points:.0f} points of all</text>\n'
    )


def _box(box: Box, floor: int, total: float, unit: str, hues: dict[str, int]) -> bytes:
    y = floor - (box.depth + 1) * ROW
    name, lib = display_names.escape(box.name, limit=1000), display_names.escape(box.lib)
    title = f"{name} [{lib}] {show_number(box.value)} {unit}, {100 * box.value / total:.2f} %"
    if box.before is not None:
        title += f", before {show_number(box.before)}, self {100 * box.self_change:+.2f} points"
    letters = int((box.width - 6) / CHARACTER)
    label = display_names.escape(box.name, limit=letters) if letters >= 3 else ""
    colour = _colour_name(box, hues) if box.before is None else _colour_change(box.self_change)
    return (
        f'<g class="b"><title>{title}</title>'
        f'<rect x="{box.x:.2f}" y="{y}" width="{box.width:.2f}" height="{ROW - 1}" fill="{colour}"/>'
        f'<text x="{box.x + 3:.2f}" y="{y + 12}">{label}</text></g>\n'
    ).encode("utf-8", "replace")


def _colour_name(box: Box, hues: dict[str, int]) -> str:
    """The hue says which library; the same function has the same shade in every graph."""
    if box.lib in LABELS or box.lib == ELIDED:
        return THREAD
    if naming.is_unresolved(box.name):
        return NAMELESS
    if box.lib not in hues:
        return OTHERS
    seed = zlib.crc32(box.name.encode("utf-8", "replace"))
    return f"hsl({hues[box.lib] - 8 + seed % 17},{72 + (seed >> 8) % 18}%,{62 + (seed >> 16) % 15}%)"


def _colour_change(change: float) -> str:
    strength = min(1.0, abs(change) / FULL_COLOUR)
    # From light grey, so that a frame that didn't change is seen as one.
    towards = (200, 30, 45) if change > 0 else (30, 80, 200)
    mixed = (round(232 + (colour - 232) * strength * 0.65) for colour in towards)
    return "rgb({},{},{})".format(*mixed)
