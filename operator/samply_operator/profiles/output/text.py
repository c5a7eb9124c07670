"""Profiles as text for a terminal. Names come from a binary: control characters never reach the terminal. Pure."""

from __future__ import annotations

from samply_operator.profiles.analysis.comparing import Comparison
from samply_operator.profiles.analysis.merging import Merged
from samply_operator.profiles.analysis.summary import FunctionCost, Summary, ThreadCost
from samply_operator.profiles.output.display_names import clean


def render_summary(summary: Summary, *, per_thread: bool = False) -> str:
    """The table of `profile top`."""
    lines = [
        f"{clean(summary.product) or 'profile'}: {summary.all_threads.samples} samples "
        f"in {len(summary.threads)} threads, every {summary.interval_ms:.3g} ms"
    ]
    lines += render_quality(summary.coverage, summary.lost_events)
    lines += _render_thread(summary.all_threads, "all threads")
    if per_thread:
        for thread in summary.threads:
            lines += _render_thread(thread, f"thread {clean(thread.name)} ({clean(thread.tid)})")
    return "\n".join(lines) + "\n"


def render_quality(coverage: float | None, lost_events: int | None) -> list[str]:
    """What is known of the recording, in one line or none."""
    known = [] if coverage is None else [f"coverage {coverage:.0%}"]
    known += [] if lost_events is None else [f"{lost_events} lost events"]
    return [", ".join(known)] if known else []


def _render_thread(thread: ThreadCost, title: str) -> list[str]:
    cpu = "" if thread.cpu_ms is None else f", {thread.cpu_ms:,.0f} ms of CPU"
    lines = ["", f"{title}: {thread.samples} samples{cpu}"]
    if thread.weight:
        lines += ["  by self", *_render_functions(thread, thread.by_self)]
        lines += ["  by total", *_render_functions(thread, thread.by_total)]
    return lines


def _render_functions(thread: ThreadCost, functions: tuple[FunctionCost, ...]) -> list[str]:
    lines = ["    self %   total %   self ms  function"]
    for cost in functions:
        cpu = "-" if cost.self_cpu_ms is None else f"{cost.self_cpu_ms:,.0f}"
        lines.append(
            f"    {100 * cost.self_weight / thread.weight:6.1f}   {100 * cost.total_weight / thread.weight:7.1f}"
            f"   {cpu:>7}  {clean(cost.name)}  [{clean(cost.lib, limit=60)}]"
        )
    hidden = thread.functions_total - len(functions)
    return [*lines, f"    … and {hidden} more"] if hidden > 0 else lines


def render_merged(merged: Merged) -> str:
    """The table of `profile merge`."""
    lines = [f"{len(merged.profiles)} profiles: {merged.all_profiles.samples} samples"]
    lines += _render_thread(merged.all_profiles, "all profiles")
    for row in merged.profiles:
        lines += _render_thread(row, clean(row.name) or "profile")
    return "\n".join(lines) + "\n"


def render_comparison(comparison: Comparison) -> str:
    """The table of `profile diff`."""
    unit = "ms of CPU" if comparison.measure == "cpu" else "samples"
    before, after = clean(comparison.product_before) or "before", clean(comparison.product_after) or "after"
    lines = [
        f"{before}: {comparison.whole_before:,.0f} {unit}",
        f"{after}: {comparison.whole_after:,.0f} {unit}",
        "",
        "  self before %   after %   points   total before %   after %   points  function",
    ]
    for change in comparison.changes:
        lines.append(
            f"  {change.self_before_percent:13.1f}   {change.self_after_percent:7.1f}   {change.self_difference:+6.1f}"
            f"   {change.total_before_percent:14.1f}   {change.total_after_percent:7.1f}"
            f"   {change.total_difference:+6.1f}  {clean(change.name)}  [{clean(change.lib, limit=60)}]"
        )
    hidden = comparison.changes_total - len(comparison.changes)
    if hidden > 0:
        lines.append(f"  … and {hidden} more")
    return "\n".join(lines) + "\n"
