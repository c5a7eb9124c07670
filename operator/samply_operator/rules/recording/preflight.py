"""Would a recording work in this container? From the facts of one exec to a verdict with findings."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from samply_operator.model.container import (
    CAP_IPC_LOCK,
    CAP_PERFMON,
    CAP_SYS_ADMIN,
    ContainerFacts,
)
from samply_operator.model.profile import Failure
from samply_operator.plural import count
from samply_operator.rules.recording import failures
from samply_operator.rules.recording.preflight_estimates import (
    BASE_BYTES,
    HEADROOM,
    KIB,
    MIB,
    RING_BYTES,
    Plan,
    cap_memory,
    count_events,
    count_seen_cpus,
    estimate_file,
    estimate_memory,
    estimate_rings,
    estimate_symbols,
    find_headroom,
    share_node,
    show_bytes,
)
from samply_operator.rules.recording.preflight_facts import describe_binary, has_size

Flag = Literal["", "--unstable-presymbolicate", "--presymbolicate"]
Severity = Literal["refuse", "warn"]
SPARE_FILES = 64
PAGE_BYTES = 4096
RESTRICTING = re.compile(r"(?P<debian>debian-kernel@)|-Ubuntu |@kali\.|@parrotsec\.|@proxmox\b")
"""In /proc/version: who built the kernel. The compiler is listed there too, and proves nothing."""
USUAL_LABELS = ("unconfined", "cri-containerd.apparmor.d", "crio-default", "docker-default", "containers-default")
"""AppArmor profiles that allow processes of a pod to trace each other; `kernel` and an empty label mean none."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem: the measured value, the required value, the remedy."""

    check: str
    severity: Severity
    reason: str
    message: str
    remedy: str
    measured: str = ""
    """A readable value, such as `2` or `180 MiB`."""
    needed: str = ""
    """The value that would be sufficient."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Go if `refusal` is None, with `warnings` if there are any."""

    findings: tuple[Finding, ...] = ()
    memory_cap: int | None = None
    """Maximum bytes for samply; None: no known limit."""
    memory_reserve: int = 0
    """Bytes that must stay free while samply runs, whatever uses them; 0: no shared limit."""

    @property
    def refusal(self) -> Failure | None:
        found = next((f for f in self.findings if f.severity == "refuse"), None)
        return None if found is None else Failure(found.reason, found.message, found.remedy)

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(f.message for f in self.findings if f.severity == "warn")

    @property
    def word(self) -> str:
        """The verdict in the object's status."""
        return "Refuse" if self.refusal else "GoWithWarning" if self.findings else "Go"


def choose_symbol_flag(facts: ContainerFacts) -> Flag:
    """Versions of samply are distinguished by their options, not by number (main also reports 0.13.1)."""
    if "--presymbolicate" in facts.flags:
        return "--presymbolicate"
    return "--unstable-presymbolicate" if "--unstable-presymbolicate" in facts.flags else ""


def decide(facts: ContainerFacts, plan: Plan) -> Verdict:
    """All findings, refusals first."""
    checks: tuple[Callable[[ContainerFacts, Plan], Finding | None], ...] = (
        _check_kernel,  # first: these apply to every samply and mode
        _check_page_size,
        _check_samply,
        _check_process,
        _check_folder,
        _check_users,
        _check_rate,
        _check_paranoid,
        _check_perfmon,
        _check_locked_memory,
        _check_open_files,
        _check_memory,
        _check_node_memory,
        _check_binary,
        _check_cpus,
        _check_symbols,
        _check_tmpfs,
        _check_storage,
        _check_folder_limit,
        _check_group_oom,
        _check_confinement,
        _check_sandbox,
    )
    found = [finding for check in checks if (finding := check(facts, plan))]
    found.sort(key=lambda finding: finding.severity != "refuse")
    node = share_node(facts)
    caps = (cap_memory(facts), None if node is None else max(0, node - estimate_rings(facts, plan)))
    cap = min((cap for cap in caps if cap is not None), default=None)
    return Verdict(tuple(found), cap, int((find_headroom(facts) or 0) * (1 - HEADROOM)))


def _forbid(check: str, reason: str, message: str, measured: object = "", needed: object = "") -> Finding:
    return Finding(check, "refuse", reason, message, failures.REMEDIES[reason], str(measured), str(needed))


def _warn(check: str, reason: str, message: str, remedy: str, measured: object = "", needed: object = "") -> Finding:
    return Finding(check, "warn", reason, message, remedy, str(measured), str(needed))


def _check_samply(facts: ContainerFacts, plan: Plan) -> Finding | None:
    if plan.is_own:
        return None
    if not facts.samply:
        return _forbid("samply", "SamplyNotFound", "There is no samply on the PATH of the container.", "none", "0.13.1")
    if "--pid" not in facts.flags or "--save-only" not in facts.flags:
        version = facts.version or "unknown version"
        return _forbid(
            "samply", "SamplyTooOld", f"{facts.samply} ({version}) cannot attach to a process.", version, "0.13.1"
        )
    return None


def _check_process(_: ContainerFacts, plan: Plan) -> Finding | None:
    process = plan.process
    if process.is_stopped:
        message = f"Process {process.pid} ({process.name}) is in state {process.state}."
        return _forbid("process", "TargetStopped", message, process.state, "R or S")
    return None


def _check_folder(facts: ContainerFacts, plan: Plan) -> Finding | None:
    if not facts.folder:
        message = "None of $TMPDIR, /tmp, /var/tmp, /dev/shm and the working folder is writable."
        return _forbid("folder", "NoWritableFolder", message, "none", "one folder")
    needed = max(plan.min_free_bytes, estimate_file(facts, plan))
    if facts.free_bytes is not None and facts.free_bytes < needed:
        message = f"{facts.folder} has {facts.free_bytes} bytes free; {needed} are needed."
        return _forbid("folder", "TooLittleSpace", message, facts.free_bytes, needed)
    return None


def _check_users(facts: ContainerFacts, _: Plan) -> Finding | None:
    if not facts.is_user_namespace:
        return None
    message = (
        "The pod has its own user namespace (hostUsers: false): its capabilities have no effect in the node's kernel."
    )
    return _forbid("users", "UserNamespace", message, "hostUsers: false", "hostUsers: true")


def _check_rate(facts: ContainerFacts, plan: Plan) -> Finding | None:
    if facts.max_rate_hz is None or plan.rate_hz <= facts.max_rate_hz:
        return None
    message = f"{plan.rate_hz} Hz requested; kernel.perf_event_max_sample_rate is {facts.max_rate_hz} on the node."
    return _forbid("rate", "RateTooHigh", message, facts.max_rate_hz, plan.rate_hz)


def _check_kernel(facts: ContainerFacts, plan: Plan) -> Finding | None:
    """Debian's and Ubuntu's kernels, and those made from them, have a level above the 2 of Linux, at which PERFMON is
    not enough. Elsewhere higher numbers mean the same as 2. Ubuntu has changed its kernels to accept PERFMON there; in
    which builds is not known for all of their many kinds, so the kernel itself decides."""
    found = RESTRICTING.search(facts.kernel)
    if found is None or facts.paranoid is None or facts.paranoid < 3 or facts.has_cap(CAP_SYS_ADMIN):
        return None
    said = f"kernel.perf_event_paranoid is {facts.paranoid} on the node, whose kernel"
    if found["debian"]:
        return _forbid("kernel", "PerfRestricted", f"{said} then requires CAP_SYS_ADMIN.", facts.paranoid, 2)
    may_ask = has_perfmon(facts) or _may_gain(facts, plan, CAP_PERFMON)
    if not may_ask or _is_refused_by_samply(facts, plan):
        return None
    message = f"{said} is Ubuntu's or made from Debian's: some then require CAP_SYS_ADMIN, others PERFMON."
    remedy = "If samply is refused, on the node: sysctl kernel.perf_event_paranoid=2."
    return _warn("kernel", "PerfMayBeRestricted", message, remedy, facts.paranoid, 2)


def _check_page_size(facts: ContainerFacts, plan: Plan) -> Finding | None:
    # Read in 0.13.1: it takes the kernel's buffers to begin 4,096 bytes after their header, which is one page.
    if facts.page_bytes in {None, PAGE_BYTES} or not _is_old(facts, plan):
        return None
    found = show_bytes(facts.page_bytes or 0)
    message = f"Memory pages are {found} on the node; samply 0.13.1 works only with pages of 4 KiB."
    return _forbid("page size", "PageSize", message, found, "4 KiB")


def _check_paranoid(facts: ContainerFacts, plan: Plan) -> Finding | None:
    if not _is_refused_by_samply(facts, plan):
        return None
    message = f"kernel.perf_event_paranoid is {facts.paranoid} on the node; samply {facts.version} needs 1 or lower."
    return _forbid("paranoid", "PerfEventParanoid", message, facts.paranoid, 1)


def _is_old(facts: ContainerFacts, plan: Plan) -> bool:
    """Whether it is 0.13.1, as the project's own is: only that one has the unstable option."""
    return plan.is_own or choose_symbol_flag(facts) != "--presymbolicate"


def _is_refused_by_samply(facts: ContainerFacts, plan: Plan) -> bool:
    # Only 0.13.1 refuses 2 without asking the kernel; the project's own does ask.
    is_refusing = not plan.is_own and _is_old(facts, plan)
    return is_refusing and facts.paranoid is not None and facts.paranoid >= 2


def is_kernel_in_doubt(facts: ContainerFacts, findings: Sequence[Finding]) -> bool:
    """Whether a kernel that refuses samply does so whatever container it runs in: with PERFMON, above level 2."""
    return has_perfmon(facts) and any(finding.reason == "PerfMayBeRestricted" for finding in findings)


def has_perfmon(facts: ContainerFacts) -> bool:
    return facts.has_cap(CAP_PERFMON) or facts.has_cap(CAP_SYS_ADMIN)


def _may_gain(facts: ContainerFacts, plan: Plan, capability: int) -> bool:
    """Whether samply could have a capability that this shell lacks, from its file. The samply that the operator copies
    has none, and no_new_privs makes the kernel ignore a file's capabilities."""
    return not plan.is_own and facts.uid != 0 and not facts.has_no_new_privs and facts.may_have_cap(capability)


def _check_perfmon(facts: ContainerFacts, plan: Plan) -> Finding | None:
    """The kernel requires PERFMON above paranoid 1; seccomp filters of container runtimes always do."""
    if has_perfmon(facts) or _may_gain(facts, plan, CAP_PERFMON):
        return None
    if facts.seccomp == 2:
        message = "The container has a seccomp filter and no PERFMON capability, so perf_event_open is refused."
        return _forbid("perfmon", "PerfNotPermitted", message, "seccomp filter, no PERFMON", "PERFMON")
    if facts.paranoid is not None and facts.paranoid >= 2:
        message = f"The container has no PERFMON capability, and kernel.perf_event_paranoid is {facts.paranoid}."
        return _forbid("perfmon", "PerfNotPermitted", message, f"paranoid {facts.paranoid}, no PERFMON", "PERFMON")
    return None


def _check_locked_memory(facts: ContainerFacts, plan: Plan) -> Finding | None:
    if facts.has_cap(CAP_IPC_LOCK) or _may_gain(facts, plan, CAP_IPC_LOCK):
        return None
    if facts.paranoid is not None and facts.paranoid < 0:
        return None  # the kernel does not count locked memory there
    if facts.mlock_kib is None or facts.memlock_bytes is None:
        return None
    needed = count_events(facts, plan) * RING_BYTES
    allowed = facts.mlock_kib * KIB * max(1, facts.online_cpus) + facts.memlock_bytes
    if needed <= allowed:
        return None
    message = (
        f"samply needs {needed // MIB} MiB of locked memory ({count(facts.online_cpus, 'CPU')}, "
        f"{count(plan.process.threads, 'thread')}); the container may lock {allowed // MIB} MiB."
    )
    return _forbid("locked memory", "LockedMemory", message, show_bytes(allowed), show_bytes(needed))


def _check_open_files(facts: ContainerFacts, plan: Plan) -> Finding | None:
    needed = count_events(facts, plan) + SPARE_FILES
    if facts.open_files is None or needed <= facts.open_files:
        return None
    message = f"samply needs {needed} open files; the container's limit is {facts.open_files}."
    return _forbid("open files", "OpenFiles", message, facts.open_files, needed)


def _check_memory(facts: ContainerFacts, plan: Plan) -> Finding | None:
    cap, needed = cap_memory(facts), estimate_memory(facts, plan)
    if cap is None or needed <= cap:
        return None
    message = (
        f"samply may take {needed // MIB} MiB (a binary of {describe_binary(plan.process)}, "
        f"{plan.duration_secs} s at {plan.rate_hz} Hz); {cap // MIB} MiB are safe below the container's memory limit."
    )
    return _forbid("memory", "TightMemory", message, show_bytes(cap), show_bytes(needed))


def _check_binary(_: ContainerFacts, plan: Plan) -> Finding | None:
    if has_size(plan.process):
        return None
    message = (
        f"The size of the binary of process {plan.process.pid} ({plan.process.name}) cannot be read, so the estimate "
        "of memory is too low. A recording that comes near a limit is ended."
    )
    remedy = "Install stat or od in the image, or allow mode Ephemeral (config.ephemeral.enabled)."
    return _warn("binary", "BinarySizeUnknown", message, remedy, "unknown", "its size")


def _check_node_memory(facts: ContainerFacts, plan: Plan) -> Finding | None:
    """Ring buffers are memory of the node, in no container's limit. The memory for samples is unknown in advance: the
    cap limits it."""
    allowed = share_node(facts)
    needed = estimate_rings(facts, plan) + BASE_BYTES + estimate_symbols(plan.process)
    if facts.node_available is None or allowed is None or needed <= allowed:
        return None
    message = (
        f"samply takes {show_bytes(needed)} of the node's memory at least ({count(facts.online_cpus, 'CPU')}, "
        f"{count(plan.process.threads, 'thread')}, a binary of {describe_binary(plan.process)}); the node has "
        f"{show_bytes(facts.node_available)} left, of which half may be used."
    )
    return _forbid("node memory", "NodeMemory", message, show_bytes(allowed), show_bytes(needed))


def check_pod(facts: ContainerFacts, plan: Plan, *, is_memory_limited: bool) -> Failure | None:
    """Why no container of the pod would work, from the target's own facts: the node's free memory, and limits of the
    whole pod. An ephemeral container stays in the pod's spec, so one that cannot work is not created."""
    # It has its own folder.
    own, facts = replace(plan, is_own=True), replace(facts, is_tmpfs=False)
    found = _check_storage(facts, own) or _check_node_memory(facts, own)
    if found is None and is_memory_limited:
        found = _check_memory(facts, own)
    return None if found is None else Failure(found.reason, found.message, found.remedy)


def is_blind(facts: ContainerFacts) -> bool:
    """Work on the other CPUs is silently missing."""
    return 0 < count_seen_cpus(facts) < facts.online_cpus


def _check_cpus(facts: ContainerFacts, plan: Plan) -> Finding | None:
    if plan.is_own or not is_blind(facts):
        return None
    allowed = count(facts.allowed_cpus, "CPU")
    limit = f"{facts.quota_cpus:g} CPUs" if facts.quota_cpus is not None else f"{allowed} (cpuset)"
    message = (
        f"The container is limited to {limit} on a node of {facts.online_cpus}: its samply sees only the first CPUs, "
        "so samples will be missing. Check the coverage."
    )
    remedy = "Allow mode Ephemeral (config.ephemeral.enabled), whose samply sees all."
    return _warn("cpus", "BlindCpus", message, remedy, limit, count(facts.online_cpus, "CPU"))


def _check_symbols(facts: ContainerFacts, plan: Plan) -> Finding | None:
    if plan.is_own or choose_symbol_flag(facts):
        return None
    return _warn(
        "symbols",
        "NoSymbols",
        "This samply cannot save symbols: the profile will show addresses.",
        "Install samply 0.13.1 or newer in the image, or allow mode Ephemeral (config.ephemeral.enabled).",
        facts.version or "unknown version",
        "0.13.1",
    )


def _check_tmpfs(facts: ContainerFacts, _: Plan) -> Finding | None:
    if not facts.is_tmpfs or facts.memory_limit is None:
        return None
    message = (
        f"{facts.folder} is in memory: the profile counts against the container's memory limit until it is copied."
    )
    return _warn(
        "folder", "FolderInMemory", message, "Mount an emptyDir without medium: Memory at /tmp.", "tmpfs", "disk"
    )


def _check_storage(facts: ContainerFacts, plan: Plan) -> Finding | None:
    limit = f"the container's limit for ephemeral-storage is {show_bytes(facts.storage_limit or 0)}"
    return _check_eviction(facts, plan, facts.storage_limit, limit)


def _check_folder_limit(facts: ContainerFacts, plan: Plan) -> Finding | None:
    """df does not show it."""
    limit = f"the sizeLimit of this emptyDir is {show_bytes(facts.folder_limit or 0)}"
    return _check_eviction(facts, plan, facts.folder_limit, limit)


def _check_eviction(facts: ContainerFacts, plan: Plan, limit: int | None, words: str) -> Finding | None:
    """If files grow above such a limit, the kubelet evicts the pod. Other files count too."""
    if limit is None or facts.is_tmpfs or (needed := estimate_file(facts, plan)) <= limit // 2:
        return None
    message = (
        f"The profile may take {show_bytes(needed)} in {facts.folder}; {words}, of which half may be used: above it "
        "the pod is evicted."
    )
    return _forbid("storage", "TooLittleSpace", message, show_bytes(limit // 2), show_bytes(needed))


def _check_group_oom(facts: ContainerFacts, plan: Plan) -> Finding | None:
    cap = cap_memory(facts)
    if not facts.has_group_oom or cap is None or estimate_memory(facts, plan) <= cap // 2:
        return None
    message = (
        "If memory runs out, the kernel kills the whole container (memory.oom.group), and samply may use more than "
        "half of the free memory: it is ended before that."
    )
    remedy = "Raise the container's memory limit, or record for a shorter time."
    needed = show_bytes(2 * estimate_memory(facts, plan))
    return _warn("memory", "GroupOom", message, remedy, show_bytes(cap), needed)


def _check_confinement(facts: ContainerFacts, _: Plan) -> Finding | None:
    label = facts.security.strip("\0 ")
    if not label or label == "kernel" or label.startswith(USUAL_LABELS):
        return None
    if ":" in label and ":container_t:" not in label and ":spc_t:" not in label:
        kind = "SELinux type"
    elif "(enforce)" in label:
        kind = "AppArmor profile"
    else:
        return None
    message = f"The container has an {kind} of its own ({label}), which may refuse perf events or signals."
    remedy = "If samply is refused, allow perf events, ptrace and signals in it."
    return _warn("confinement", "Confined", message, remedy, label, "the runtime's own")


def _check_sandbox(facts: ContainerFacts, _: Plan) -> Finding | None:
    if not facts.runtime_class:
        return None
    message = f"The pod runs under RuntimeClass {facts.runtime_class}: sandboxes such as gVisor have no perf events."
    remedy = "If samply is refused, run the pipeline under the default runtime."
    return _warn("sandbox", "RuntimeClass", message, remedy, facts.runtime_class, "the node's default")
