"""The facts about a container from preflight. Missing facts keep their defaults: unknown is not a refusal."""

from __future__ import annotations

from dataclasses import dataclass

CAP_KILL = 5
CAP_IPC_LOCK = 14
CAP_SYS_PTRACE = 19
CAP_SYS_ADMIN = 21
CAP_PERFMON = 38


@dataclass(frozen=True, slots=True)
class Sections:
    """Bytes of a program's sections that affect samply's memory; compressed sections count with their unpacked size."""

    lines: int = 0
    """.debug_line"""
    debug: int = 0
    """All debug data, including .debug_line."""
    packed: int = 0
    """The part that is compressed in the file."""
    symbols: int = 0
    """.symtab"""
    unwind: int = 0
    """.eh_frame_hdr: eight bytes for each function."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the target container, from /proc/PID/stat."""

    pid: int
    parent: int
    state: str
    """One letter."""
    threads: int
    ticks: int
    """CPU time so far, in ticks of 10 ms."""
    started: int
    """Ticks since boot: with the PID, this identifies the process."""
    binary_bytes: int
    """0: unknown."""
    name: str
    """The kernel's name for it: that of the script for a script's process."""
    program: str = ""
    """Name of its executable file; empty: unknown."""
    sections: Sections | None = None
    """None: unknown."""

    @property
    def is_stopped(self) -> bool:
        """By a signal (T) or a tracer (t)."""
        return self.state in "Tt"


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    samply: str = ""
    """Path of samply in the container; empty: none."""
    version: str = ""
    flags: frozenset[str] = frozenset()
    """Long options listed by `samply record --help`."""
    arch: str = ""
    kernel: str = ""
    """The content of /proc/version: the kernel and who built it."""
    page_bytes: int | None = None
    paranoid: int | None = None
    uid: int = -1
    effective_caps: int = 0
    bounding_caps: int = 0
    has_no_new_privs: bool = False
    seccomp: int | None = None
    """0 none, 2 a filter."""
    security: str = ""
    """AppArmor's or SELinux' label."""
    uid_map: str = ""
    """`inside outside count`, if it is not the identity mapping."""
    is_user_namespace: bool = False
    """The pod has its own user namespace (hostUsers: false): its capabilities do not count on the node."""
    online_cpus: int = 0
    allowed_cpus: int = 0
    quota_cpus: float | None = None
    """CPU limit in CPUs; None: none."""
    mlock_kib: int | None = None
    """kernel.perf_event_mlock_kb: for each CPU, on top of memlock_bytes."""
    memlock_bytes: int | None = None
    """RLIMIT_MEMLOCK; None: unlimited or unknown."""
    open_files: int | None = None
    max_rate_hz: int | None = None
    memory_limit: int | None = None
    """Bytes; None: no limit."""
    memory_used: int | None = None
    """Bytes without what the kernel can reclaim at once."""
    has_group_oom: bool = False
    """Running out of memory kills all processes of the container (cgroup v2, memory.oom.group)."""
    target_allowed_cpus: int = 0
    target_quota_cpus: float | None = None
    """As those without `target_`, for the target's container if the facts are those of the ephemeral one."""
    target_memory_limit: int | None = None
    target_memory_used: int | None = None
    node_available: int | None = None
    """Free memory of the node in bytes (MemAvailable)."""
    folder: str = ""
    """A writable folder; empty: none."""
    free_bytes: int | None = None
    is_tmpfs: bool = False
    is_noexec: bool = False
    storage_limit: int | None = None
    """Bytes of the container's limit for ephemeral-storage; above it the kubelet evicts the pod. None: no limit."""
    folder_limit: int | None = None
    """Bytes of the sizeLimit of the emptyDir that the folder is in; above it the kubelet evicts the pod."""
    runtime: str = ""
    """The container runtime of the node, such as containerd."""
    runtime_class: str = ""
    """The pod's RuntimeClass; empty: the node's default."""
    processes: tuple[Process, ...] = ()

    def has_cap(self, capability: int) -> bool:
        return bool(self.effective_caps & 1 << capability)

    def may_have_cap(self, capability: int) -> bool:
        """In the bounding set: a samply file with the capability gets it, even if this shell lacks it."""
        return bool((self.effective_caps | self.bounding_caps) & 1 << capability)
