"""The summary of a profile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from samply_operator.profiles.analysis import breakdown, summary
from samply_operator.profiles.attribution.choosing import Choice
from samply_operator.profiles.output import breakdown_text, text
from samply_operator.profiles.worker.commands import answering
from samply_operator.profiles.worker.jobs import Asked, Top


def run(job: Top) -> Iterable[bytes]:
    profile = answering.read(job.profile, job)
    attribution = Choice(job.by, job.rules).build(profile)
    asked: Asked = {"limit": job.limit, "thread": job.thread, "time_range": job.time_range}
    if attribution is not None:
        sums = breakdown.break_down(profile, attribution, by=job.by, **asked)
        sums = replace(sums, coverage=job.coverage, lost_events=job.lost_events)
        return answering.encode_text(breakdown_text.render(sums)) if job.output == "text" else answering.encode(sums)
    found = replace(summary.top(profile, **asked), coverage=job.coverage, lost_events=job.lost_events)
    return answering.encode_text(text.render_summary(found)) if job.output == "text" else answering.encode(found)
