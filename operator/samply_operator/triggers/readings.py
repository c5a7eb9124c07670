"""Reads the metrics of SamplyTriggers, each at its own interval. Each source has its own queue: one that does not
answer delays nothing but its own triggers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path

import aiohttp

from samply_operator.discovery.object_table import Key
from samply_operator.discovery.work_queue import WorkQueue
from samply_operator.model.trigger import Metric, SamplyTrigger
from samply_operator.recorder.engine import Engine
from samply_operator.rules.triggers.facts import Place, Skip
from samply_operator.rules.triggers.metric import Answer, read_series
from samply_operator.supervisor import Supervisor
from samply_operator.triggers import gathering, measures
from samply_operator.triggers.feldera import FelderaValues
from samply_operator.triggers.prometheus import PrometheusClient

UNKNOWN_SECS = 1.0
WORKERS = 8

OnRead = Callable[[SamplyTrigger, Metric, Sequence[Place], "Answer | Skip", float, float], None]


class Readings:
    """`find` gives the trigger as it is; `on_read` takes what was read, and when it was asked for, also by a monotonic
    clock. Must be run."""

    def __init__(self, engine: Engine, find: Callable[[Key], SamplyTrigger | None], on_read: OnRead) -> None:
        self._engine = engine
        self._find = find
        self._on_read = on_read
        self._feldera = FelderaValues(engine)
        self._prometheus: PrometheusClient | None = None
        self.queues: dict[str, WorkQueue[Key]] = {
            source: WorkQueue(
                partial(self._read, source), name=f"{source} for triggers", workers=WORKERS, activity=engine.activity
            )
            for source in ("prometheus", "feldera")
        }

    async def run(self) -> None:
        """Run forever."""
        async with (
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as session,
            Supervisor() as supervisor,
        ):
            self._prometheus = PrometheusClient(session)
            for source, queue in self.queues.items():
                supervisor.start(f"{source} for triggers", queue.run())

    def see(self, trigger: SamplyTrigger) -> None:
        """It came, or changed."""
        source = _find_source(trigger)
        if source:
            self.queues[source].put(trigger.key)

    async def _read(self, source: str, key: Key) -> None:
        trigger = self._find(key)
        if trigger is None or _find_source(trigger) != source or trigger.spec.when.metric is None:
            return
        metric, queue = trigger.spec.when.metric, self.queues[source]
        if not self._engine.world.covers(trigger.namespace):
            queue.put_later(key, UNKNOWN_SECS)
            return
        places, at = gathering.list_places(self._engine, trigger), self._engine.context.now()
        started = self._engine.context.uptime()
        reason = "Read"
        async for answer in self._ask(trigger, metric, places):
            reason = answer.reason if isinstance(answer, Skip) else "Read"
            current = self._find(key)
            if current is not None and current.spec == trigger.spec and current.uid == trigger.uid:
                self._on_read(current, metric, places, answer, at, started)
        measures.READINGS.labels(source, reason).inc()
        queue.put_later(key, max(0.0, started + metric.every_seconds - self._engine.context.uptime()))

    async def _ask(
        self, trigger: SamplyTrigger, metric: Metric, places: Sequence[Place]
    ) -> AsyncIterator[Answer | Skip]:
        if metric.feldera is not None:
            async for answer in self._feldera.read(metric.feldera, places):
                yield answer
        elif metric.prometheus is not None and self._prometheus is not None:
            settings = self._engine.context.settings
            found = await self._prometheus.query(
                settings.prometheus, Path(settings.paths.prometheus), metric.prometheus.query, trigger.namespace
            )
            yield (
                found
                if isinstance(found, Skip)
                else Answer(tuple(read_series(metric.prometheus, each.labels, each.value) for each in found))
            )


def _find_source(trigger: SamplyTrigger) -> str:
    """Empty: nothing is read for it."""
    metric = trigger.spec.when.metric
    if metric is None or trigger.spec.suspend or trigger.fault:
        return ""
    return "feldera" if metric.feldera is not None else "prometheus"
