"""Which permissions this process lacks, checked once at the start and logged.

    await find_missing(client, namespaces) -> tuple[MissingRight, …]    str() of one has the remedy
    RIGHTS                                                              what the chart's Role grants
    list_ephemeral(settings, namespaces) -> tuple[str, …]              where it grants EPHEMERAL besides

Namespaces empty: all of them. Reviewing one's own rights needs none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from samply_operator.kube.client import KubeClient
from samply_operator.model import names
from samply_operator.rules.recording import modes
from samply_operator.settings import Settings

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
PARALLEL = 8


@dataclass(frozen=True, slots=True)
class Right:
    """A verb on a resource; `resource` may have a subresource after a slash."""

    verb: str
    group: str
    resource: str


def _rights(group: str, resource: str, *verbs: str) -> tuple[Right, ...]:
    return tuple(Right(verb, group, resource) for verb in verbs)


RIGHTS: tuple[Right, ...] = (
    *_rights(names.GROUP, names.PLURAL, "get", "list", "watch", "create", "patch", "delete"),
    *_rights(names.GROUP, f"{names.PLURAL}/status", "patch"),
    *_rights(names.GROUP, names.TRIGGER_PLURAL, "list", "watch"),
    *_rights(names.GROUP, f"{names.TRIGGER_PLURAL}/status", "patch"),
    *_rights("", "pods", "get", "list", "watch", "patch"),
    # Over a WebSocket an exec is a GET: 1.35 and later require create, older versions get.
    *_rights("", "pods/exec", "get", "create"),
    *_rights("", "namespaces", "get"),
    *_rights("apps", "statefulsets", "get", "list", "watch", "patch"),
    *_rights("coordination.k8s.io", "leases", "get", "create", "update", "delete"),
    *_rights("", "events", "create", "patch", "list"),
)
EPHEMERAL: tuple[Right, ...] = _rights("", "pods/ephemeralcontainers", "patch")
"""Needed only where mode Ephemeral is allowed."""
REVIEWING: tuple[Right, ...] = (
    *_rights("authentication.k8s.io", "tokenreviews", "create"),
    *_rights("authorization.k8s.io", "subjectaccessreviews", "create"),
)
"""Needed in the whole cluster if callers use Kubernetes tokens."""


def list_ephemeral(settings: Settings, namespaces: Sequence[str]) -> tuple[str, ...]:
    """The watched namespaces (none named: all) with mode Ephemeral. ("",) is all, () is none."""
    if not settings.ephemeral.enabled:
        return ()
    if not namespaces:
        return settings.ephemeral.namespaces or ("",)
    return tuple(name for name in namespaces if modes.is_ephemeral_allowed(settings, name))


@dataclass(frozen=True, slots=True)
class MissingRight:
    """`namespace` empty: all namespaces. `reason` is the authorizer's own, often empty."""

    right: Right
    namespace: str
    reason: str = ""

    def __str__(self) -> str:
        where = f"in namespace {self.namespace}" if self.namespace else "in all namespaces"
        kind = "the Role of that namespace" if self.namespace else "the ClusterRole"
        why = f" ({self.reason})" if self.reason else ""
        group = self.right.group or "core"
        return (
            f"may not {self.right.verb} {self.right.resource} (group {group}) {where}{why}: grant it in {kind}; "
            "the chart does for each of config.targets.namespaces"
        )


async def find_missing(
    client: KubeClient, namespaces: Sequence[str], rights: Sequence[Right] = RIGHTS
) -> tuple[MissingRight, ...]:
    """One SelfSubjectAccessReview for each permission and namespace. Raises errors.Kube* if that fails."""
    semaphore = asyncio.Semaphore(PARALLEL)

    async def review(right: Right, namespace: str) -> MissingRight | None:
        async with semaphore:
            answer = await client.create(REVIEWS, build_review(right, namespace))
        status = answer.get("status") or {}
        if status.get("allowed") is True:
            return None
        return MissingRight(right, namespace, str(status.get("reason") or ""))

    found = await asyncio.gather(*(review(right, place) for place in namespaces or ("",) for right in rights))
    return tuple(missing for missing in found if missing is not None)


def build_review(right: Right, namespace: str) -> dict[str, object]:
    resource, _, subresource = right.resource.partition("/")
    attributes = {
        "namespace": namespace,
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
    }
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
