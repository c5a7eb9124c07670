"""The call tree of one profile, or of two."""

from __future__ import annotations

from collections.abc import Iterable

from samply_operator.profiles.analysis import frame_tree
from samply_operator.profiles.worker.commands import answering
from samply_operator.profiles.worker.jobs import Tree


def run(job: Tree) -> Iterable[bytes]:
    return answering.encode(frame_tree.build([answering.read(path, job) for path in job.profiles], job.query))
