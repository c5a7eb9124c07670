"""Everything that is watched: one scope for each namespace of the settings, or one for all namespaces, of which labels
may select some.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from samply_operator.discovery.reflector import Kind, Reflector
from samply_operator.discovery.scope import FORBIDDEN_SECS, Scope, ScopeContext
from samply_operator.errors import KubeForbidden
from samply_operator.kube import objects
from samply_operator.model.pipeline import Pod, StatefulSet
from samply_operator.supervisor import Supervisor

logger = logging.getLogger(__name__)


class Watcher:
    """`namespaces` empty: all of them. `namespace_selector`: of all, those that these labels select."""

    def __init__(self, context: ScopeContext, namespaces: tuple[str, ...], namespace_selector: str = "") -> None:
        self._it = context
        self._scopes = [Scope(name, context) for name in namespaces or ("",)]
        self._namespace_selector = namespace_selector
        self._selected: set[str] = set()
        if namespace_selector:
            context.world.select(())
        context.world.await_scopes(scope.name for scope in self._scopes)

    async def run(self) -> None:
        """Run forever."""
        async with Supervisor() as supervisor:
            for scope in self._scopes:
                supervisor.start(f"scope {scope.name or '(all)'}", scope.run())
            if self._namespace_selector:
                supervisor.start("namespaces", self._select_namespaces())

    async def _select_namespaces(self) -> None:
        kind = Kind(objects.namespaces(), objects.parse_name, self._replace, self._see, self._namespace_selector)
        while True:
            try:
                await Reflector(self._it.client, kind, self._it.activity, lambda: None).run()
            except KubeForbidden as error:
                logger.error("namespaces cannot be selected by their labels: %s", error)
            await asyncio.sleep(FORBIDDEN_SECS)

    def _replace(self, names: Sequence[str]) -> None:
        self._select(set(names))

    def _see(self, name: str, is_gone: bool) -> None:
        self._select(self._selected - {name} if is_gone else self._selected | {name})

    def _select(self, names: set[str]) -> None:
        if names == self._selected:
            return
        logger.info("namespaces selected by their labels: %s", ", ".join(sorted(names)) or "none")
        added, self._selected = names - self._selected, names
        world, listener = self._it.world, self._it.listener
        for profile in world.select(names):
            listener.see_profile(profile)
        carriers: list[Pod | StatefulSet] = [*world.pods.values(), *world.sets.values()]
        for carrier in carriers:
            if carrier.namespace in added:
                listener.see_carrier(carrier)
