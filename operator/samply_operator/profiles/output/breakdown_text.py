"""A breakdown by operator or by group as text for a terminal. Pure."""

from __future__ import annotations

from samply_operator.plural import count
from samply_operator.profiles.analysis import weighing
from samply_operator.profiles.analysis.breakdown import Breakdown, LabelCost
from samply_operator.profiles.attribution.operators import MarkerFacts
from samply_operator.profiles.output import text
from samply_operator.profiles.output.display_names import clean, show_ms

OPERATOR_HEAD = "  markers ms  points  evaluations  skew"
INDENT = 14
"""Of the functions below a label."""


def render(breakdown: Breakdown, *, per_thread: bool = False) -> str:
    """The table of `profile top --by operator` and `--by group`. `per_thread`: with the threads below each."""
    is_operator = breakdown.by == "operator"
    outside = "outside of all operators" if is_operator else "matched by no rule"
    whole = text.describe_measure(breakdown.measure)
    head, *selves = text.line_up_selves(breakdown.labels, breakdown.measure)
    lines = [
        text.render_head(
            breakdown.product, breakdown.samples, breakdown.threads, breakdown.interval_ms, breakdown.weight_type
        )
        + text.render_sums(breakdown.samples, breakdown.weight, breakdown.weight_type, breakdown.cpu_ms),
        *text.render_quality(breakdown.coverage, breakdown.lost_events),
        *text.render_notes(breakdown.notes),
        *([_render_part(breakdown, breakdown.markers)] if breakdown.markers else []),
        *([f"without Feldera's names: {clean(breakdown.names_problem)}"] if breakdown.names_problem else []),
        f"{breakdown.outside_percent:.1f} % {outside}; percentages are of {whole} of all threads"
        if breakdown.weight
        else "no samples, so there are no percentages",
        "",
        f"  self %  total %  {head}{OPERATOR_HEAD if is_operator else ''}  {breakdown.by}",
    ]
    for label, own in zip(breakdown.labels, selves, strict=True):
        lines += _render_label(label, own, is_operator=is_operator)
        lines += _render_threads(label, breakdown.measure) if per_thread else ()
    hidden = breakdown.labels_total - len(breakdown.labels)
    return "\n".join([*lines, *([f"  … and {hidden} more"] if hidden > 0 else [])]) + "\n"


def _render_part(breakdown: Breakdown, facts: MarkerFacts) -> str:
    """What was asked for may be a part of the time, or one thread."""
    whole = render_markers(facts)
    if breakdown.evaluations == facts.evaluations:
        return whole
    return f"{count(breakdown.evaluations, 'evaluation', ',')} in this part; in the whole file {whole}"


def render_markers(facts: MarkerFacts) -> str:
    bad = [f"{facts.unparsed:,} with another text"] if facts.unparsed else []
    bad += [f"{facts.broken:,} without a start or an end"] if facts.broken else []
    bad += [f"{facts.reversed:,} that end before they begin"] if facts.reversed else []
    bad += [f"{facts.misplaced:,} far outside of the samples' time"] if facts.misplaced else []
    bad += [f"{facts.repeated:,} that are repeated"] if facts.repeated else []
    left_out = f"; left out: {', '.join(bad)}" if bad else ""
    if facts.overclaimed:
        left_out += f"; {facts.overclaimed:,} claim more CPU time than they lasted, of which only that is counted"
    evaluated = f"{count(facts.evaluations, 'evaluation', ',')} of {count(facts.nodes, 'operator')}"
    return f"{evaluated} in {count(facts.worker_threads, 'thread')}{left_out}"


def _render_label(label: LabelCost, own: str, *, is_operator: bool) -> list[str]:
    line = f"  {label.self_percent:6.1f}  {label.total_percent:7.1f}  {own}"
    if is_operator:
        points = "-" if label.difference_points is None else f"{round(label.difference_points, 1) + 0.0:+.1f}"
        evaluations = "-" if label.evaluations is None else f"{label.evaluations:,}"
        skew = "-" if label.skew is None else f"{label.skew:.2f}"
        line += f"  {_number(label.marker_cpu_ms):>10}  {points:>6}  {evaluations:>11}  {skew:>4}"
    name = clean(label.name) if label.kind != "outside" else f"({clean(label.name).strip('()')})"
    below = (
        f"{'':{INDENT}}{each.share_percent:4.0f} %  {clean(each.name, limit=90)}  [{clean(each.lib, limit=40)}]"
        for each in label.functions
    )
    note = f"  {clean(label.note)}" if label.note else ""
    return [f"{line}  {name}{note}", *below]


def _render_threads(label: LabelCost, measure: str) -> list[str]:
    """Of the label's own, as the functions."""
    costs = [each.self_cpu_ms or 0.0 if measure == "cpu" else each.self_weight for each in label.workers]
    whole = sum(costs) or 1.0
    unit = "ms" if measure == "cpu" else clean(weighing.name_unit(measure), limit=20)
    return [
        f"{'':{INDENT}}{100 * cost / whole:4.0f} %  thread {clean(each.thread)} ({clean(each.tid)}): "
        f"{text.show_cost(each.self_weight, each.self_cpu_ms, measure)} {unit}"
        for each, cost in zip(label.workers, costs, strict=True)
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else show_ms(value)
