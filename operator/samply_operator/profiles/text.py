"""Profiles as text for a terminal. Names come from a binary: control characters never reach the terminal. Pure."""

from __future__ import annotations

import re

from samply_operator.profiles.summary import FunctionCost, Summary, ThreadCost

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""C0, C1, and what changes the direction or the line of the text after it."""

MAX_NAME = 200


def clean(text: str, *, limit: int = MAX_NAME) -> str:
    """One line, without control characters, cut to length."""
    plain = CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


def render_summary(summary: Summary, *, per_thread: bool = False) -> str:
    """The table of `profile top`."""
    lines = [
        f"{clean(summary.product) or 'profile'}: {summary.all_threads.samples} samples "
        f"in {len(summary.threads)} threads, every {summary.interval_ms:.3g} ms"
    ]
    lines += _render_thread(summary.all_threads, "all threads")
    if per_thread:
        for thread in summary.threads:
            lines += _render_thread(thread, f"thread {clean(thread.name)} ({clean(thread.tid)})")
    return "\n".join(lines) + "\n"


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
