"""Keeps the SamplyTriggers of the watched namespaces up to date. Where they cannot be listed, none is known there, and
profiles are recorded as before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from samply_operator.activity import Activity
from samply_operator.discovery.object_table import Key, ObjectTable
from samply_operator.discovery.reflector import Kind, Reflector
from samply_operator.errors import KubeError, KubeForbidden, KubeNotFound
from samply_operator.kube import objects
from samply_operator.kube.client import KubeClient
from samply_operator.model.trigger import SamplyTrigger, parse_trigger
from samply_operator.supervisor import Supervisor

logger = logging.getLogger(__name__)

RETRY_SECS = 30.0


class TriggerWatch:
    """`scopes` empty: all namespaces. `on_change` is called with the keys of those that came, changed or went."""

    def __init__(
        self, client: KubeClient, scopes: Sequence[str], activity: Activity, on_change: Callable[[set[Key]], None]
    ) -> None:
        self._client = client
        self._scopes = scopes or ("",)
        self._activity = activity
        self._on_change = on_change
        self._table: ObjectTable[SamplyTrigger] = ObjectTable()
        self._awaited = set(self._scopes)

    @property
    def is_synced(self) -> bool:
        """Each scope was listed, or cannot be."""
        return not self._awaited

    @property
    def triggers(self) -> dict[Key, SamplyTrigger]:
        return self._table.items

    def replace(self, scope: str, found: Sequence[SamplyTrigger]) -> None:
        """A complete list."""
        self._awaited.discard(scope)
        self._on_change(self._table.replace((scope, ""), found))

    def see(self, scope: str, found: SamplyTrigger, is_gone: bool = False) -> None:
        source = (scope, "")
        self._on_change(self._table.drop(source, found) if is_gone else self._table.put(source, found))

    async def run(self) -> None:
        """Run forever."""
        async with Supervisor() as supervisor:
            for scope in self._scopes:
                supervisor.start(f"SamplyTriggers in {scope or 'all namespaces'}", self._watch(scope))

    async def _watch(self, scope: str) -> None:
        kind = Kind(
            objects.samply_triggers(scope), parse_trigger, partial(self.replace, scope), partial(self.see, scope)
        )
        told = ""
        while True:
            fatal = (KubeForbidden, KubeNotFound)
            try:
                await Reflector(self._client, kind, self._activity, lambda: None, fatal).run()
            except fatal as error:
                told = _warn(scope, error, told)
                self._awaited.discard(scope)
                self._on_change(self._table.drop_scope(scope))
            await asyncio.sleep(RETRY_SECS)


def _warn(scope: str, error: KubeError, told: str) -> str:
    """Once."""
    if error.message != told:
        where = f"namespace {scope}" if scope else "all namespaces"
        logger.error("SamplyTriggers in %s cannot be watched, so none fires there: %s", where, error)
    return error.message
