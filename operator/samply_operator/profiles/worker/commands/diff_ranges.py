"""Two ranges of time beside each other, or one and a profile."""

from __future__ import annotations

from collections.abc import Iterable

from samply_operator.profiles.analysis import comparing
from samply_operator.profiles.attribution.choosing import Choice
from samply_operator.profiles.output import flamegraph, text
from samply_operator.profiles.worker.commands import adding, answering
from samply_operator.profiles.worker.jobs import DiffRanges


def run(job: DiffRanges) -> Iterable[bytes]:
    choice = Choice(job.by, job.rules)
    before = adding.add(job.before, job.before_parts, job)
    after = adding.add(job.after, job.after_parts, job)
    if job.output == "svg":
        return flamegraph.compare_ranges(before, after, choice=choice)
    comparison = comparing.compare_ranges(before, after, limit=job.limit, choice=choice)
    return (
        answering.encode_text(text.render_comparison(comparison))
        if job.output == "text"
        else answering.encode(comparison)
    )
