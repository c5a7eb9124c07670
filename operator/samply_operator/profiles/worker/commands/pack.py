"""A profile as it is, in gzip."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from samply_operator.profiles.format import gzipping, source
from samply_operator.profiles.worker.commands import answering
from samply_operator.profiles.worker.jobs import Pack


def run(job: Pack) -> Iterable[bytes]:
    data = source.load(Path(job.profile), max_raw_bytes=job.max_raw_bytes)
    return answering.encode(gzipping.write([data], Path(job.out), expected_bytes=len(data)))
