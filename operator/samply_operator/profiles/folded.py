"""Folded stacks: `process;thread;outer;…;inner count`, a line each, for flamegraph.pl, inferno, shell. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from samply_operator.profiles import naming, weighing
from samply_operator.profiles.calltree import FunctionIndex
from samply_operator.profiles.profile import Profile
from samply_operator.profiles.weighing import Measure


def convert(profile: Profile, *, measure: Measure = "samples") -> Iterator[bytes]:
    """Lines in the order of threads. The numbers are samples, or microseconds of CPU."""
    index = FunctionIndex()
    for weighed in weighing.weigh(profile, index):
        names = [naming.flatten(function.name) for function in index.functions]
        thread = weighed.thread
        head = f"{naming.flatten(thread.process_name or 'process')};{naming.flatten(thread.name or thread.tid)}"
        for node, value in sorted(weighed.pick(measure).items()):
            if value:
                path = ";".join(names[func] for func in weighing.walk_up(weighed.forest, node))
                yield f"{head};{path} {weighing.format_number(value)}\n".encode()
