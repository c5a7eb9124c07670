"""Which process of a container to record.

Usually PID 1; if that is an init or a shell, the process that it started; if several match, `spec.process` must choose.
"""

from __future__ import annotations

from collections.abc import Sequence

from samply_operator.model.container import Process
from samply_operator.model.profile import Failure
from samply_operator.plural import count
from samply_operator.rules.recording import failures

WRAPPERS = frozenset(
    {"tini", "tini-static", "dumb-init", "docker-init", "catatonit", "s6-svscan", "s6-supervise", "pause"}
    | {"sh", "bash", "dash", "ash", "busybox", "su-exec", "gosu", "runuser", "setpriv", "entrypoint.sh"}
)
SANDBOX = (1, "pause")
"""The pod's own process, if the pod shares its process namespace: it belongs to no container."""
NAME_LIMIT = 15
"""The kernel truncates names of processes to this length."""


def choose_process(processes: Sequence[Process], wanted: str | None) -> Process | Failure:
    """The process to record, or why there is none. `wanted`: a name or a PID."""
    living = [p for p in processes if p.state not in "ZX" and (p.pid, p.name) != SANDBOX]
    if wanted is not None:
        named = tuple(p for p in living if p.name == wanted[:NAME_LIMIT] or str(p.pid) == wanted)
        # Workers often have the name of their parent.
        return _one(_find_tops(named, living), f"named {wanted!r}", living)
    if not living:
        return failures.build_failure("ProcessNotFound", "No process of the container is visible.")
    workers = tuple(p for p in living if not _is_wrapper(p))
    tops = _find_tops(workers, living)
    if not tops:
        return _one(tuple(living), "but shells and inits", living) if len(living) == 1 else _ambiguous(living)
    # Processes that entered the container later (an exec'd probe, a debugging shell) are not its main process's.
    main = _find_main(living)
    own = tuple(p for p in tops if p == main or main in _list_ancestors(p, living))
    return (own or tops)[0] if len(own or tops) == 1 else _ambiguous(own or tops)


def _is_wrapper(process: Process) -> bool:
    return process.name in WRAPPERS or process.program in WRAPPERS


def _find_main(living: Sequence[Process]) -> Process:
    """PID 1; with a shared process namespace the container's first, which no process in it started."""
    pids = {p.pid for p in living}
    roots = [p for p in living if p.parent not in pids]
    return next((p for p in living if p.pid == 1), None) or min(roots or living, key=lambda p: (p.started, p.pid))


def _find_tops(some: Sequence[Process], living: Sequence[Process]) -> tuple[Process, ...]:
    """Those of `some` that no other of them started, directly or indirectly."""
    return tuple(p for p in some if not any(other in some for other in _list_ancestors(p, living)))


def _list_ancestors(process: Process, living: Sequence[Process]) -> list[Process]:
    by_pid = {p.pid: p for p in living}
    found: list[Process] = []
    parent = by_pid.get(process.parent)
    while parent is not None and parent != process and parent not in found:
        found.append(parent)
        parent = by_pid.get(parent.parent)
    return found


def _one(found: Sequence[Process], what: str, living: Sequence[Process]) -> Process | Failure:
    if len(found) == 1:
        return found[0]
    if found:
        return _ambiguous(found)
    return failures.build_failure(
        "ProcessNotFound", f"The container has no process {what}; it has: {list_processes(living)}."
    )


def _ambiguous(found: Sequence[Process]) -> Failure:
    return failures.build_failure("AmbiguousProcess", f"Several processes match: {list_processes(found)}.")


def list_processes(processes: Sequence[Process]) -> str:
    shown = ", ".join(f"{p.name} ({p.pid}, {count(p.threads, 'thread')})" for p in processes[:10])
    return shown + (f" and {len(processes) - 10} more" if len(processes) > 10 else "") if processes else "none"
