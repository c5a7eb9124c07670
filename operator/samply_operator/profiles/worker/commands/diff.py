"""Two profiles beside each other."""

from __future__ import annotations

from collections.abc import Iterable

from samply_operator.profiles.analysis import comparing
from samply_operator.profiles.attribution.choosing import Choice
from samply_operator.profiles.output import flamegraph, text
from samply_operator.profiles.worker.commands import answering
from samply_operator.profiles.worker.jobs import Diff


def run(job: Diff) -> Iterable[bytes]:
    choice = Choice(job.by, job.rules)
    both = (answering.read(path, job) for path in (job.before, job.after))
    if job.output == "svg":
        return flamegraph.compare(*both, choice=choice)
    comparison = comparing.compare_each(both, limit=job.limit, choice=choice)
    return (
        answering.encode_text(text.render_comparison(comparison))
        if job.output == "text"
        else answering.encode(comparison)
    )
