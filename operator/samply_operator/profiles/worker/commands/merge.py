"""Several profiles as one summary."""

from __future__ import annotations

from collections.abc import Iterable

from samply_operator.profiles.analysis import merging
from samply_operator.profiles.attribution.choosing import Choice
from samply_operator.profiles.output import text
from samply_operator.profiles.worker.commands import answering
from samply_operator.profiles.worker.jobs import Merge


def run(job: Merge) -> Iterable[bytes]:
    profiles = (answering.read(path, job) for path in job.profiles)
    merged = merging.merge(profiles, limit=job.limit, choice=Choice(job.by, job.rules))
    return answering.encode_text(text.render_merged(merged)) if job.output == "text" else answering.encode(merged)
