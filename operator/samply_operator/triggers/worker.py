"""Decides on each SamplyTrigger when its time has come or something changed, creates its SamplyProfiles, and tells.

Whatever is killed in between, the next process decides the same again: the profiles' names follow from the cause, and
the status is written after the profiles were created.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from samply_operator.discovery.claims import create_object
from samply_operator.discovery.object_table import Key
from samply_operator.discovery.work_queue import WorkQueue
from samply_operator.errors import (
    KubeConflict,
    KubeError,
    KubeForbidden,
    KubeNotFound,
    ObjectRefused,
    OperatorUnavailable,
)
from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.model.alert import Alert
from samply_operator.model.profile import SamplyProfile, parse_object
from samply_operator.model.trigger import AlertMatch, Metric, SamplyTrigger, TriggerStatus, When
from samply_operator.recorder.engine import Engine
from samply_operator.rules.triggers import limits, metric, naming, status
from samply_operator.rules.triggers.alerts import build_cause, decide_alert
from samply_operator.rules.triggers.decide import decide, find_expired
from samply_operator.rules.triggers.excursion import TOLERATED, find_gap
from samply_operator.rules.triggers.facts import Decision, Facts, Firing, Made, Observed, Place, Skip
from samply_operator.supervisor import Supervisor
from samply_operator.triggers import gathering, measures
from samply_operator.triggers.readings import Readings
from samply_operator.triggers.watch import TriggerWatch

logger = logging.getLogger(__name__)

UNKNOWN_SECS = 1.0
"""How soon a trigger of a namespace that was not listed yet is looked at again."""
LOOK_SECS = 60.0
"""The longest sleep until a scheduled time: the clock may be set meanwhile."""
CHANGES_SECS = 1.0
"""How long changes of pods and profiles are collected before the triggers that they concern are looked at."""
KEPT_SECS = 3600.0
REPLACED_SECS = 5.0
"""An alert waits no longer for the end of the recordings that it replaces."""

Event = tuple[Literal["Normal", "Warning"], str, str]
"""Type, reason and message."""


@dataclass(slots=True)
class _Known:
    """What this process remembers of a trigger."""

    uid: str
    spec_seen: object
    status: TriggerStatus
    written: TriggerStatus
    reserved: dict[str, Made] = field(default_factory=dict)
    """Created by this process, or about to be, by name."""
    metric: Metric | None = None
    """To which `observed` belongs."""
    observed: Observed | None = None
    starts: deque[float] = field(default_factory=lambda: deque(maxlen=TOLERATED + 2))
    """When its last readings began, by a monotonic clock."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of a decision: the profiles that were created (or would have been), and why others were not.
    `retry_secs`: it waits for the end of recordings that it replaces. `expired`: to be deleted, by the history
    limits."""

    profiles: tuple[str, ...]
    skips: tuple[Skip, ...]
    retry_secs: float | None = None
    expired: tuple[Made, ...] = ()
    events: tuple[Event, ...] = ()


class Triggers:
    """`namespaces` empty: all of them. `run` must be run."""

    def __init__(self, engine: Engine, namespaces: Sequence[str]) -> None:
        self._engine = engine
        self._known: dict[Key, _Known] = {}
        self._metrics = 0
        """Triggers that have one."""
        self.watch = TriggerWatch(engine.context.client, namespaces, engine.activity, self.see)
        self.readings = Readings(engine, self._find, self._take_reading)
        self.queue: WorkQueue[Key] = WorkQueue(self.evaluate, name="triggers", activity=engine.activity)
        engine.comparisons.find_trigger = self._find_reference
        self._count()

    async def run(self) -> None:
        """Run forever."""
        async with Supervisor() as supervisor:
            supervisor.start("SamplyTriggers", self.watch.run())
            supervisor.start("triggers", self.queue.run())
            supervisor.start("metrics for triggers", self.readings.run())
            supervisor.start("changes for triggers", self.follow())

    def _find(self, key: Key) -> SamplyTrigger | None:
        return self.watch.triggers.get(key)

    def _find_reference(self, key: Key) -> dict[str, str] | None:
        trigger = self.watch.triggers.get(key)
        return None if trigger is None else _refer(trigger)

    def see(self, keys: set[Key]) -> None:
        """They came, changed or went. A change of a status is our own."""
        changed = [key for key in keys if self._is_news(key)]
        for key in changed:
            self.queue.put(key)
            trigger = self._find(key)
            if trigger is not None:
                self.readings.see(trigger)
        if changed:
            self._count()

    def _is_news(self, key: Key) -> bool:
        trigger, known = self._find(key), self._known.get(key)
        return trigger is None or known is None or known.uid != trigger.uid or known.spec_seen != _find_spec(trigger)

    def _count(self) -> None:
        kinds = Counter(trigger.spec.when.kind for trigger in self.watch.triggers.values())
        for kind in When.__struct_fields__:
            measures.TRIGGERS.labels(kind).set(kinds[kind])
        self._metrics = kinds["metric"]

    async def follow(self) -> None:
        """Run forever: look at the triggers that a change of a pod or a profile may concern."""
        changes, seen = self._engine.changes, 0
        with changes.feed() as feed:
            while True:
                seen = await changes.wait(seen, 3600.0)
                pipelines, recordings = feed.take()
                moved = {key[0] for key in pipelines}
                profiles = (self._engine.world.find_profile(uid) for uid in recordings)
                ended = {(p.namespace, p.trigger) for p in profiles if p and p.trigger and p.has_ended}
                for key, trigger in self.watch.triggers.items():
                    if key in ended or (key[0] in moved and trigger.spec.when.restart):
                        self.queue.put(key)
                await asyncio.sleep(CHANGES_SECS)

    # ----------------------------------------------------------------------------------------------- one decision

    async def evaluate(self, key: Key) -> None:
        """Decide on one trigger, and carry it out. Can be repeated."""
        trigger = self.watch.triggers.get(key)
        if trigger is None:
            self._known.pop(key, None)
            return
        if not self._engine.world.covers(trigger.namespace):
            self.queue.put_later(key, UNKNOWN_SECS)
            return
        await self._tell(trigger, await self._decide(trigger, decide))

    async def _decide(self, trigger: SamplyTrigger, rule: Callable[[Facts], Decision]) -> Carried:
        known, now = self._know(trigger), self._engine.context.now()
        if trigger.spec.suspend or trigger.fault:
            known.starts.clear()  # else the pause would count as that of a slow source
        observed = None
        if known.observed is not None and known.metric == trigger.spec.when.metric:
            observed = replace(known.observed, told=known.written.exceeding)
        shown = replace(trigger, status=known.status)
        facts = gathering.gather(self._engine, shown, known.reserved, now, observed)
        decision = rule(facts)
        # No await between the decision and the reservation: nothing is decided on twice.
        self._reserve(known, facts, decision.fire)
        measures.EVALUATIONS.labels(trigger.spec.when.kind).inc()
        carried = await self._carry_out(trigger, known, facts, decision)
        self._sleep(trigger.key, decision, now)
        return carried

    async def take_alert(self, trigger: SamplyTrigger, match: AlertMatch, alert: Alert) -> Carried:
        """Decide on a firing alert whose labels match, and carry it out. Can be repeated. Raises OperatorUnavailable
        if what it replaces has not ended yet, and KubeError."""
        until = time.monotonic() + REPLACED_SECS
        while True:
            current = self.watch.triggers.get(trigger.key)
            if current is None or current.uid != trigger.uid:
                return Carried((), (Skip("Deleted", "The SamplyTrigger was deleted meanwhile."),))
            carried = await self._decide(current, lambda facts: decide_alert(facts, match, alert))
            if carried.retry_secs is None:
                break
            if time.monotonic() > until:
                raise OperatorUnavailable(f"{trigger.name}: the recordings that the alert replaces have not ended yet.")
            await asyncio.sleep(carried.retry_secs)
        try:
            await self._tell(current, carried)
        except KubeError as error:  # not the sender's concern: the profiles were created
            logger.warning("%s/%s: its status: %s", *trigger.key, error)
            self.queue.put(trigger.key)
        return carried

    def list_profiles_of(self, trigger: SamplyTrigger, alert: Alert) -> list[SamplyProfile]:
        """Those that it created for this alert."""
        request = naming.build_request(trigger, build_cause(alert))
        found = self._engine.world.groups.list_of_trigger(*trigger.key)
        return sorted((p for p in found if p.labels.get(names.REQUEST) == request), key=lambda p: p.name)

    def _take_reading(
        self,
        trigger: SamplyTrigger,
        wanted: Metric,
        places: Sequence[Place],
        answer: metric.Answer | Skip,
        at: float,
        started: float,
    ) -> None:
        """A source was asked at that time; `started` is the same by a monotonic clock."""
        known = self._know(trigger)
        if not known.starts or known.starts[-1] != started:
            known.starts.append(started)
        if known.observed is None or known.metric != wanted:
            before = trigger.status.exceeding if known.metric is None else ()
            facts = gathering.gather(self._engine, trigger, known.reserved, at)
            known.metric, known.observed = wanted, Observed(metric.restore(before, facts))
        if isinstance(answer, Skip):
            known.observed = replace(known.observed, fault=answer)
        else:
            has_pods = any(value.pod for value in answer.values)
            pods = gathering.list_pods(self._engine, trigger.namespace) if has_pods else ()
            gap_secs, states = find_gap(wanted, tuple(known.starts)), known.observed.states
            known.observed = Observed(metric.observe_all(wanted, places, answer, states, at, pods, gap_secs))
        self.queue.put(trigger.key)

    def _know(self, trigger: SamplyTrigger) -> _Known:
        known = self._known.get(trigger.key)
        if known is None or known.uid != trigger.uid:
            known = _Known(trigger.uid, None, trigger.status, trigger.status)
            self._known[trigger.key] = known
        known.spec_seen = _find_spec(trigger)
        return known

    def _reserve(self, known: _Known, facts: Facts, firings: Sequence[Firing]) -> None:
        trigger = facts.trigger
        oldest = facts.now - limits.find_memory_secs(trigger.spec) - KEPT_SECS
        known.reserved = {name: made for name, made in known.reserved.items() if made.at > oldest}
        for firing in firings:
            request = naming.build_request(trigger, firing.cause)
            for place in firing.places:
                name = naming.build_name(trigger, request, place)
                known.reserved[name] = Made(name, "", request, place.pipeline, place.ordinal, facts.now)

    async def _carry_out(self, trigger: SamplyTrigger, known: _Known, facts: Facts, decision: Decision) -> Carried:
        outcomes, skips = [], [*decision.skips]
        try:
            for running in decision.replace:
                await self._delete(trigger.namespace, running)
            for firing in decision.fire:
                made, refused = await self._fire(trigger, known, firing)
                skips += refused
                if made:
                    outcomes.append(status.Outcome(firing.cause.text, made))
        except BaseException:
            self._release(trigger, known, decision.fire)  # they are decided on again
            raise
        active = sum(made.is_active for made in facts.made) + (
            0 if trigger.spec.dry_run else sum(len(outcome.profiles) for outcome in outcomes)
        )
        before = known.status
        observed = None
        if facts.observed is not None and known.observed is not None:
            # A reading may have come meanwhile: what fired is marked in the newest.
            observed = known.observed = metric.mark_fired(known.observed, decision, facts)
        known.status = status.update(
            before, trigger, decision, outcomes, skips,
            active=active, now=self._engine.context.now(), observed=observed,
        )  # fmt: skip
        self._measure(trigger, outcomes, skips)
        profiles = tuple(name for outcome in outcomes for name in outcome.profiles)
        retry_secs = decision.retry_secs if decision.replace else None
        events = tuple(_list_events(trigger, before, known.status, outcomes))
        return Carried(profiles, tuple(skips), retry_secs, find_expired(facts), events)

    async def _fire(self, trigger: SamplyTrigger, known: _Known, firing: Firing) -> tuple[tuple[str, ...], list[Skip]]:
        """The profiles' names, and what the cluster refused."""
        made: list[str] = []
        refused: list[Skip] = []
        request = naming.build_request(trigger, firing.cause)
        for place in firing.places:
            name = naming.build_name(trigger, request, place)
            if trigger.spec.dry_run:
                made.append(name)
                continue
            try:
                await self._create(trigger, known, firing, place)
            except (ObjectRefused, KubeForbidden) as error:
                refused.append(Skip("Refused", f"{place.shown}: {error}"))
                if trigger.spec.when.alert is not None:
                    known.reserved.pop(name, None)  # it is tried again when the alert is repeated
            else:
                made.append(name)
        return tuple(made), refused

    def _release(self, trigger: SamplyTrigger, known: _Known, firings: Sequence[Firing]) -> None:
        """What was reserved and not created."""
        for firing in firings:
            request = naming.build_request(trigger, firing.cause)
            for place in firing.places:
                name = naming.build_name(trigger, request, place)
                if name in known.reserved and not known.reserved[name].uid:
                    del known.reserved[name]

    async def _create(self, trigger: SamplyTrigger, known: _Known, firing: Firing, place: Place) -> None:
        engine, body = self._engine, naming.build_object(trigger, firing.cause, place)
        name = body["metadata"]["name"]
        reserved = known.reserved[name]
        raw = await create_object(engine.context.client, body)
        if raw is None:
            known.reserved[name] = replace(reserved, uid="unknown")
            return
        profile = parse_object(raw)
        known.reserved[name] = replace(reserved, uid=profile.uid)
        if profile.key not in engine.world.profiles:  # else the watch was faster, and may know more
            engine.world.see_profile(profile)
        engine.queue.put(profile.key)
        measures.PROFILES.labels(trigger.spec.when.kind).inc()

    async def _delete(self, namespace: str, made: Made) -> None:
        with contextlib.suppress(KubeNotFound, KubeConflict):
            await self._engine.context.client.delete(objects.samply_profiles(namespace, made.name), uid=made.uid)

    def _sleep(self, key: Key, decision: Decision, now: float) -> None:
        """Until it is to be looked at again."""
        waits = [decision.retry_secs] if decision.retry_secs is not None else []
        if decision.next_at is not None:
            waits.append(min(LOOK_SECS, max(0.0, decision.next_at - now)))
        if waits:
            self.queue.put_later(key, min(waits))

    # ------------------------------------------------------------------------------------------------ what it says

    async def _tell(self, trigger: SamplyTrigger, carried: Carried) -> None:
        """Write the status, then the Events, also if it could not be written; then delete what has expired."""
        try:
            await self._write_status(trigger)
        finally:
            for event in carried.events:
                await self._engine.context.events.publish(_refer(trigger), *event)
        for made in carried.expired:
            await self._delete(trigger.namespace, made)

    async def _write_status(self, trigger: SamplyTrigger) -> None:
        """If it is worth it."""
        known = self._known.get(trigger.key)
        if known is None or known.uid != trigger.uid:
            return
        new = known.status
        if status.is_worth_writing(known.written, new, self._metrics):
            body = {"metadata": {"uid": trigger.uid}, "status": status.render(new)}
            try:
                await self._engine.context.client.patch(objects.samply_triggers(*trigger.key, "status"), body)
            except (KubeNotFound, KubeConflict) as error:
                logger.info("%s/%s is gone: %s", *trigger.key, error.message)
                return
            known.written = new

    def _measure(self, trigger: SamplyTrigger, outcomes: Sequence[status.Outcome], skips: Sequence[Skip]) -> None:
        kind = trigger.spec.when.kind
        measures.FIRED.labels(kind, str(trigger.spec.dry_run).lower()).inc(len(outcomes))
        for skip in skips:
            measures.NOT_FIRED.labels(kind, skip.reason).inc()


def _list_events(
    trigger: SamplyTrigger, before: TriggerStatus, new: TriggerStatus, outcomes: Sequence[status.Outcome]
) -> Iterator[Event]:
    for outcome in outcomes:
        word = "would have fired" if trigger.spec.dry_run else "fired"
        text = f"{outcome.cause}: {word}: {status.list_profiles(outcome.profiles)}"
        yield "Normal", "DryRun" if trigger.spec.dry_run else "Fired", text
    last = new.last_not_fired
    if last.reason and last.reason != before.last_not_fired.reason:
        yield "Warning", last.reason, f"Not fired: {last.message}"


def _find_spec(trigger: SamplyTrigger) -> object:
    return trigger.spec, trigger.labels, trigger.fault


def _refer(trigger: SamplyTrigger) -> dict[str, str]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.TRIGGER_KIND,
        "namespace": trigger.namespace,
        "name": trigger.name,
        "uid": trigger.uid,
    }
