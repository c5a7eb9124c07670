"""What the child process does: for each job the module of its tag, which is imported when the job comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module

from samply_operator.profiles.worker.jobs import AnyJob


def run(job: AnyJob) -> Iterable[bytes]:
    """The answer in pieces. Raises ProfileError, possibly after the first pieces."""
    command: Callable[[AnyJob], Iterable[bytes]] = import_module(f"{__name__}.{job.__struct_config__.tag}").run
    return command(job)
