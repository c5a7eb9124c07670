"""How samply gets to the process: in the container's own image, in an ephemeral container, or copied there.

Auto takes the least intrusive way that gives a whole answer: in place if that is good, else ephemeral where it is
allowed, else bring our own where that is allowed, else in place although it is blind, else the reason why not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from samply_operator.model.facts import Facts
from samply_operator.model.profile import Failure
from samply_operator.rules import failures
from samply_operator.rules.preflight import Verdict
from samply_operator.settings import Settings

Way = Literal["InPlace", "BringOwn", "Ephemeral"]

OWN_ARCHES = frozenset({"x86_64", ""})
"""What the project's samply is built for; empty: unknown."""


@dataclass(frozen=True, slots=True)
class Situation:
    """`in_place`, `bring_own`: the verdict on either way, or the failure before it (no shell, no process)."""

    wanted: str
    namespace: str
    facts: Facts | None
    in_place: Verdict | Failure
    bring_own: Verdict | Failure
    is_blind: bool = False
    ephemeral_failure: Failure | None = None
    """It was tried and refused, or can't work in this pod."""


@dataclass(frozen=True, slots=True)
class Choice:
    """`why` is empty where there was nothing to choose."""

    way: Way
    why: str = ""


def refusal_of(verdict: Verdict | Failure) -> Failure | None:
    return verdict if isinstance(verdict, Failure) else verdict.refusal


def is_ephemeral_allowed(settings: Settings, namespace: str) -> bool:
    allowed = settings.ephemeral.namespaces
    return settings.ephemeral.enabled and (not allowed or namespace in allowed)


def choose(situation: Situation, settings: Settings) -> Choice | Failure:
    match situation.wanted:
        case "InPlace":
            return refusal_of(situation.in_place) or Choice("InPlace")
        case "Ephemeral":
            return _choose_ephemeral(situation, settings)
        case "BringOwn":
            return _choose_bring_own(situation, settings)
        case _:
            return _choose_auto(situation, settings)


def _choose_ephemeral(situation: Situation, settings: Settings) -> Choice | Failure:
    if situation.ephemeral_failure is not None:
        return situation.ephemeral_failure
    if not is_ephemeral_allowed(settings, situation.namespace):
        return failures.build_failure("ModeNotAllowed", f"Mode Ephemeral isn't allowed in {situation.namespace}.")
    return check_arch(situation.facts) or Choice("Ephemeral")


def _choose_bring_own(situation: Situation, settings: Settings) -> Choice | Failure:
    if not settings.bring_own.enabled:
        return failures.build_failure("ModeNotAllowed", "Mode BringOwn isn't allowed.")
    refusal = refusal_of(situation.bring_own) or check_arch(situation.facts)
    if refusal is None and situation.facts is not None and situation.facts.is_noexec:
        refusal = failures.build_failure("NoWritableFolder", f"Nothing may run from {situation.facts.folder} (noexec).")
    return refusal or Choice("BringOwn")


def _choose_auto(situation: Situation, settings: Settings) -> Choice | Failure:
    in_place = refusal_of(situation.in_place)
    if in_place is None and not situation.is_blind:
        return Choice("InPlace")
    if in_place is not None and in_place.reason in _NOT_CURED:
        return in_place
    why = in_place.message if in_place else "In place, a CPU limit would hide samples."
    for choose_other in (_choose_ephemeral, _choose_bring_own):
        found = choose_other(situation, settings)
        if isinstance(found, Choice):
            return Choice(found.way, why)
    if in_place is None:
        return Choice("InPlace")
    ephemeral = situation.ephemeral_failure
    if ephemeral is None:
        return in_place
    # Both ways are closed: the reader needs both reasons.
    return Failure(
        in_place.reason,
        f"{in_place.message} Mode Ephemeral: {ephemeral.message}",
        f"{in_place.remedy} Or: {ephemeral.remedy}",
        in_place.log,
    )


_NOT_CURED = frozenset({"ProcessNotFound", "AmbiguousProcess", "TargetStopped", "UserNamespace", "RateTooHigh"})
"""Refusals that no other way would change."""


CURED_BY_ANOTHER = frozenset(
    {"PerfNotPermitted", "LockedMemory", "PerfEventParanoid", "SamplyFailed", "SamplyNotFound"}
)
"""What samply says when it can't begin, where another way may have what it lacks."""


def check_arch(facts: Facts | None) -> Failure | None:
    """Whether the project's samply can run there."""
    if facts is None or facts.arch in OWN_ARCHES:
        return None
    return failures.build_failure(
        "UnsupportedArchitecture", f"The project's samply is built for x86_64; the node is {facts.arch}."
    )
