"""Estimates of the memory, files and events that a recording needs, and of what is available."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from samply_operator.model.container import (
    ContainerFacts,
    Process,
)

KIB = 1024
MIB = 1024 * KIB
RING_BYTES = 1028 * KIB
"""Locked memory of one event: 256 pages of data, one of control."""
MANY_EVENTS = 1000
"""From this number on samply opens cpus + threads events instead of cpus × (threads + 1)."""
BASE_BYTES = 48 * MIB
"""samply itself, before the first sample."""
SYMBOL_FACTOR = 1.6
"""Factor for the binary's size, if its sections could not be read."""
LINES_FACTOR = 5
"""Factor for .debug_line: 24 bytes a row, in every unit with a sample. Measured: 4.1."""
DEBUG_FACTOR = 0.1
"""Factor for all debug data (functions, units), which samply maps and does not copy. Measured: less than for lines."""
PACKED_FACTOR = 1.1
"""Factor for the unpacked size of compressed debug data, which is unpacked completely. Measured: 1.0."""
SYMBOLS_FACTOR = 7
"""Factor for .symtab. Measured: 6.7."""
UNWIND_FACTOR = 16
"""Factor for .eh_frame_hdr. Measured: 15.9."""
SAMPLE_BYTES = 160
"""Memory of one sample, stacks shared: measured on deep stacks."""
HEADROOM = 0.9
NODE_SHARE = 0.5
"""Share of the node's free memory that a recording may use: other future use is unknown."""
FILE_BYTES = 8 * MIB
"""Profile and sidecar of a short recording with a big binary."""
FILE_SAMPLE_BYTES = 40
"""Bytes of one sample in the files: twice the value measured on deep stacks."""
BUSY_THREADS = 16
"""More are rarely busy all the time."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to record. `is_own`: with the project's samply, which does not need paranoid 1 and sees all CPUs."""

    process: Process
    duration_secs: int
    rate_hz: int
    min_free_bytes: int
    is_own: bool = False


def show_bytes(size: int) -> str:
    return f"{size // MIB} MiB" if size >= MIB or size <= 0 else f"{max(1, size // KIB)} KiB"


def count_events(facts: ContainerFacts, plan: Plan) -> int:
    cpus = max(1, facts.online_cpus if plan.is_own else count_seen_cpus(facts))
    events = cpus * (plan.process.threads + 1)
    return events if events < MANY_EVENTS else cpus + plan.process.threads


def estimate_samples(facts: ContainerFacts, plan: Plan) -> int:
    """Assumes that up to 16 threads of the target are always busy, as far as it has CPUs for them."""
    quota = facts.quota_cpus if facts.target_quota_cpus is None else facts.target_quota_cpus
    limits = (
        facts.online_cpus,
        facts.target_allowed_cpus or facts.allowed_cpus,
        0 if quota is None else max(1, math.ceil(quota)),
    )
    busy = min(plan.process.threads, BUSY_THREADS, *(limit for limit in limits if limit))
    return plan.rate_hz * plan.duration_secs * busy


def estimate_file(facts: ContainerFacts, plan: Plan) -> int:
    """Maximum bytes of the profile and its sidecar."""
    return FILE_BYTES + estimate_samples(facts, plan) * FILE_SAMPLE_BYTES


def estimate_memory(facts: ContainerFacts, plan: Plan) -> int:
    """Bytes that samply uses at its peak: the samples, the symbols of the binary, and the file, if its folder is in
    memory."""
    file = estimate_file(facts, plan) if facts.is_tmpfs else 0
    samples = estimate_samples(facts, plan) * SAMPLE_BYTES
    return BASE_BYTES + samples + estimate_symbols(plan.process) + file


def estimate_symbols(process: Process) -> int:
    """Maximum bytes that samply uses to look up names in the binary. It maps the file: only what it builds from it is
    memory that cannot be reclaimed."""
    sections = process.sections
    if sections is None:
        return int(process.binary_bytes * SYMBOL_FACTOR)
    return int(
        sections.lines * LINES_FACTOR
        + sections.debug * DEBUG_FACTOR
        + sections.packed * PACKED_FACTOR
        + sections.symbols * SYMBOLS_FACTOR
        + sections.unwind * UNWIND_FACTOR
    )


def find_headroom(facts: ContainerFacts) -> int | None:
    if facts.memory_limit is None or facts.memory_used is None:
        return None
    return max(0, facts.memory_limit - facts.memory_used)


def cap_memory(facts: ContainerFacts) -> int | None:
    headroom = find_headroom(facts)
    return None if headroom is None else int(headroom * HEADROOM)


def share_memory(facts: ContainerFacts) -> ContainerFacts:
    """Facts of the container beside the target's, if the pod's own limit applies to both: at least what the target's
    container leaves is available."""
    if find_headroom(facts) is not None or facts.target_memory_limit is None:
        return facts
    return replace(facts, memory_limit=facts.target_memory_limit, memory_used=facts.target_memory_used)


def share_node(facts: ContainerFacts) -> int | None:
    """Bytes of the node's memory that a recording may use, including ring buffers. None: unknown."""
    return None if facts.node_available is None else int(facts.node_available * NODE_SHARE)


def estimate_rings(facts: ContainerFacts, plan: Plan) -> int:
    return count_events(facts, plan) * RING_BYTES


def count_seen_cpus(facts: ContainerFacts) -> int:
    """CPUs on which a stock samply opens events: as many as quota (rounded up) and affinity leave, from 0 on."""
    quota = facts.online_cpus if facts.quota_cpus is None else max(1, math.ceil(facts.quota_cpus))
    return min(facts.allowed_cpus or facts.online_cpus, quota)
