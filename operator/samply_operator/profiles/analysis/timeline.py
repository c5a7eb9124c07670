"""How busy each thread was over time. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from samply_operator.profiles.analysis import tally
from samply_operator.profiles.format.lazy_numpy import np
from samply_operator.profiles.format.profile import Meta, Profile, Thread


@dataclass(frozen=True, slots=True)
class Lane:
    """One thread. `index` is its place in the file. `cpu_ms`: None where none was recorded. `busy`: of each bucket, how
    much of it the thread was on a CPU, 1 is all; without CPU time as samples suggest it."""

    index: int
    name: str
    tid: str
    pid: str
    process_name: str
    is_main: bool
    samples: int
    cpu_ms: float | None
    busy: list[float]


@dataclass(frozen=True, slots=True)
class Timeline:
    """Buckets of `bucket_ms` each, from the first sample on. Lanes: the busiest first; `threads_total` isn't cut."""

    product: str
    started_at_ms: float
    span_ms: float
    bucket_ms: float
    threads_total: int
    lanes: tuple[Lane, ...]


def build(profile: Profile, *, buckets: int, limit: int) -> Timeline:
    span = tally.find_span(profile.threads)
    first, last = span or (0.0, 0.0)
    # The last sample stands for one more interval; without it, it would have a bucket of its own.
    whole_ms = max(last - first + profile.meta.interval_ms, profile.meta.interval_ms, 1e-3)
    bucket_ms = whole_ms / buckets
    ranked = sorted(profile.threads, key=lambda each: _rank(each, profile.meta))
    return Timeline(
        product=profile.meta.product,
        started_at_ms=profile.meta.start_time_ms,
        span_ms=round(whole_ms, 3),
        bucket_ms=bucket_ms,
        threads_total=len(profile.threads),
        lanes=tuple(_build_lane(each, profile.meta, first, bucket_ms, buckets) for each in ranked[:limit]),
    )


def _rank(thread: Thread, meta: Meta) -> tuple[float, int, int]:
    return -(tally.sum_cpu_ms(thread, meta) or 0.0), -thread.samples.length, thread.index


def _build_lane(thread: Thread, meta: Meta, first_ms: float, bucket_ms: float, buckets: int) -> Lane:
    cpu_ms = tally.sum_cpu_ms(thread, meta)
    spent = tally.spread(thread, meta, first_ms, bucket_ms, buckets)
    return Lane(
        index=thread.index,
        name=thread.name,
        tid=thread.tid,
        pid=thread.pid,
        process_name=thread.process_name,
        is_main=thread.is_main,
        samples=thread.samples.length,
        cpu_ms=None if cpu_ms is None else round(cpu_ms, 3),
        busy=np.round(np.minimum(spent / bucket_ms, 1.0), 3).tolist(),
    )
