"""The answer to `GET …/samply_profile`: from facts about one pipeline and ordinal to a decision.

Stored profiles remain available without pods, pipeline or operator; a failure never hides the last good profile; and
what is unknown while the operator is down is reported as unknown, not as absent.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from samply_operator.model.manifest import Manifest
from samply_operator.rules.serving.retry_after import compute_retry_after


@dataclass(frozen=True, slots=True)
class Running:
    """A recording of this target in progress."""

    id: str
    phase: str
    requested_at: str
    ends_at: float | None
    duration_secs: int


@dataclass(frozen=True, slots=True)
class ServingState:
    """The relevant facts about one ordinal of one pipeline."""

    ordinal: int
    is_certain: bool
    """The operator is connected and has seen complete lists: what it does not list does not exist."""
    is_known: bool = False
    """The operator knows the pipeline."""
    ordinals: tuple[int, ...] = ()
    """Ordinals known to the operator; empty: scaled to zero, or unknown."""
    is_running: bool = False
    """The ordinal's pod is running."""
    running: Running | None = None
    last_good: Manifest | None = None
    last_attempt: Manifest | None = None
    stored_ordinals: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Serve:
    """Send this profile; `last_failure` is newer."""

    manifest: Manifest
    last_failure: Manifest | None = None


@dataclass(frozen=True, slots=True)
class InProgress:
    running: Running
    retry_after_secs: int


@dataclass(frozen=True, slots=True)
class LastFailed:
    attempt: Manifest
    last_good: Manifest | None = None


@dataclass(frozen=True, slots=True)
class NoneYet:
    """No attempt has ended; `running` is the first one."""

    running: Running | None = None
    retry_after_secs: int | None = None


@dataclass(frozen=True, slots=True)
class NoSuchOrdinal:
    ordinals: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class NotDeployed:
    """Known, nothing stored, and no pod is running; `is_desired`: one should be."""

    is_desired: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """No such pipeline."""


@dataclass(frozen=True, slots=True)
class Undetermined:
    """Only the operator would know, and it is down."""


Decision = Serve | InProgress | LastFailed | NoneYet | NoSuchOrdinal | NotDeployed | Unknown | Undetermined


def decide(facts: ServingState, *, latest: bool, now: float) -> Decision:
    """The cases of the contract, in their order. `latest`: the caller prefers waiting to an older profile."""
    if latest and facts.running:
        return InProgress(facts.running, _retry_after(facts.running, now))
    if latest and not facts.is_certain:
        return Undetermined()
    failure = facts.last_attempt if facts.last_attempt and facts.last_attempt.outcome == "Failed" else None
    if failure and (latest or facts.last_good is None):
        return LastFailed(failure, facts.last_good)
    if facts.last_good:
        return Serve(facts.last_good, failure)
    return _decide_nothing_stored(facts, now)


def _decide_nothing_stored(facts: ServingState, now: float) -> Decision:
    if facts.running:
        return NoneYet(facts.running, _retry_after(facts.running, now))
    if not facts.is_certain:
        return Undetermined()
    if not facts.is_known and not facts.stored_ordinals:
        return Unknown()
    if facts.is_known and not facts.ordinals:
        return NotDeployed()
    ordinals = tuple(sorted({*facts.ordinals, *facts.stored_ordinals}))
    if facts.ordinal not in ordinals:
        return NoSuchOrdinal(ordinals)
    return NoneYet() if facts.is_running else NotDeployed(is_desired=facts.ordinal in facts.ordinals)


def _retry_after(running: Running, now: float) -> int:
    return compute_retry_after(ends_at=running.ends_at, duration_secs=running.duration_secs, now=now)


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """Several namespaces have the name; the caller must choose one."""

    namespaces: tuple[str, ...]


def decide_namespace(
    candidates: Collection[str], *, readable: Collection[str] | None, asked: str | None
) -> str | Ambiguous | None:
    """The namespace of a pipeline's name. `readable` None: all. Returns None if no readable namespace has it."""
    found = [n for n in candidates if (readable is None or n in readable) and asked in (None, n)]
    if len(found) > 1:
        return Ambiguous(tuple(sorted(found)))
    return found[0] if found else None
