"""What a preflight found in a container. Absent facts keep their defaults: unknown is not a refusal."""

from __future__ import annotations

from dataclasses import dataclass

CAP_KILL = 5
CAP_IPC_LOCK = 14
CAP_SYS_PTRACE = 19
CAP_SYS_ADMIN = 21
CAP_PERFMON = 38


@dataclass(frozen=True, slots=True)
class Sections:
    """Bytes of a program's sections that samply reads, as far as they matter to its memory. Those that are compressed
    count as they are before it."""

    lines: int = 0
    """.debug_line"""
    debug: int = 0
    """All of debug data, .debug_line too."""
    packed: int = 0
    """What of it is compressed in the file."""
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
    """Ticks since boot: with the pid, this tells it from any successor."""
    binary_bytes: int
    """0: not known."""
    name: str
    """What the kernel calls it: a script's process by the script."""
    program: str = ""
    """Name of the file that it executes; empty: not known."""
    sections: Sections | None = None
    """None: not known."""


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    samply: str = ""
    """Path of samply in the container; empty: none."""
    version: str = ""
    flags: frozenset[str] = frozenset()
    """Long options that `samply record --help` offers."""
    arch: str = ""
    kernel: str = ""
    """What /proc/version says: which kernel, and who built it."""
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
    """`inside outside count`, where it isn't everybody as himself."""
    is_user_namespace: bool = False
    """The pod has users of its own (hostUsers: false): its capabilities don't count on the node."""
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
    """Bytes without what the kernel can drop at once."""
    has_group_oom: bool = False
    """Out of memory ends all processes of the container at once (cgroup v2, memory.oom.group)."""
    target_allowed_cpus: int = 0
    target_quota_cpus: float | None = None
    """As those without `target_`, of the target's container where the facts are those of the one beside it."""
    target_memory_limit: int | None = None
    target_memory_used: int | None = None
    node_available: int | None = None
    """Bytes that the node has for whoever asks first (MemAvailable)."""
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
        """In the bounding set: a samply file that carries the capability gets it, though this shell hasn't got it."""
        return bool((self.effective_caps | self.bounding_caps) & 1 << capability)
