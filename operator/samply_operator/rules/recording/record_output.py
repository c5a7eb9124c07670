"""The events that record.sh prints during a recording, and the result at its end."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from samply_operator.model.profile import Failure
from samply_operator.rules.recording import failures

PROFILE = "profile.json.gz"
SIDECAR = "profile.json.syms.json"
CENTISECOND = 0.01
CONTINUED = "samply left the process stopped (state T); it was continued."
KILLED = frozenset({134, 137, 139})
"""Exit codes after signals that samply did not request: ABRT, KILL, SEGV."""

_FILE = re.compile(r"file (profile\.json(?:\.gz|\.syms\.json)) (\d{1,15}) ([0-9a-f]{64})", re.ASCII)
_SHA256_HEX = 64


@dataclass(frozen=True, slots=True)
class RemoteFile:
    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Progress:
    """The state after all events so far. Clocks are the node's uptime in seconds; ticks are clock ticks of 10 ms."""

    recording_at: float | None = None
    ticks_before: int | None = None
    stopping_at: float | None = None
    ticks_after: int | None = None
    stop_cause: str = ""
    """`timer`, `keep` or `discard`: who created the mark and sent the single SIGINT; empty: samply ended by itself."""
    exit_code: int | None = None
    files: tuple[RemoteFile, ...] = ()
    lost_events: int | None = None
    was_stopped: bool = False
    """The target was left in state T and was continued."""
    deadline: str = ""
    """`attach` or `finish`: samply was killed because it took too long; `memory`: because it used too much."""
    throttled_usecs: tuple[int, ...] = ()
    """Throttled time of the container when sampling started, when it ended, and at the end."""
    off_secs: float = 0.0
    """Maximum difference between the two readings and the start and end of sampling, beyond the clock's ticks."""
    is_done: bool = False

    def find_file(self, name: str) -> RemoteFile | None:
        return next((f for f in self.files if f.name == name), None)

    @property
    def window_secs(self) -> tuple[float, float] | None:
        """Time between the two readings of the CPU time, on the node's clock."""
        if self.recording_at is None or self.stopping_at is None:
            return None
        return self.recording_at, self.stopping_at

    @property
    def cpu_secs(self) -> float | None:
        """CPU time of the process while it was sampled."""
        if self.ticks_before is None or self.ticks_after is None:
            return None
        return max(0, self.ticks_after - self.ticks_before) * CENTISECOND


def observe(progress: Progress, line: str) -> Progress:
    """Progress after one more event. Invalid lines are ignored: a pod's output is not trusted."""
    if match := _FILE.fullmatch(line):
        file = RemoteFile(match[1], int(match[2]), match[3])
        kept = tuple(f for f in progress.files if f.name != file.name)
        return replace(progress, files=(*kept, file))
    word, _, rest = line.partition(" ")
    fields = rest.split()
    match word, fields:
        # The ticks are missing if the process had already ended.
        case "recording", [clock, *ticks] if len(ticks) < 2:
            return replace(progress, recording_at=parse_clock(clock), ticks_before=_integer("".join(ticks)))
        case "stopping", [clock, *ticks, cause] if len(ticks) < 2:
            after = _integer("".join(ticks))
            return replace(progress, stopping_at=parse_clock(clock), ticks_after=after, stop_cause=cause[:16])
        case "exit", [code]:
            return replace(progress, exit_code=_integer(code))
        case "lost", [count]:
            return replace(progress, lost_events=_integer(count))
        case "deadline", [which]:
            return replace(progress, deadline=which[:16])
        case "throttled", [usecs] if (taken := _integer(usecs)) is not None and len(progress.throttled_usecs) < 3:
            return replace(progress, throttled_usecs=(*progress.throttled_usecs, taken))
        case "continued", []:
            return replace(progress, was_stopped=True)
        case "done", []:
            return replace(progress, is_done=True)
        case _:
            return progress


def observe_all(lines: Iterable[str]) -> Progress:
    progress = Progress()
    for line in lines:
        progress = observe(progress, line)
    return progress


def _integer(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def parse_clock(centiseconds: str) -> float | None:
    """The node's uptime in seconds."""
    value = _integer(centiseconds)
    return None if value is None else value * CENTISECOND


# samply's messages on stderr → the reason. First match wins.
_SAYINGS: tuple[tuple[str, str], ...] = (
    ("memory allocation of", "MemoryNear"),
    ("perf_event_paranoid", "PerfEventParanoid"),
    ("mmap failed", "LockedMemory"),
    ("Too many open files", "OpenFiles"),
    ("perf_event_max_sample_rate", "RateTooHigh"),
    ("maximum sample rate", "RateTooHigh"),
    ("Operation not permitted", "PerfNotPermitted"),
    ("Permission denied", "PerfNotPermitted"),
    ("No such process", "ProcessNotFound"),
    ("No space left on device", "TooLittleSpace"),
)


def judge(progress: Progress, log: str) -> Failure | None:
    """None: there is a profile to collect. Else why there is none. `log` is samply's stderr."""
    failure = _judge(progress, log)
    if failure is None or not progress.was_stopped:
        return failure
    return replace(failure, message=f"{failure.message} {CONTINUED}")


def _judge(progress: Progress, log: str) -> Failure | None:
    if progress.find_file(PROFILE) is not None and progress.recording_at is not None:
        return None
    said = next((reason for text, reason in _SAYINGS if text in log), None)
    if progress.deadline == "attach":
        return _fail("AttachTimeout", "samply was started but did not report that it records.", log)
    if progress.deadline == "memory":
        return _fail(
            "MemoryNear",
            "samply used more memory than is safe, or the container came near its limit: samply was ended.",
            log,
        )
    if progress.deadline == "finish":
        return _fail("FinishTimeout", "samply was stopped and had not written its file at the deadline.", log)
    if said is not None:
        return _fail(said, f"samply could not record: {_last_line(log)}", log)
    if progress.exit_code in KILLED:
        return _fail("SamplyKilled", f"samply was killed by signal {progress.exit_code - 128}.", log)
    if progress.exit_code == 127:
        return _fail("SamplyNotFound", "samply disappeared between the preflight and the recording.", log)
    if progress.recording_at is None:
        return _fail("SamplyFailed", f"samply ended with status {progress.exit_code} before it recorded.", log)
    if not progress.stop_cause:
        return _fail("TargetEnded", "The process ended during the recording, and samply wrote no profile.", log)
    return _fail("NoProfileWritten", f"samply ended with status {progress.exit_code} and wrote no profile.", log)


def judge_half(progress: Progress, log: str) -> Failure:
    """Why the file is incomplete: what ended samply while it wrote."""
    return judge(replace(progress, files=()), log) or _fail("NoProfileWritten", "samply left an incomplete file.", log)


def was_killed(progress: Progress) -> bool:
    """Whether samply was ended before it had finished: its file may be complete and the symbols missing."""
    return progress.exit_code != 0 and (bool(progress.deadline) or progress.exit_code in KILLED)


def _fail(reason: str, message: str, log: str) -> Failure:
    return failures.build_failure(reason, message, log=log)


def _last_line(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return failures.clean_text(lines[-1])[:300] if lines else "it said nothing"
