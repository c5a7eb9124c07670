"""Several profiles, such as those of all hosts of a pipeline, as one summary. Pure.

Samples taken at different intervals stand for different times: they are brought to the first profile's interval. What
counts different things, or can't be brought to one interval, isn't added up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from samply_operator.profiles.analysis import breakdown, libraries, summary, weighing
from samply_operator.profiles.analysis.calltree import FunctionIndex
from samply_operator.profiles.analysis.left_out import LeftOut
from samply_operator.profiles.analysis.libraries import Builds
from samply_operator.profiles.analysis.summary import Costs, ThreadCost
from samply_operator.profiles.attribution.choosing import BY_FUNCTION, Choice
from samply_operator.profiles.attribution.labels import By
from samply_operator.profiles.errors import NotInProfile, build_broken
from samply_operator.profiles.format.profile import Profile


@dataclass(frozen=True, slots=True)
class Merged:
    """`profiles` are the sums of each file (in the order given), under its product's name. `weight_type`: what samples
    weigh in, as the format calls it (samples, bytes, tracing-ms). `measure`: what percentages and orders of all tables
    are of, "cpu" or the weight type. `notes`: what has to be known beside the numbers.

    Of a range of time, `profiles` have their times as names, and no functions of their own; `ids` are theirs, in the
    same order, and `left_out` are the others.
    """

    interval_ms: float
    all_profiles: ThreadCost
    profiles: tuple[ThreadCost, ...]
    weight_type: str = weighing.SAMPLES
    measure: str = weighing.SAMPLES
    notes: tuple[str, ...] = field(default_factory=tuple)
    by: By = "function"
    ids: tuple[str, ...] = field(default_factory=tuple)
    left_out: tuple[LeftOut, ...] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Counting:
    """What the samples of a profile weigh in, and how often they were taken. `place`: its name in messages."""

    place: str
    weight_type: str
    interval_ms: float


@dataclass(frozen=True, slots=True)
class _Part(Counting):
    product: str
    costs: Costs
    builds: Builds
    repeats: tuple[str, ...]
    problems: tuple[str, ...]


def merge(profiles: Iterable[Profile], *, limit: int = 20, choice: Choice = BY_FUNCTION) -> Merged:
    """One summary over all, at least one; each profile stands in it as a thread does in a summary of one.

    Each is read and released before the next, so that only one is in memory. Raises NotInProfile where they can't
    be added up.
    """
    index = FunctionIndex()
    parts: list[_Part] = []
    for profile in profiles:
        parts.append(_measure(profile, index, parts, choice))
        del profile
    if not parts:
        raise build_broken("the list of profiles", "it is empty")
    index.show_builds()
    weight_type = _find_weight_type(parts)
    counted = [part for part in parts if part.costs.samples]
    without = [part.place for part in counted if not part.costs.is_timed]
    basis = weighing.choose_measure(weight_type, has_cpu=bool(counted) and not without)
    rows = tuple(
        replace(summary.build_thread(None, part.costs, index, limit, basis), name=name)
        for part, name in zip(parts, _name(parts), strict=True)
    )
    merged = summary.merge_costs(part.costs for part in parts)
    is_fallback = weight_type == weighing.SAMPLES and 0 < len(without) < len(counted)
    notes = (
        *((f"Percentages are of samples: {without[0]} has no CPU times.",) if is_fallback else ()),
        *libraries.describe_differences(part.builds for part in parts),
        *dict.fromkeys(note for part in parts for note in part.repeats),
        *summary.describe_emptiness(merged),
        *(
            f"In {part.place}: {note}"
            for part in parts
            if len(parts) > 1
            for note in summary.describe_emptiness(part.costs)
        ),
        *(f"In {part.place}: {note}" for part in parts for note in part.problems),
    )
    return Merged(
        interval_ms=parts[0].interval_ms,
        all_profiles=summary.build_thread(None, merged, index, limit, basis),
        profiles=rows,
        weight_type=weight_type,
        measure=weighing.name_measure(basis, weight_type),
        notes=notes,
        by=choice.by,
    )


def _measure(profile: Profile, index: FunctionIndex, before: list[_Part], choice: Choice) -> _Part:
    weighing.check(profile, "samples")
    weighing.check_sign_of_cpu(profile.threads)
    measured = breakdown.measure(profile, index, choice)
    part = _Part(
        place=f"profile {len(before) + 1} ({profile.path.name})",
        product=profile.meta.product,
        interval_ms=profile.meta.interval_ms,
        weight_type=weighing.find_weight_type(profile.threads),
        costs=measured.costs,
        builds=libraries.gather(profile.libs),
        repeats=weighing.describe_repeats(profile),
        problems=measured.notes,
    )
    _find_weight_type([*before, part])
    return replace(part, costs=scale_costs(part.costs, find_factor(before[0], part))) if before else part


def _find_weight_type(parts: list[_Part]) -> str:
    """Of those that have samples. Raises NotInProfile where they differ."""
    by_type = {part.weight_type: part.place for part in parts if part.costs.samples}
    if len(by_type) > 1:
        found = ", ".join(f"{place} counts {weighing.name_unit(kind)}" for kind, place in by_type.items())
        raise NotInProfile(
            f"The profiles count different things, which cannot be added up: {found}.",
            remedy="Merge profiles of one kind.",
            details={"reason": "Unit"},
        )
    return next(iter(by_type), weighing.SAMPLES)


def find_factor(first: Counting, part: Counting) -> float:
    """By which its samples are brought to the first one's interval. What weighs bytes or time is what it is. Raises
    NotInProfile if one of the intervals is unknown."""
    if part.weight_type != weighing.SAMPLES or part.interval_ms == first.interval_ms:
        return 1.0
    for each in (first, part):
        if not each.interval_ms:
            raise NotInProfile(
                f"There is no interval in {each.place}: how often its samples were taken is "
                "not known, so they cannot be added to those of the others.",
                remedy="Leave it out, or look at it by itself (top).",
                details={"reason": "Unit"},
            )
    return part.interval_ms / first.interval_ms


def _name(parts: list[_Part]) -> list[str]:
    """The products' names, with the place behind it where two are the same."""
    count = Counter(part.product for part in parts)
    return [part.product if count[part.product] == 1 else f"{part.product}, {part.place}" for part in parts]


def scale_costs(costs: Costs, factor: float) -> Costs:
    if factor == 1.0:
        return costs
    return replace(
        costs,
        self_weight={number: value * factor for number, value in costs.self_weight.items()},
        total_weight={number: value * factor for number, value in costs.total_weight.items()},
    )
