"""Newline-delimited JSON as a stream: watches of the API server, and streams of the unix socket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp

MAX_LINE_BYTES = 64 * 1024 * 1024


async def split_lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Lines up to MAX_LINE_BYTES (aiohttp's own reader is limited by its buffer); an incomplete last line is dropped.
    Raises aiohttp.ClientPayloadError for longer ones."""
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
