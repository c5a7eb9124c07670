"""The facts of a container as text, for the object's status."""

from __future__ import annotations

from dataclasses import replace

from samply_operator.model.container import (
    CAP_IPC_LOCK,
    CAP_KILL,
    CAP_PERFMON,
    CAP_SYS_ADMIN,
    CAP_SYS_PTRACE,
    ContainerFacts,
    Process,
)
from samply_operator.rules.recording.preflight_estimates import (
    KIB,
    find_headroom,
    show_bytes,
)

TICKS_PER_SEC = 100


def describe_facts(facts: ContainerFacts, process: Process | None) -> dict[str, str]:
    """The known facts, for display. `process`: the chosen one."""
    left = find_headroom(facts)
    target = replace(facts, memory_limit=facts.target_memory_limit, memory_used=facts.target_memory_used)
    target_left = find_headroom(target)
    known = {
        "process": "" if process is None else _describe_process(process),
        "binary": "" if process is None or not has_size(process) else describe_binary(process),
        "samply": f"{facts.samply} {facts.version}".strip(),
        "samplyOffers": " ".join(flag for flag in _FLAGS if flag in facts.flags),
        "architecture": facts.arch,
        "runtime": " ".join(filter(None, (facts.runtime, facts.runtime_class))),
        "uid": "" if facts.uid < 0 else f"{facts.uid}{' of its own namespace' if facts.is_user_namespace else ''}",
        "uidMap": facts.uid_map,
        "capabilities": ", ".join(name for name, number in _CAPABILITIES if facts.has_cap(number)) or "none of use",
        "noNewPrivileges": "yes" if facts.has_no_new_privs else "no",
        "seccomp": _SECCOMP.get(facts.seccomp, "") if facts.seccomp is not None else "",
        "confinement": facts.security.strip("\0 "),
        "pageSize": "" if facts.page_bytes is None else show_bytes(facts.page_bytes),
        "perfEventParanoid": _show(facts.paranoid),
        "perfEventMlockKiB": _show(facts.mlock_kib),
        "lockedMemoryLimit": "" if facts.memlock_bytes is None else f"{facts.memlock_bytes // KIB} KiB",
        "openFilesLimit": _show(facts.open_files),
        "maxSampleRateHz": _show(facts.max_rate_hz),
        "cpus": f"{facts.allowed_cpus} of {facts.online_cpus}" if facts.online_cpus else "",
        "cpuLimit": "" if facts.quota_cpus is None else f"{facts.quota_cpus:g}",
        "memoryLimit": "" if facts.memory_limit is None else show_bytes(facts.memory_limit),
        "memoryLeft": "" if left is None else show_bytes(left),
        "targetCpus": f"{facts.target_allowed_cpus} of {facts.online_cpus}" if facts.target_allowed_cpus else "",
        "targetCpuLimit": "" if facts.target_quota_cpus is None else f"{facts.target_quota_cpus:g}",
        "targetMemoryLimit": "" if facts.target_memory_limit is None else show_bytes(facts.target_memory_limit),
        "targetMemoryLeft": "" if target_left is None else show_bytes(target_left),
        "nodeMemoryAvailable": "" if facts.node_available is None else show_bytes(facts.node_available),
        "folder": facts.folder,
        "folderFree": "" if facts.free_bytes is None else show_bytes(facts.free_bytes),
        "folderKind": _describe_folder(facts),
        "ephemeralStorageLimit": "" if facts.storage_limit is None else show_bytes(facts.storage_limit),
    }
    return {key: value for key, value in known.items() if value}


def _show(number: int | None) -> str:
    return "" if number is None else str(number)


def _describe_process(process: Process) -> str:
    started = process.started / TICKS_PER_SEC
    return (
        f"{process.name} (pid {process.pid}), threads: {process.threads}, state {process.state}, "
        f"started {started:.2f} s after the node's boot"
    )


def has_size(process: Process) -> bool:
    return process.binary_bytes > 0 or process.sections is not None


def describe_binary(process: Process) -> str:
    size = show_bytes(process.binary_bytes) if process.binary_bytes else "unknown size"
    if process.sections is None:
        return size
    packed = f", {show_bytes(process.sections.packed)} of it compressed" if process.sections.packed else ""
    return f"{size}, {show_bytes(process.sections.debug)} of debug data{packed}"


def _describe_folder(facts: ContainerFacts) -> str:
    if not facts.folder:
        return ""
    limit = "" if facts.folder_limit is None else f"sizeLimit {show_bytes(facts.folder_limit)}"
    words = ("in memory" if facts.is_tmpfs else "on disk", "noexec" if facts.is_noexec else "", limit)
    return ", ".join(filter(None, words))


_CAPABILITIES = (
    ("PERFMON", CAP_PERFMON),
    ("SYS_ADMIN", CAP_SYS_ADMIN),
    ("SYS_PTRACE", CAP_SYS_PTRACE),
    ("IPC_LOCK", CAP_IPC_LOCK),
    ("KILL", CAP_KILL),
)
_FLAGS = ("--pid", "--save-only", "--presymbolicate", "--unstable-presymbolicate")
"""Options that distinguish versions of samply."""
_SECCOMP = {0: "none", 1: "strict", 2: "filter"}
