"""The container's memory, and how many profiles may therefore be read concurrently."""

from __future__ import annotations

import os
from pathlib import Path

OWN_BYTES = 256 * 1024 * 1024
"""Memory for the process itself."""
FILES = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Of cgroup v2 and v1, as they are seen from inside a container."""


def count_bakes(child_bytes: int, files: tuple[Path, ...] = FILES) -> int:
    """At least one; more only if a memory limit allows them, and no more than CPUs."""
    for path in files:
        try:
            limit_bytes = int(path.read_text())
        except (OSError, ValueError):  # it is absent, or "max"
            continue
        return max(1, min((limit_bytes - OWN_BYTES) // child_bytes, os.cpu_count() or 1))
    return 1
