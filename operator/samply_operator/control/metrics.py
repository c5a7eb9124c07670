"""The operator's metrics as text. Gauges are read from the engine at the time of the request."""

from __future__ import annotations

import asyncio
import math
from collections import Counter

from samply_operator import __version__, measures
from samply_operator.measures import OPERATOR, gauge
from samply_operator.recorder.engine import Engine
from samply_operator.store.space import Backlog

BUILD = gauge(OPERATOR, "build_info", "1; the version is the label.", ("version",))
RUNNING = gauge(OPERATOR, "recordings_running", "Recordings in progress, by phase.", ("phase",))
WAITING = gauge(OPERATOR, "recordings_waiting", "Recordings requested but not yet admitted.")
OBJECTS = gauge(OPERATOR, "objects", "Objects known from lists and watches.", ("kind",))
TASKS = gauge(
    OPERATOR, "tasks", "Tasks of the operator's event loop. Many more tasks than work in progress are a leak."
)
QUEUE = gauge(OPERATOR, "queue_length", "SamplyProfiles queued for reconciliation.")
SYNCED = gauge(OPERATOR, "synced", "1 once complete lists were seen.")
SYNCED_AT = gauge(
    OPERATOR, "last_sync_timestamp_seconds", "Unix time of the last complete lists, made every 10 minutes."
)
SEEN_AT = gauge(OPERATOR, "last_event_timestamp_seconds", "Unix time of the last watch event.")
GENERATION = gauge(OPERATOR, "store_generation", "Incremented with each profile stored or removed.")
STORED = gauge(
    OPERATOR, "store_attempts", "Stored profiles and failures; pinned counts those of both that are pinned.", ("kind",)
)
USED_BYTES = gauge(OPERATOR, "store_used_bytes", "Bytes used by profiles, as of the last retention pass.")
FREE_BYTES = gauge(OPERATOR, "store_free_bytes", "Free bytes of the volume.")
SPOOL_BYTES = gauge(OPERATOR, "spool_used_bytes", "Bytes used by the spool of a bucket; NaN without a bucket.")
SPOOL_ATTEMPTS = gauge(OPERATOR, "spool_attempts", "Profiles and failures in the spool that are not in the bucket yet.")
SPOOL_AGE = gauge(OPERATOR, "spool_oldest_age_seconds", "Age of the oldest attempt in the spool; 0: there is none.")
BUDGET_BYTES = gauge(OPERATOR, "store_budget_bytes", "Bytes that profiles may use before retention removes the oldest.")
RETAINED_AT = gauge(OPERATOR, "last_retention_timestamp_seconds", "Unix time of the last retention pass; 0: none.")

PHASES = ("Pending", "Recording", "Collecting")


def render(engine: Engine, waiting: int, free_bytes: int, backlog: Backlog | None) -> bytes:
    """All metrics of the operator, in Prometheus' text format. `backlog` None: there is no spool."""
    _observe(engine, waiting)
    FREE_BYTES.set(free_bytes)
    SPOOL_BYTES.set(backlog.used_bytes if backlog else math.nan)
    SPOOL_ATTEMPTS.set(backlog.attempts if backlog else math.nan)
    SPOOL_AGE.set(_find_age(backlog, engine.context.now()) if backlog else math.nan)
    return measures.render(OPERATOR)


def _find_age(backlog: Backlog, now: float) -> float:
    return 0.0 if backlog.oldest_at is None else max(0.0, now - backlog.oldest_at)


def _known(engine: Engine, number: float) -> float:
    """What retention calculates is unknown before its first pass: NaN, which no alert mistakes for 0."""
    return number if engine.retention.counts.ended_at else math.nan


def _observe(engine: Engine, waiting: int) -> None:
    world, stored = engine.world, engine.retention.counts
    BUILD.labels(__version__).set(1)
    phases: Counter[str] = Counter(run.phase for run in engine.runs.values() if not run.entry.outcome)
    for phase in PHASES:
        RUNNING.labels(phase).set(phases[phase])
    WAITING.set(waiting)
    for kind, known in (("Pod", world.pods), ("StatefulSet", world.sets), ("SamplyProfile", world.profiles)):
        OBJECTS.labels(kind).set(len(known))
    QUEUE.set(engine.queue.length)
    TASKS.set(len(asyncio.all_tasks()))
    SYNCED.set(world.is_synced)
    SYNCED_AT.set(world.synced_at)
    SEEN_AT.set(world.seen_at)
    GENERATION.set(engine.changes.store_generation)
    for kind, number in (("profile", stored.profiles), ("failure", stored.failures), ("pinned", stored.pinned)):
        STORED.labels(kind).set(_known(engine, number))
    USED_BYTES.set(_known(engine, stored.used_bytes))
    BUDGET_BYTES.set(_known(engine, stored.budget_bytes))
    RETAINED_AT.set(stored.ended_at)
