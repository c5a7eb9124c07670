"""Keeps the content of the two Secrets for access: API keys, and the keys that sign links.

They are read every POLL_SECS with a short timeout. Reading one named Secret needs only the verb `get`, and a half-open
connection cannot hide a removed key, as with a watch. What cannot be read stays unchanged; `read_at` is the time of the
last read, and users decide how old it may be.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from samply_operator.control.messages import Credentials
from samply_operator.discovery.changes import Changes
from samply_operator.errors import KubeError, KubeNotFound
from samply_operator.kube import objects
from samply_operator.rules.access import credentials

logger = logging.getLogger(__name__)

POLL_SECS = 2.0
READ_SECS = 2.0
"""Longest wait for the API server's answer: with POLL_SECS less than the 5 s after which a removed key is refused."""


class Reader(Protocol):
    """KubeClient, and the tests' cluster."""

    async def get(self, path: str, *, timeout_secs: float = ...) -> dict[str, Any]: ...


class CredentialSource:
    """`current` is what was read last; `changes` rings when it changed. `key_secret`, `link_secret` empty: none."""

    def __init__(
        self,
        client: Reader,
        namespace: str,
        *,
        key_secret: str = "",
        link_secret: str = "",
        now: Callable[[], float],
    ) -> None:
        self.current = Credentials()
        self.changes = Changes()
        self._client = client
        self._namespace = namespace
        self._key_secret = key_secret
        self._link_secret = link_secret
        self._now = now
        self._told: dict[str, str] = {}

    async def run(self) -> None:
        """Read forever."""
        while True:
            await self.read()
            await asyncio.sleep(POLL_SECS)

    async def read(self) -> None:
        """Read both once. An error of one leaves both unchanged."""
        read_at = self._now()
        try:
            keys, links = await asyncio.gather(self._read(self._key_secret), self._read(self._link_secret))
        except KubeError as error:
            self._tell("read", f"credentials cannot be read: {error}", logging.ERROR)
            return
        self._tell("read", "", logging.ERROR)
        parsed = credentials.parse_keys(keys)
        for fault in parsed.faults or ("",):
            self._tell("faults", f"Secret {self._key_secret}: {fault}" if fault else "", logging.ERROR)
        found = Credentials(parsed.keys, credentials.parse_link_keys(links), read_at)
        is_new = msgspec.structs.replace(found, read_at=self.current.read_at) != self.current
        is_first = not self.current.read_at
        self.current = found
        if is_new or is_first:
            logger.info("%d API keys, %d keys that sign links", len(found.api_keys), len(found.link_keys))
            self.changes.notify()

    async def _read(self, name: str) -> dict[str, bytes]:
        """Its entries. A Secret that isn't there has none: removing it removes all keys."""
        if not name:
            return {}
        try:
            raw = await self._client.get(objects.secrets(self._namespace, name), timeout_secs=READ_SECS)
        except KubeNotFound:
            self._tell(name, f"Secret {self._namespace}/{name} does not exist: no key is accepted", logging.WARNING)
            return {}
        self._tell(name, "", logging.WARNING)
        return objects.parse_secret(raw)

    def _tell(self, about: str, text: str, level: int) -> None:
        """Once, until it changes."""
        if text and self._told.get(about) != text:
            logger.log(level, "%s", text)
        self._told[about] = text
