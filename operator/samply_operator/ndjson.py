"""Newline-delimited JSON, as it arrives: the watches of the API server, and the streams of the unix socket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp

MAX_LINE_BYTES = 64 * 1024 * 1024


async def split_lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines of any length up to MAX_LINE_BYTES (aiohttp's own reader stops at its buffer's size); what is cut off at
    the end is dropped. Raises aiohttp.ClientPayloadError for a longer one."""
    pieces: list[bytes] = []
    size = 0
    async for data in stream.iter_any():
        *ends, rest = data.split(b"\n")
        for end in ends:
            yield b"".join((*pieces, end))
            pieces, size = [], 0
        pieces.append(rest)
        size += len(rest)
        if size > MAX_LINE_BYTES:
            raise aiohttp.ClientPayloadError("a line of the stream is too long")
