"""A profile in the format of another program."""

from __future__ import annotations

from collections.abc import Iterator

from samply_operator.profiles.attribution.choosing import Choice
from samply_operator.profiles.output import flamegraph, folded, pprof, speedscope
from samply_operator.profiles.worker.commands import answering
from samply_operator.profiles.worker.jobs import Convert


def run(job: Convert) -> Iterator[bytes]:
    profile, choice = answering.read(job.profile, job), Choice(job.by, job.rules)
    match job.format:
        case "folded":
            return folded.convert(profile, measure=job.measure or "samples", choice=choice)
        case "speedscope":
            return speedscope.convert(profile, measure=job.measure or "samples", choice=choice)
        case "pprof":
            return pprof.convert(profile, choice=choice)
        case "svg":
            return flamegraph.convert(profile, measure=job.measure, choice=choice, note=job.note)
