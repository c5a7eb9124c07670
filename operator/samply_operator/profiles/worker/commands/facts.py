"""Facts about a profile."""

from __future__ import annotations

from collections.abc import Iterable

from samply_operator.profiles.analysis import fact_sheet
from samply_operator.profiles.worker.commands import answering
from samply_operator.profiles.worker.jobs import Facts


def run(job: Facts) -> Iterable[bytes]:
    return answering.encode(fact_sheet.gather(answering.read(job.profile, job)))
