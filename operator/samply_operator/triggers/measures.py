"""Metrics of triggers."""

from __future__ import annotations

from samply_operator.measures import OPERATOR, count, gauge

TRIGGERS = gauge(OPERATOR, "triggers", "SamplyTriggers, by what they wait for.", ("when",))
EVALUATIONS = count(OPERATOR, "trigger_evaluations_total", "Decisions on SamplyTriggers.", ("when",))
FIRED = count(
    OPERATOR, "trigger_fired_total", "Causes for which a SamplyTrigger fired, or would have with dryRun.",
    ("when", "dry_run"),
)  # fmt: skip
NOT_FIRED = count(
    OPERATOR, "trigger_not_fired_total", "Causes for which a SamplyTrigger did not record a place.", ("when", "reason")
)
PROFILES = count(OPERATOR, "trigger_profiles_total", "SamplyProfiles that SamplyTriggers created.", ("when",))
READINGS = count(
    OPERATOR, "trigger_readings_total", "Readings of metrics for SamplyTriggers, by what came of them.",
    ("source", "outcome"),
)  # fmt: skip
