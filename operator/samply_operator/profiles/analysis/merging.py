"""Several profiles, such as those of all hosts of a pipeline, as one summary. Pure.

Samples taken at different intervals weigh differently: they are brought to the first profile's interval.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from samply_operator.profiles.analysis import breakdown, summary
from samply_operator.profiles.analysis.calltree import FunctionIndex
from samply_operator.profiles.analysis.summary import Costs, ThreadCost
from samply_operator.profiles.attribution.choosing import BY_FUNCTION, Choice
from samply_operator.profiles.errors import build_broken
from samply_operator.profiles.format.profile import Profile


@dataclass(frozen=True, slots=True)
class Merged:
    """`profiles` are the sums of each file (in the order given), under its product's name."""

    interval_ms: float
    all_profiles: ThreadCost
    profiles: tuple[ThreadCost, ...]


def merge(profiles: Iterable[Profile], *, limit: int = 20, choice: Choice = BY_FUNCTION) -> Merged:
    """One summary over all, at least one; each profile stands in it as a thread does in a summary of one.

    One after the other is taken and let go, so that a big file is alone in memory.
    """
    index = FunctionIndex()
    interval: float | None = None
    parts: list[tuple[str, Costs]] = []
    for profile in profiles:
        interval = profile.meta.interval_ms if interval is None else interval
        costs = breakdown.measure(profile, index, choice)
        scaled = _scale(costs, profile.meta.interval_ms / interval if interval else 1.0)
        parts.append((profile.meta.product, scaled))
        del profile
    if interval is None:
        raise build_broken("the list of profiles", "it is empty")
    rows = tuple(replace(summary.build_thread(None, costs, index, limit), name=product) for product, costs in parts)
    merged = summary.merge_costs(costs for _, costs in parts)
    return Merged(interval, summary.build_thread(None, merged, index, limit), rows)


def _scale(costs: Costs, factor: float) -> Costs:
    if factor == 1.0:
        return costs
    return replace(
        costs,
        self_weight={number: value * factor for number, value in costs.self_weight.items()},
        total_weight={number: value * factor for number, value in costs.total_weight.items()},
    )
