"""Folded stacks: `process;thread;outer;…;inner count`, a line each, for flamegraph.pl, inferno, shell. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from samply_operator.profiles.analysis import flametree, threads, weighing
from samply_operator.profiles.analysis.calltree import FunctionIndex
from samply_operator.profiles.analysis.flametree import FlameTree
from samply_operator.profiles.analysis.ranges import Adding
from samply_operator.profiles.analysis.selection import Measure
from samply_operator.profiles.attribution.choosing import BY_FUNCTION, Choice
from samply_operator.profiles.format.profile import Profile
from samply_operator.profiles.output import display_names


def convert(profile: Profile, *, measure: Measure = "samples", choice: Choice = BY_FUNCTION) -> Iterator[bytes]:
    """Lines in the order of threads. The numbers are what samples weigh, or microseconds of CPU. The operator or group
    stands between the thread and the functions. Processes of one name have their number behind it.

    Raises NotInProfile before the first line if there is none.
    """
    weighing.check(profile, measure)
    weighing.require_samples(profile)
    index = FunctionIndex()
    processes = threads.name_processes(profile)
    for weighed in weighing.weigh(profile, index, choice=choice):
        names = [display_names.flatten(function.name) for function in index.functions]
        thread = weighed.thread
        process = display_names.flatten(processes[thread.pid])
        head = f"{process};{display_names.flatten(thread.name or thread.tid)}"
        for node, value in sorted(weighed.pick(measure).items()):
            number = weighing.format_number(value)
            if number != "0":
                path = ";".join(names[func] for func in (*weighed.above, *weighing.walk_up(weighed.forest, node)))
                yield f"{head};{path} {number}\n".encode()


def convert_range(side: Adding, *, measure: Measure = "samples", choice: Choice = BY_FUNCTION) -> Iterator[bytes]:
    """The same of all profiles of a range of time: a stack that several have is one line. Raises ProfileError before
    the first line if nothing can be added."""
    tree, _ = flametree.build_ranges([side], with_threads="process", choice=choice)
    return _list_lines(tree, 0 if measure == "samples" else 1)


def _list_lines(tree: FlameTree, column: int) -> Iterator[bytes]:
    names = [display_names.flatten(function.name) for function in tree.index.functions]
    for node, value in enumerate(tree.selves[column]):
        number = weighing.format_number(value)
        if number != "0":
            path = ";".join(names[func] for func in weighing.walk_up(tree, node))
            yield f"{path} {number}\n".encode()
