"""The profiles of a range of time as one: which of them can be added up, and why others are left out. Pure.

The first one that can be read sets the unit and the interval. One that is damaged, has no samples, or counts something
else is left out and listed with the reason, so that it does not hide the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from samply_operator.errors import ProfileError
from samply_operator.profiles.analysis import breakdown, libraries, merging, summary, tally, weighing
from samply_operator.profiles.analysis.breakdown import Measured
from samply_operator.profiles.analysis.calltree import FunctionIndex
from samply_operator.profiles.analysis.left_out import LeftOut
from samply_operator.profiles.analysis.libraries import Builds
from samply_operator.profiles.analysis.merging import Counting, Merged
from samply_operator.profiles.analysis.selection import Measure
from samply_operator.profiles.analysis.summary import Costs, ThreadCost
from samply_operator.profiles.attribution.choosing import BY_FUNCTION, Choice
from samply_operator.profiles.attribution.operators import MarkerFacts
from samply_operator.profiles.errors import NotInProfile, build_broken
from samply_operator.profiles.format.profile import Profile

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """`title`: its name in tables and messages. `read` reads the file; raises ProfileError."""

    id: str
    title: str
    read: Callable[[], Profile]


@dataclass(frozen=True, slots=True)
class Part(Counting):
    """A profile that is in the sum. `factor`: by which its samples are scaled. `is_timed`: it has CPU times."""

    id: str
    product: str
    is_timed: bool
    has_samples: bool
    builds: Builds
    repeats: tuple[str, ...]
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Sum:
    """`measured`: all together. `rows`: the sums of each, without its functions."""

    measured: Measured
    rows: tuple[ThreadCost, ...]


class Adding:
    """Reads profiles one after the other, so that only one is in memory. `measure`: what is to be counted; None: CPU
    time if all have it, else what the samples weigh. `needs_samples`: one without is an error even if it is the only
    one. `name`: the pipeline's. After `each` has ended, `parts` and `left_out` are complete."""

    def __init__(
        self,
        sources: Sequence[Source],
        left_out: Sequence[LeftOut] = (),
        *,
        name: str = "",
        measure: Measure | None = None,
        needs_samples: bool = False,
    ) -> None:
        self.parts: list[Part] = []
        self.left_out = list(left_out)
        self._sources = sources
        self._name = name
        self._measure = measure
        self._needs_samples = needs_samples
        self._first_error: ProfileError | None = None

    @property
    def name(self) -> str:
        """The product's if it is only one profile."""
        if self.is_alone:
            return self.parts[0].product
        return f"{self._name}, {len(self.parts)} profiles ({self.parts[-1].place} to {self.parts[0].place})"

    @property
    def weight_type(self) -> str:
        return self.parts[0].weight_type

    @property
    def is_alone(self) -> bool:
        """One profile answers as it does outside of a range, errors included."""
        return len(self._sources) == 1

    def each(self, measure: Callable[[Profile], T]) -> Iterator[tuple[T, Part]]:
        """What `measure` has of each profile that can be added. It must read all that it needs: nothing of a profile
        that turns out to be damaged may be in a sum. Raises ProfileError if nothing can be added."""
        for source in self._sources:
            taken = self._take(source, measure)
            if taken is not None:
                self.parts.append(taken[1])
                yield taken
            del taken  # before the next profile is read
        if not self.parts:
            raise self._build_nothing()

    def _take(self, source: Source, measure: Callable[[Profile], T]) -> tuple[T, Part] | None:
        """None: it is left out."""
        try:
            profile = source.read()
            part = self._admit(profile, source)
            return measure(profile), part
        except ProfileError as error:
            if self.is_alone:
                raise
            self._leave_out(source, error)
            return None

    def _admit(self, profile: Profile, source: Source) -> Part:
        weighing.check(profile, "samples")
        weighing.check_sign_of_cpu(profile.threads)
        if self._measure == "cpu":
            weighing.check(profile, "cpu")
        if self._needs_samples or not self.is_alone:
            weighing.require_samples(profile)
        part = Part(
            place=source.title,
            weight_type=weighing.find_weight_type(profile.threads),
            interval_ms=profile.meta.interval_ms,
            id=source.id,
            product=profile.meta.product,
            is_timed=weighing.has_cpu_times(profile),
            has_samples=any(map(tally.has_stacks, profile.threads)),
            builds=libraries.gather(profile.libs),
            repeats=weighing.describe_repeats(profile),
        )
        return self._scale(part) if self.parts else part

    def _scale(self, part: Part) -> Part:
        first = self.parts[0]
        if part.weight_type != first.weight_type:
            raise NotInProfile(
                f"It counts {weighing.name_unit(part.weight_type)}, {first.place} counts "
                f"{weighing.name_unit(first.weight_type)}: they cannot be added up.",
                details={"reason": "Unit"},
            )
        factor = merging.find_factor(first, part)
        return replace(part, factor=factor)

    def _leave_out(self, source: Source, error: ProfileError) -> None:
        reason = str(error.details["reason"]) if isinstance(error, NotInProfile) else error.code
        self.left_out.append(LeftOut(source.id, source.title, reason, error.message))
        if self._first_error is None:
            # Without its traceback, which would keep what was read in memory.
            self._first_error = type(error)(error.message, remedy=error.remedy, details=error.details)

    def _build_nothing(self) -> ProfileError:
        error = self._first_error or build_broken("the list of profiles", "it is empty")
        count = len(self._sources)
        return type(error)(
            f"None of the {count} profiles of the range can be used. The newest: {error.message}",
            remedy=error.remedy,
            details=error.details,
        )

    def list_untimed(self) -> list[str]:
        """The names of those without CPU times."""
        return [part.place for part in self.parts if not part.is_timed]

    def choose_measure(self) -> Measure:
        """That of tables and flame graphs over all of them."""
        return self._measure or weighing.choose_measure(self.weight_type, has_cpu=not self.list_untimed())

    def describe(self) -> tuple[str, ...]:
        """Notes on the sum."""
        without = self.list_untimed()
        is_fallback = self.weight_type == weighing.SAMPLES and 0 < len(without) < len(self.parts)
        return (
            *((f"Percentages are of samples: {_count(without)} no CPU times.",) if is_fallback else ()),
            *self.describe_intervals(),
            *libraries.describe_differences(part.builds for part in self.parts),
            *dict.fromkeys(note for part in self.parts for note in part.repeats),
        )

    def describe_intervals(self) -> tuple[str, ...]:
        if all(part.factor == 1.0 for part in self.parts):
            return ()
        intervals = ", ".join(f"{each:.3g}" for each in sorted({part.interval_ms for part in self.parts}))
        first = self.parts[0].interval_ms
        return (f"Samples were taken every {intervals} ms: their numbers are brought to {first:.3g} ms.",)


class Markers:
    """Notes on the markers of operators, and the facts about those of the first profile."""

    def __init__(self) -> None:
        self.first: MarkerFacts | None = None
        self._notes: Counter[str] = Counter()
        self._count = 0

    def add(self, notes: Sequence[str], facts: MarkerFacts | None) -> None:
        if self._count == 0:
            self.first = facts
        self._count += 1
        self._notes.update(dict.fromkeys(notes, 1))

    def describe(self) -> tuple[str, ...]:
        if self._count == 1:
            return tuple(self._notes)
        return tuple(f"In {seen} of {self._count} profiles: {note}" for note, seen in self._notes.items())


def sum_up(adding: Adding, index: FunctionIndex, choice: Choice) -> Sum:
    """By function, operator or group. Raises ProfileError if nothing can be added."""
    rows: list[ThreadCost] = []
    markers = Markers()

    def scale() -> Iterator[Costs]:
        for measured, part in adding.each(lambda profile: breakdown.measure(profile, index, choice)):
            costs = merging.scale_costs(measured.costs, part.factor)
            rows.append(_build_row(part, costs))
            markers.add(measured.notes, measured.markers)
            yield costs

    costs = summary.merge_costs(scale())
    return Sum(Measured(costs, markers.describe(), markers.first), tuple(rows))


def merge(adding: Adding, *, limit: int = 20, choice: Choice = BY_FUNCTION) -> Merged:
    """One summary over all. Raises ProfileError if nothing can be added."""
    index = FunctionIndex()
    found = sum_up(adding, index, choice)
    costs, notes = found.measured.costs, found.measured.notes
    index.show_builds()
    basis = adding.choose_measure()
    return Merged(
        interval_ms=adding.parts[0].interval_ms,
        all_profiles=summary.build_thread(None, costs, index, limit, basis),
        profiles=found.rows,
        weight_type=adding.weight_type,
        measure=weighing.name_measure(basis, adding.weight_type),
        notes=(*adding.describe(), *notes, *summary.describe_emptiness(costs)),
        by=choice.by,
        ids=tuple(part.id for part in adding.parts),
        left_out=tuple(adding.left_out),
    )


def _build_row(part: Part, costs: Costs) -> ThreadCost:
    return ThreadCost(
        name=part.place,
        process_name="",
        pid="",
        tid="",
        samples=costs.samples,
        weight=sum(costs.self_weight.values()),
        cpu_ms=sum(costs.self_cpu.values()) / 1000 if costs.has_cpu else None,
        functions_total=len(costs.total_weight),
        by_self=(),
        by_total=(),
    )


def _count(places: Sequence[str]) -> str:
    return f"{places[0]} has" if len(places) == 1 else f"{len(places)} profiles, such as {places[0]}, have"
