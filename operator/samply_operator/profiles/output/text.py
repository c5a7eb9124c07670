"""Profiles as text for a terminal. Names come from a binary: control characters never reach the terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from samply_operator.plural import count
from samply_operator.profiles.analysis import weighing
from samply_operator.profiles.analysis.breakdown import LabelCost
from samply_operator.profiles.analysis.comparing import Comparison
from samply_operator.profiles.analysis.left_out import LeftOut
from samply_operator.profiles.analysis.merging import Merged
from samply_operator.profiles.analysis.summary import FunctionCost, Summary, ThreadCost
from samply_operator.profiles.analysis.weighing import SAMPLES, name_unit
from samply_operator.profiles.attribution.labels import By
from samply_operator.profiles.output.display_names import clean, show_ms, show_number

LIB = 90


def render_summary(summary: Summary, *, per_thread: bool = False) -> str:
    """The table of `profile top`."""
    samples = summary.all_threads.samples
    lines = [render_head(summary.product, samples, len(summary.threads), summary.interval_ms, summary.weight_type)]
    lines += render_quality(summary.coverage, summary.lost_events)
    lines += render_notes(summary.notes)
    lines += _render_thread(summary.all_threads, "all threads", summary)
    if per_thread:
        for thread in summary.threads:
            title = f"thread {clean(thread.name)} ({clean(thread.tid)})"
            lines += _render_thread(thread, title, summary)
    return "\n".join(lines) + "\n"


def render_head(product: str, samples: int, threads: int, interval_ms: float, weight_type: str) -> str:
    """What there is, and what each sample stands for."""
    interval = f"every {interval_ms:.3g} ms" if interval_ms > 0 else "at an unknown interval"
    how = interval if weight_type == SAMPLES else f"weighed in {clean(name_unit(weight_type))}"
    return f"{clean(product) or 'profile'}: {count(samples, 'sample')} in {count(threads, 'thread')}, {how}"


def render_sums(samples: int, weight: float, weight_type: str, cpu_ms: float | None) -> str:
    """What the samples add up to, if that is more than their number; begins with a comma."""
    is_counted = weight_type == SAMPLES and weight == samples
    unit = "samples by weight" if weight_type == SAMPLES else clean(name_unit(weight_type))
    added = "" if is_counted else f", {show_number(weight)} {unit}"
    return added if cpu_ms is None else f"{added}, {show_ms(cpu_ms)} ms of CPU"


def render_notes(notes: Iterable[str]) -> list[str]:
    return [f"Note: {clean(note, limit=1000)}" for note in notes]


def render_quality(coverage: float | None, lost_events: int | None) -> list[str]:
    """What is known about the recording, in at most one line."""
    known = [] if coverage is None else [f"coverage {coverage:.0%}"]
    known += [] if lost_events is None else [count(lost_events, "lost event")]
    return [", ".join(known)] if known else []


def _render_thread(thread: ThreadCost, title: str, whole: Summary | Merged, by: By = "function") -> list[str]:
    sums = render_sums(thread.samples, thread.weight, whole.weight_type, thread.cpu_ms)
    lines = ["", f"{title}: {count(thread.samples, 'sample')}{sums}"]
    if thread.weight:
        for how, functions in (("self", thread.by_self), ("total", thread.by_total)):
            lines += [f"  by {how}, in % of {describe_measure(whole.measure)}"]
            lines += _render_functions(thread, functions, whole.measure, by)
    return lines


def describe_measure(measure: str) -> str:
    """What percentages are of."""
    return f"the {clean(weighing.describe_measure(measure), limit=20)}"


def _render_functions(thread: ThreadCost, functions: tuple[FunctionCost, ...], measure: str, by: By) -> list[str]:
    head, *shown = line_up_selves(functions, measure)
    lines = [f"    self %   total %   {head}  {by}"]
    for cost, own in zip(functions, shown, strict=True):
        lines.append(
            f"    {cost.self_percent:6.1f}   {cost.total_percent:7.1f}"
            f"   {own}  {clean(cost.name)}  [{clean(cost.lib, limit=LIB)}]"
        )
    hidden = thread.functions_total - len(functions)
    return [*lines, f"    … and {hidden} more"] if hidden > 0 else lines


def line_up_selves(costs: Sequence[FunctionCost | LabelCost], measure: str) -> list[str]:
    """A column: its head, and what each cost itself, in the unit that the head names."""
    unit = "ms" if measure == "cpu" else clean(name_unit(measure), limit=20)
    column = [f"self {unit}", *(show_cost(cost.self_weight, cost.self_cpu_ms, measure) for cost in costs)]
    width = max(map(len, column))
    return [f"{each:>{width}}" for each in column]


def show_cost(weight: float, cpu_ms: float | None, measure: str) -> str:
    return show_ms(cpu_ms or 0.0) if measure == "cpu" else show_number(weight)


def render_merged(merged: Merged) -> str:
    """The table of `profile merge`."""
    lines = [f"{count(len(merged.profiles), 'profile')}: {count(merged.all_profiles.samples, 'sample')}"]
    lines += render_notes(merged.notes)
    lines += _render_thread(merged.all_profiles, "all profiles", merged, merged.by)
    for row in merged.profiles:
        lines += _render_thread(row, clean(row.name) or "profile", merged, merged.by)
    return "\n".join(lines) + "\n"


def render_range(merged: Merged) -> str:
    """The table of a range of time: all together, then what went in and what did not."""
    lines = [f"{count(len(merged.profiles), 'profile')}: {count(merged.all_profiles.samples, 'sample')}"]
    lines += render_notes(merged.notes)
    lines += _render_thread(merged.all_profiles, "all profiles", merged, merged.by)
    lines.append("")
    for row in merged.profiles:
        sums = render_sums(row.samples, row.weight, merged.weight_type, row.cpu_ms)
        lines.append(f"{clean(row.name)}: {count(row.samples, 'sample')}{sums}")
    return "\n".join([*lines, *render_left_out(merged.left_out)]) + "\n"


def render_left_out(left_out: Iterable[LeftOut]) -> list[str]:
    """A line for each profile of a range that is in no sum."""
    return [
        f"{clean(each.title)}: left out ({clean(each.reason)}): {clean(each.message, limit=500)}" for each in left_out
    ]


def render_comparison(comparison: Comparison) -> str:
    """The table of `profile diff`."""
    unit = "ms of CPU" if comparison.measure == "cpu" else clean(name_unit(comparison.measure))
    before, after = clean(comparison.product_before) or "before", clean(comparison.product_after) or "after"
    lines = [
        f"{before}: {_show_whole(comparison.whole_before, comparison.measure)} {unit}",
        f"{after}: {_show_whole(comparison.whole_after, comparison.measure)} {unit}",
        *render_notes(comparison.notes),
        *render_left_out((*comparison.left_out_before, *comparison.left_out_after)),
        f"Percentages are of {describe_measure(comparison.measure)} of each.",
        "",
        f"  self before %   after %   points   total before %   after %   points  {comparison.by}",
    ]
    for change in comparison.changes:
        lines.append(
            f"  {change.self_before_percent:13.1f}   {change.self_after_percent:7.1f}   {change.self_difference:+6.1f}"
            f"   {change.total_before_percent:14.1f}   {change.total_after_percent:7.1f}"
            f"   {change.total_difference:+6.1f}  {clean(change.name)}  [{clean(change.lib, limit=LIB)}]"
        )
    hidden = comparison.changes_total - len(comparison.changes)
    if hidden > 0:
        lines.append(f"  … and {hidden} more")
    return "\n".join(lines) + "\n"


def _show_whole(value: float, measure: str) -> str:
    return show_ms(value) if measure == "cpu" else show_number(value)
