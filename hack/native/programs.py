"""Starts, finds and stops the cluster's programs by pid files; never by name.

A pid file holds the process's own line of /proc, the boot's id and a fingerprint of what it runs. A pid that the kernel
has given to somebody else since is thus told apart, and a program whose arguments or files changed is started anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import ClusterError
from .layout import Layout

# The shell writes its own /proc line, then becomes the program: pid and start time stay. So there is no instant
# at which the program runs without a pid file, even if the caller is killed.
_LAUNCH = (
    'pidfile=$1 mark=$2; shift 2; { cat /proc/$$/stat /proc/sys/kernel/random/boot_id; echo "$mark"; } >"$pidfile.new"'
    ' && mv "$pidfile.new" "$pidfile" && exec "$@"'
)


@dataclass(frozen=True, slots=True)
class Program:
    """One long-running program: its name, command line, the files it reads at start, additions to its environment."""

    name: str
    argv: tuple[str, ...]
    files: tuple[Path, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def fingerprint(self) -> str:
        digest = hashlib.sha256("\0".join(self.argv).encode())
        for file in self.files:
            digest.update(file.read_bytes())
        binary = Path(self.argv[0]).stat()
        digest.update(f"{binary.st_size} {binary.st_mtime_ns}".encode())
        return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a pid file says."""

    pid: int
    start_time: str
    boot_id: str
    fingerprint: str


def parse_stat(stat: str) -> tuple[int, str, str]:
    """Pid, state letter and start time of a /proc/PID/stat line; the name in parentheses may hold anything."""
    pid = int(stat.split(" ", 1)[0])
    rest = stat.rpartition(")")[2].split()
    return pid, rest[0], rest[19]


def read_recorded(pidfile: Path) -> Recorded | None:
    try:
        lines = pidfile.read_text().splitlines()
    except FileNotFoundError:
        return None
    if len(lines) < 3:
        return None
    pid, _, start_time = parse_stat(lines[0])
    return Recorded(pid, start_time, lines[1], lines[2])


def is_running(recorded: Recorded | None) -> bool:
    """True if exactly that process (pid, start time, boot) is alive; a zombie is not."""
    if recorded is None or recorded.boot_id != Path("/proc/sys/kernel/random/boot_id").read_text().strip():
        return False
    try:
        _, state, start_time = parse_stat(Path(f"/proc/{recorded.pid}/stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX" and start_time == recorded.start_time


def find_running(layout: Layout, name: str) -> Recorded | None:
    recorded = read_recorded(layout.pids / f"{name}.pid")
    return recorded if is_running(recorded) else None


def ensure(layout: Layout, program: Program) -> bool:
    """Start the program unless it runs as asked for; say whether it was started."""
    running = find_running(layout, program.name)
    if running and running.fingerprint == program.fingerprint():
        return False
    if running:
        stop(layout, program.name)
    layout.pids.mkdir(parents=True, exist_ok=True)
    layout.logs.mkdir(parents=True, exist_ok=True)
    pidfile = layout.pids / f"{program.name}.pid"
    with (layout.logs / f"{program.name}.log").open("ab") as log:
        log.write(f"--- started {time.strftime('%Y-%m-%dT%H:%M:%S%z')}\n".encode())
        log.flush()
        subprocess.Popen(
            ["/bin/sh", "-c", _LAUNCH, "sh", str(pidfile), program.fingerprint(), *program.argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=layout.state,
            env={**os.environ, **program.environment},
            start_new_session=True,
        )
    wait_until(f"{program.name} to start", lambda: find_running(layout, program.name) is not None, timeout_secs=10)
    return True


def stop(layout: Layout, name: str, *, grace_secs: float = 10) -> bool:
    """TERM, then KILL after the grace; say whether there was something to stop."""
    pidfile = layout.pids / f"{name}.pid"
    recorded = read_recorded(pidfile)
    was_running = recorded is not None and is_running(recorded)
    if recorded is not None and was_running:
        for number, patience in ((signal.SIGTERM, grace_secs), (signal.SIGKILL, 10.0)):
            _signal(recorded.pid, number)
            if poll(lambda: not is_running(recorded), patience):
                break
        else:
            raise ClusterError(f"{name} (pid {recorded.pid}) does not end, not even on SIGKILL")
    pidfile.unlink(missing_ok=True)
    return was_running


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended between the look and the signal: what was wanted
        os.kill(pid, number)


def poll(condition: Callable[[], bool], timeout_secs: float, *, step_secs: float = 0.05) -> bool:
    """True as soon as the condition holds, False when the time is over."""
    deadline = time.monotonic() + timeout_secs
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(step_secs)
    return True


def wait_until(what: str, condition: Callable[[], bool], *, timeout_secs: float) -> None:
    if not poll(condition, timeout_secs):
        raise ClusterError(f"waited {timeout_secs:.0f} s for {what}")


def wait_for_program(layout: Layout, name: str, condition: Callable[[], bool], *, timeout_secs: float) -> None:
    """Wait until the program answers; if it dies or stays mute, the error shows the end of its log."""
    died = False

    def is_decided() -> bool:
        nonlocal died
        if condition():
            return True
        died = find_running(layout, name) is None
        return died

    decided = poll(is_decided, timeout_secs)
    if decided and not died:
        return
    log = layout.logs / f"{name}.log"
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise ClusterError(f"{name} {'ended' if died else f'did not answer in {timeout_secs:.0f} s'}; {log} ends:\n{tail}")
