"""What a decision on a trigger is made of, and what it says. Times are Unix times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from samply_operator.model.trigger import Exceeding, SamplyTrigger
from samply_operator.rules.triggers.excursion import State


@dataclass(frozen=True, slots=True)
class Place:
    """One ordinal of a pipeline that the trigger selects."""

    pipeline: str
    ordinal: int
    obstacle: tuple[str, str] | None = None
    """Reason and message if it cannot be recorded now, for example because its pod does not run."""
    container_id: str = ""
    started_at: float = 0.0
    """When its container began to run; 0: unknown."""
    pod: str = ""
    ids: tuple[str, ...] = ()
    """Feldera's ids of the pipeline."""

    @property
    def key(self) -> tuple[str, int]:
        return self.pipeline, self.ordinal

    @property
    def shown(self) -> str:
        return f"{self.pipeline}/{self.ordinal}"


@dataclass(frozen=True, slots=True)
class Made:
    """A profile that this trigger created, or with dryRun would have created."""

    name: str
    uid: str
    request: str
    """Of the cause: see `naming.build_request`."""
    pipeline: str
    ordinal: int
    at: float
    is_active: bool = False
    has_failed: bool = False
    is_pinned: bool = False


@dataclass(frozen=True, slots=True)
class Skip:
    """Why it did not fire, for a cause that was there."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Observed:
    """A metric as it is known: by the keys of places. `told`: what the written status says of them."""

    states: Mapping[tuple[str, int], State] = field(default_factory=dict)
    fault: Skip | None = None
    """Why the source said nothing the last time."""
    told: tuple[Exceeding, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """`observed` None: nothing was read yet. `sampled`: seconds for which each place was sampled, or is to be, within
    the window of the limits, by anybody."""

    trigger: SamplyTrigger
    now: float
    places: tuple[Place, ...] = ()
    made: tuple[Made, ...] = ()
    sampled: Mapping[tuple[str, int], float] = field(default_factory=dict)
    duration_secs: int = 30
    observed: Observed | None = None


@dataclass(frozen=True, slots=True)
class Cause:
    """Why it fires. `key` identifies it: the same cause never creates a second profile of a place."""

    key: str
    text: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class Firing:
    cause: Cause
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    fire: tuple[Firing, ...] = ()
    skips: tuple[Skip, ...] = ()
    replace: tuple[Made, ...] = ()
    """Recordings to cancel first; then it is to be decided again."""
    handled_at: float | None = None
    """The scheduled time that this decides on for good."""
    next_at: float | None = None
    """The next scheduled time; None: there is none."""
    retry_secs: float | None = None
    """When to decide again at the latest, if before `next_at`."""
    fault: Skip | None = None
    """The trigger can never fire as it is."""
