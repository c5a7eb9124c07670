"""Folded stacks: `process;thread;outer;…;inner count`, a line each, for flamegraph.pl, inferno, shell. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from samply_operator.profiles.analysis import weighing
from samply_operator.profiles.analysis.calltree import FunctionIndex
from samply_operator.profiles.analysis.weighing import Measure
from samply_operator.profiles.attribution.choosing import BY_FUNCTION, Choice
from samply_operator.profiles.format.profile import Profile
from samply_operator.profiles.output import display_names


def convert(profile: Profile, *, measure: Measure = "samples", choice: Choice = BY_FUNCTION) -> Iterator[bytes]:
    """Lines in the order of threads. The numbers are samples, or microseconds of CPU. The operator or group stands
    between the thread and the functions."""
    index = FunctionIndex()
    for weighed in weighing.weigh(profile, index, choice=choice):
        names = [display_names.flatten(function.name) for function in index.functions]
        thread = weighed.thread
        process = display_names.flatten(thread.process_name or "process")
        head = f"{process};{display_names.flatten(thread.name or thread.tid)}"
        for node, value in sorted(weighed.pick(measure).items()):
            if value:
                path = ";".join(names[func] for func in (*weighed.above, *weighing.walk_up(weighed.forest, node)))
                yield f"{head};{path} {weighing.format_number(value)}\n".encode()
