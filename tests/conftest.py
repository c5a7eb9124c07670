"""How many tests run at the same time where pytest is started with `-n auto`."""

from __future__ import annotations

import os


def pytest_xdist_auto_num_workers() -> int:
    """More than there are cores: a third of the time of most tests is waiting for processes and deadlines."""
    return len(os.sched_getaffinity(0)) * 3 // 2
