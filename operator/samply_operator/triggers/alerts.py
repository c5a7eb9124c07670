"""Alerts that Alertmanager sends: each goes to the triggers that it matches, in the namespaces where its sender may
start recordings.

Alertmanager repeats a notification after an error of 5xx alone. So errors are only what a repetition may cure; all else
is an outcome.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from samply_operator.errors import KubeForbidden, KubeInvalid, OperatorUnavailable, SamplyOperatorError
from samply_operator.model.alert import Alert, AlertOutcome, AlertState
from samply_operator.model.trigger import AlertMatch, SamplyTrigger
from samply_operator.recorder.engine import Engine
from samply_operator.rules.triggers import alerts
from samply_operator.triggers.worker import Triggers

logger = logging.getLogger(__name__)

PERMANENT = (KubeForbidden, KubeInvalid)
"""What a repetition does not cure."""


class Alerts:
    def __init__(self, engine: Engine, triggers: Triggers) -> None:
        self._engine = engine
        self._triggers = triggers

    def list_namespaces(self) -> tuple[str, ...]:
        """Those with triggers that wait for alerts."""
        return tuple(sorted({trigger.namespace for trigger, _ in self._list()}))

    def _list(self) -> list[tuple[SamplyTrigger, AlertMatch]]:
        found = self._triggers.watch.triggers.values()
        return [(each, each.spec.when.alert) for each in found if each.spec.when.alert is not None]

    async def take(self, received: Sequence[Alert], may: Callable[[str], bool]) -> tuple[AlertOutcome, ...]:
        """`may`: whether the sender may start recordings in a namespace. Raises OperatorUnavailable and errors.Kube*
        if it is to be sent again; that is found out when all that can be done now is done."""
        if not self._triggers.watch.is_synced:
            raise OperatorUnavailable("The operator has only begun: it does not know all triggers yet.")
        wanted = [(trigger, match) for trigger, match in self._list() if may(trigger.namespace)]
        for namespace in {trigger.namespace for trigger, _ in wanted}:
            if not self._engine.world.covers(namespace):
                raise OperatorUnavailable(f"The operator does not know all pipelines of {namespace} yet.")
        outcomes: list[AlertOutcome] = []
        faults: list[SamplyOperatorError] = []
        for alert in received:
            outcomes += await self._take(alert, wanted, faults)
        if faults:
            raise faults[0]
        return tuple(outcomes)

    async def _take(
        self, alert: Alert, wanted: Sequence[tuple[SamplyTrigger, AlertMatch]], faults: list[SamplyOperatorError]
    ) -> list[AlertOutcome]:
        """What a repetition may cure is added to `faults`."""
        if alert.status == "resolved":
            return [AlertOutcome(alert.fingerprint, "Resolved")]
        matched = [(trigger, match) for trigger, match in wanted if alerts.is_matched(match, alert)]
        if not matched:
            text = "No SamplyTrigger with when.alert that the sender may use has these labels in matchLabels."
            return [AlertOutcome(alert.fingerprint, "NotMatched", message=text)]
        outcomes = []
        for trigger, match in matched:
            try:
                outcomes.append(await self._take_one(trigger, match, alert))
            except SamplyOperatorError as error:
                logger.warning("alert %s: %s/%s: %s", alert.fingerprint, *trigger.key, error)
                if isinstance(error, PERMANENT):
                    text = str(error)
                    outcomes.append(AlertOutcome(alert.fingerprint, "NotFired", *trigger.key, (), error.code, text))
                else:
                    faults.append(error)
        return outcomes

    async def _take_one(self, trigger: SamplyTrigger, match: AlertMatch, alert: Alert) -> AlertOutcome:
        carried = await self._triggers.take_alert(trigger, match, alert)
        state: AlertState = "SeenBefore"
        if carried.profiles:
            state = "DryRun" if trigger.spec.dry_run else "Fired"
        elif carried.skips:
            state = "NotFired"
        seen = self._triggers.list_profiles_of(trigger, alert) if state == "SeenBefore" else ()
        compared = (profile.status.comparison for profile in seen)
        skip = carried.skips[0] if carried.skips else None
        logger.info("alert %s: %s/%s: %s", alert.fingerprint, *trigger.key, state)
        return AlertOutcome(
            alert.fingerprint,
            state,
            trigger.namespace,
            trigger.name,
            carried.profiles or tuple(profile.name for profile in seen),
            skip.reason if skip else "",
            skip.message if skip else "",
            tuple(found.url or found.path for found in compared if found and found.path),
        )
