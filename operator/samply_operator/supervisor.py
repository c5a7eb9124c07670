"""Holds what is long-lived. One that ends though nobody asked it to ends what holds it, and so the process, with its
reason.

    async with Supervisor() as supervisor:
        supervisor.start("queue", queue.run())

Leaving the `async with` by an error, or by a cancellation (SIGTERM), ends all of them. A TaskGroup alone is not enough:
it takes a task that was cancelled by anything else for one that has done its work, and goes on without it.
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
    """Holds workers with the lifetime of the process. If one ends, the process ends, and a complete new one starts."""

    code = "WorkerEnded"


class Supervisor:
    """`passing`: errors with which a worker may end; they are raised unchanged."""

    def __init__(self, passing: tuple[type[Exception], ...] = ()) -> None:
        self._group = asyncio.TaskGroup()
        self._passing = passing
        self._is_ending = False
        self._parent: asyncio.Task[Any] | None = None

    async def __aenter__(self) -> Self:
        self._parent = asyncio.current_task()
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_ending = self._is_ending or error is not None
        await self._group.__aexit__(kind, error, trace)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it until the process ends."""
        return self._group.create_task(self._keep(name, work), name=name)

    async def _keep(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            if self._is_asked_to_end():
                raise
            reason = "it was cancelled unexpectedly"
        except Exception as error:
            self._is_ending = True
            if isinstance(error, self._passing):
                raise
            logger.critical("%s ended, and so does the process", name, exc_info=error)
            raise WorkerEnded(f"{name} ended: {type(error).__name__}: {error}") from error
        else:
            reason = "it ended unexpectedly"
        self._is_ending = True
        logger.critical("%s: %s; the process ends", name, reason)
        raise WorkerEnded(f"{name}: {reason}.")

    def _is_asked_to_end(self) -> bool:
        return self._is_ending or (self._parent is not None and self._parent.cancelling() > 0)
