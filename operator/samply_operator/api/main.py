"""The `api` container's life: parts are opened, the door is opened, and both close on SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from samply_operator.api import access_log, metrics
from samply_operator.api.app import build_app
from samply_operator.api.board import Board
from samply_operator.api.door import Door
from samply_operator.api.open_files import OpenFiles
from samply_operator.control.client import OperatorClient
from samply_operator.settings import Identity, Settings
from samply_operator.store.volume import Volume

logger = logging.getLogger(__name__)


@asynccontextmanager
async def serve(settings: Settings, identity: Identity) -> AsyncIterator[Door]:
    """Serve while the context lasts."""
    volume = Volume(settings.paths.data)
    board = Board(volume)
    operator = OperatorClient(settings.paths.socket, on_change=board.take)
    async with board, operator, OpenFiles(volume) as files:
        app = build_app(settings, identity, files=files, board=board, operator=operator)
        async with (
            Door(metrics.build_app(operator), settings.api.host, settings.api.metrics_port, drain_secs=0) as numbers,
            Door(app, settings.api.host, settings.api.port) as door,
        ):
            logger.info("serving on port %d, metrics on port %d", door.port, numbers.port)
            yield door


async def run(settings: Settings, identity: Identity) -> None:
    """Serve until SIGTERM or SIGINT."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    with access_log.writing_to_stdout():
        async with serve(settings, identity):
            await ended.wait()
            logger.info("closing")
