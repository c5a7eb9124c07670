"""Names for a profile."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from samply_operator.profiles.symbols import baking
from samply_operator.profiles.worker.commands import answering
from samply_operator.profiles.worker.jobs import Bake


def run(job: Bake) -> Iterable[bytes]:
    result = baking.bake(
        Path(job.profile),
        None if job.sidecar is None else Path(job.sidecar),
        Path(job.out),
        label=job.label,
        window=job.window,
        max_raw_bytes=job.max_raw_bytes,
    )
    return answering.encode(result)
