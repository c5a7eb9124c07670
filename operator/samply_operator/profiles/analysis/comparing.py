"""Two profiles side by side, function by function. Pure.

Recordings differ in length and load, so what is compared are shares: a function's CPU time of all CPU time (of all
samples, where one of the two has no CPU time). Milliseconds stand beside them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from samply_operator.profiles.analysis import breakdown
from samply_operator.profiles.analysis.calltree import FunctionIndex
from samply_operator.profiles.analysis.summary import Costs
from samply_operator.profiles.analysis.weighing import Measure
from samply_operator.profiles.attribution.choosing import BY_FUNCTION, Choice
from samply_operator.profiles.format.profile import Profile


@dataclass(frozen=True, slots=True)
class Change:
    """One function. Percentages are shares of the whole profile; differences are in percentage points."""

    name: str
    lib: str
    self_before: float
    self_after: float
    self_before_percent: float
    self_after_percent: float
    self_difference: float
    total_before: float
    total_after: float
    total_before_percent: float
    total_after_percent: float
    total_difference: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """`measure` says what before and after are in: milliseconds of CPU ("cpu") or samples."""

    product_before: str
    product_after: str
    measure: Measure
    whole_before: float
    whole_after: float
    changes_total: int
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class _Side:
    selves: dict[int, float]
    totals: dict[int, float]
    whole: float

    def share(self, value: float) -> float:
        return 100.0 * value / self.whole if self.whole else 0.0


def compare(before: Profile, after: Profile, *, limit: int = 30, choice: Choice = BY_FUNCTION) -> Comparison:
    """The `limit` functions, operators or groups whose own share changed most, either way."""
    return compare_each((before, after), limit=limit, choice=choice)


def compare_each(profiles: Iterable[Profile], *, limit: int = 30, choice: Choice = BY_FUNCTION) -> Comparison:
    """The same of two that are taken one after the other and let go: big files are never in memory together."""
    index = FunctionIndex()
    products: list[str] = []
    costs: list[Costs] = []
    for profile in profiles:
        costs.append(breakdown.measure(profile, index, choice))
        products.append(profile.meta.product)
        del profile
    measure: Measure = "cpu" if all(cost.has_cpu for cost in costs) else "samples"
    old, new = (_pick(cost, measure) for cost in costs)
    changes = [
        _build_change(index, number, old, new) for number in range(len(index.functions)) if _is_seen(number, old, new)
    ]
    changes.sort(key=lambda change: (-abs(change.self_difference), -abs(change.total_difference), change.name))
    return Comparison(
        product_before=products[0],
        product_after=products[1],
        measure=measure,
        whole_before=old.whole,
        whole_after=new.whole,
        changes_total=len(changes),
        changes=tuple(changes[:limit]),
    )


def _pick(costs: Costs, measure: Measure) -> _Side:
    if measure == "samples":
        return _Side(costs.self_weight, costs.total_weight, sum(costs.self_weight.values()))
    selves, totals = (
        {number: value / 1000 for number, value in sums.items()} for sums in (costs.self_cpu, costs.total_cpu)
    )
    return _Side(selves, totals, sum(costs.self_cpu.values()) / 1000)


def _is_seen(number: int, old: _Side, new: _Side) -> bool:
    return bool(old.totals.get(number) or new.totals.get(number))


def _build_change(index: FunctionIndex, number: int, old: _Side, new: _Side) -> Change:
    function = index.functions[number]
    self_before, self_after = old.selves.get(number, 0.0), new.selves.get(number, 0.0)
    total_before, total_after = old.totals.get(number, 0.0), new.totals.get(number, 0.0)
    return Change(
        name=function.name,
        lib=function.lib,
        self_before=self_before,
        self_after=self_after,
        self_before_percent=old.share(self_before),
        self_after_percent=new.share(self_after),
        self_difference=new.share(self_after) - old.share(self_before),
        total_before=total_before,
        total_after=total_after,
        total_before_percent=old.share(total_before),
        total_after_percent=new.share(total_after),
        total_difference=new.share(total_after) - old.share(total_before),
    )
