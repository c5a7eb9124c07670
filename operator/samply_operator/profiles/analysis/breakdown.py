"""Time by operator or by group: the sums of each, by worker thread, and the functions below. Pure.

`text.py`'s neighbour `breakdown_text.py` shows it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from samply_operator.profiles.analysis import summary, tally, weighing
from samply_operator.profiles.analysis.calltree import Forests, FunctionIndex, Stacks, take_functions
from samply_operator.profiles.analysis.summary import Costs
from samply_operator.profiles.analysis.tally import SampleColumns, Sums, TimeRange
from samply_operator.profiles.attribution.choosing import Choice
from samply_operator.profiles.attribution.labels import Attribution, By, Label
from samply_operator.profiles.attribution.operators import MarkerFacts, Operators, OperatorTotals
from samply_operator.profiles.format import vectors
from samply_operator.profiles.format.lazy_numpy import np
from samply_operator.profiles.format.profile import Profile, Thread

if TYPE_CHECKING:
    from samply_operator.profiles.format.vectors import Floats, Ints, Longs

FUNCTIONS = 3
"""Listed below each label."""
SHIFT = 32
MASK = (1 << SHIFT) - 1


@dataclass(frozen=True, slots=True)
class InnerFunction:
    """A function that was the innermost while the label was. `share_percent`: of the label's own."""

    name: str
    lib: str
    self_weight: float
    self_cpu_ms: float | None
    share_percent: float


@dataclass(frozen=True, slots=True)
class WorkerCost:
    """What one thread spent for a label itself."""

    thread: str
    tid: str
    self_weight: float
    self_cpu_ms: float | None


@dataclass(frozen=True, slots=True)
class LabelCost:
    """`self_`: samples for which the label is the innermost; `total`: with those of the nodes of a nested circuit, or
    of functions called from the group's. Percentages are of the whole profile, in the breakdown's measure.

    `note`: what Feldera tells of an operator. By operator, and None for others: `evaluations` and `marker_cpu_ms` are
    what the markers themselves tell (inner nodes included); `difference_points` is the share of all operators' time by
    samples (total) less the one by markers; None where samples weigh in something else. `skew`: the worker that spent
    most, as a multiple of the mean; 1 is even.
    """

    name: str
    kind: str
    node: str
    note: str
    self_weight: float
    total_weight: float
    self_cpu_ms: float | None
    total_cpu_ms: float | None
    self_percent: float
    total_percent: float
    evaluations: int | None
    marker_cpu_ms: float | None
    difference_points: float | None
    skew: float | None
    workers: tuple[WorkerCost, ...]
    functions: tuple[InnerFunction, ...]


@dataclass(frozen=True, slots=True)
class Breakdown:
    """`measure` says what percentages and orders are of: "cpu", or the weight type. `evaluations`: those that began in
    the part of the time and on the threads that were asked for; `markers` are the facts of the whole file.
    `outside_percent`: what belongs to no operator, or matches no rule.
    `names_problem`: why Feldera's names of the operators aren't there, if somebody looked for them.
    `labels` is cut to the limit, `labels_total` isn't. `coverage`, `lost_events`: as in `summary.Summary`."""

    by: By
    product: str
    interval_ms: float
    weight_type: str
    measure: str
    samples: int
    weight: float
    cpu_ms: float | None
    threads: int
    outside_percent: float
    markers: MarkerFacts | None
    names_problem: str
    labels_total: int
    labels: tuple[LabelCost, ...]
    evaluations: int = 0
    coverage: float | None = None
    lost_events: int | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Measured:
    """`notes`: what has to be known beside the costs. `markers`: by operator only."""

    costs: Costs
    notes: tuple[str, ...] = ()
    markers: MarkerFacts | None = None


def break_down(
    profile: Profile,
    attribution: Attribution,
    *,
    by: By,
    limit: int = 20,
    thread: str | None = None,
    time_range: TimeRange | None = None,
) -> Breakdown:
    """The `limit` labels that took most themselves. Raises NoMarkers, or NotInProfile as `summary.top` does."""
    chosen = summary.select_threads(profile, thread)
    weighing.check(profile, "samples", chosen)
    weighing.check_sign_of_cpu(chosen)
    span = attribution.span if isinstance(attribution, Operators) else tally.find_span(profile.threads)
    origin = span[0] if span else 0.0
    sums = _add_up(profile, chosen, attribution, time_range, origin_ms=origin)
    reported: Mapping[int, OperatorTotals] = {}
    problems: tuple[str, ...] = ()
    if isinstance(attribution, Operators):
        start, end = (time_range.start_ms, time_range.end_ms) if time_range else (-math.inf, math.inf)
        reported = attribution.sum_markers(chosen, origin + start, origin + end)
        problems = attribution.describe_problems()
    if time_range is not None:
        summary.check_range(profile, time_range, sums.samples)
    built = _Builder(attribution, sums, reported, weighing.find_weight_type(chosen))
    numbers = sorted(built.totals.keys() | reported.keys(), key=built.rank)
    built.inner = sums.find_inner(numbers[:limit], is_cpu=built.measure == "cpu")
    outside = (pair for label, pair in built.own.items() if built.labels[label].kind == "outside")
    return Breakdown(
        by=by,
        product=profile.meta.product,
        interval_ms=profile.meta.interval_ms,
        weight_type=built.weight_type,
        measure=weighing.name_measure(built.measure, built.weight_type),
        samples=sums.samples,
        weight=built.whole.weight,
        cpu_ms=built.read_ms(built.whole.cpu_us),
        threads=len(chosen),
        outside_percent=built.share(sum(outside, NOTHING)),
        markers=attribution.facts if isinstance(attribution, Operators) else None,
        names_problem=attribution.names_problem if isinstance(attribution, Operators) else "",
        labels_total=len(numbers),
        labels=tuple(built.build_label(label) for label in numbers[:limit]),
        evaluations=sum(each.evaluations for each in reported.values()),
        notes=(*weighing.describe_repeats(profile), *problems),
    )


def measure(profile: Profile, index: FunctionIndex, choice: Choice) -> Measured:
    """The costs of a whole profile by function, or by what stands for it in `choice`, as `summary.measure` has them."""
    attribution = choice.build(profile)
    if attribution is None:
        return Measured(summary.merge_costs(summary.measure(profile, profile.threads, index)))
    sums = _add_up(profile, profile.threads, attribution)
    own, totals = {label: sum(row.values(), NOTHING) for label, row in sums.find_selves().items()}, sums.find_totals()
    number = {label: index.number(each.title, each.kind) for label, each in enumerate(attribution.buckets.labels)}
    costs = Costs(
        samples=sums.samples,
        self_weight={number[label]: pair.weight for label, pair in own.items()},
        total_weight={number[label]: pair.weight for label, pair in totals.items()},
        self_cpu={number[label]: pair.cpu_us for label, pair in own.items()} if sums.has_cpu else {},
        total_cpu={number[label]: pair.cpu_us for label, pair in totals.items()} if sums.has_cpu else {},
        has_cpu=bool(sums.has_cpu),
    )
    return Measured(costs, *describe_markers(attribution))


def describe_markers(attribution: Attribution | None) -> tuple[tuple[str, ...], MarkerFacts | None]:
    """Notes on the markers of one profile, and the facts about them; by operator only."""
    if not isinstance(attribution, Operators):
        return (), None
    return (*attribution.describe_problems(), *attribution.describe_names()), attribution.facts


def _add_up(
    profile: Profile,
    threads: Iterable[Thread],
    attribution: Attribution,
    time_range: TimeRange | None = None,
    *,
    origin_ms: float = 0.0,
) -> _Sums:
    sums = _Sums(attribution)
    forests = Forests(profile, sums.functions, take_functions)
    for thread in threads:
        if thread.samples.length:
            sums.add(tally.read(thread, profile.meta, time_range, origin_ms=origin_ms), forests.of(thread))
    return sums


@dataclass(frozen=True, slots=True)
class _Pair:
    """Weight, and CPU time in microseconds."""

    weight: float = 0.0
    cpu_us: float = 0.0

    def __add__(self, other: _Pair) -> _Pair:
        return _Pair(self.weight + other.weight, self.cpu_us + other.cpu_us)


NOTHING = _Pair()


class _Sums:
    """By bucket and thread, and by label and innermost function."""

    def __init__(self, attribution: Attribution) -> None:
        self.attribution = attribution
        self.functions = FunctionIndex()
        self.samples = 0
        self.has_cpu: bool | None = None
        """For each thread that has samples; otherwise it would be a partial sum."""
        self.threads: dict[int, Thread] = {}
        self.by_thread: dict[int, dict[int, _Pair]] = {}
        self._inner: list[tuple[Longs, Floats, Floats]] = []
        """By label and innermost function, as one number: weight and CPU time, thread by thread."""

    def add(self, columns: SampleColumns, tree: Stacks) -> None:
        """One thread's samples; those without a stack are not counted, as in all summaries."""
        self.samples += len(columns.stacks)
        if len(columns.stacks):
            self.has_cpu = self.has_cpu is not False and columns.cpu_us is not None
        kept = columns.drop_stackless()
        if not len(kept.stacks):
            return
        found = self.attribution.attribute(kept.thread, tree, self.functions, kept.stacks, kept.read_times())
        self.threads[kept.thread.index] = kept.thread
        buckets = self.attribution.buckets.buckets
        self.by_thread[kept.thread.index] = _sum_pairs(kept, found, len(buckets))
        labels = np.array([bucket[-1] for bucket in buckets], dtype=np.int64)[found]
        keys, rows = np.unique(labels << SHIFT | vectors.view(tree.func)[kept.stacks], return_inverse=True)
        sums = kept.sum_by(rows, len(keys))
        self._inner.append((keys, sums.weight, _choose_cpu(sums)))

    def find_inner(self, wanted: Iterable[int], *, is_cpu: bool) -> dict[int, list[tuple[int, _Pair]]]:
        """The most expensive innermost functions of each label, with their costs."""
        labels = list(wanted)
        if not self._inner or not labels:
            return {}
        # Only for the few that are shown: there may be nearly as many pairs as samples.
        is_wanted = np.zeros(len(self.attribution.buckets.labels), dtype=bool)
        is_wanted[labels] = True
        rows_of_parts = [np.flatnonzero(is_wanted[part[0] >> SHIFT]) for part in self._inner]
        kept = [[column[rows] for column in part] for part, rows in zip(self._inner, rows_of_parts, strict=True)]
        keys, rows = np.unique(np.concatenate([part[0] for part in kept]), return_inverse=True)
        weight, cpu_us = (
            vectors.sum_by_row(rows, len(keys), np.concatenate([part[column] for part in kept])) for column in (1, 2)
        )
        top: dict[int, list[tuple[int, _Pair]]] = {}
        for label in labels:
            start, end = np.searchsorted(keys, [label << SHIFT, (label + 1) << SHIFT]).tolist()
            order = start + np.argsort(-(cpu_us if is_cpu else weight)[start:end], kind="stable")[:FUNCTIONS]
            top[label] = [(int(keys[at]) & MASK, _Pair(float(weight[at]), float(cpu_us[at]))) for at in order.tolist()]
        return top

    def find_selves(self) -> dict[int, dict[int, _Pair]]:
        """By label and the thread's index."""
        buckets = self.attribution.buckets.buckets
        selves: dict[int, dict[int, _Pair]] = defaultdict(dict)
        for thread, pairs in self.by_thread.items():
            for bucket, pair in pairs.items():
                row = selves[buckets[bucket][-1]]
                row[thread] = row.get(thread, NOTHING) + pair
        return selves

    def find_totals(self) -> dict[int, _Pair]:
        totals: dict[int, _Pair] = {}
        for pairs in self.by_thread.values():
            for bucket, pair in pairs.items():
                for label in self.attribution.buckets.buckets[bucket]:
                    totals[label] = totals.get(label, NOTHING) + pair
        return totals


def _sum_pairs(columns: SampleColumns, buckets: Ints, size: int) -> dict[int, _Pair]:
    """By bucket, without empty ones."""
    sums = columns.sum_by(buckets, size)
    cpu_us = _choose_cpu(sums)
    return {row: _Pair(float(sums.weight[row]), float(cpu_us[row])) for row in np.flatnonzero(sums.counts).tolist()}


def _choose_cpu(sums: Sums) -> Floats:
    return np.zeros(len(sums.weight)) if sums.cpu_us is None else sums.cpu_us


class _Builder:
    """Builds the result from sums."""

    def __init__(
        self, attribution: Attribution, sums: _Sums, reported: Mapping[int, OperatorTotals], weight_type: str
    ) -> None:
        self.labels = attribution.buckets.labels
        self.sums = sums
        self.reported = reported
        self.selves, self.totals = sums.find_selves(), sums.find_totals()
        self.own = {label: sum(row.values(), NOTHING) for label, row in self.selves.items()}
        self.whole = sum(self.own.values(), NOTHING)
        self.weight_type = weight_type
        self.measure = weighing.choose_measure(weight_type, has_cpu=bool(sums.has_cpu and self.whole.cpu_us))
        self.inner: dict[int, list[tuple[int, _Pair]]] = {}
        operators = {label for label, each in enumerate(self.labels) if each.kind == "operator"}
        self.operator_whole = sum(self.pick(pair) for label, pair in self.own.items() if label in operators)
        tops = {bucket[0] for bucket in attribution.buckets.buckets}
        self.reported_total = sum(each.cpu_us for label, each in reported.items() if label in tops)

    def pick(self, pair: _Pair) -> float:
        return pair.cpu_us if self.measure == "cpu" else pair.weight

    def share(self, pair: _Pair) -> float:
        whole = self.pick(self.whole)
        return 100.0 * self.pick(pair) / whole if whole else 0.0

    def rank(self, label: int) -> tuple[float, float, float, Label]:
        """By own cost; without samples by the cost that the markers report."""
        own, total, reported = self.own.get(label, NOTHING), self.totals.get(label, NOTHING), self.reported.get(label)
        return -self.pick(own), -self.pick(total), -reported.cpu_us if reported else 0.0, self.labels[label]

    def read_ms(self, cpu_us: float) -> float | None:
        return cpu_us / 1000 if self.sums.has_cpu else None

    def build_label(self, label: int) -> LabelCost:
        own, total = self.own.get(label, NOTHING), self.totals.get(label, NOTHING)
        reported = self.reported.get(label)
        each = self.labels[label]
        return LabelCost(
            name=each.name,
            kind=each.kind,
            node=each.node,
            note=each.note,
            self_weight=own.weight,
            total_weight=total.weight,
            self_cpu_ms=self.read_ms(own.cpu_us),
            total_cpu_ms=self.read_ms(total.cpu_us),
            self_percent=self.share(own),
            total_percent=self.share(total),
            evaluations=None if reported is None else reported.evaluations,
            marker_cpu_ms=None if reported is None else reported.cpu_us / 1000,
            difference_points=None if reported is None else self.compare(total, reported),
            skew=self.find_skew(label),
            workers=self.list_workers(label),
            functions=self.list_functions(label, own),
        )

    def compare(self, total: _Pair, reported: OperatorTotals) -> float | None:
        if self.weight_type != weighing.SAMPLES or not (self.operator_whole and self.reported_total):
            return None  # bytes have no share of time
        return 100.0 * (self.pick(total) / self.operator_whole - reported.cpu_us / self.reported_total)

    def find_skew(self, label: int) -> float | None:
        """Over the threads on which any operator ran; they all have the same operators."""
        if self.labels[label].kind != "operator":
            return None
        spent = [self.pick(self.selves.get(label, {}).get(thread, NOTHING)) for thread in self.find_workers()]
        mean = sum(spent) / len(spent) if spent else 0.0
        return max(spent) / mean if mean else None

    def find_workers(self) -> set[int]:
        operators = (row for label, row in self.selves.items() if self.labels[label].kind == "operator")
        return {thread for row in operators for thread in row}

    def list_workers(self, label: int) -> tuple[WorkerCost, ...]:
        row, threads = self.selves.get(label, {}), self.sums.threads
        return tuple(
            WorkerCost(threads[index].name, threads[index].tid, pair.weight, self.read_ms(pair.cpu_us))
            for index, pair in sorted(row.items())
        )

    def list_functions(self, label: int, own: _Pair) -> tuple[InnerFunction, ...]:
        functions = self.sums.functions.functions
        whole = self.pick(own) or 1.0
        return tuple(
            InnerFunction(
                functions[number].name,
                functions[number].lib,
                pair.weight,
                self.read_ms(pair.cpu_us),
                100.0 * self.pick(pair) / whole,
            )
            for number, pair in self.inner.get(label, ())
        )
