"""Connections never use up the open files that everything else needs."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from samply_operator.api.server import descriptors


@pytest.mark.parametrize(
    ("wanted", "limit", "expected"),
    [
        (0, 1_048_576, (2000, 1000)),
        (5000, 1_048_576, (5000, 1000)),
        (0, 1024, (208, 104)),
        (2000, 1024, (208, 104)),
        (1000, 1024, (208, 208)),
        (100, 1024, (100, 1000)),
        (0, 4096, (1232, 616)),
        (0, 300, (1, 1)),
    ],
)
def test_connections_follow_the_limit_of_open_files(wanted: int, limit: int, expected: tuple[int, int]) -> None:
    """One address still can't take all, unless the settings let it."""
    found = descriptors.choose_most(wanted, 1000, limit)
    assert found == expected
    assert found[0] * descriptors.PER_CONNECTION + descriptors.RESERVE <= max(limit, descriptors.RESERVE + 3)


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    hard = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], 4096)
    script = (
        "import resource; from samply_operator.api.server import descriptors\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (256, {hard}))\n"
        "print(descriptors.raise_limit(), resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"{hard} ({hard}, {hard})"
