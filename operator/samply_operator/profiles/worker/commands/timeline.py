"""How busy the threads of a profile were."""

from __future__ import annotations

from collections.abc import Iterable

from samply_operator.profiles.analysis import timeline
from samply_operator.profiles.worker.commands import answering
from samply_operator.profiles.worker.jobs import Timeline


def run(job: Timeline) -> Iterable[bytes]:
    profile = answering.read(job.profile, job)
    return answering.encode(timeline.build(profile, buckets=job.buckets, limit=job.limit))
