"""Holds everything long-lived of a process. One that ends though nobody asked it to ends the process, with its reason.

    async with Supervisor() as supervisor:
        supervisor.start("queue", queue.run())

Leaving the `async with` by an error, or by a cancellation (SIGTERM), ends all of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self

from samply_operator.errors import SamplyOperatorError

logger = logging.getLogger(__name__)


class WorkerEnded(SamplyOperatorError):
    """What should live as long as the process does not. The process ends: what starts again is whole."""

    code = "WorkerEnded"


class Supervisor:
    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._group.__aexit__(kind, error, trace)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it until the process ends."""
        return self._group.create_task(_keep(name, work), name=name)


async def _keep(name: str, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        reason = "it was cancelled, though nobody asked it to end"
    except Exception as error:
        logger.critical("%s ended, and so does the process", name, exc_info=error)
        raise WorkerEnded(f"{name} ended: {type(error).__name__}: {error}") from error
    else:
        reason = "it ended, though nobody asked it to"
    logger.critical("%s: %s; the process ends", name, reason)
    raise WorkerEnded(f"{name}: {reason}.")
