"""All checks of an installation, by its own ServiceAccount. They change nothing, and a check that cannot be made is
reported with the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from samply_operator.errors import FelderaError, KubeError, KubeNotFound, SamplyOperatorError
from samply_operator.feldera import directory
from samply_operator.feldera.client import FelderaClient
from samply_operator.feldera.directory import Directory
from samply_operator.kube import objects, own_rights
from samply_operator.kube.client import KubeClient
from samply_operator.model.check import Area, Check
from samply_operator.model.pipeline import Pod, StatefulSet
from samply_operator.recorder.pod import ephemeral
from samply_operator.rules.discovery import naming, selectors, unwatched
from samply_operator.rules.installation import checks
from samply_operator.rules.recording import modes
from samply_operator.settings import Identity, Settings, namespaces_of
from samply_operator.store import pipeline_names
from samply_operator.store.volume import Volume

PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")


STUCK = frozenset({"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"})


class Examination:
    """`feldera` None: it is not asked. Use once."""

    def __init__(
        self, client: KubeClient, settings: Settings, identity: Identity, feldera: FelderaClient | None
    ) -> None:
        self._client = client
        self._settings = settings
        self._identity = identity
        self._feldera = feldera
        self._namespaces = namespaces_of(settings, identity)
        self._selectors = settings.targets.selectors

    async def run(self) -> tuple[Check, ...]:
        known = await self._look_up()
        groups = await asyncio.gather(
            self._try("Rights", self._check_rights),
            self._try("Selector", lambda: self._check_pipelines(known)),
            self._try("Kernel", self._check_kernel),
            self._try("PodSecurity", self._check_pod_security),
            self._try("Volume", self._check_volume),
        )
        feldera = checks.judge_feldera(self._settings.feldera.url, len(known.pairs), known.faults, known.skipped)
        return (*(check for group in groups for check in group), feldera)

    async def _try(self, area: Area, work: Callable[[], Awaitable[Iterable[Check]]]) -> tuple[Check, ...]:
        try:
            return tuple(await work())
        except (SamplyOperatorError, OSError) as error:
            message, remedy = (
                (error.message, error.remedy) if isinstance(error, SamplyOperatorError) else (str(error), "")
            )
            remedy = remedy or "Correct what the other checks find, then try again."
            return (Check(area, "Unknown", f"This cannot be checked: {message}", remedy),)

    async def _look_up(self) -> Directory:
        if self._feldera is None:
            return Directory()
        try:
            return await directory.look_up(self._feldera, self._settings)
        except FelderaError as error:
            return Directory(faults={self._settings.feldera.secret_name: error})

    async def _check_rights(self) -> list[Check]:
        found = list(await own_rights.find_missing(self._client, self._namespaces))
        if places := own_rights.list_ephemeral(self._settings, self._namespaces):
            found += await own_rights.find_missing(self._client, places, own_rights.EPHEMERAL)
        auth = self._settings.auth
        if auth.kubernetes.enabled and not auth.unsafe_let_anyone_in_without_authentication:
            found += await own_rights.find_missing(self._client, (), own_rights.REVIEWING)
        return [checks.judge_rights([str(missing).partition(":")[0] for missing in found])]

    async def _check_pipelines(self, known: Directory) -> list[Check]:
        sets, raw_pods = await self._list_all(objects.stateful_sets), await self._list_pods()
        all_sets = [objects.parse_stateful_set(raw) for raw in sets]
        pods = [objects.parse_pod(raw) for raw in raw_pods]
        watched = [
            each for each in all_sets if selectors.is_selected(self._selectors, each.template_labels, each.labels)
        ]
        pairs = dict(known.pairs)
        if known.faults:
            remembered = await asyncio.to_thread(pipeline_names.read, Path(self._settings.paths.data))
            pairs = {**remembered.pairs, **pairs}
        namings = self._name(watched, pods, naming.drop_ambiguous(pairs.items()))
        targets = self._settings.targets
        missed = [*unwatched.find_sets(all_sets, targets.selectors)]
        return [
            checks.judge_selector(targets.selectors, len(namings), missed, self._namespaces),
            checks.judge_names(namings, is_feldera_asked=self._feldera is not None),
            checks.judge_helper_image(
                self._settings.ephemeral.image, list_stuck(raw_pods), is_enabled=self._settings.ephemeral.enabled
            ),
        ]

    def _name(self, sets: Sequence[StatefulSet], pods: Sequence[Pod], known: dict[str, str]) -> list[naming.Naming]:
        """One for each pipeline."""
        targets, owners = self._settings.targets, {(s.namespace, s.name): s for s in sets}
        found = [(s.namespace, naming.name_set(s, targets, known)) for s in sets]
        found += [(p.namespace, naming.name_pod(p, owners.get((p.namespace, p.owner)), targets, known)) for p in pods]
        return list({(namespace, each.name): each for namespace, each in found if each is not None}.values())

    async def _list_all(self, build_path: Callable[[str], str], label_selector: str = "") -> list[dict[str, Any]]:
        places = self._namespaces or ("",)
        lists = [await self._client.list_items(build_path(place), label_selector=label_selector) for place in places]
        return [raw for each in lists for raw in each.items]

    async def _list_pods(self) -> list[dict[str, Any]]:
        """Those that any selector matches, once each."""
        found = [await self._list_all(objects.pods, selector) for selector in self._settings.targets.selectors]
        return list({raw["metadata"]["uid"]: raw for each in found for raw in each}.values())

    async def _check_kernel(self) -> list[Check]:
        try:
            paranoid = int((await asyncio.to_thread(PARANOID.read_text)).strip())
        except (OSError, ValueError):
            return [checks.judge_kernel(None, "")]
        return [checks.judge_kernel(paranoid, "")]

    async def _check_pod_security(self) -> list[Check]:
        """Of the namespaces that are listed; of all, there would be no end of them."""
        return [check for place in self._namespaces for check in await self._check_namespace(place)]

    async def _check_namespace(self, place: str) -> list[Check]:
        try:
            raw = await self._client.get(objects.build_path("api/v1", "namespaces", name=place))
        except KubeNotFound:
            remedy = "Make it, or correct config.targets.namespaces."
            return [Check("PodSecurity", "Failed", f"There is no namespace {place}.", remedy, place)]
        except KubeError as error:
            remedy = error.remedy or f"It needs `get` on namespaces in {place}."
            return [
                Check("PodSecurity", "Unknown", f"Namespace {place} cannot be read: {error.message}", remedy, place)
            ]
        labels = raw["metadata"].get("labels") or {}
        is_ephemeral = modes.is_ephemeral_allowed(self._settings, place)
        return [checks.judge_pod_security(place, labels, is_ephemeral=is_ephemeral)]

    async def _check_volume(self) -> list[Check]:
        volume = Volume(self._settings.paths.data)
        try:
            free_bytes = await asyncio.to_thread(volume.free_bytes)
        except (OSError, SamplyOperatorError) as error:
            return [checks.judge_volume(None, 0, str(error))]
        return [checks.judge_volume(free_bytes, self._settings.recording.min_free_bytes, "")]


def list_stuck(pods: Iterable[dict[str, Any]]) -> list[str]:
    """Pods in which an ephemeral container of ours waits for its image."""
    return [
        f"{raw['metadata']['namespace']}/{raw['metadata']['name']} ({status['state']['waiting']['reason']})"
        for raw in pods
        for status in (raw.get("status") or {}).get("ephemeralContainerStatuses") or ()
        if status["name"].startswith(ephemeral.PREFIX)
        and ((status.get("state") or {}).get("waiting") or {}).get("reason") in STUCK
    ]


async def examine(settings: Settings, identity: Identity) -> tuple[Check, ...]:
    """On its own, with a client of its own: also where the operator itself does not get so far."""
    async with KubeClient() as client:
        if not settings.feldera.url:
            return await Examination(client, settings, identity, None).run()
        async with FelderaClient(settings.feldera.url) as feldera:
            return await Examination(client, settings, identity, feldera).run()
