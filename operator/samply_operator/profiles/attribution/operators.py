"""Samples by operator: each counts for the innermost evaluation that holds it on its thread. Pure.

A sample outside of all evaluations is named by another interval of the engine (exchange, merge of a spine), by the
shipped rules for its stack, or by its thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from samply_operator.profiles.analysis import tally
from samply_operator.profiles.analysis.calltree import FunctionIndex, Stacks
from samply_operator.profiles.attribution import evaluations, repeats
from samply_operator.profiles.attribution.evaluations import Evaluations, Node, NodeIndex
from samply_operator.profiles.attribution.groups import Groups
from samply_operator.profiles.attribution.labels import Buckets, Label
from samply_operator.profiles.attribution.naming import NodeNames
from samply_operator.profiles.errors import NoMarkers
from samply_operator.profiles.format import intervals, vectors
from samply_operator.profiles.format.lazy_numpy import np
from samply_operator.profiles.format.markers import Markers
from samply_operator.profiles.format.profile import Profile, Thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from samply_operator.profiles.format.vectors import Floats, Ints, Longs

OTHER = "Other"
"""The category of markers that are not work, such as the level of memory pressure."""

MERGE = re.compile(r"(.+ n[n\d_]+) on behalf of worker ")
"""The text of a merge of a spine, on a thread for merges: it tells for which operator."""

UNCAPTURED = "outside the capture of markers"
SCHEDULER = "scheduler and others between operators"
NUMBER = re.compile(r"\d+")
MANY = 8
"""Names of threads in a note."""
SLACK_MS = 10_000
"""How far markers may lie beyond the samples at least: an idle process has no samples."""


@dataclass(frozen=True, slots=True)
class MarkerFacts:
    """How many evaluations there are, and how many markers were left out: `unparsed` have another text, `broken` no
    start or no end, `reversed` end before they begin, `misplaced` reach far beyond the samples' time; `repeated` are in
    the file more than once. `overclaimed`: how many claim more CPU time than they lasted. `first_ms` and `last_ms`:
    when the first one began and the last one ended, on the clock of the samples."""

    evaluations: int
    unparsed: int
    broken: int
    nodes: int
    worker_threads: int
    repeated: int = 0
    reversed: int = 0
    misplaced: int = 0
    overclaimed: int = 0
    first_ms: float = 0.0
    last_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class OperatorTotals:
    """Totals of one operator from its markers. CPU time includes that of the nodes of a nested circuit."""

    evaluations: int
    cpu_us: float


@dataclass(frozen=True, slots=True)
class _Spans:
    """One thread's other intervals, in the order of `intervals.sort`."""

    start_ms: Floats
    end_ms: Floats
    bucket: Ints


class Operators:
    """An `Attribution` by the engine's markers."""

    is_nested = True

    def __init__(self, profile: Profile, groups: Groups, names: NodeNames | None = None) -> None:
        """Reads the markers of all threads. Raises NoMarkers where there are none."""
        self.span = tally.find_span(profile.threads)
        self.buckets = Buckets()
        self._profile = profile
        self._groups = groups
        self._index = NodeIndex()
        self._broken = self._reversed = 0
        self._spans: dict[int, _Spans] = {}
        read, self._misplaced = drop_misplaced(
            {thread.index: self._read(thread) for thread in profile.all_threads}, self.span
        )
        ranked = sorted(profile.all_threads, key=lambda each: (-each.samples.length, each.is_main, each.index))
        self._evaluations, self._repeated = repeats.drop(read, [thread.index for thread in ranked])
        self.notes, self.names_problem = choose_notes(self._index, names)
        self._bucket_of_node = np.array(build_buckets(self._index, self.buckets, self.notes), dtype=np.int32)
        self.facts = self._count()
        if not self.facts.evaluations:
            raise build_absence(profile, self.facts)

    def _read(self, thread: Thread) -> Evaluations:
        markers = thread.load_markers()
        self._broken += markers.broken
        self._reversed += markers.reversed
        self._spans[thread.index] = self._read_spans(markers)
        return evaluations.read(markers, self._index)

    def _read_spans(self, markers: Markers) -> _Spans:
        is_other = ~markers.find_category(OTHER, evaluations.CATEGORY)
        rows = np.flatnonzero(is_other & find_near(markers.start_ms, markers.end_ms, self.span))
        names = [
            name_span(markers.categories[markers.category[row]], markers.strings[markers.name[row]], markers.text[row])
            for row in rows.tolist()
        ]
        buckets = np.array([self._number_outside(name) for name in names], dtype=np.int32)
        starts, ends = (column[rows] for column in (markers.start_ms, markers.end_ms))
        order = intervals.sort(starts, ends)
        return _Spans(starts[order], ends[order], buckets[order])

    def _number_outside(self, name: str) -> int:
        return self.buckets.number((self.buckets.number_label(Label(name, "outside")),))

    def _count(self) -> MarkerFacts:
        workers = [each for each in self._evaluations.values() if each.count()]
        return MarkerFacts(
            evaluations=sum(each.count() for each in workers),
            unparsed=sum(each.unparsed for each in self._evaluations.values()),
            broken=self._broken,
            nodes=len(self._index.nodes),
            worker_threads=len(workers),
            repeated=self._repeated,
            reversed=self._reversed,
            misplaced=self._misplaced,
            overclaimed=sum(each.overclaimed for each in workers),
            first_ms=min((float(each.start_ms[0]) for each in workers), default=0.0),
            last_ms=max((float(each.end_ms.max()) for each in workers), default=0.0),
        )

    def describe_problems(self) -> tuple[str, ...]:
        """Notes on what is wrong with the markers."""
        return (*describe_clock(self.facts, self.span), *self._describe_gaps())

    def describe_names(self) -> tuple[str, ...]:
        """A note where Feldera's names of the operators are missing, if somebody looked for them."""
        return (f"Without Feldera's names: {self.names_problem}.",) if self.names_problem else ()

    def _describe_gaps(self) -> tuple[str, ...]:
        """Workers without markers: their samples count as outside of all operators."""
        marked = {_find_kind(each) for each in self._profile.threads if self._evaluations[each.index].count()}
        gaps = [
            each.name
            for each in self._profile.threads
            if each.samples.length and _find_kind(each) in marked and not self._evaluations[each.index].count()
        ]
        if not gaps:
            return ()
        names = f"{', '.join(gaps[:MANY])}{' …' if len(gaps) > MANY else ''}"
        return (
            f"Without evaluations of operators, though others of that name have them: {names}. The samples there count "
            "as outside of all operators.",
        )

    def attribute(self, thread: Thread, tree: Stacks, index: FunctionIndex, nodes: Ints, times: Floats) -> Ints:
        """See `labels.Attribution`. Raises NoMarkers where the samples have no times."""
        if len(times) != len(nodes):
            raise build_timeless(thread)
        own, spans = self._evaluations[thread.index], self._spans[thread.index]
        node = _pick(own.node, intervals.find_innermost(own.start_ms, own.end_ms, times))
        found = _pick(self._bucket_of_node, node)
        rest = np.flatnonzero(found < 0)
        found[rest] = _pick(spans.bucket, intervals.find_innermost(spans.start_ms, spans.end_ms, times[rest]))
        rest = np.flatnonzero(found < 0)
        if own.count():
            found[rest] = self._name_rest(tree, index, nodes[rest])
            is_captured = (times[rest] >= own.start_ms[0]) & (times[rest] < own.end_ms.max())
            found[rest[~is_captured]] = self._number_outside(UNCAPTURED)
        else:
            found[rest] = self._number_outside(f"thread {_find_kind(thread)}")
        return found

    def _name_rest(self, tree: Stacks, index: FunctionIndex, nodes: Ints) -> Ints:
        """The groups of a worker's samples between operators, by their stacks."""
        names = [*(f"{name} between operators" for name in self._groups.names), SCHEDULER]
        buckets = np.array([self._number_outside(name) for name in names], dtype=np.int32)
        return buckets[self._groups.find_innermost(tree, index, nodes)]

    def sum_markers(self, threads: Iterable[Thread], start_ms: float, end_ms: float) -> dict[int, OperatorTotals]:
        """By label: totals of the evaluations that began in that time."""
        totals: dict[int, OperatorTotals] = {}
        for thread in threads:
            own = self._evaluations[thread.index]
            rows = vectors.find_between(own.start_ms, start_ms, end_ms, own.count())
            labels = self._label_of_node()[own.node[rows]]
            size = len(self.buckets.labels)
            counts = vectors.sum_by_row(labels, size)
            sums = vectors.sum_by_row(labels, size, own.cpu_us[rows])
            for label in vectors.find_positive(counts).tolist():
                before = totals.get(label, OperatorTotals(0, 0.0))
                totals[label] = OperatorTotals(
                    before.evaluations + int(counts[label]), before.cpu_us + float(sums[label])
                )
        return totals

    def _label_of_node(self) -> Ints:
        return np.array([self.buckets.buckets[bucket][-1] for bucket in self._bucket_of_node], dtype=np.int32)


def _find_kind(thread: Thread) -> str:
    """The name of a thread without its number."""
    return NUMBER.sub("*", thread.name)


def find_near(start_ms: Floats, end_ms: Floats, span: tuple[float, float] | None) -> NDArray[np.bool_]:
    """Which intervals do not reach far beyond the samples' time (`span`), as those of damaged times do."""
    if span is None:
        return np.ones(len(start_ms), dtype=bool)
    slack = max(SLACK_MS, span[1] - span[0])
    is_near: NDArray[np.bool_] = (start_ms >= span[0] - slack) & (end_ms <= span[1] + slack)
    return is_near


def drop_misplaced(
    found: Mapping[int, Evaluations], span: tuple[float, float] | None
) -> tuple[dict[int, Evaluations], int]:
    """By thread, without those that reach far beyond the samples' time, and how many those are. If all of them lie
    elsewhere, they are kept: then it is the clock that is another one (see `describe_clock`)."""
    if span is None:
        return dict(found), 0
    near = {thread: find_near(own.start_ms, own.end_ms, span) for thread, own in found.items()}
    if not any(each.any() for each in near.values()):
        near = {thread: (own.start_ms > span[1]) | (own.end_ms < span[0]) for thread, own in found.items()}
    kept = {
        thread: own if near[thread].all() else own.pick(np.flatnonzero(near[thread])) for thread, own in found.items()
    }
    return kept, sum(len(each) - int(each.sum()) for each in near.values())


def _pick(values: Ints, rows: Longs | Ints) -> Ints:
    """`values[row]`, and -1 for rows of -1."""
    return np.append(values, np.int32(-1))[rows]


def choose_notes(index: NodeIndex, names: NodeNames | None) -> tuple[dict[str, str], str]:
    """What Feldera tells of each node, and why it doesn't. Names of nodes that the engine calls something else are of
    another version of the program, and so are all others then."""
    if names is None or names.problem:
        return {}, "" if names is None else names.problem
    other = [node for node in index.nodes if not _fits(node, names)]
    if other:
        what = f"{other[0].name} {other[0].id}"
        return {}, f"they are of another version of the program, which has no node {what}"
    return {node.id: names.names[node.id].describe() for node in index.nodes if node.id in names.names}, ""


def _fits(node: Node, names: NodeNames) -> bool:
    named = names.names.get(node.id)
    return named is None or not named.label or named.label.startswith(node.name) or node.name.startswith(named.label)


def build_buckets(index: NodeIndex, buckets: Buckets, notes: Mapping[str, str]) -> list[int]:
    """For each node its bucket: itself, and before it the nodes of the circuits that it lies in, as far as they have
    evaluations of their own."""
    numbers = [
        buckets.number_label(Label(f"{node.name} {node.id}", "operator", node.id, notes.get(node.id, "")))
        for node in index.nodes
    ]
    by_id = {node.id: number for node, number in zip(index.nodes, numbers, strict=True)}
    out = []
    for node, own in zip(index.nodes, numbers, strict=True):
        parts = node.id.split("_")
        above = ("_".join(parts[:length]) for length in range(1, len(parts)))
        out.append(buckets.number((*(by_id[each] for each in above if each in by_id), own)))
    return out


def name_span(category: str, name: str, text: str) -> str:
    """The label of an interval of the engine that is not an evaluation."""
    merge = MERGE.match(text)
    return f"{category} merge for {merge[1]}" if merge else f"{category}: {name}"


def build_absence(profile: Profile, facts: MarkerFacts) -> NoMarkers:
    bad = (
        (facts.broken, "have no start or no end"),
        (facts.reversed, "end before they begin"),
        (facts.misplaced, "reach far beyond the samples' time"),
    )
    if sum(count for count, _ in bad) > facts.unparsed:
        why = f" that can be read: {', '.join(f'{count} {what}' for count, what in bad if count)}."
        cure = "The file was damaged or changed: take the profile again."
    elif facts.unparsed:
        why = f" that can be read: the text of {facts.unparsed} has another form."
        cure = "The engine may be newer than this program: use a newer release of it."
    else:
        why = "."
        cure = "Feldera writes them into the samply file of its own endpoint (POST, then GET …/samply_profile there)."
    return NoMarkers(
        f"{profile.path.name} has no markers of operators{why}",
        remedy=f"{cure} By group (--by group, ?by=group) needs none.",
        details={"unparsed": facts.unparsed, "broken": sum(count for count, _ in bad)},
    )


def check(profile: Profile) -> MarkerFacts | None:
    """The facts about its markers; None: it has none. Raises BrokenProfile, or NoMarkers where none of them is any
    good."""
    try:
        found = Operators(profile, Groups(()))
    except NoMarkers as error:
        if any(error.details.values()):
            raise
        return None
    if notes := describe_clock(found.facts, found.span):
        raise NoMarkers(notes[0])
    return found.facts


def describe_clock(facts: MarkerFacts, span: tuple[float, float] | None) -> tuple[str, ...]:
    """A note where no sample can lie in any evaluation. `span`: the times of the first and the last sample."""
    if span is None or (facts.first_ms <= span[1] and facts.last_ms >= span[0]):
        return ()
    markers, samples = (
        f"{start / 1000:.3f} to {end / 1000:.3f} s" for start, end in ((facts.first_ms, facts.last_ms), span)
    )
    return (
        f"The markers' times ({markers}) lie outside of the samples' ({samples}): they are damaged, or of another "
        "clock, so no sample belongs to an operator. Take the profile again.",
    )


def build_timeless(thread: Thread) -> NoMarkers:
    return NoMarkers(
        f"The samples of thread {thread.name} have no times, so they can't be joined with its markers.",
        remedy="Look at it by group, which needs no times.",
        details={"thread": thread.name},
    )
