"""Limits of a trigger, for each pipeline: cool-down, firings in a sliding window, share of the time that is sampled."""

from __future__ import annotations

from dataclasses import dataclass

from samply_operator.model.trigger import TriggerSpec
from samply_operator.rules.triggers.facts import Facts, Made, Place, Skip

COOLDOWN_SECS = 300
MAX_FIRINGS = 6
"""Defaults of triggers without a schedule: symptoms come in bursts, and one profile shows what the tenth would."""
AHEAD_SECS = 60.0
"""A profile that is further ahead was created while the clock was wrong, and counts for nothing."""


@dataclass(frozen=True, slots=True)
class Effective:
    cooldown_secs: int
    max_firings: int | None
    window_secs: int
    max_sampled_percent: int


def find_effective(spec: TriggerSpec) -> Effective:
    """With the defaults of its kind."""
    limits, is_scheduled = spec.limits, spec.when.schedule is not None
    cooldown, firings = limits.cooldown_seconds, limits.max_firings
    return Effective(
        (0 if is_scheduled else COOLDOWN_SECS) if cooldown is None else cooldown,
        (None if is_scheduled else MAX_FIRINGS) if firings is None else firings,
        limits.window_seconds,
        limits.max_sampled_percent,
    )


def find_memory_secs(spec: TriggerSpec) -> int:
    """How long a profile counts for a decision: its object is not removed before."""
    limits = find_effective(spec)
    return max(limits.cooldown_secs, limits.window_secs, spec.when.restart.within_seconds if spec.when.restart else 0)


def check(facts: Facts, place: Place, request: str) -> Skip | None:
    """Why this place is not to be recorded for this cause; None: it may be."""
    if place.obstacle is not None:
        return Skip(*place.obstacle)
    limits = find_effective(facts.trigger.spec)
    mine = [
        made
        for made in facts.made
        if made.pipeline == place.pipeline and made.request != request and made.at <= facts.now + AHEAD_SECS
    ]
    return _check_cooldown(limits, mine, facts.now, place) or _check_share(limits, facts, place)


def _check_cooldown(limits: Effective, mine: list[Made], now: float, place: Place) -> Skip | None:
    last = max((made.at for made in mine), default=0.0)
    if now - last < limits.cooldown_secs:
        left = limits.cooldown_secs - (now - last)
        return Skip("CoolingDown", f"{place.pipeline}: limits.cooldownSeconds: {left:.0f} s are left.")
    recent = {made.request for made in mine if made.at > now - limits.window_secs}
    if limits.max_firings is not None and len(recent) >= limits.max_firings:
        text = f"it fired {len(recent)} times in the last {limits.window_secs} s (limits.maxFirings)."
        return Skip("TooManyFirings", f"{place.pipeline}: {text}")
    return None


def _check_share(limits: Effective, facts: Facts, place: Place) -> Skip | None:
    secs = facts.sampled.get(place.key, 0.0) + facts.duration_secs
    if secs * 100 > limits.max_sampled_percent * limits.window_secs:
        text = f"{secs:.0f} of {limits.window_secs} s would be sampled, more than {limits.max_sampled_percent} %"
        return Skip("SampledEnough", f"{place.shown}: {text} (limits.maxSampledPercent).")
    return None
