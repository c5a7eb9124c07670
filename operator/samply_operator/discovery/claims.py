"""Carries out the annotation trigger: trigger → claim → objects → removal of the claim. For the reasons see
rules/discovery/triggers.py.

After a kill at any point, the next event of the Pod or StatefulSet continues: a claim always leads to the same names,
and if it could not be completed at once it lists the ordinals that already have their objects.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from samply_operator.activity import Activity
from samply_operator.discovery.work_queue import WorkQueue
from samply_operator.errors import (
    InvalidSpec,
    KubeConflict,
    KubeDenied,
    KubeError,
    KubeForbidden,
    KubeInvalid,
    KubeNotFound,
    ObjectRefused,
    join_sentences,
)
from samply_operator.kube import objects
from samply_operator.kube.client import KubeClient
from samply_operator.kube.events import EventSink
from samply_operator.model import names
from samply_operator.model.pipeline import Pod, StatefulSet
from samply_operator.model.profile import Spec, render_spec
from samply_operator.rules.discovery import locate, naming, selectors, triggers
from samply_operator.settings import Targets

logger = logging.getLogger(__name__)

Kind = Literal["Pod", "StatefulSet"]
ClaimKey = tuple[Kind, str, str]
"""Kind, namespace, name."""

MAX_ORDINALS = 1000
"""Maximum number of objects for one annotation."""
RIGHTS_SECS = 60.0
"""How long to wait for a missing permission: a new Role takes effect after a moment."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """The annotated Pod or StatefulSet, whose ordinals are requested."""

    kind: Kind
    api_version: str
    path: str
    namespace: str
    name: str
    uid: str
    pipeline: str
    ordinals: tuple[int, ...]
    annotations: Mapping[str, str]

    def refer(self) -> dict[str, str]:
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "namespace": self.namespace,
            "name": self.name,
            "uid": self.uid,
        }


def parse_carrier(
    targets: Targets, kind: Kind, raw: Mapping[str, Any], owner: StatefulSet | None, known: Mapping[str, str]
) -> Carrier | None:
    """None: it is no pipeline's. `owner` is the Pod's StatefulSet, where that is known; `known` Feldera's names."""
    if kind == "StatefulSet":
        found = objects.parse_stateful_set(raw)
        naming_ = naming.name_set(found, targets, known)
        if naming_ is None or not selectors.is_selected(targets.selectors, found.template_labels, found.labels):
            return None
        path, ordinals = objects.stateful_sets(found.namespace, found.name), found.ordinals[:MAX_ORDINALS]
        at = (found.namespace, found.name, found.uid)
        return Carrier("StatefulSet", "apps/v1", path, *at, naming_.name, ordinals, found.annotations)
    pod = objects.parse_pod(raw)
    naming_, ordinal = naming.name_pod(pod, owner, targets, known), locate.find_ordinal(pod)
    if naming_ is None or ordinal is None or not selectors.is_selected(targets.selectors, pod.labels):
        return None
    path = objects.pods(pod.namespace, pod.name)
    return Carrier("Pod", "v1", path, pod.namespace, pod.name, pod.uid, naming_.name, (ordinal,), pod.annotations)


class Claims:
    """`sets` are those that are known, by namespace and name; `known` gives Feldera's names. `queue` is to be run."""

    def __init__(
        self,
        client: KubeClient,
        events: EventSink,
        targets: Targets,
        sets: Mapping[tuple[str, str], StatefulSet],
        activity: Activity | None = None,
        known: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._client = client
        self._events = events
        self._targets = targets
        self._sets = sets
        self._known = known
        self._forbidden_since: dict[str, float] = {}
        """By request."""
        self.queue: WorkQueue[ClaimKey] = WorkQueue(self.take, name="claims", activity=activity)

    def see(self, carrier: Pod | StatefulSet) -> None:
        """Each Pod and StatefulSet that was observed."""
        if names.TRIGGER in carrier.annotations or names.CLAIM in carrier.annotations:
            kind: Kind = "Pod" if isinstance(carrier, Pod) else "StatefulSet"
            self.queue.put((kind, carrier.namespace, carrier.name))

    async def take(self, key: ClaimKey) -> None:
        """Process one Pod or StatefulSet with a trigger or a claim to its end. Can be repeated."""
        carrier = await self._read(key)
        if carrier is None:
            return
        annotation = names.CLAIM if names.CLAIM in carrier.annotations else names.TRIGGER
        value = carrier.annotations.get(annotation)
        if value is None:
            return
        try:
            claim = triggers.parse_claim(
                value if annotation == names.CLAIM else triggers.render_claim(str(uuid.uuid4()), value)
            )
            if not carrier.ordinals:
                raise InvalidSpec(f"{carrier.name} is scaled to 0: there is nothing to profile.", remedy="Scale it up.")
        except InvalidSpec as error:
            await self._refuse(carrier, annotation, value, str(error))
            return
        if annotation == names.TRIGGER and not await self._patch(
            carrier, triggers.build_claim_patch(value, claim.request)
        ):
            return
        await self._carry_out(carrier, claim)

    async def _read(self, key: ClaimKey) -> Carrier | None:
        kind, namespace, name = key
        build_path = objects.pods if kind == "Pod" else objects.stateful_sets
        try:
            raw = await self._client.get(build_path(namespace, name))
        except KubeNotFound:
            return None
        owner = self._sets.get((namespace, objects.parse_pod(raw).owner)) if kind == "Pod" else None
        return parse_carrier(self._targets, kind, raw, owner, self._known())

    async def _carry_out(self, carrier: Carrier, claim: triggers.Claim) -> None:
        made, refused = set(claim.made), dict[int, str]()
        for ordinal in carrier.ordinals:
            if ordinal in made:
                continue
            try:
                await self._create(carrier, claim, ordinal)
            except ObjectRefused as error:
                refused[ordinal] = str(error)
                continue
            except KubeError:
                await self._note_made(carrier, claim, made)
                raise
            made.add(ordinal)
        self._forbidden_since.pop(claim.request, None)
        if made - claim.made:
            count = len(made)
            text = f"{count} profile{'s' if count > 1 else ''} of {claim.duration_secs} s requested: kubectl get sprof"
            await self._events.publish(carrier.refer(), "Normal", "ProfileRequested", text)
        if refused:
            await self._refuse(carrier, names.CLAIM, claim.text, triggers.describe_refusals(refused))
        else:
            had_refusal = names.REFUSED in carrier.annotations
            await self._patch(carrier, triggers.build_release_patch(claim, had_refusal=had_refusal))

    async def _create(self, carrier: Carrier, claim: triggers.Claim, ordinal: int) -> None:
        """Raises ObjectRefused for permanent refusals."""
        spec = Spec(pipeline=carrier.pipeline, ordinal=ordinal, duration_secs=claim.duration_secs)
        name = triggers.build_name(claim.request, ordinal)
        try:
            await create_profile(self._client, carrier.namespace, name, spec, request=claim.request)
        except KubeForbidden as error:
            since = self._forbidden_since.setdefault(claim.request, time.monotonic())
            if time.monotonic() - since < RIGHTS_SECS:
                raise
            raise ObjectRefused(error.message, remedy=error.remedy) from error

    async def _note_made(self, carrier: Carrier, claim: triggers.Claim, made: set[int]) -> None:
        """Existing objects are not created again, even if they have ended and were deleted by then."""
        if made != claim.made:
            with contextlib.suppress(KubeError):
                await self._patch(carrier, triggers.build_progress_patch(claim, made))

    async def _refuse(self, carrier: Carrier, annotation: str, value: str, why: str) -> None:
        text = f"{names.TRIGGER}: {why}"  # the one that the user knows
        if await self._patch(carrier, triggers.build_refusal_patch(annotation, value, text)):
            await self._events.publish(carrier.refer(), "Warning", "ProfileRefused", text)

    async def _patch(self, carrier: Carrier, patch: triggers.Patch) -> bool:
        """False: it was changed or deleted meanwhile. Nothing is lost by that."""
        try:
            await self._client.patch(carrier.path, patch, kind="json")
        except (KubeNotFound, KubeInvalid, KubeConflict) as error:
            logger.info("%s %s/%s: %s", carrier.kind, carrier.namespace, carrier.name, error.message)
            return False
        except KubeDenied as error:
            text = join_sentences(f"{names.TRIGGER}, which is tried again: {error.message}", error.remedy)
            await self._events.publish(carrier.refer(), "Warning", "ProfileRefused", text)
            raise
        return True


async def create_profile(
    client: KubeClient, namespace: str, name: str, spec: Spec, *, request: str
) -> Mapping[str, Any] | None:
    """See `create_object`. With an older CRD, attachments would be dropped in silence: that is refused."""
    body = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name, "namespace": namespace, "labels": {names.REQUEST: request}},
        "spec": render_spec(spec),
    }
    return await create_object(client, body, is_strict=spec.attachments is not None)


async def create_object(
    client: KubeClient, body: Mapping[str, Any], *, is_strict: bool = False
) -> Mapping[str, Any] | None:
    """The new SamplyProfile; None if it exists already, which is fine: the same name is the same request. Raises
    ObjectRefused for what the cluster's policies or quotas refuse; and, if `is_strict`, its CRD."""
    try:
        return await client.create(objects.samply_profiles(body["metadata"]["namespace"]), body, is_strict=is_strict)
    except KubeConflict:
        return None
    except (KubeDenied, KubeInvalid) as error:
        cure = triggers.find_cure(error.message)
        raise ObjectRefused(f"The cluster refuses the SamplyProfile: {error.message}", remedy=cure) from error
