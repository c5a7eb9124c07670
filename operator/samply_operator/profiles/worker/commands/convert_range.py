"""All profiles of a range of time in the format of another program."""

from __future__ import annotations

from collections.abc import Iterator

from samply_operator.plural import count
from samply_operator.profiles.attribution.choosing import Choice
from samply_operator.profiles.errors import NotInProfile
from samply_operator.profiles.output import flamegraph, folded
from samply_operator.profiles.worker.commands import adding
from samply_operator.profiles.worker.jobs import ConvertRange


def run(job: ConvertRange) -> Iterator[bytes]:
    side = adding.add(job.profiles, job.parts, job, measure=job.measure, needs_samples=True)
    choice = Choice(job.by, job.rules)
    if job.format == "svg":
        return flamegraph.convert_range(side, measure=job.measure, choice=choice)
    lines = folded.convert_range(side, measure=job.measure or "samples", choice=choice)
    if side.left_out:
        first, number = side.left_out[0], count(len(side.left_out), "profile")
        raise NotInProfile(
            f"{number} of the range cannot be added, such as {first.title}: {first.message}",
            remedy="Folded stacks cannot list what is left out: use format=svg or the summary, or another range.",
            details={"reason": first.reason},
        )
    return lines
