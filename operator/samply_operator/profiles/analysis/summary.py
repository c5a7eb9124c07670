"""The functions that a profile spends its time in, for each thread and for all. Pure; `text.py` shows it."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from samply_operator.profiles.analysis import calltree, tally
from samply_operator.profiles.analysis.calltree import Function, FunctionIndex, Stacks
from samply_operator.profiles.analysis.tally import TimeRange
from samply_operator.profiles.format.profile import Profile, Thread


@dataclass(frozen=True, slots=True)
class FunctionCost:
    """`self_`: spent in the function itself, `total`: in it and in what it called; a recursive call counts once.

    Weight is in samples; CPU in milliseconds, None where the profile has none.
    """

    name: str
    lib: str
    file: str
    self_weight: float
    total_weight: float
    self_cpu_ms: float | None
    total_cpu_ms: float | None


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
    """`coverage` and `lost_events` aren't in the file: None unless somebody who knows them says so."""

    product: str
    interval_ms: float
    weight_type: str
    all_threads: ThreadCost
    threads: tuple[ThreadCost, ...]
    coverage: float | None = None
    lost_events: int | None = None


@dataclass(frozen=True, slots=True)
class Costs:
    """Sums by function number, not cut. CPU in microseconds."""

    samples: int
    self_weight: dict[int, float]
    total_weight: dict[int, float]
    self_cpu: dict[int, float]
    total_cpu: dict[int, float]
    has_cpu: bool


def top(
    profile: Profile,
    *,
    limit: int = 20,
    thread: str | None = None,
    time_range: TimeRange | None = None,
) -> Summary:
    """The `limit` most expensive functions. `thread` picks threads by name or tid, `time_range` a part of the time."""
    index = FunctionIndex()
    chosen = select_threads(profile, thread)
    rows = []

    def build_rows() -> Iterator[Costs]:
        # One thread's costs at a time are in memory.
        for each, costs in zip(chosen, measure(profile, chosen, index, time_range), strict=True):
            rows.append(build_thread(each, costs, index, limit))
            yield costs

    merged = merge_costs(build_rows())
    return Summary(
        product=profile.meta.product,
        interval_ms=profile.meta.interval_ms,
        weight_type=find_weight_type(chosen),
        all_threads=build_thread(None, merged, index, limit),
        threads=tuple(sorted(rows, key=lambda row: (-row.weight, row.name, row.tid))),
    )


def select_threads(profile: Profile, thread: str | None) -> list[Thread]:
    """Threads with that name or tid; all without one."""
    return [each for each in profile.threads if thread is None or thread in (each.name, each.tid)]


def find_weight_type(threads: Iterable[Thread]) -> str:
    """What all weights are in, or `mixed`."""
    types = {each.samples.weight_type for each in threads}
    return types.pop() if len(types) == 1 else "mixed" if types else "samples"


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
        has_cpu=sums.cpu_us is not None and bool(selves[0] or selves[-1]),
    )


def merge_costs(parts: Iterable[Costs]) -> Costs:
    """The sums over several threads."""
    merged = Costs(0, defaultdict(float), defaultdict(float), defaultdict(float), defaultdict(float), has_cpu=False)
    samples, has_cpu = 0, False
    for part in parts:
        samples += part.samples
        has_cpu = has_cpu or part.has_cpu
        for into, values in (
            (merged.self_weight, part.self_weight),
            (merged.total_weight, part.total_weight),
            (merged.self_cpu, part.self_cpu),
            (merged.total_cpu, part.total_cpu),
        ):
            for number, value in values.items():
                into[number] += value
    return Costs(samples, merged.self_weight, merged.total_weight, merged.self_cpu, merged.total_cpu, has_cpu)


def build_thread(thread: Thread | None, costs: Costs, index: FunctionIndex, limit: int) -> ThreadCost:
    functions = index.functions

    def pick(order: Mapping[int, float]) -> tuple[FunctionCost, ...]:
        def rank(number: int) -> tuple[float, str, str]:
            return -order.get(number, 0.0), functions[number].name, functions[number].lib

        # Not a sort of all: there may be a hundred thousand functions, and a table for each of a hundred threads.
        numbers = heapq.nsmallest(limit, costs.total_weight, key=rank)
        return tuple(build_cost(functions[number], number, costs) for number in numbers)

    return ThreadCost(
        name=thread.name if thread else "",
        process_name=thread.process_name if thread else "",
        pid=thread.pid if thread else "",
        tid=thread.tid if thread else "",
        samples=costs.samples,
        weight=sum(costs.self_weight.values()),
        cpu_ms=sum(costs.self_cpu.values()) / 1000 if costs.has_cpu else None,
        functions_total=len(costs.total_weight),
        by_self=pick(costs.self_weight),
        by_total=pick(costs.total_weight),
    )


def build_cost(function: Function, number: int, costs: Costs) -> FunctionCost:
    return FunctionCost(
        name=function.name,
        lib=function.lib,
        file=function.file,
        self_weight=costs.self_weight.get(number, 0.0),
        total_weight=costs.total_weight.get(number, 0.0),
        self_cpu_ms=costs.self_cpu.get(number, 0.0) / 1000 if costs.has_cpu else None,
        total_cpu_ms=costs.total_cpu.get(number, 0.0) / 1000 if costs.has_cpu else None,
    )
