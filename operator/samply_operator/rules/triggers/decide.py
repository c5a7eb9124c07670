"""The decision on a trigger: fire, cancel first, or why not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from samply_operator.errors import InvalidSpec
from samply_operator.model.trigger import Restart, SamplyTrigger, Schedule
from samply_operator.rules import times
from samply_operator.rules.triggers import limits, naming, schedule
from samply_operator.rules.triggers.facts import Cause, Decision, Facts, Firing, Made, Place, Skip

REPLACED_SECS = 1.0
ACTIVE_SECS = 15.0
"""How soon to look again if a profile that is still recorded is in the way."""


def decide(facts: Facts) -> Decision:
    spec = facts.trigger.spec
    if facts.trigger.fault:
        return Decision(fault=Skip("Unreadable", facts.trigger.fault))
    if spec.suspend:
        return Decision()
    try:
        if spec.when.schedule is not None:
            return _decide_schedule(facts, spec.when.schedule)
    except InvalidSpec as error:
        return Decision(fault=Skip("InvalidSchedule", f"{error.message} {error.remedy}"))
    if spec.when.restart is not None:
        return _decide_restart(facts, spec.when.restart)
    return Decision(fault=Skip("Unreadable", "spec.when has nothing that this version of the operator knows."))


def _decide_schedule(facts: Facts, wanted: Schedule) -> Decision:
    trigger, now = facts.trigger, facts.now
    offset = schedule.find_offset(trigger.uid, wanted.jitter_seconds)
    timing = schedule.look(wanted, find_handled(trigger), now, offset)
    next_at = None if timing.next is None else timing.next + offset
    if timing.due is None:
        return Decision(next_at=next_at)
    late_secs = now - offset - timing.due
    if wanted.starting_deadline_seconds is not None and late_secs > wanted.starting_deadline_seconds:
        text = f"The schedule of {times.format_time(timing.due)} was missed by {late_secs:.0f} s."
        return Decision(skips=(Skip("MissedDeadline", text),), handled_at=timing.due, next_at=next_at)
    missed = f", after {timing.missed} that were missed" if timing.missed else ""
    cause = Cause(f"schedule/{timing.due:.0f}", f"Schedule of {times.format_time(timing.due)}{missed}")
    return fire(facts, [(cause, facts.places)], handled_at=timing.due, next_at=next_at)


def find_handled(trigger: SamplyTrigger) -> float:
    """Nothing fires for what was scheduled up to then."""
    return times.parse_time(trigger.status.last_schedule_time or trigger.created_at)


def _decide_restart(facts: Facts, wanted: Restart) -> Decision:
    created_at = times.parse_time(facts.trigger.created_at)
    since = max(facts.now - wanted.within_seconds, created_at)
    started = [place for place in facts.places if place.container_id and place.started_at > since]
    decision = fire(facts, [(build_restart_cause(place), (place,)) for place in started])
    # What is busy or cools down is looked at again while it is new.
    return replace(decision, retry_secs=ACTIVE_SECS) if decision.skips and not decision.replace else decision


def build_restart_cause(place: Place) -> Cause:
    at = times.format_time(place.started_at)
    return Cause(f"restart/{place.container_id}", f"The container of {place.shown} started at {at}")


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
            skips += [] if known else [_describe_none(facts)]
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


def _describe_none(facts: Facts) -> Skip:
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


def find_expired(facts: Facts) -> tuple[Made, ...]:
    """Profiles beyond the history limits, oldest first: never a pinned one, or one that still counts for the limits."""
    spec = facts.trigger.spec
    oldest = facts.now - limits.find_memory_secs(spec)
    expired: list[Made] = []
    for has_failed, limit in (
        (False, spec.successful_profiles_history_limit),
        (True, spec.failed_profiles_history_limit),
    ):
        ended = [m for m in facts.made if m.uid and not (m.is_active or m.is_pinned) and m.has_failed is has_failed]
        if limit is not None and len(ended) > limit:
            oldest_first = sorted(ended, key=lambda made: made.at)
            expired += [made for made in oldest_first[: len(ended) - limit] if made.at < oldest]
    return tuple(expired)
