"""Reads the metrics of SamplyTriggers, each at its own interval. Each source has its own queue, and so have slow
queries: what does not answer delays nothing but its like.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp

from samply_operator.discovery.object_table import Key
from samply_operator.discovery.work_queue import WorkQueue
from samply_operator.model.trigger import Metric, PrometheusQuery, SamplyTrigger
from samply_operator.recorder.engine import Engine
from samply_operator.rules.triggers.facts import Place, Skip
from samply_operator.rules.triggers.metric import Answer, read_series
from samply_operator.supervisor import Supervisor
from samply_operator.triggers import gathering, measures
from samply_operator.triggers.feldera import FelderaValues
from samply_operator.triggers.prometheus import PrometheusClient

logger = logging.getLogger(__name__)

UNKNOWN_SECS = 1.0
DEFECT_SECS = 60.0
WORKERS = 8
"""Of each queue. Two of them ask Prometheus, which answers 20 queries at once (`--query.max-concurrency`)."""
SLOW_SECS = 1.0
"""A query to Prometheus that took longer is slow."""
PROMETHEUS, SLOW_PROMETHEUS, FELDERA = "prometheus", "slow queries to prometheus", "feldera"

OnRead = Callable[[SamplyTrigger, Metric, Sequence[Place], "Answer | Skip", float, float], None]
Answers = AsyncGenerator["Answer | Skip | None", None]


@dataclass(slots=True)
class _Reading:
    """One of a trigger: at what time, also by a monotonic clock. `reason`: what came of it."""

    trigger: SamplyTrigger
    metric: Metric
    places: Sequence[Place]
    at: float
    started: float
    reason: str = "Read"


class Readings:
    """`find` gives the trigger as it is; `on_read` takes what was read, and when it was asked for, also by a monotonic
    clock. Must be run."""

    def __init__(self, engine: Engine, find: Callable[[Key], SamplyTrigger | None], on_read: OnRead) -> None:
        self._engine = engine
        self._find = find
        self._on_read = on_read
        self._feldera = FelderaValues(engine)
        self._prometheus: PrometheusClient | None = None
        self._slow: set[Key] = set()
        """Triggers whose last query to Prometheus was slow."""
        self._finishing: set[asyncio.Task[None]] = set()
        self.queues: dict[str, WorkQueue[Key]] = {
            name: WorkQueue(
                partial(self._read, name), name=f"{name} for triggers", workers=workers, activity=engine.activity
            )
            for name, workers in ((PROMETHEUS, WORKERS), (SLOW_PROMETHEUS, WORKERS), (FELDERA, WORKERS))
        }

    async def run(self) -> None:
        """Run forever."""
        try:
            async with (
                aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as session,
                Supervisor() as supervisor,
            ):
                self._prometheus = PrometheusClient(session)
                for name, queue in self.queues.items():
                    supervisor.start(f"{name} for triggers", queue.run())
        finally:
            for task in self._finishing:
                task.cancel()
            await asyncio.gather(*self._finishing, return_exceptions=True)
            await self._feldera.close()

    def see(self, trigger: SamplyTrigger) -> None:
        """It came, or changed."""
        self._slow.discard(trigger.key)
        name = self._find_queue(trigger)
        if name:
            self.queues[name].put(trigger.key)

    def _find_queue(self, trigger: SamplyTrigger) -> str:
        """Empty: nothing is read for it."""
        metric = trigger.spec.when.metric
        if metric is None or trigger.spec.suspend or trigger.fault:
            return ""
        if metric.feldera is not None:
            return FELDERA
        return SLOW_PROMETHEUS if trigger.key in self._slow else PROMETHEUS

    async def _read(self, name: str, key: Key) -> None:
        trigger = self._find(key)
        if trigger is None:
            self._slow.discard(key)
            return
        if self._find_queue(trigger) != name or trigger.spec.when.metric is None:
            return
        if not self._engine.world.covers(trigger.namespace):
            self.queues[name].put_later(key, UNKNOWN_SECS)
            return
        context = self._engine.context
        places, metric = gathering.list_places(self._engine, trigger), trigger.spec.when.metric
        reading = _Reading(trigger, metric, places, context.now(), context.uptime())
        answers = self._ask(reading)
        self._take(reading, await anext(answers))
        # What hangs must not hold a worker.
        task = asyncio.create_task(self._finish(reading, answers))
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    async def _finish(self, reading: _Reading, answers: Answers) -> None:
        """Take what comes later, and read again when it is time."""
        pause_secs = DEFECT_SECS
        try:
            async for answer in answers:
                self._take(reading, answer)
            pause_secs = max(0.0, reading.started + reading.metric.every_seconds - self._engine.context.uptime())
        except Exception:
            logger.exception("%s/%s: a defect; again in %g s", *reading.trigger.key, pause_secs)
        trigger = self._find(reading.trigger.key)
        if trigger is None:
            self._slow.discard(reading.trigger.key)
            return
        name = self._find_queue(trigger)
        if name:
            measures.READINGS.labels(_find_source(reading.metric), reading.reason).inc()
            self.queues[name].put_later(reading.trigger.key, pause_secs)

    def _take(self, reading: _Reading, answer: Answer | Skip | None) -> None:
        if answer is None:
            return
        reading.reason = answer.reason if isinstance(answer, Skip) else "Read"
        trigger, current = reading.trigger, self._find(reading.trigger.key)
        if current is not None and current.spec == trigger.spec and current.uid == trigger.uid:
            self._on_read(current, reading.metric, reading.places, answer, reading.at, reading.started)

    async def _ask(self, reading: _Reading) -> Answers:
        metric = reading.metric
        if metric.feldera is not None:
            async for answer in self._feldera.read(metric.feldera, reading.places):
                yield answer
        elif metric.prometheus is not None and self._prometheus is not None:
            yield await self._query(self._prometheus, metric.prometheus, reading.trigger.key)

    async def _query(self, client: PrometheusClient, wanted: PrometheusQuery, key: Key) -> Answer | Skip:
        settings, began = self._engine.context.settings, time.monotonic()
        found = await client.query(settings.prometheus, Path(settings.paths.prometheus), wanted.query, key[0])
        (self._slow.add if time.monotonic() - began > SLOW_SECS else self._slow.discard)(key)
        if isinstance(found, Skip):
            return found
        return Answer(tuple(read_series(wanted, each.labels, each.value) for each in found))


def _find_source(metric: Metric) -> str:
    return "feldera" if metric.feldera is not None else "prometheus"
