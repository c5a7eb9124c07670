"""The edition and version of the configured Feldera, requested with a caller's token and cached."""

from __future__ import annotations

import time
from collections.abc import Callable

from samply_operator.errors import FelderaError
from samply_operator.feldera.answers import Config
from samply_operator.feldera.client import FelderaClient, Login

KEEP_SECS = 60.0
"""An upgrade of Feldera is visible after this time."""


class Platform:
    """`client` None: Feldera is not asked."""

    def __init__(self, client: FelderaClient | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._known: Config | None = None
        self._known_until = float("-inf")

    async def find(self, login: Login | None) -> Config | None:
        """What is known; asked anew only with a login that is Feldera's (else None). None: nothing is known yet."""
        if self._client is not None and login is not None and self._clock() >= self._known_until:
            try:
                self._known = await self._client.get_config(login)
                self._known_until = self._clock() + KEEP_SECS
            except FelderaError:
                return self._known
        return self._known
