"""The functions that a profile spends its time in, for each thread and for all. Pure; `text.py` shows it."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from samply_operator.profiles.analysis import calltree, tally, weighing
from samply_operator.profiles.analysis.calltree import FunctionIndex, Stacks
from samply_operator.profiles.analysis.selection import Measure
from samply_operator.profiles.analysis.tally import TimeRange
from samply_operator.profiles.errors import NotInProfile
from samply_operator.profiles.format.profile import Profile, Thread

FOREVER_SECS = 1e8
MANY = 40


@dataclass(frozen=True, slots=True)
class FunctionCost:
    """`self_`: spent in the function itself, `total`: in it and in what it called; a recursive call counts once.

    Weight is in the summary's `weight_type`; CPU in milliseconds, None where the profile has none. Percentages are of
    the table's whole (one thread's, or all), in the summary's `measure`.
    """

    name: str
    lib: str
    file: str
    self_weight: float
    total_weight: float
    self_cpu_ms: float | None
    total_cpu_ms: float | None
    self_percent: float
    total_percent: float


@dataclass(frozen=True, slots=True)
class ThreadCost:
    """One thread, or all of them (then `name` is empty). `functions` is cut to the limit, `functions_total` isn't."""

    name: str
    process_name: str
    pid: str
    tid: str
    samples: int
    weight: float
    cpu_ms: float | None
    functions_total: int
    by_self: tuple[FunctionCost, ...]
    by_total: tuple[FunctionCost, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """`weight_type`: what samples weigh in, as the format calls it (samples, bytes, tracing-ms). `measure`: what
    percentages and orders are of, "cpu" or the weight type. `coverage` and `lost_events` are not in the file: None
    unless the caller adds them. `notes`: what has to be known beside the numbers, a sentence each.
    """

    product: str
    interval_ms: float
    weight_type: str
    measure: str
    all_threads: ThreadCost
    threads: tuple[ThreadCost, ...]
    coverage: float | None = None
    lost_events: int | None = None
    notes: tuple[str, ...] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Costs:
    """Sums by function number, not cut. CPU in microseconds."""

    samples: int
    self_weight: dict[int, float]
    total_weight: dict[int, float]
    self_cpu: dict[int, float]
    total_cpu: dict[int, float]
    has_cpu: bool

    @property
    def is_timed(self) -> bool:
        """Whether shares of the CPU time can be told."""
        return self.has_cpu and any(self.self_cpu.values())

    def pick(self, measure: Measure) -> tuple[dict[int, float], dict[int, float]]:
        """Self and total."""
        return (self.self_cpu, self.total_cpu) if measure == "cpu" else (self.self_weight, self.total_weight)


def top(
    profile: Profile,
    *,
    limit: int = 20,
    thread: str | None = None,
    time_range: TimeRange | None = None,
) -> Summary:
    """The `limit` most expensive functions. `thread` picks threads by name or tid, `time_range` a part of the time.

    Raises NotInProfile where there is no such thread, nothing in that time, or no unit for the sum.
    """
    chosen = select_threads(profile, thread)
    weighing.check(profile, "samples", chosen)
    weighing.check_sign_of_cpu(chosen)
    weight_type = weighing.find_weight_type(chosen)
    basis = weighing.choose_measure(weight_type, has_cpu=weighing.may_have_cpu_times(profile, chosen))
    index, rows, merged = _sum_threads(profile, chosen, time_range, limit, basis)
    if basis == "cpu" and not merged.is_timed:  # none in this part of the time, or none with a stack
        basis = "samples"
        index, rows, merged = _sum_threads(profile, chosen, time_range, limit, basis)
    if time_range is not None:
        check_range(profile, time_range, merged.samples)
    return Summary(
        product=profile.meta.product,
        interval_ms=profile.meta.interval_ms,
        weight_type=weight_type,
        measure=weighing.name_measure(basis, weight_type),
        all_threads=build_thread(None, merged, index, limit, basis),
        threads=tuple(rows),
        notes=(*weighing.describe_repeats(profile), *describe_emptiness(merged)),
    )


def _sum_threads(
    profile: Profile, chosen: Sequence[Thread], time_range: TimeRange | None, limit: int, basis: Measure
) -> tuple[FunctionIndex, list[ThreadCost], Costs]:
    """A row for each thread, the largest first, and all together. One thread's costs at a time are in memory."""
    index = FunctionIndex()
    rows: list[ThreadCost] = []

    def build_rows() -> Iterator[Costs]:
        for each, costs in zip(chosen, measure(profile, chosen, index, time_range), strict=True):
            rows.append(build_thread(each, costs, index, limit, basis))
            yield costs

    merged = merge_costs(build_rows())
    rows.sort(key=lambda row: (-(row.cpu_ms or 0.0) if basis == "cpu" else -row.weight, row.name, row.tid))
    return index, rows, merged


def check_range(profile: Profile, time_range: TimeRange, samples: int) -> None:
    """Raises NotInProfile where nothing lies in it, or where what the file calls times are none."""
    if samples and profile.meta.has_times:
        return
    span = tally.find_span(profile.threads)
    start, end = time_range.start_ms / 1000, time_range.end_ms / 1000
    asked = f"from {start:g} s on" if end > FOREVER_SECS else f"from {start:g} to {end:g} s"
    lasted = f"it lasts {(span[1] - span[0]) / 1000:.3f} s" if span and profile.meta.has_times else "it has no times"
    raise NotInProfile(
        f"{profile.path.name} has no samples {asked}: {lasted}.",
        remedy="Times are seconds since its first sample.",
        details={"reason": "Range"},
    )


def describe_emptiness(costs: Costs) -> tuple[str, ...]:
    """Why there is nothing to list; empty if there is something."""
    if any(costs.self_weight.values()):
        return ()
    if costs.samples:
        return ("None of the samples has a stack, or none weighs anything.",)
    return ("There are no samples: nothing used the CPU meanwhile, or samply saw none of it.",)


def select_threads(profile: Profile, thread: str | None) -> list[Thread]:
    """Threads with that name or tid; all without one. Raises NotInProfile where there is none."""
    if thread is None:
        return list(profile.threads)
    # A thread that repeats others may be selected by itself.
    for threads in (profile.threads, profile.repeats):
        if found := [each for each in threads if thread in (each.name, each.tid)]:
            return found
    names = sorted({each.name for each in profile.all_threads})
    raise NotInProfile(
        f"No thread is named {thread}.",
        remedy=f"There are: {', '.join(names[:MANY])}{' …' if len(names) > MANY else ''}.",
        details={"reason": "Thread"},
    )


def measure(
    profile: Profile, threads: Iterable[Thread], index: FunctionIndex, time_range: TimeRange | None = None
) -> Iterator[Costs]:
    """The costs of each thread. Tables that threads share are walked once."""
    span = tally.find_span(profile.threads) if time_range is not None else None
    forests = calltree.Forests(profile, index, calltree.take_stacks)
    for thread in threads:
        yield _measure(thread, profile, forests.of(thread), time_range, origin_ms=span[0] if span else 0.0)


def _measure(
    thread: Thread, profile: Profile, forest: Stacks, time_range: TimeRange | None, *, origin_ms: float
) -> Costs:
    sums = tally.sum_up(thread, profile.meta, None, len(forest.parent), time_range, origin_ms=origin_ms)
    columns = [sums.weight] if sums.cpu_us is None else [sums.weight, sums.cpu_us]
    selves = [calltree.sum_selves(forest, column) for column in columns]
    totals = calltree.sum_totals(forest, columns)
    return Costs(
        samples=sums.samples,
        self_weight=selves[0],
        total_weight=totals[0],
        self_cpu=selves[-1] if sums.cpu_us is not None else {},
        total_cpu=totals[-1] if sums.cpu_us is not None else {},
        has_cpu=sums.cpu_us is not None,
    )


def merge_costs(parts: Iterable[Costs]) -> Costs:
    """The sums over several threads. CPU time where each that has samples has it: else it would be that of a part."""
    merged = Costs(0, defaultdict(float), defaultdict(float), defaultdict(float), defaultdict(float), has_cpu=False)
    samples, has_cpu = 0, True
    for part in parts:
        samples += part.samples
        has_cpu = has_cpu and (part.has_cpu or not part.samples)
        for into, values in (
            (merged.self_weight, part.self_weight),
            (merged.total_weight, part.total_weight),
            (merged.self_cpu, part.self_cpu),
            (merged.total_cpu, part.total_cpu),
        ):
            for number, value in values.items():
                into[number] += value
    has_cpu = has_cpu and bool(merged.self_cpu)
    return Costs(samples, merged.self_weight, merged.total_weight, merged.self_cpu, merged.total_cpu, has_cpu)


def build_thread(thread: Thread | None, costs: Costs, index: FunctionIndex, limit: int, basis: Measure) -> ThreadCost:
    """`basis`: what the table's order and percentages are of."""
    functions = index.functions
    selves, totals = costs.pick(basis)
    whole = sum(selves.values())

    def pick(order: Mapping[int, float]) -> tuple[FunctionCost, ...]:
        def rank(number: int) -> tuple[float, str, str]:
            return -order.get(number, 0.0), functions[number].name, functions[number].lib

        # Not a sort of all: there may be a hundred thousand functions, and a table for each of a hundred threads.
        numbers = heapq.nsmallest(limit, costs.total_weight, key=rank)
        return tuple(build_cost(number) for number in numbers)

    def build_cost(number: int) -> FunctionCost:
        function = functions[number]
        return FunctionCost(
            name=function.name,
            lib=function.lib,
            file=function.file,
            self_weight=costs.self_weight.get(number, 0.0),
            total_weight=costs.total_weight.get(number, 0.0),
            self_cpu_ms=costs.self_cpu.get(number, 0.0) / 1000 if costs.has_cpu else None,
            total_cpu_ms=costs.total_cpu.get(number, 0.0) / 1000 if costs.has_cpu else None,
            self_percent=100.0 * selves.get(number, 0.0) / whole if whole else 0.0,
            total_percent=100.0 * totals.get(number, 0.0) / whole if whole else 0.0,
        )

    return ThreadCost(
        name=thread.name if thread else "",
        process_name=thread.process_name if thread else "",
        pid=thread.pid if thread else "",
        tid=thread.tid if thread else "",
        samples=costs.samples,
        weight=sum(costs.self_weight.values()),
        cpu_ms=sum(costs.self_cpu.values()) / 1000 if costs.has_cpu else None,
        functions_total=len(costs.total_weight),
        by_self=pick(selves),
        by_total=pick(totals),
    )
