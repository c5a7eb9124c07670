"""What the answer to `ordinal=all` is: what `rules.serve` decides of each ordinal, joined into one decision; and which
refusal stands for all of them. A part is better than nothing, as long as it is said which part.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from samply_operator.errors import ProfilingInProgress, SamplyOperatorError
from samply_operator.model.manifest import Manifest
from samply_operator.rules.serving import serve


@dataclass(frozen=True, slots=True)
class ServeAll:
    """Send these together. `missing`: ordinals without a profile; `last_failures` came after the one that is sent."""

    manifests: tuple[Manifest, ...]
    missing: tuple[int, ...] = ()
    last_failures: tuple[Manifest, ...] = ()


def choose_ordinals(seen: Collection[int], stored: Collection[int]) -> tuple[int, ...]:
    """Those that the pipeline has; where it has none (stopped, gone, the operator is away), those that it had."""
    return tuple(sorted(set(seen or stored))) or (0,)


def decide_all(facts: Sequence[serve.ServingState], *, latest: bool, now: float) -> ServeAll | serve.Decision:
    """`facts` are those of each ordinal, at least one, in order."""
    decisions = [serve.decide(each, latest=latest, now=now) for each in facts]
    waits = [decision for decision in decisions if isinstance(decision, serve.InProgress)]
    if waits:
        return max(waits, key=lambda wait: wait.retry_after_secs)
    obstacle = next((d for d in decisions if isinstance(d, (serve.LastFailed, serve.NotKnowable))), None)
    served = [decision for decision in decisions if isinstance(decision, serve.Serve)]
    if latest and obstacle:
        return obstacle
    if not served:
        return obstacle or decisions[0]
    return ServeAll(
        manifests=tuple(decision.manifest for decision in served),
        missing=tuple(f.ordinal for f, d in zip(facts, decisions, strict=True) if not isinstance(d, serve.Serve)),
        last_failures=tuple(decision.last_failure for decision in served if decision.last_failure),
    )


def pick_refusal(refusals: Sequence[SamplyOperatorError]) -> SamplyOperatorError:
    """Which of several, at least one, stands for all: the first one that more than patience would cure."""
    return next((error for error in refusals if not isinstance(error, ProfilingInProgress)), refusals[0])
