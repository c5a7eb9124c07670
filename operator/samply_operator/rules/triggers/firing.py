"""For a cause that is there: which places are recorded, what is cancelled first, and why the others are not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from samply_operator.rules.triggers import limits, naming
from samply_operator.rules.triggers.facts import Cause, Decision, Facts, Firing, Made, Place, Skip

REPLACED_SECS = 1.0
ACTIVE_SECS = 15.0
"""How soon to look again if a profile that is still recorded is in the way."""


def fire(
    facts: Facts,
    wanted: Iterable[tuple[Cause, tuple[Place, ...]]],
    *,
    handled_at: float | None = None,
    next_at: float | None = None,
    retry_secs: float | None = None,
) -> Decision:
    """For each cause those of its places that nothing forbids."""
    firings, skips = [], []
    for cause, places in wanted:
        request = naming.build_request(facts.trigger, cause)
        known = {(made.pipeline, made.ordinal) for made in facts.made if made.request == request}
        left = tuple(place for place in places if place.key not in known)
        if not left:
            skips += [] if known else [describe_none(facts)]
            continue
        blocking = _find_blocking(facts, request)
        if blocking and facts.trigger.spec.concurrency_policy == "Replace":
            return Decision(replace=blocking, next_at=next_at, retry_secs=REPLACED_SECS)
        if blocking:
            text = f"{cause.text}: {blocking[0].name} has not ended (concurrencyPolicy Forbid)."
            return Decision(skips=(Skip("StillActive", text),), next_at=next_at, retry_secs=ACTIVE_SECS)
        refused = {place.key: limits.check(facts, place, request) for place in left}
        allowed = tuple(place for place in left if refused[place.key] is None)
        firings += [Firing(cause, allowed)] if allowed else []
        skips += _summarize(refused.values())
    return Decision(tuple(firings), tuple(skips), handled_at=handled_at, next_at=next_at, retry_secs=retry_secs)


def _find_blocking(facts: Facts, request: str) -> tuple[Made, ...]:
    if facts.trigger.spec.concurrency_policy == "Allow":
        return ()
    return tuple(made for made in facts.made if made.is_active and made.request != request)


def describe_none(facts: Facts) -> Skip:
    return Skip("NoPipeline", f"spec.pipelines selects nothing in namespace {facts.trigger.namespace}.")


def _summarize(refused: Iterable[Skip | None]) -> Iterator[Skip]:
    """The first of each reason, with the number of others."""
    by_reason: dict[str, list[Skip]] = {}
    for skip in refused:
        if skip is not None:
            by_reason.setdefault(skip.reason, []).append(skip)
    for reason, skips in by_reason.items():
        others = f" The same for {len(skips) - 1} more." if len(skips) > 1 else ""
        yield Skip(reason, skips[0].message + others)
