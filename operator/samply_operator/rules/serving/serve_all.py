"""The answer to `ordinal=all`: the decisions of `rules.serve` for each ordinal, combined, and the error that represents
all refusals. A partial result is sent if it says what is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from samply_operator.errors import ProfilingInProgress, SamplyOperatorError
from samply_operator.model.manifest import Manifest
from samply_operator.rules.serving import serve


@dataclass(frozen=True, slots=True)
class ServeAll:
    """Send these together. `missing`: ordinals without a profile; `last_failures` are newer than the profiles sent."""

    manifests: tuple[Manifest, ...]
    missing: tuple[int, ...] = ()
    last_failures: tuple[Manifest, ...] = ()


def choose_ordinals(seen: Collection[int], stored: Collection[int]) -> tuple[int, ...]:
    """The pipeline's ordinals; if it has none (stopped, deleted, operator down), those with stored attempts."""
    return tuple(sorted(set(seen or stored))) or (0,)


def decide_all(facts: Sequence[serve.ServingState], *, latest: bool, now: float) -> ServeAll | serve.Decision:
    """`facts`: one per ordinal, at least one, in order."""
    decisions = [serve.decide(each, latest=latest, now=now) for each in facts]
    waits = [decision for decision in decisions if isinstance(decision, serve.InProgress)]
    if waits:
        return max(waits, key=lambda wait: wait.retry_after_secs)
    blocking = next((d for d in decisions if isinstance(d, (serve.LastFailed, serve.Undetermined))), None)
    served = [decision for decision in decisions if isinstance(decision, serve.Serve)]
    if latest and blocking:
        return blocking
    if not served:
        return blocking or decisions[0]
    return ServeAll(
        manifests=tuple(decision.manifest for decision in served),
        missing=tuple(f.ordinal for f, d in zip(facts, decisions, strict=True) if not isinstance(d, serve.Serve)),
        last_failures=tuple(decision.last_failure for decision in served if decision.last_failure),
    )


def pick_refusal(refusals: Sequence[SamplyOperatorError]) -> SamplyOperatorError:
    """The refusal, of at least one, that represents all: the first one that waiting does not resolve."""
    return next((error for error in refusals if not isinstance(error, ProfilingInProgress)), refusals[0])
