"""What commands on ranges of time have in common."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from samply_operator.profiles.analysis.ranges import Adding, Source
from samply_operator.profiles.analysis.selection import Measure
from samply_operator.profiles.worker.commands import answering
from samply_operator.profiles.worker.jobs import Job, Parts


def add(
    paths: Sequence[str], parts: Parts, job: Job, *, measure: Measure | None = None, needs_samples: bool = False
) -> Adding:
    """The profiles of a range of time, each of which is read when its turn comes."""
    sources = [
        Source(profile_id, title, partial(answering.read, path, job))
        for path, profile_id, title in zip(paths, parts.ids, parts.titles, strict=True)
    ]
    return Adding(sources, parts.left_out, name=parts.name, measure=measure, needs_samples=needs_samples)
