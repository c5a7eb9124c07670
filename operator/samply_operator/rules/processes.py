"""Which process of a container does the work: what a recording attaches to.

PID 1 in most containers; where that is an init or a shell, the process that it started; where several could be meant,
`spec.process` must say which.
"""

from __future__ import annotations

from collections.abc import Sequence

from samply_operator.model.facts import Process
from samply_operator.model.profile import Failure
from samply_operator.rules import failures

WRAPPERS = frozenset(
    {"tini", "tini-static", "dumb-init", "docker-init", "catatonit", "s6-svscan", "s6-supervise", "pause"}
    | {"sh", "bash", "dash", "ash", "busybox", "su-exec", "gosu", "runuser", "setpriv", "entrypoint.sh"}
)
NAME_LIMIT = 15
"""The kernel cuts a process's name to this length."""


def choose_process(processes: Sequence[Process], wanted: str | None) -> Process | Failure:
    """The one to profile, or why it can't be told."""
    living = [p for p in processes if p.state not in "ZX"]
    if wanted is not None:
        return _one(tuple(p for p in living if p.name == wanted[:NAME_LIMIT]), f"named {wanted!r}", living)
    if not living:
        return failures.build_failure("ProcessNotFound", "No process of the container can be seen.")
    workers = tuple(p for p in living if p.name not in WRAPPERS)
    tops = tuple(p for p in workers if not _has_ancestor(p, workers))
    first = next((p for p in tops if p.pid == 1), None)
    if first is not None:
        return first
    if not tops:
        return _one(tuple(living), "but shells and inits", living) if len(living) == 1 else _ambiguous(living)
    return tops[0] if len(tops) == 1 else _ambiguous(tops)


def _has_ancestor(process: Process, others: Sequence[Process]) -> bool:
    """One of `others` started it, directly or through others of them."""
    return any(other.pid == process.parent for other in others)


def _one(found: Sequence[Process], what: str, living: Sequence[Process]) -> Process | Failure:
    if len(found) == 1:
        return found[0]
    if found:
        return _ambiguous(found)
    return failures.build_failure(
        "ProcessNotFound", f"The container has no process {what}; it has: {list_processes(living)}."
    )


def _ambiguous(found: Sequence[Process]) -> Failure:
    return failures.build_failure("AmbiguousProcess", f"Several processes could be meant: {list_processes(found)}.")


def list_processes(processes: Sequence[Process]) -> str:
    shown = ", ".join(f"{p.name} ({p.pid}, {p.threads} threads)" for p in processes[:10])
    return shown + (f" and {len(processes) - 10} more" if len(processes) > 10 else "") if processes else "none"
