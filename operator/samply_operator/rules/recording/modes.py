"""How samply reaches the process: in the container's own image, in an ephemeral container, or copied into the
container.

Auto uses the least intrusive mode that covers everything: InPlace if it does, else Ephemeral if allowed, else BringOwn
if allowed, else InPlace with partial coverage, else the reason for the failure.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from samply_operator.model.container import ContainerFacts
from samply_operator.model.profile import Failure
from samply_operator.rules.recording import failures
from samply_operator.rules.recording.preflight import Verdict
from samply_operator.settings import Architecture, Settings

Way = Literal["InPlace", "BringOwn", "Ephemeral"]

MACHINES: Mapping[Architecture, str] = {"amd64": "x86_64", "arm64": "aarch64"}
"""What the kernel calls a Kubernetes architecture (`uname -m`)."""
OPERATOR_MACHINE = platform.machine()
"""That of the operator's own image, whose samply mode BringOwn copies."""


@dataclass(frozen=True, slots=True)
class Situation:
    """`in_place`, `bring_own`: the verdict on either mode, or an earlier failure (no shell, no process)."""

    wanted: str
    namespace: str
    facts: ContainerFacts | None
    in_place: Verdict | Failure
    bring_own: Verdict | Failure
    is_blind: bool = False
    ephemeral_failure: Failure | None = None
    """It was tried and refused, or cannot work in this pod."""


@dataclass(frozen=True, slots=True)
class Choice:
    """`why` is empty if there was no choice."""

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
        return failures.build_failure("ModeNotAllowed", f"Mode Ephemeral is not allowed in {situation.namespace}.")
    return check_machine(situation.facts, helper_machines(settings)) or Choice("Ephemeral")


def _choose_bring_own(situation: Situation, settings: Settings) -> Choice | Failure:
    if not settings.bring_own.enabled:
        return failures.build_failure("ModeNotAllowed", "Mode BringOwn is not allowed.")
    refusal = refusal_of(situation.bring_own) or check_machine(situation.facts, [OPERATOR_MACHINE])
    if refusal is None and situation.facts is not None and situation.facts.is_noexec:
        refusal = failures.build_failure("NoWritableFolder", f"The folder {situation.facts.folder} is mounted noexec.")
    return refusal or Choice("BringOwn")


def _choose_auto(situation: Situation, settings: Settings) -> Choice | Failure:
    in_place = refusal_of(situation.in_place)
    if in_place is None and not situation.is_blind:
        return Choice("InPlace")
    if in_place is not None and in_place.reason in _NOT_CURED:
        return in_place
    why = in_place.message if in_place else "In place, a CPU limit would hide samples."
    ephemeral = _choose_ephemeral(situation, settings)
    if isinstance(ephemeral, Choice):
        return Choice("Ephemeral", why)
    bring_own = _choose_bring_own(situation, settings)
    if isinstance(bring_own, Choice):
        return Choice("BringOwn", why)
    if in_place is None:
        return Choice("InPlace", f"a CPU limit hides samples there, but mode Ephemeral: {ephemeral.message}")
    if ephemeral.message == in_place.message:
        return replace(in_place, message=f"{in_place.message} Mode Ephemeral would not change that.")
    # Neither mode works: report both reasons.
    cure = ALLOW_EPHEMERAL if ephemeral.reason == "ModeNotAllowed" else ephemeral.remedy
    return Failure(
        in_place.reason,
        f"{in_place.message} Mode Ephemeral: {ephemeral.message}",
        in_place.remedy if cure in in_place.remedy else f"{in_place.remedy} Or: {cure}",
        in_place.log,
    )


ALLOW_EPHEMERAL = "Allow mode Ephemeral for this namespace in the chart's values (config.ephemeral)."


def name_other_way(failure: Failure, wanted: str, namespace: str, arch: str, settings: Settings) -> Failure:
    """For a request of one mode: suggest one that does not need what is missing. `arch` is the node's; empty:
    unknown."""
    if wanted not in {"InPlace", "BringOwn"} or failure.reason not in _CURED_BY_EPHEMERAL:
        return failure
    if not _runs_on(arch, helper_machines(settings)):
        return failure
    allowed = is_ephemeral_allowed(settings, namespace)
    other = "Use mode Ephemeral (spec.mode), which needs nothing in the image." if allowed else ALLOW_EPHEMERAL
    if other in failure.remedy:
        return failure  # already suggested: the failure comes from the journal
    return replace(failure, remedy=f"{failure.remedy} Or: {other}")


_CURED_BY_EPHEMERAL = frozenset(
    {
        "UnsupportedArchitecture",
        "LockedMemory",
        "NoShell",
        "NoWritableFolder",
        "OpenFiles",
        "PerfEventParanoid",
        "PerfNotPermitted",
        "SamplyNotFound",
        "SamplyTooOld",
    }
)
"""Its container has samply, a shell, a folder, the capabilities and the runtime's default limits."""


_NOT_CURED = frozenset(
    {
        "AmbiguousProcess",
        "PageSize",
        "PerfRestricted",
        "ProcessNotFound",
        "RateTooHigh",
        "TargetStopped",
        "UserNamespace",
    }
)
"""Refusals that apply to every mode."""


CURED_BY_ANOTHER = frozenset(
    {"PerfNotPermitted", "LockedMemory", "OpenFiles", "PerfEventParanoid", "SamplyFailed", "SamplyNotFound"}
)
"""Failures of samply at its start for which another mode may work."""


def helper_machines(settings: Settings) -> list[str]:
    """Those that the helper's image is built for, as `uname -m` names them."""
    return [MACHINES[each] for each in settings.ephemeral.architectures]


def _runs_on(machine: str, machines: Iterable[str]) -> bool:
    return not machine or machine in machines


def check_machine(facts: ContainerFacts | None, machines: Iterable[str]) -> Failure | None:
    """Whether a samply built for `machines` can run there."""
    if facts is None or _runs_on(facts.arch, machines):
        return None
    built = " and ".join(machines)
    return failures.build_failure(
        "UnsupportedArchitecture", f"The project's samply is built for {built}; the node is {facts.arch}."
    )
