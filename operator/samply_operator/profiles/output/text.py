"""Profiles as text for a terminal. Names come from a binary: control characters never reach the terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from samply_operator.profiles.analysis.comparing import Comparison
from samply_operator.profiles.analysis.merging import Merged
from samply_operator.profiles.analysis.summary import FunctionCost, Summary, ThreadCost
from samply_operator.profiles.analysis.weighing import SAMPLES, name_unit
from samply_operator.profiles.output.display_names import clean, show_number

LIB = 90


def render_summary(summary: Summary, *, per_thread: bool = False) -> str:
    """The table of `profile top`."""
    is_usual = summary.weight_type == SAMPLES
    interval = f"every {summary.interval_ms:.3g} ms" if summary.interval_ms > 0 else "at an unknown interval"
    how = interval if is_usual else f"weighed in {clean(name_unit(summary.weight_type))}"
    lines = [
        f"{clean(summary.product) or 'profile'}: {summary.all_threads.samples} samples "
        f"in {len(summary.threads)} threads, {how}"
    ]
    lines += render_quality(summary.coverage, summary.lost_events)
    lines += render_notes(summary.notes)
    lines += _render_thread(summary.all_threads, "all threads", summary.weight_type)
    if per_thread:
        for thread in summary.threads:
            title = f"thread {clean(thread.name)} ({clean(thread.tid)})"
            lines += _render_thread(thread, title, summary.weight_type)
    return "\n".join(lines) + "\n"


def render_notes(notes: Iterable[str]) -> list[str]:
    return [f"Note: {clean(note, limit=1000)}" for note in notes]


def render_quality(coverage: float | None, lost_events: int | None) -> list[str]:
    """What is known about the recording, in at most one line."""
    known = [] if coverage is None else [f"coverage {coverage:.0%}"]
    known += [] if lost_events is None else [f"{lost_events} lost events"]
    return [", ".join(known)] if known else []


def _render_thread(thread: ThreadCost, title: str, weight_type: str) -> list[str]:
    is_counted = weight_type == SAMPLES and thread.weight == thread.samples
    weight = "" if is_counted else f", {show_number(thread.weight)} {clean(name_unit(weight_type))}"
    cpu = "" if thread.cpu_ms is None else f", {thread.cpu_ms:,.0f} ms of CPU"
    lines = ["", f"{title}: {thread.samples} samples{weight}{cpu}"]
    if thread.weight:
        lines += ["  by self", *_render_functions(thread, thread.by_self, weight_type)]
        lines += ["  by total", *_render_functions(thread, thread.by_total, weight_type)]
    return lines


def _render_functions(thread: ThreadCost, functions: tuple[FunctionCost, ...], weight_type: str) -> list[str]:
    """CPU time if the samples have it, else their weight."""
    is_cpu = weight_type == SAMPLES and thread.cpu_ms is not None
    unit = "ms" if is_cpu else clean(name_unit(weight_type), limit=20)
    width = max(7, len(f"self {unit}"), *(len(_show_self(cost, is_cpu=is_cpu)) for cost in functions))
    lines = [f"    self %   total %   {f'self {unit}':>{width}}  function"]
    for cost in functions:
        lines.append(
            f"    {100 * cost.self_weight / thread.weight:6.1f}   {100 * cost.total_weight / thread.weight:7.1f}"
            f"   {_show_self(cost, is_cpu=is_cpu):>{width}}  {clean(cost.name)}  [{clean(cost.lib, limit=LIB)}]"
        )
    hidden = thread.functions_total - len(functions)
    return [*lines, f"    … and {hidden} more"] if hidden > 0 else lines


def _show_self(cost: FunctionCost, *, is_cpu: bool) -> str:
    if not is_cpu:
        return show_number(cost.self_weight)
    return "-" if cost.self_cpu_ms is None else f"{cost.self_cpu_ms:,.0f}"


def render_merged(merged: Merged) -> str:
    """The table of `profile merge`."""
    lines = [f"{len(merged.profiles)} profiles: {merged.all_profiles.samples} samples"]
    lines += render_notes(merged.notes)
    lines += _render_thread(merged.all_profiles, "all profiles", merged.weight_type)
    for row in merged.profiles:
        lines += _render_thread(row, clean(row.name) or "profile", merged.weight_type)
    return "\n".join(lines) + "\n"


def render_comparison(comparison: Comparison) -> str:
    """The table of `profile diff`."""
    unit = "ms of CPU" if comparison.measure == "cpu" else clean(name_unit(comparison.measure))
    before, after = clean(comparison.product_before) or "before", clean(comparison.product_after) or "after"
    lines = [
        f"{before}: {_show_whole(comparison.whole_before, comparison.measure)} {unit}",
        f"{after}: {_show_whole(comparison.whole_after, comparison.measure)} {unit}",
        *render_notes(comparison.notes),
        "",
        "  self before %   after %   points   total before %   after %   points  function",
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
    return f"{value:,.0f}" if measure == "cpu" else show_number(value)
