"""Two profiles side by side, function by function. Pure.

Recordings differ in length and load, so what is compared are shares: a function's CPU time of all CPU time (of all
samples, where one of the two has no CPU time, or of what the samples weigh, such as bytes). Sums stand beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from samply_operator.profiles.analysis import breakdown, libraries, ranges, tally, weighing
from samply_operator.profiles.analysis.breakdown import Measured
from samply_operator.profiles.analysis.calltree import FunctionIndex
from samply_operator.profiles.analysis.left_out import LeftOut
from samply_operator.profiles.analysis.ranges import Adding
from samply_operator.profiles.analysis.selection import Measure
from samply_operator.profiles.analysis.summary import Costs
from samply_operator.profiles.attribution.choosing import BY_FUNCTION, Choice
from samply_operator.profiles.attribution.labels import By
from samply_operator.profiles.attribution.operators import MarkerFacts
from samply_operator.profiles.errors import NoMarkers, NotInProfile
from samply_operator.profiles.format.profile import Profile

WHICH = ("first", "second")


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
    """`measure` says what before and after are in: milliseconds of CPU ("cpu"), or the weight type of both ("samples",
    "bytes", "tracing-ms"). `notes`: what has to be known beside the numbers, a sentence each. If one of the two is a
    range of time: `ids_…` are the profiles that went in, `left_out_…` the others.
    """

    product_before: str
    product_after: str
    measure: str
    whole_before: float
    whole_after: float
    changes_total: int
    changes: tuple[Change, ...]
    notes: tuple[str, ...] = field(default_factory=tuple)
    by: By = "function"
    ids_before: tuple[str, ...] = field(default_factory=tuple)
    ids_after: tuple[str, ...] = field(default_factory=tuple)
    left_out_before: tuple[LeftOut, ...] = field(default_factory=tuple)
    left_out_after: tuple[LeftOut, ...] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Traits:
    """Properties that decide how two profiles can be compared, and which notes they need."""

    product: str
    place: str
    """The profile's name in messages."""
    weight_type: str
    has_cpu: bool
    has_samples: bool
    builds: tuple[libraries.Builds, ...]
    repeats: tuple[str, ...]


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
    """The same for two that are read and released one after the other, so that only one is in memory."""
    both = _Both(choice)
    for profile in profiles:
        both.add(profile)
        del profile
    return both.compare(limit)


def compare_kinds(profiles: Iterable[Profile], kinds: Iterable[By], *, limit: int = 30) -> dict[By, Comparison]:
    """The same by each of `kinds`, with one look at each profile. By operator is left out if one of them has no
    markers."""
    found = {by: _Both(Choice(by)) for by in kinds}
    for profile in profiles:
        for by, both in tuple(found.items()):
            try:
                both.add(profile)
            except NoMarkers:
                del found[by]
        del profile
    return {by: both.compare(limit) for by, both in found.items()}


class _Both:
    """The costs of two profiles, one after the other."""

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self._index = FunctionIndex()
        self._traits: list[Traits] = []
        self._found: list[Measured] = []

    def add(self, profile: Profile) -> None:
        self._traits.append(describe(profile, WHICH[len(self._traits)]))
        weighing.check_sign_of_cpu(profile.threads)
        self._found.append(breakdown.measure(profile, self._index, self._choice))

    def compare(self, limit: int) -> Comparison:
        return _compare(self._traits, self._found, self._index, limit, self._choice)


def compare_ranges(before: Adding, after: Adding, *, limit: int = 30, choice: Choice = BY_FUNCTION) -> Comparison:
    """The same for all profiles of two ranges of time, or of one and a profile."""
    index = FunctionIndex()
    sides = (before, after)
    found = [ranges.sum_up(side, index, choice).measured for side in sides]
    traits = [describe_range(side, which) for side, which in zip(sides, WHICH, strict=True)]
    comparison = _compare(traits, found, index, limit, choice)
    return replace(
        comparison,
        notes=(*comparison.notes, *describe_intervals(before, after)),
        ids_before=tuple(part.id for part in before.parts),
        ids_after=tuple(part.id for part in after.parts),
        left_out_before=tuple(before.left_out),
        left_out_after=tuple(after.left_out),
    )


def _compare(
    traits: Sequence[Traits], found: Sequence[Measured], index: FunctionIndex, limit: int, choice: Choice
) -> Comparison:
    measure = choose_measure(traits[0], traits[1])
    index.show_builds()
    old, new = (_pick(each.costs, measure) for each in found)
    changes = [
        _build_change(index, number, old, new) for number in range(len(index.functions)) if _is_seen(number, old, new)
    ]
    changes.sort(key=lambda change: (-abs(change.self_difference), -abs(change.total_difference), change.name))
    return Comparison(
        product_before=traits[0].product,
        product_after=traits[1].product,
        measure=weighing.name_measure(measure, traits[0].weight_type),
        whole_before=old.whole,
        whole_after=new.whole,
        changes_total=len(changes),
        changes=tuple(changes[:limit]),
        notes=(
            *describe_traits(traits[0], traits[1]),
            *describe_markers([(each.notes, each.markers) for each in found]),
        ),
        by=choice.by,
    )


def describe(profile: Profile, which: str) -> Traits:
    """Raises NotInProfile where its threads count different things, BrokenProfile where less than nothing."""
    weighing.check(profile, "samples")
    return Traits(
        product=profile.meta.product,
        place=f"the {which} profile ({profile.path.name})",
        weight_type=weighing.find_weight_type(profile.threads),
        has_cpu=weighing.has_cpu_times(profile),
        has_samples=any(map(tally.has_stacks, profile.threads)),
        builds=(libraries.gather(profile.libs),),
        repeats=weighing.describe_repeats(profile),
    )


def describe_range(side: Adding, which: str) -> Traits:
    """Of profiles that were read."""
    without = side.list_untimed()
    if side.is_alone:
        place = f"the {which} profile ({side.parts[0].place})"
    else:
        is_partial = without and side.weight_type == weighing.SAMPLES
        place = f"the {which} range ({without[0]})" if is_partial else f"the {which} range"
    return Traits(
        product=side.name,
        place=place,
        weight_type=side.weight_type,
        has_cpu=not without,
        has_samples=any(part.has_samples for part in side.parts),
        builds=tuple(part.builds for part in side.parts),
        repeats=tuple(note for part in side.parts for note in part.repeats),
    )


def describe_intervals(before: Adding, after: Adding) -> tuple[str, ...]:
    return tuple(
        f"In the {which} range: {note}"
        for which, side in zip(WHICH, (before, after), strict=True)
        for note in side.describe_intervals()
    )


def choose_measure(before: Traits, after: Traits) -> Measure:
    """CPU time where both have it, else what the samples weigh. Raises NotInProfile if that cannot be compared."""
    for each in (before, after):
        if not each.has_samples:
            raise NotInProfile(
                f"There are no samples in {each.place}, so there is nothing to compare.",
                remedy="Record while the pipeline works.",
                details={"reason": "Samples"},
            )
    if before.weight_type != after.weight_type:
        raise NotInProfile(
            f"Different things cannot be compared: {before.place} counts {weighing.name_unit(before.weight_type)}, "
            f"{after.place} counts {weighing.name_unit(after.weight_type)}.",
            remedy="Compare profiles of one kind.",
            details={"reason": "Unit"},
        )
    return weighing.choose_measure(before.weight_type, has_cpu=before.has_cpu and after.has_cpu)


def describe_traits(before: Traits, after: Traits) -> tuple[str, ...]:
    """Notes on the comparison."""
    without = [each.place for each in (before, after) if not each.has_cpu]
    is_fallback = before.weight_type == weighing.SAMPLES and len(without) == 1
    return (
        *((f"Samples are compared: {without[0]} has no CPU times.",) if is_fallback else ()),
        *libraries.describe_differences((*before.builds, *after.builds)),
        *dict.fromkeys((*before.repeats, *after.repeats)),
    )


def describe_markers(found: Sequence[tuple[tuple[str, ...], MarkerFacts | None]]) -> tuple[str, ...]:
    """Notes on a comparison by operator, from what `breakdown.describe_markers` has of both."""
    workers = [facts.worker_threads if facts else 0 for _, facts in found]
    notes = [f"In the {which} profile: {note}" for which, (own, _) in zip(WHICH, found, strict=True) for note in own]
    if workers[0] != workers[1]:
        notes.append(
            f"Evaluations of operators are on {workers[0]} threads in the first profile, on {workers[1]} in the "
            "second one: markers are missing, or the pipeline had another number of workers."
        )
    return tuple(notes)


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
