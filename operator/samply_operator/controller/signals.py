"""Handles SIGTERM and SIGINT from the start of the process: otherwise, as PID 1, it would ignore them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def exit_on_signals() -> None:
    """While there is no loop yet: nothing is under way."""
    for each in SIGNALS:
        signal.signal(each, lambda number, frame: sys.exit(0))


async def run_until_signal(work: Awaitable[None]) -> None:
    """Until it has ended, or a signal has cancelled it. Raises what it raises."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    is_asked = False

    def end() -> None:
        nonlocal is_asked
        is_asked = True
        task.cancel()

    for each in SIGNALS:
        loop.add_signal_handler(each, end)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await task
            return
        if not is_asked:
            raise asyncio.CancelledError
    finally:
        for each in SIGNALS:
            loop.remove_signal_handler(each)
