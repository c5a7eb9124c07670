"""speedscope's JSON: one evented profile per thread, in the order of time. Pure.

The axis is what the samples add up to, not the clock: time in which the thread was off the CPU has no width, so that
widths agree with all other formats.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import repeat

import msgspec

from samply_operator.profiles.analysis import calltree, tally, weighing
from samply_operator.profiles.analysis.calltree import Forest, FunctionIndex
from samply_operator.profiles.analysis.selection import Measure
from samply_operator.profiles.attribution.choosing import BY_FUNCTION, Choice
from samply_operator.profiles.attribution.labels import Attribution
from samply_operator.profiles.format import vectors
from samply_operator.profiles.format.profile import Profile, Thread
from samply_operator.profiles.output import display_names

SCHEMA = "https://www.speedscope.app/file-format-schema.json"
EVENTS_A_PIECE = 4096
SAMPLES_A_PIECE = 1 << 16
UNITS = {"bytes": "bytes", "tracing-ms": "milliseconds"}
"""Of those that speedscope knows; it has none for a number of samples."""


def convert(profile: Profile, *, measure: Measure = "samples", choice: Choice = BY_FUNCTION) -> Iterator[bytes]:
    """JSON in pieces. Threads without samples are left out, and each has its own unit. The operator or group is the
    outermost frame. Raises NotInProfile before the first piece.
    """
    # Of samples each thread has its own unit; CPU times are those of all.
    for threads in [profile.threads] if measure == "cpu" else [[thread] for thread in profile.threads]:
        weighing.check(profile, measure, threads)
    weighing.require_samples(profile)
    index = FunctionIndex()
    attribution = choice.build(profile)
    forests = calltree.Forests(profile, index, calltree.build_forest)
    head = {"$schema": SCHEMA, "name": profile.meta.product, "exporter": "samply-operator"}
    yield msgspec.json.encode(head)[:-1] + b',"profiles":['
    separator = b""
    for thread in profile.threads:
        if thread.samples.length:
            yield separator
            forest = forests.of(thread)
            above = _find_frames(thread, forest, index, attribution)
            yield from _convert_thread(thread, forest, profile, measure, above)
            separator = b","
    # The functions come last: only now all are known.
    frames = [{"name": function.name, "file": function.file or function.lib} for function in index.functions]
    yield b'],"shared":' + msgspec.json.encode({"frames": frames}) + b"}"


def _find_frames(
    thread: Thread, forest: Forest, index: FunctionIndex, attribution: Attribution | None
) -> Iterator[tuple[int, ...]]:
    """For each sample the frames above its functions."""
    if attribution is None:
        return repeat(())
    nodes = vectors.view(forest.node_of_stack)[tally.read_stacks(thread)]
    found = attribution.attribute(thread, forest, index, nodes, tally.read_times(thread)).tolist()
    frames = {bucket: weighing.number_frames(attribution, bucket, index) for bucket in set(found)}
    return map(frames.__getitem__, found)


def _convert_thread(
    thread: Thread, forest: Forest, profile: Profile, measure: Measure, above: Iterator[tuple[int, ...]]
) -> Iterator[bytes]:
    title = f"{thread.process_name or 'process'} {thread.pid}: {thread.name} ({thread.tid})"
    head = {
        "type": "evented",
        "name": display_names.clean(title),
        "unit": "microseconds" if measure == "cpu" else UNITS.get(thread.samples.weight_type, "none"),
        "startValue": 0,
    }
    yield msgspec.json.encode(head)[:-1] + b',"events":['
    open_path: list[int] = []
    last: tuple[int, tuple[int, ...]] = (-1, ())
    at, separator = 0.0, b""
    batch: list[dict[str, object]] = []
    for (stack, width), frames in zip(_samples(thread, profile, measure), above, strict=False):
        if stack < 0:
            continue
        here = forest.node_of_stack[stack], frames
        if here != last:
            path = [*frames, *weighing.walk_up(forest, here[0])]
            _change(batch, open_path, path, at)
            open_path, last = path, here
            if len(batch) >= EVENTS_A_PIECE:
                yield separator + msgspec.json.encode(batch)[1:-1]
                separator, batch = b",", []
        at += width
    _change(batch, open_path, [], at)
    if batch:
        yield separator + msgspec.json.encode(batch)[1:-1]
    yield b'],"endValue":' + weighing.format_number(at).encode() + b"}"


def _change(events: list[dict[str, object]], before: list[int], after: list[int], at: float) -> None:
    """Append what closes and what opens."""
    common = 0
    while common < min(len(before), len(after)) and before[common] == after[common]:
        common += 1
    moment: float = int(at) if at == int(at) else at
    events += [{"type": "C", "frame": func, "at": moment} for func in reversed(before[common:])]
    events += [{"type": "O", "frame": func, "at": moment} for func in after[common:]]


def _samples(thread: Thread, profile: Profile, measure: Measure) -> Iterator[tuple[int, float]]:
    """Each sample's stack (-1: none), and its width."""
    if measure == "cpu" and not tally.has_cpu(thread, profile.meta):
        return
    stacks, widths = tally.read_stacks(thread), tally.read_widths(thread, profile.meta, measure)
    for start in range(0, len(stacks), SAMPLES_A_PIECE):
        rows = slice(start, start + SAMPLES_A_PIECE)
        yield from zip(stacks[rows].tolist(), widths[rows].tolist(), strict=True)
