"""The reading end of a stream of the unix socket: kept open, opened again when it broke or fell silent."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

import aiohttp
import msgspec

from samply_operator.ndjson import split_lines

BACK_OFF_SECS = (0.1, 2.0)
"""First and longest pause between two attempts to connect."""

Message = TypeVar("Message")


async def follow(
    session: aiohttp.ClientSession,
    path: str,
    decoder: msgspec.json.Decoder[Message],
    *,
    silence_secs: float,
    on_message: Callable[[Message], None],
    on_loss: Callable[[str], None],
) -> None:
    """For ever. `on_loss` is called with the reason whenever the stream ends, also when it couldn't be opened."""
    delay = BACK_OFF_SECS[0]
    while True:
        try:
            async for line in _read(session, path, silence_secs):
                message = decoder.decode(line)
                delay = BACK_OFF_SECS[0]
                on_message(message)
            reason = "the stream ended"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            reason = f"{type(error).__name__}: {error}"
        except msgspec.MsgspecError as error:
            reason = type(error).__name__  # its text may hold what was read
        on_loss(reason)
        await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - a jitter, no secret
        delay = min(delay * 2, BACK_OFF_SECS[1])


async def _read(session: aiohttp.ClientSession, path: str, silence_secs: float) -> AsyncIterator[bytes]:
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=silence_secs)
    async with session.get(path, timeout=timeout) as response:
        response.raise_for_status()
        async for line in split_lines(response.content):
            yield line
