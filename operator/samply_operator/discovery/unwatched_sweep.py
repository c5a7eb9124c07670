"""Finds annotated objects that are not watched, and reports them in an Event and in the log.

Also adds StatefulSets that only their pods' template makes a pipeline's: the watch selects StatefulSets by their own
labels.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from samply_operator.discovery.world import World
from samply_operator.errors import KubeError
from samply_operator.kube import objects
from samply_operator.kube.client import KubeClient
from samply_operator.kube.events import EventSink
from samply_operator.model.pipeline import Pod, StatefulSet
from samply_operator.rules.discovery import selectors, unwatched
from samply_operator.rules.discovery.unwatched import Unwatched
from samply_operator.settings import Targets

logger = logging.getLogger(__name__)

SWEEP_SECS = 20.0
ALL_SECS = 300.0
"""The same where all namespaces are watched: their pods are many."""
BY_TEMPLATE = "(template)"
"""Stands for a selector as the source of what the template selects."""
API_VERSIONS = {"StatefulSet": "apps/v1", "Pod": "v1"}


@dataclass(frozen=True, slots=True)
class _Found:
    """By uid."""

    sets: dict[str, StatefulSet]
    pods: dict[str, Pod]


class UnwatchedSweep:
    """`namespaces` empty: all of them. `see_carrier` is called with each StatefulSet that is brought in."""

    def __init__(
        self,
        client: KubeClient,
        events: EventSink,
        targets: Targets,
        world: World,
        namespaces: tuple[str, ...],
        see_carrier: Callable[[StatefulSet], None],
    ) -> None:
        self._client = client
        self._events = events
        self._targets = targets
        self._world = world
        self._namespaces = namespaces
        self._see_carrier = see_carrier
        self._reported: set[tuple[str, str]] = set()
        """Uids, and what was said of them."""
        self._logged = ""

    async def run(self) -> None:
        """Run forever."""
        while True:
            await self.sweep()
            await asyncio.sleep(SWEEP_SECS if self._namespaces else ALL_SECS)

    async def sweep(self) -> None:
        found: list[Unwatched] = []
        for place in self._namespaces or ("",):
            try:
                found += await self._sweep(place)
            except KubeError as error:
                logger.info("%s is not swept: %s", place or "the cluster", error.message)
        self._log_changes(found)

    async def _sweep(self, place: str) -> list[Unwatched]:
        lists = await self._list(place)
        wanted = self._targets.selectors
        by_template = [
            each
            for each in lists.sets.values()
            if selectors.is_selected(wanted, each.template_labels) and not selectors.is_selected(wanted, each.labels)
        ]
        self._world.replace_sets(by_template, source=(place, BY_TEMPLATE))
        for each in by_template:
            self._see_carrier(each)
        served = self._world.serves
        missed = [each for each in unwatched.find_sets(lists.sets.values(), wanted) if served(each.namespace)]
        pods = [each for each in unwatched.find_pods(lists.pods.values(), wanted) if served(each.namespace)]
        for one in (*missed, *pods):
            if one.is_annotated:
                await self._publish(one)
        return missed

    async def _list(self, place: str) -> _Found:
        """Without what the selectors match: thousands of pipelines' pods are not listed again each time."""
        found = _Found({}, {})
        for others in selectors.complement(self._targets.selectors):
            sets = await self._client.list_objects(
                objects.stateful_sets(place), objects.parse_stateful_set, label_selector=others
            )
            pods = await self._client.list_objects(objects.pods(place), objects.parse_pod, label_selector=others)
            found.sets.update((each.uid, each) for each in sets.items)
            found.pods.update((each.uid, each) for each in pods.items)
        return found

    async def _publish(self, each: Unwatched) -> None:
        """Once for each object, until the message changes."""
        text = unwatched.describe(each, self._targets.selectors)
        if (each.uid, text) in self._reported:
            return
        self._reported.add((each.uid, text))
        about = {
            "apiVersion": API_VERSIONS[each.kind],
            "kind": each.kind,
            "namespace": each.namespace,
            "name": each.name,
            "uid": each.uid,
        }
        await self._events.publish(about, "Warning", "NotWatched", text)
        logger.warning("%s: %s", each.describe(), text)

    def _log_changes(self, found: list[Unwatched]) -> None:
        """That nothing matches at all; once, until it changes."""
        said = ""
        if self._world.is_synced and not self._world.pipelines:
            wanted = " or ".join(self._targets.selectors)
            said = f"no StatefulSet or pod matches config.targets.podSelector ({wanted})"
            if found:
                could = ", ".join(each.describe() for each in found[:5])
                said += f"; {could} may be pipelines. {unwatched.suggest(found, self._targets.selectors)}"
        if said and said != self._logged:
            logger.warning("%s", said)
        self._logged = said
