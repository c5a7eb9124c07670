"""What commands have in common: from a job's profile to its answer."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from samply_operator.profiles.format import reading
from samply_operator.profiles.format.profile import Profile
from samply_operator.profiles.worker.jobs import Job


def read(path: str, job: Job) -> Profile:
    return reading.read(Path(path), max_raw_bytes=job.max_raw_bytes)


def encode(answer: object) -> Iterable[bytes]:
    return (msgspec.json.encode(answer),)


def encode_text(table: str) -> Iterable[bytes]:
    return (table.encode("utf-8", "replace"),)
