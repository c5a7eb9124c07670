"""How many files this process may have open, and how many connections it therefore lets in: those that are let in must
never keep it from opening a profile, from answering a probe or from starting a child.
"""

from __future__ import annotations

import logging
import resource

logger = logging.getLogger(__name__)

MOST = 2000
"""Connections by default."""
PER_CONNECTION = 3
"""Its socket, the same once more while a file is sent, and that file."""
RESERVE = 400
"""The metrics' port (128), files kept open (64), those of one export (200), the operator's socket, a child's pipes."""


def raise_limit() -> int:
    """Let this process open as many files as it may at all: the soft limit is often 1,024, whatever the hard one is.
    Returns the limit that counts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError) as error:
        logger.warning("the limit of open files stays at %d: %s", soft, error)
        return soft
    return hard


def choose_most(wanted: int, wanted_of_one: int, limit: int) -> tuple[int, int]:
    """Connections to let in, in all and of one address. `wanted` 0: MOST. Fewer, in proportion, where the limit of open
    files is too low for so many."""
    possible = max(1, (limit - RESERVE) // PER_CONNECTION)
    if wanted > possible:
        logger.warning(
            "%d connections are configured, but %d open files are enough for only %d; raise the container's limit",
            wanted, limit, possible,
        )  # fmt: skip
    wanted = wanted or MOST
    most = min(wanted, possible)
    return most, max(1, wanted_of_one * most // wanted)
