"""speedscope's JSON: one evented profile per thread, in the order of time. Pure.

The axis is what the samples add up to, not the clock: time in which the thread was off the CPU has no width, so that
widths agree with all other formats.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, repeat

import msgspec

from samply_operator.profiles.analysis import calltree, tally, weighing
from samply_operator.profiles.analysis.calltree import Forest, FunctionIndex
from samply_operator.profiles.analysis.weighing import Measure
from samply_operator.profiles.format.profile import Profile, Thread
from samply_operator.profiles.output import display_names

SCHEMA = "https://www.speedscope.app/file-format-schema.json"
EVENTS_A_PIECE = 4096


def convert(profile: Profile, *, measure: Measure = "samples") -> Iterator[bytes]:
    """JSON in pieces. Threads without samples are left out."""
    index = FunctionIndex()
    forests = calltree.Forests(profile, index, calltree.build_forest)
    head = {"$schema": SCHEMA, "name": profile.meta.product, "exporter": "samply-operator"}
    yield msgspec.json.encode(head)[:-1] + b',"profiles":['
    separator = b""
    for thread in profile.threads:
        if thread.samples.length:
            yield separator
            yield from _convert_thread(thread, forests.of(thread), profile, measure)
            separator = b","
    # The functions come last: only now all are known.
    frames = [{"name": function.name, "file": function.file or function.lib} for function in index.functions]
    yield b'],"shared":' + msgspec.json.encode({"frames": frames}) + b"}"


def _convert_thread(thread: Thread, forest: Forest, profile: Profile, measure: Measure) -> Iterator[bytes]:
    title = f"{thread.process_name or 'process'} {thread.pid}: {thread.name} ({thread.tid})"
    head = {
        "type": "evented",
        "name": display_names.clean(title),
        "unit": "none" if measure == "samples" else "microseconds",
        "startValue": 0,
    }
    yield msgspec.json.encode(head)[:-1] + b',"events":['
    end = 0.0
    batch: list[dict[str, object]] = []
    separator = b""
    for event, end in _walk(thread, forest, profile, measure):  # noqa: B007 - the last `end` is what counts
        if event is not None:
            batch.append(event)
        if len(batch) >= EVENTS_A_PIECE:
            yield separator + msgspec.json.encode(batch)[1:-1]
            separator, batch = b",", []
    if batch:
        yield separator + msgspec.json.encode(batch)[1:-1]
    yield b'],"endValue":' + weighing.format_number(end).encode() + b"}"


def _walk(
    thread: Thread, forest: Forest, profile: Profile, measure: Measure
) -> Iterator[tuple[dict[str, object] | None, float]]:
    """Events (None: time passes), each with the time up to which the thread is known."""
    open_path: list[int] = []
    last_node = -1
    at = 0.0
    for stack, width in _samples(thread, profile, measure):
        if stack < 0:
            continue
        node = forest.node_of_stack[stack]
        if node != last_node:
            path = weighing.walk_up(forest, node)
            for event in _change(open_path, path, at):
                yield event, at
            open_path, last_node = path, node
        at += width
        yield None, at
    for event in _change(open_path, [], at):
        yield event, at


def _change(before: list[int], after: list[int], at: float) -> Iterator[dict[str, object]]:
    common = 0
    while common < min(len(before), len(after)) and before[common] == after[common]:
        common += 1
    moment: float = int(at) if at == int(at) else at
    for func in reversed(before[common:]):
        yield {"type": "C", "frame": func, "at": moment}
    for func in after[common:]:
        yield {"type": "O", "frame": func, "at": moment}


def _samples(thread: Thread, profile: Profile, measure: Measure) -> Iterator[tuple[int, float]]:
    samples = thread.samples
    widths: Iterator[float] = repeat(1.0)
    if measure == "cpu":
        if samples.cpu.is_absent:
            return iter(())
        unit = profile.meta.cpu_unit_us
        widths = (value * unit for value in chain.from_iterable(samples.cpu.int_pieces(null=0)))
    elif not samples.weight.is_absent:
        widths = chain.from_iterable(samples.weight.float_pieces())
    return zip(tally.read_stacks(thread).tolist(), widths, strict=False)
