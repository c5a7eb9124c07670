"""What Feldera calls the operators."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from samply_operator.profiles.attribution import naming
from samply_operator.profiles.worker.commands import answering
from samply_operator.profiles.worker.jobs import Name


def run(job: Name) -> Iterable[bytes]:
    return answering.encode(naming.join(Path(job.dataflow).read_bytes(), Path(job.circuit).read_bytes()))
