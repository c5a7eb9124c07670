"""Folded stacks: `process;thread;outer;…;inner count`, a line each, for flamegraph.pl, inferno, shell. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from samply_operator.profiles.analysis import weighing
from samply_operator.profiles.analysis.calltree import FunctionIndex
from samply_operator.profiles.analysis.weighing import Measure
from samply_operator.profiles.format.profile import Profile
from samply_operator.profiles.output import display_names


def convert(profile: Profile, *, measure: Measure = "samples") -> Iterator[bytes]:
    """Lines in the order of threads. The numbers are samples, or microseconds of CPU."""
    index = FunctionIndex()
    for weighed in weighing.weigh(profile, index):
        names = [display_names.flatten(function.name) for function in index.functions]
        thread = weighed.thread
        process = display_names.flatten(thread.process_name or "process")
        head = f"{process};{display_names.flatten(thread.name or thread.tid)}"
        for node, value in sorted(weighed.pick(measure).items()):
            if value:
                path = ";".join(names[func] for func in weighing.walk_up(weighed.forest, node))
                yield f"{head};{path} {weighing.format_number(value)}\n".encode()
