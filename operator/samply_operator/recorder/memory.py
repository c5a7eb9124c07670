"""How much memory this container has: how many profiles may be read at the same time."""

from __future__ import annotations

import os
from pathlib import Path

OWN_BYTES = 256 * 1024 * 1024
"""What the process itself may need beside its children."""
FILES = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Of cgroup v2 and v1, as they are seen from inside a container."""


def count_bakes(child_bytes: int, files: tuple[Path, ...] = FILES) -> int:
    """At least one; more only where a limit says that there is room for them, and no more than there are CPUs."""
    for path in files:
        try:
            limit_bytes = int(path.read_text())
        except (OSError, ValueError):  # it isn't there, or says "max"
            continue
        return max(1, min((limit_bytes - OWN_BYTES) // child_bytes, os.cpu_count() or 1))
    return 1
