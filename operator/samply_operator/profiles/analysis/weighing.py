"""What a converted profile counts: samples, or CPU time in microseconds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from samply_operator.profiles.analysis import calltree, tally
from samply_operator.profiles.analysis.calltree import Forest, FunctionIndex
from samply_operator.profiles.attribution.choosing import BY_FUNCTION, Choice
from samply_operator.profiles.attribution.labels import Attribution, Label
from samply_operator.profiles.format import vectors
from samply_operator.profiles.format.lazy_numpy import np
from samply_operator.profiles.format.profile import Profile, Thread

Measure = Literal["samples", "cpu"]
MEASURES: tuple[Measure, ...] = ("samples", "cpu")


@dataclass(frozen=True, slots=True)
class WeighedThread:
    """One thread's sums by node of its forest, or the part of them that has one label. `cpu_us` is empty where the
    profile has no CPU time. `above`: the functions that stand for the label, and for those that it lies in.
    """

    thread: Thread
    forest: Forest
    weight: dict[int, float]
    cpu_us: dict[int, int]
    label: Label | None = None
    above: tuple[int, ...] = ()

    def pick(self, measure: Measure) -> dict[int, float]:
        return self.weight if measure == "samples" else {node: float(value) for node, value in self.cpu_us.items()}


def weigh(
    profile: Profile, index: FunctionIndex, threads: Iterable[Thread] | None = None, choice: Choice = BY_FUNCTION
) -> Iterator[WeighedThread]:
    """Every thread's sums, one after the other, so that one at a time is in memory; by operator or group one after the
    other for each of those, too."""
    forests = calltree.Forests(profile, index, calltree.build_forest)
    attribution = choice.build(profile)
    for thread in profile.threads if threads is None else threads:
        forest = forests.of(thread)
        if attribution is not None:
            yield from _weigh_labels(thread, profile, forest, index, attribution)
            continue
        sums = tally.add_up(thread, profile.meta, forest.node_of_stack, len(forest.parent))
        yield WeighedThread(thread, forest, sums.weight, _round(sums.cpu_us))


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
            cpu_us=_round({} if sums.cpu_us is None else dict(zip(part.tolist(), sums.cpu_us.tolist(), strict=True))),
            label=attribution.buckets.labels[attribution.buckets.buckets[bucket][-1]],
            above=number_frames(attribution, bucket, index),
        )


def number_frames(attribution: Attribution, bucket: int, index: FunctionIndex) -> tuple[int, ...]:
    """What stands for a bucket in a call tree, as functions."""
    labels = attribution.buckets.buckets[bucket]
    shown = (attribution.buckets.labels[label] for label in (labels if attribution.is_nested else labels[-1:]))
    return tuple(index.number(label.name, label.kind) for label in shown)


def _round(cpu_us: dict[int, float]) -> dict[int, int]:
    return {node: round(value) for node, value in cpu_us.items()}


def walk_up(forest: Forest, node: int) -> list[int]:
    """The functions from the root down to a node."""
    path = []
    while node != -1:
        path.append(forest.func[node])
        node = forest.parent[node]
    path.reverse()
    return path


def format_number(value: float) -> str:
    """Without a fraction where there is none."""
    return str(int(value)) if value == int(value) else repr(value)
