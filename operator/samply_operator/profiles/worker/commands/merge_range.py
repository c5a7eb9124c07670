"""All profiles of a range of time as one summary."""

from __future__ import annotations

from collections.abc import Iterable

from samply_operator.profiles.analysis import ranges
from samply_operator.profiles.attribution.choosing import Choice
from samply_operator.profiles.output import text
from samply_operator.profiles.worker.commands import adding, answering
from samply_operator.profiles.worker.jobs import MergeRange


def run(job: MergeRange) -> Iterable[bytes]:
    added = adding.add(job.profiles, job.parts, job)
    merged = ranges.merge(added, limit=job.limit, choice=Choice(job.by, job.rules))
    return answering.encode_text(text.render_range(merged)) if job.output == "text" else answering.encode(merged)
