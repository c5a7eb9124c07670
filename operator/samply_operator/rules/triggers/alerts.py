"""What an alert means to a trigger: whether its labels match, and which of the selected places it is about."""

from __future__ import annotations

from samply_operator.model.alert import Alert
from samply_operator.model.trigger import AlertMatch
from samply_operator.rules.triggers.facts import Cause, Decision, Facts, Place, Skip
from samply_operator.rules.triggers.firing import fire

LINK_LIMIT = 2000


def is_matched(match: AlertMatch, alert: Alert) -> bool:
    return match.match_labels.items() <= alert.labels.items()


def decide_alert(facts: Facts, match: AlertMatch, alert: Alert) -> Decision:
    """The decision on a firing alert whose labels match. The same alert fires once for each place."""
    if facts.trigger.spec.suspend:
        return Decision(skips=(Skip("Suspended", "spec.suspend is true."),))
    cause = build_cause(alert)
    places = find_places(facts, match, alert)
    if isinstance(places, Skip):
        return Decision(skips=(places,))
    return fire(facts, [(cause, places)])


def find_places(facts: Facts, match: AlertMatch, alert: Alert) -> tuple[Place, ...] | Skip:
    """Those that the alert's labels name, or all that the trigger selects if they name none."""
    places = facts.places
    name = alert.labels.get(match.pipeline_label)
    if name:
        places = tuple(place for place in places if name == place.pipeline or name in place.ids)
        if not places:
            where = f"in namespace {facts.trigger.namespace}"
            text = f"The alert is about pipeline {name[:100]!r}, which does not exist {where}, or is not selected."
            return Skip("UnknownPipeline", text)
    pod = alert.labels.get(match.pod_label)
    return tuple(place for place in places if place.pod == pod) or places if pod else places


def build_cause(alert: Alert) -> Cause:
    name = alert.labels.get("alertname", alert.fingerprint)
    link = alert.generator_url if alert.generator_url.startswith(("http://", "https://")) else ""
    key = f"alert/{alert.fingerprint}/{alert.starts_at}"
    return Cause(key, f"Alert {name[:200]} since {alert.starts_at[:40]}", link[:LINK_LIMIT])
