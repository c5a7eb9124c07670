"""What the sums of a profile are in: samples, what samples weigh in (bytes, milliseconds), or CPU time. Pure.

Sums have one unit and no negative terms: what cannot be added is reported before anything is added.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from samply_operator.profiles.analysis import calltree, tally
from samply_operator.profiles.analysis.calltree import Forest, FunctionIndex
from samply_operator.profiles.analysis.selection import Measure
from samply_operator.profiles.attribution.choosing import BY_FUNCTION, Choice
from samply_operator.profiles.attribution.labels import Attribution, Label
from samply_operator.profiles.errors import NotInProfile, build_broken
from samply_operator.profiles.format import vectors
from samply_operator.profiles.format.columns import Column
from samply_operator.profiles.format.lazy_numpy import np
from samply_operator.profiles.format.profile import Profile, Thread

CPU_TIME = "CPU time"
SAMPLES = "samples"
UNITS = {SAMPLES: "samples", "bytes": "bytes", "tracing-ms": "ms"}
"""Weight types of the format, in words."""


@dataclass(frozen=True, slots=True)
class WeighedThread:
    """One thread's sums by node of its forest, or the part of them that has one label. `cpu_us` is empty where the
    profile has no CPU time. `above`: the functions that stand for the label, and for those that it lies in.
    """

    thread: Thread
    forest: Forest
    weight: dict[int, float]
    cpu_us: dict[int, float]
    label: Label | None = None
    above: tuple[int, ...] = ()

    def pick(self, measure: Measure) -> dict[int, float]:
        return self.weight if measure == "samples" else self.cpu_us


def weigh(
    profile: Profile, index: FunctionIndex, threads: Iterable[Thread] | None = None, choice: Choice = BY_FUNCTION
) -> Iterator[WeighedThread]:
    """Every thread's sums, one after the other, so that one at a time is in memory; by operator or group one after the
    other for each of those, too."""
    return weigh_by(profile, index, choice.build(profile), threads)


def weigh_by(
    profile: Profile, index: FunctionIndex, attribution: Attribution | None, threads: Iterable[Thread] | None = None
) -> Iterator[WeighedThread]:
    """The same, by an attribution that is built already."""
    forests = calltree.Forests(profile, index, calltree.build_forest)
    for thread in profile.threads if threads is None else threads:
        forest = forests.of(thread)
        if attribution is not None:
            yield from _weigh_labels(thread, profile, forest, index, attribution)
            continue
        sums = tally.add_up(thread, profile.meta, forest.node_of_stack, len(forest.parent))
        yield WeighedThread(thread, forest, sums.weight, sums.cpu_us)


def _weigh_labels(
    thread: Thread, profile: Profile, forest: Forest, index: FunctionIndex, attribution: Attribution
) -> Iterator[WeighedThread]:
    columns = tally.read(thread, profile.meta).drop_stackless()
    nodes = vectors.view(forest.node_of_stack)[columns.stacks]
    found = attribution.attribute(thread, forest, index, nodes, columns.read_times())
    for bucket in np.unique(found).tolist():
        rows = np.flatnonzero(found == bucket)
        part, places = np.unique(nodes[rows], return_inverse=True)
        sums = columns.pick(rows).sum_by(places, len(part))
        yield WeighedThread(
            thread,
            forest,
            weight=dict(zip(part.tolist(), sums.weight.tolist(), strict=True)),
            cpu_us={} if sums.cpu_us is None else dict(zip(part.tolist(), sums.cpu_us.tolist(), strict=True)),
            label=attribution.buckets.labels[attribution.buckets.buckets[bucket][-1]],
            above=number_frames(attribution, bucket, index),
        )


def number_frames(attribution: Attribution, bucket: int, index: FunctionIndex) -> tuple[int, ...]:
    """The functions that represent a bucket in a call tree."""
    labels = attribution.buckets.buckets[bucket]
    shown = (attribution.buckets.labels[label] for label in (labels if attribution.is_nested else labels[-1:]))
    return tuple(index.number(label.title, label.kind) for label in shown)


class Nodes(Protocol):
    """A call tree, parents first."""

    @property
    def parent(self) -> array[int]: ...
    @property
    def func(self) -> array[int]: ...


def walk_up(forest: Nodes, node: int) -> list[int]:
    """The functions from the root down to a node."""
    path = []
    while node != -1:
        path.append(forest.func[node])
        node = forest.parent[node]
    path.reverse()
    return path


def format_number(value: float) -> str:
    """For machines: no exponent, and no fraction where there is none."""
    return str(int(value)) if value == int(value) else f"{value:.9f}".rstrip("0").rstrip(".")


def name_unit(weight_type: str) -> str:
    return UNITS.get(weight_type, weight_type)


def choose_measure(weight_type: str, *, has_cpu: bool) -> Measure:
    """What percentages and orders are of, in all tables and in flame graphs: CPU time where there is any for all
    samples, else what the samples weigh. Bytes are always bytes."""
    return "cpu" if has_cpu and weight_type == SAMPLES else "samples"


def name_measure(measure: Measure, weight_type: str) -> str:
    """As answers have it: "cpu", or the weight type."""
    return "cpu" if measure == "cpu" else weight_type


def describe_measure(measure: str) -> str:
    """In words, what `name_measure` gives."""
    return CPU_TIME if measure == "cpu" else name_unit(measure)


def find_weight_type(threads: Iterable[Thread]) -> str:
    """What the samples of all these threads weigh in. Raises NotInProfile where they differ."""
    by_type: dict[str, str] = {}
    for thread in threads:
        if thread.samples.length:
            by_type.setdefault(thread.samples.weight_type, thread.name or thread.tid)
    if len(by_type) > 1:
        found = ", ".join(f"{name_unit(kind)} ({name})" for kind, name in by_type.items())
        raise NotInProfile(
            f"The threads count different things, which cannot be added up: {found}.",
            remedy="Ask for threads of one kind by their name (top), or for format speedscope, which keeps them apart.",
            details={"reason": "Unit"},
        )
    return next(iter(by_type), SAMPLES)


def may_have_cpu_times(profile: Profile, threads: Iterable[Thread]) -> bool:
    """Whether each thread with samples has CPU times, and not all of them are zero. Decodes no number."""
    chosen = [thread for thread in threads if thread.samples.length]
    return all(tally.has_cpu(thread, profile.meta) for thread in chosen) and any(
        thread.samples.cpu.is_anything_positive for thread in chosen
    )


def has_cpu_times(profile: Profile, threads: Iterable[Thread] | None = None) -> bool:
    """The same, of the samples that have a stack: the others are in no sum."""
    chosen = profile.threads if threads is None else list(threads)
    return may_have_cpu_times(profile, chosen) and any(map(tally.has_cpu_with_stack, chosen))


def check(profile: Profile, measure: Measure, threads: Sequence[Thread] | None = None) -> str:
    """The unit of the sums in words, if they can be added.

    Raises NotInProfile (no CPU times, or different units) or BrokenProfile (less than nothing).
    """
    chosen = profile.threads if threads is None else threads
    for thread in chosen:
        _check_sign(thread.samples.weight if measure == "samples" else thread.samples.cpu)
    if measure == "samples":
        return name_unit(find_weight_type(chosen))
    if any(thread.samples.length for thread in chosen) and not has_cpu_times(profile, chosen):
        raise NotInProfile(
            f"{profile.path.name} has no CPU times, or not for all of its threads.",
            remedy="Count samples instead (measure samples); samply on Linux records CPU times.",
            details={"reason": "CpuTimes"},
        )
    return "µs of CPU"


def check_sign_of_cpu(threads: Iterable[Thread]) -> None:
    """Raises BrokenProfile where a CPU time is below zero."""
    for thread in threads:
        _check_sign(thread.samples.cpu)


def _check_sign(column: Column) -> None:
    if column.is_anything_negative:
        raise build_broken(
            column.where,
            "there are numbers below zero, so this is no profile of what was spent",
            remedy="It may be the difference of two profiles, or hold memory that was freed: "
            "profiler.firefox.com shows both.",
        )


def require_samples(profile: Profile) -> None:
    """Raises NotInProfile where no sample has a stack: a file in another format would be an empty one."""
    if not any(tally.has_stacks(thread) for thread in profile.threads):
        raise NotInProfile(
            f"{profile.path.name} has no samples: nothing of it used the CPU while it was recorded, or samply saw "
            "none of that.",
            remedy="Record while the pipeline works.",
            details={"reason": "Samples"},
        )


def describe_repeats(profile: Profile) -> tuple[str, ...]:
    """Notes on what is left out of all sums."""
    if not profile.repeats:
        return ()
    return (f"{len(profile.repeats)} threads that stand for CPUs are not counted: they repeat the others' samples.",)
