"""The decision on a trigger: fire, cancel first, or why not."""

from __future__ import annotations

from dataclasses import replace

from samply_operator.errors import InvalidSpec
from samply_operator.model.trigger import Restart, SamplyTrigger, Schedule
from samply_operator.rules import times
from samply_operator.rules.triggers import limits, metric, schedule
from samply_operator.rules.triggers.facts import Cause, Decision, Facts, Made, Place, Skip
from samply_operator.rules.triggers.firing import ACTIVE_SECS, fire


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
    if spec.when.alert is not None:
        return Decision()  # it fires when one comes: alerts.py
    if spec.when.metric is not None:
        return metric.decide_metric(facts, spec.when.metric)
    return Decision(fault=Skip("Unreadable", "spec.when has nothing that this version of the operator knows."))


def _decide_schedule(facts: Facts, wanted: Schedule) -> Decision:
    trigger, now = facts.trigger, facts.now
    offset = schedule.find_offset(trigger.uid, wanted.jitter_seconds)
    handled = find_handled(trigger)
    timing = schedule.look(wanted, handled, now, offset)
    next_at = None if timing.next is None else timing.next + offset
    if timing.due is None:
        # Else every later look would find that it is ahead again, and nothing would ever be due.
        is_ahead = schedule.is_ahead(handled, now - offset)
        return Decision(handled_at=now - offset if is_ahead else None, next_at=next_at)
    late_secs = now - offset - timing.due
    if wanted.starting_deadline_seconds is not None and late_secs > wanted.starting_deadline_seconds:
        text = f"The schedule of {times.format_time(timing.due)} was missed by {late_secs:.0f} s."
        return Decision(skips=(Skip("MissedDeadline", text),), handled_at=timing.due, next_at=next_at)
    missed = f", after {timing.missed} that were missed" if timing.missed else ""
    cause = Cause(f"schedule/{timing.due:.0f}", f"Schedule of {times.format_time(timing.due)}{missed}")
    return fire(facts, [(cause, facts.places)], handled_at=timing.due, next_at=next_at)


def find_handled(trigger: SamplyTrigger) -> float:
    """Nothing fires for what was scheduled up to then."""
    try:
        return times.parse_time(trigger.status.last_schedule_time or trigger.created_at)
    except (ValueError, OverflowError):  # a status can be edited
        return times.parse_time(trigger.created_at)


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
