"""Carries the annotation trigger out: trigger → claim → objects → claim gone. See rules/discovery/triggers.py for why.

Killed at any point, the next look at the Pod or StatefulSet goes on: a claim always leads to the same names.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from samply_operator.errors import InvalidSpec, KubeConflict, KubeDenied, KubeInvalid, KubeNotFound
from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.model.profile import Spec, render_spec
from samply_operator.recorder.context import Context
from samply_operator.rules.discovery import locate, selectors, triggers

logger = logging.getLogger(__name__)

Kind = Literal["Pod", "StatefulSet"]

MAX_ORDINALS = 1000
"""One annotation makes at most this many objects."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """The Pod or StatefulSet that carries the annotation: whose ordinals are meant."""

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


def has_trigger(raw: Mapping[str, Any]) -> bool:
    annotations = (raw.get("metadata") or {}).get("annotations") or {}
    return names.TRIGGER in annotations or names.CLAIM in annotations


def parse_carrier(context: Context, kind: Kind, raw: Mapping[str, Any]) -> Carrier | None:
    """None: it is no pipeline's."""
    targets = context.settings.targets
    selector = selectors.parse_selector(targets.pod_selector)
    if kind == "StatefulSet":
        found = objects.parse_stateful_set(raw)
        pipeline = locate.name_of_set(found, targets)
        if not pipeline or not selectors.matches(selector, found.template_labels):
            return None
        path = objects.stateful_sets(found.namespace, found.name)
        return Carrier(
            "StatefulSet",
            "apps/v1",
            path,
            found.namespace,
            found.name,
            found.uid,
            pipeline,
            found.ordinals[:MAX_ORDINALS],
            found.annotations,
        )
    pod = objects.parse_pod(raw)
    pipeline, ordinal = locate.name_of_pod(pod, targets), locate.find_ordinal(pod)
    if not pipeline or ordinal is None or not selectors.matches(selector, pod.labels):
        return None
    path = objects.pods(pod.namespace, pod.name)
    return Carrier("Pod", "v1", path, pod.namespace, pod.name, pod.uid, pipeline, (ordinal,), pod.annotations)


async def take(context: Context, kind: Kind, namespace: str, name: str) -> None:
    """Bring one Pod or StatefulSet with a trigger or a claim to its end. May be repeated."""
    build_path = objects.pods if kind == "Pod" else objects.stateful_sets
    try:
        raw = await context.client.get(build_path(namespace, name))
    except KubeNotFound:
        return
    carrier = parse_carrier(context, kind, raw)
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
        await _refuse(context, carrier, annotation, value, error)
        return
    if annotation == names.TRIGGER and not await _patch(
        context, carrier, triggers.build_claim_patch(value, claim.request)
    ):
        return
    await _carry_out(context, carrier, claim)


async def _carry_out(context: Context, carrier: Carrier, claim: triggers.Claim) -> None:
    for ordinal in carrier.ordinals:
        try:
            await create_profile(
                context,
                carrier.namespace,
                triggers.build_name(claim.request, ordinal),
                Spec(pipeline=carrier.pipeline, ordinal=ordinal, duration_secs=claim.duration_secs),
                request=claim.request,
            )
        except KubeDenied as error:
            await _refuse(context, carrier, names.CLAIM, claim.text, error)
            return
    await _patch(
        context, carrier, triggers.build_release_patch(claim, had_refusal=names.REFUSED in carrier.annotations)
    )
    count = len(carrier.ordinals)
    await context.events.publish(
        carrier.refer(),
        "Normal",
        "ProfileRequested",
        f"{count} profile{'s' if count > 1 else ''} of {claim.duration_secs} s requested: kubectl get sprof",
    )


async def create_profile(
    context: Context, namespace: str, name: str, spec: Spec, *, request: str
) -> Mapping[str, Any] | None:
    """The new object; None if it exists already, which is fine: the same name is the same request."""
    body = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name, "namespace": namespace, "labels": {names.REQUEST: request}},
        "spec": render_spec(spec),
    }
    try:
        return await context.client.create(objects.samply_profiles(namespace), body)
    except KubeConflict:
        return None


async def _refuse(
    context: Context, carrier: Carrier, annotation: str, value: str, error: InvalidSpec | KubeDenied
) -> None:
    text = f"{annotation}: {error}"
    if await _patch(context, carrier, triggers.build_refusal_patch(annotation, value, text)):
        await context.events.publish(carrier.refer(), "Warning", "ProfileRefused", text)


async def _patch(context: Context, carrier: Carrier, patch: triggers.Patch) -> bool:
    """False: somebody else was faster, or it is gone. Nothing is lost by that."""
    try:
        await context.client.patch(carrier.path, patch, kind="json")
    except (KubeNotFound, KubeInvalid, KubeConflict) as error:
        logger.info("%s %s/%s: %s", carrier.kind, carrier.namespace, carrier.name, error.message)
        return False
    return True
