"""Several profiles, such as those of all hosts of a pipeline, as one summary. Pure.

Samples taken at different intervals weigh differently: they are brought to the first profile's interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from samply_operator.profiles import summary
from samply_operator.profiles.calltree import FunctionIndex
from samply_operator.profiles.errors import build_broken
from samply_operator.profiles.profile import Profile
from samply_operator.profiles.summary import Costs, ThreadCost


@dataclass(frozen=True, slots=True)
class Merged:
    """`profiles` are the sums of each file (in the order given), under its product's name."""

    interval_ms: float
    all_profiles: ThreadCost
    profiles: tuple[ThreadCost, ...]


def merge(profiles: Sequence[Profile], *, limit: int = 20) -> Merged:
    """One summary over all; each profile stands in it as a thread does in a summary of one."""
    if not profiles:
        raise build_broken("the list of profiles", "it is empty")
    index = FunctionIndex()
    interval = profiles[0].meta.interval_ms
    parts = []
    for profile in profiles:
        costs = summary.merge_costs(summary.measure(profile, profile.threads, index))
        parts.append(_scale(costs, profile.meta.interval_ms / interval if interval else 1.0))
    rows = tuple(
        replace(summary.build_thread(None, costs, index, limit), name=profile.meta.product)
        for profile, costs in zip(profiles, parts, strict=True)
    )
    return Merged(interval, summary.build_thread(None, summary.merge_costs(parts), index, limit), rows)


def _scale(costs: Costs, factor: float) -> Costs:
    if factor == 1.0:
        return costs
    return replace(
        costs,
        self_weight={number: value * factor for number, value in costs.self_weight.items()},
        total_weight={number: value * factor for number, value in costs.total_weight.items()},
    )
