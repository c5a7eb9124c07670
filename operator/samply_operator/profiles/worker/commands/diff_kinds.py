"""Two profiles beside each other, by function, group and operator at once."""

from __future__ import annotations

from collections.abc import Iterable

from samply_operator.profiles.analysis import comparing
from samply_operator.profiles.worker.commands import answering
from samply_operator.profiles.worker.jobs import DiffKinds


def run(job: DiffKinds) -> Iterable[bytes]:
    both = (answering.read(path, job) for path in (job.before, job.after))
    return answering.encode(comparing.compare_kinds(both, job.kinds, limit=job.limit))
