"""The authorities that OpenSSL trusts; a private one by its variable SSL_CERT_FILE (the chart's extraCaBundle)."""

from __future__ import annotations

import asyncio
import ssl
import time

KEPT_SECS = 60.0
"""How long they are kept: their files change without a restart."""


class Authorities:
    def __init__(self) -> None:
        self._context: ssl.SSLContext | None = None
        self._loaded_at = 0.0

    async def load(self) -> ssl.SSLContext:
        if self._context is None or time.monotonic() - self._loaded_at > KEPT_SECS:
            self._context = await asyncio.to_thread(ssl.create_default_context)
            self._loaded_at = time.monotonic()
        return self._context
