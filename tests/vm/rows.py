"""Recordings on Debian's kernels with cgroup v2, and the expected result of each. Data only: see recordings.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from vm.machine import GUARDED_MIB, HELPER, NUMBERS

SECS = 8
RATE_HZ = 20
"""Low: the machine loses a sample whenever its CPU waits for longer than an interval."""
GROWING_SECS = 300
"""At most: the recording is over as soon as the pod has grown, however long that takes."""
RUNTIME = 0xA80425FB
"""What containerd gives a root container without further settings."""
RIGHTS = RUNTIME | 1 << NUMBERS["PERFMON"] | 1 << NUMBERS["IPC_LOCK"]
ADMIN = RIGHTS | 1 << NUMBERS["SYS_ADMIN"]


@dataclass(frozen=True)
class Pod:
    """The target's container: its cgroup's files, its threads besides the main one, all of them busy."""

    says: str
    limits: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    grows_mib: int = 0
    """Memory that another process of the container takes as soon as samply records."""


PODS = {
    "free": Pod("no limits"),
    "half": Pod("limits.cpu 500m, two busy threads", {"cpu_max": "'50000 100000'"}),
    "grown": Pod(
        f"limits.memory {GUARDED_MIB}Mi, which it nearly uses up meanwhile",
        {"memory_max": f"{GUARDED_MIB}M", "memory_oom_group": "1"},
        grows_mib=472,
    ),
    "tight": Pod("limits.memory 32Mi", {"memory_max": "32M", "memory_oom_group": "1"}),
}


@dataclass(frozen=True)
class Row:
    """One recording by the project's samply. `answers`: the mode if it gives a good profile, else the reason."""

    pod: str
    mode: str
    level: int
    """kernel.perf_event_paranoid."""
    answers: str
    caps: int = RIGHTS
    """Those of the container that samply runs in."""
    has: str = "PERFMON and IPC_LOCK"
    """What the pod's own container has of them, for the reader."""
    kernel_says: str = ""
    """Of a row that the preflight refuses: the reason that samply itself gives; empty: it isn't asked."""
    arch: str = ""
    """If it isn't x86_64."""

    @property
    def is_good(self) -> bool:
        return self.answers == self.mode

    @property
    def group(self) -> str:
        """The cgroup that samply runs in."""
        return "helper" if self.mode == "Ephemeral" else self.pod

    @property
    def id(self) -> str:
        return f"{self.pod}-{self.mode}-{self.level}-{self.has.replace(' ', '-')}"


def helped(pod: str, level: int, answers: str = "Ephemeral", kernel_says: str = "") -> Row:
    return Row(pod, "Ephemeral", level, answers, HELPER, "no capability added", kernel_says)


ROWS = (
    helped("half", 2),
    Row("free", "BringOwn", 3, "BringOwn", ADMIN, "SYS_ADMIN"),
    Row("free", "BringOwn", 2, "PerfNotPermitted", RUNTIME, "no PERFMON", "PerfNotPermitted"),
    helped("free", 3, "PerfRestricted", "PerfNotPermitted"),
    helped("free", 4, "PerfRestricted", "PerfNotPermitted"),
    Row("grown", "BringOwn", 2, "MemoryNear"),
    Row("tight", "BringOwn", 2, "TightMemory"),
)
ARM64_ROWS = tuple(
    replace(row, arch="arm64") for row in (helped("half", 2), helped("free", 3, "PerfRestricted", "PerfNotPermitted"))
)


def begin_line(row: Row) -> str:
    """What a row's line of docs/matrix.md begins with, whatever came."""
    arch = f"; {row.arch}" if row.arch else ""
    return f"| {PODS[row.pod].says}; {row.has}{arch} | {row.level} | {row.mode} |"
