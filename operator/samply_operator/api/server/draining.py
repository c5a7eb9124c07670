"""Waits for data that the kernel still has to send after all connections are closed. The pod's network ends with the
pod, so the end of a download would be lost.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
"""Of the pod's own network. Fields: number, local address and port in hex, remote, state, both queues' sizes in hex."""
LISTENING = "0A"
POLL_SECS = 0.05


def count_unsent(table: str, port: int) -> int:
    """Bytes that peers of this port have not acknowledged, from one such table."""
    found = 0
    for line in table.splitlines()[1:]:
        _, local, _, state, queues, *_ = line.split()
        if state != LISTENING and int(local.rpartition(":")[2], 16) == port:
            found += int(queues.partition(":")[0], 16)
    return found


async def wait_sent(port: int, secs: float) -> None:
    """Wait until clients have everything, or the time is over."""
    loop = asyncio.get_running_loop()
    until = loop.time() + secs
    while any(count_unsent(_read(path), port) > 0 for path in TABLES):
        if loop.time() >= until:
            return
        await asyncio.sleep(POLL_SECS)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except OSError:
        return ""
