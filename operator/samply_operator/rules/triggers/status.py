"""The status of a SamplyTrigger: what it waits for, when it fired, and why it did not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from samply_operator.model.trigger import LastFired, LastNotFired, SamplyTrigger, TriggerSpec, TriggerStatus
from samply_operator.rules import times
from samply_operator.rules.recording.status import ConditionStatus, set_condition
from samply_operator.rules.triggers import metric
from samply_operator.rules.triggers.facts import Decision, Observed, Skip

TOLD_SECS = 600.0
"""A status in which only the time of the last evaluation changed is written this often."""
VALUE_SECS = 30.0
"""The same if the value of a metric changed too."""
WRITE_SECS = 0.5
"""For each trigger with a metric: so all of them together are not written more often."""
AGAIN_SECS = 60.0
"""The same reason for not firing is written this often."""
MESSAGE_LIMIT = 1000
SHOWN = 5
SHOWN_CHARACTERS = 60
ALERT_NAME = "alertname"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one cause: the profiles that were created, or would have been."""

    cause: str
    profiles: tuple[str, ...]


def describe_when(spec: TriggerSpec) -> str:
    """For the column of kubectl."""
    schedule = spec.when.schedule
    if schedule is not None:
        return f"every {schedule.every}" if schedule.every else f"{schedule.cron} ({schedule.time_zone})"
    if spec.when.metric is not None:
        return metric.describe(spec.when.metric)
    if spec.when.alert is not None:
        return _describe_alert(spec.when.alert.match_labels)
    return spec.when.kind


def _describe_alert(labels: Mapping[str, str]) -> str:
    """Its name comes first."""
    named = [labels[ALERT_NAME]] if ALERT_NAME in labels else []
    text = " ".join(["alert", *named, *(f"{key}={labels[key]}" for key in sorted(labels.keys() - {ALERT_NAME}))])
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"


def update(
    old: TriggerStatus,
    trigger: SamplyTrigger,
    decision: Decision,
    outcomes: Sequence[Outcome],
    skips: Sequence[Skip],
    *,
    active: int,
    now: float,
    observed: Observed | None = None,
) -> TriggerStatus:
    """After a decision was carried out. `observed`: of a metric, with what has fired now."""
    at, is_dry = times.format_time(now), trigger.spec.dry_run
    known = msgspec.structs.asdict(old) | {
        "observed_generation": trigger.generation,
        "last_evaluation_time": at,
        "next_time": times.format_time(decision.next_at) if decision.next_at is not None else "",
        "active": active,
        "when": describe_when(trigger.spec),
        "conditions": tuple(_set_ready(old, trigger, decision.fault, now)),
    }
    if trigger.spec.when.metric is None:
        known |= {"value": "", "exceeding": ()}
    elif observed is not None:
        exceeding = metric.list_exceeding(trigger.spec.when.metric, observed.states)
        known |= {"value": metric.show_value(trigger.spec.when.metric, observed.states), "exceeding": exceeding}
    if decision.handled_at is not None:
        known["last_schedule_time"] = times.format_time(decision.handled_at)
    if outcomes:
        known["would_have_fired" if is_dry else "fired"] += len(outcomes)
        prefix = "dryRun, no profile was created: " if is_dry else ""
        known["last_fired"] = LastFired(at, outcomes[-1].cause, prefix + list_profiles(outcomes[-1].profiles))
    for skip in ([decision.fault] if decision.fault else skips)[-1:]:
        known["last_not_fired"] = _tell_not_fired(old.last_not_fired, skip, now)
    return TriggerStatus(**known)


def list_profiles(profiles: Sequence[str]) -> str:
    more = f" and {len(profiles) - SHOWN} more" if len(profiles) > SHOWN else ""
    return ", ".join(profiles[:SHOWN]) + more


def _tell_not_fired(old: LastNotFired, skip: Skip, now: float) -> LastNotFired:
    is_same = old.reason == skip.reason and now - times.parse_time(old.time) < AGAIN_SECS
    return old if is_same else LastNotFired(times.format_time(now), skip.reason, skip.message[:MESSAGE_LIMIT])


def _set_ready(old: TriggerStatus, trigger: SamplyTrigger, fault: Skip | None, now: float) -> Sequence[dict[str, Any]]:
    status: ConditionStatus = "True"
    if fault is not None:
        status, reason, message = "False", fault.reason, fault.message
    elif trigger.spec.suspend:
        status, reason, message = "False", "Suspended", "spec.suspend is true."
    elif trigger.spec.dry_run:
        reason, message = "DryRun", "spec.dryRun is true: no profile is created."
    else:
        reason, message = "Waiting", f"It waits for: {describe_when(trigger.spec)}."
    conditions = set_condition(old.conditions, "Ready", status, reason, message[:MESSAGE_LIMIT], now)
    return [condition | {"observedGeneration": trigger.generation} for condition in conditions]


def is_worth_writing(written: TriggerStatus, new: TriggerStatus, metrics: int = 0) -> bool:
    """Each write costs the API server one, and every reader of the object an event. `metrics`: how many triggers have
    one."""
    value = new.value if written.value and new.value else written.value
    if msgspec.structs.replace(written, last_evaluation_time=new.last_evaluation_time, value=value) != new:
        return True
    told, now = times.parse_time(written.last_evaluation_time), times.parse_time(new.last_evaluation_time)
    value_secs = min(TOLD_SECS, max(VALUE_SECS, metrics * WRITE_SECS))
    return now - told >= (TOLD_SECS if new.value == written.value else value_secs)


def render(status: TriggerStatus) -> dict[str, Any]:
    """For a merge patch: what is empty is removed."""
    fields = dict.fromkeys(status.__struct_encode_fields__)
    known: dict[str, Any] = msgspec.to_builtins(status)
    known["exceeding"] = known.get("exceeding") or None
    return fields | known | {"active": status.active, "fired": status.fired}
