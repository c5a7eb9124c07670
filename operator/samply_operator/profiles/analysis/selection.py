"""What can be selected of a profile: the measure, and the part of the call tree. Types only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from samply_operator.profiles.analysis.tally import TimeRange

Measure = Literal["samples", "cpu"]
MEASURES: tuple[Measure, ...] = ("samples", "cpu")
"""`samples` is what the samples weigh, in the profile's own unit; `cpu` is microseconds of CPU time."""

View = Literal["top-down", "bottom-up", "callees", "callers"]
VIEWS: tuple[View, ...] = ("top-down", "bottom-up", "callees", "callers")
Roots = Literal["none", "thread", "operator", "group", "library"]
ROOTS: tuple[Roots, ...] = ("none", "thread", "operator", "group", "library")
Ranges = tuple[tuple[int, int], ...]
"""Indices of threads in the file; both ends are included."""


@dataclass(frozen=True, slots=True)
class Query:
    """What of a call tree to show. `by`: what its roots are. `threads`: None for all. `path`: keys of frames from the
    root down, of which only the subtree is wanted. `function`: the key of the one that callers and callees are of.
    """

    view: View = "top-down"
    by: Roots = "none"
    measure: Measure = "samples"
    threads: Ranges | None = None
    time_range: TimeRange | None = None
    path: tuple[str, ...] = ()
    function: str = ""
    limit: int = 20_000
