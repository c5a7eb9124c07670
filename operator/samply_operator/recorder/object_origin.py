"""Reads the state of namespace and CRD: facts for rules/storage/deletion.py, and the origin for manifests.

A plain GET is answered from the store, not from a cache: a namespace or a CRD that is being deleted shows this before
the first of its objects is deleted. If the CRD may not be read, discovery (open to all) shows it slightly later.
"""

from __future__ import annotations

import asyncio

from samply_operator.errors import KubeError, KubeForbidden, KubeNotFound
from samply_operator.kube import objects
from samply_operator.kube.client import KubeClient
from samply_operator.model import names
from samply_operator.model.manifest import ObjectOrigin
from samply_operator.rules.storage.deletion import OriginState, ResourceState

DEFINITION = objects.build_path(
    "apis/apiextensions.k8s.io/v1", "customresourcedefinitions", name=f"{names.PLURAL}.{names.GROUP}"
)
DISCOVERY = f"/apis/{names.API_VERSION}"


def namespace_path(namespace: str) -> str:
    return objects.build_path("api/v1", "namespaces", name=namespace)


async def find_state(client: KubeClient, namespace: str) -> OriginState:
    """Never raises KubeError: an object that cannot be read is Unknown."""
    place, definition = await asyncio.gather(_find(client, namespace_path(namespace)), find_definition(client))
    return OriginState(place, definition)


async def find_definition(client: KubeClient) -> ResourceState:
    try:
        return await _read(client, DEFINITION)
    except KubeForbidden:
        return await _discover(client)
    except KubeError:
        return ResourceState("Unknown")


async def find_origin(client: KubeClient, namespace: str) -> ObjectOrigin:
    return (await find_state(client, namespace)).origin


async def _find(client: KubeClient, path: str) -> ResourceState:
    try:
        return await _read(client, path)
    except KubeError:
        return ResourceState("Unknown")


async def _read(client: KubeClient, path: str) -> ResourceState:
    try:
        meta = (await client.get(path))["metadata"]
    except KubeNotFound:
        return ResourceState("Absent")
    return ResourceState("Leaving" if "deletionTimestamp" in meta else "Stands", meta.get("uid") or "")


async def _discover(client: KubeClient) -> ResourceState:
    """The API server offers no `create` for a kind whose CRD is being deleted."""
    try:
        found = await client.get(DISCOVERY)
    except KubeNotFound:
        return ResourceState("Absent")
    except KubeError:
        return ResourceState("Unknown")
    verbs = next((r.get("verbs") or () for r in found.get("resources") or () if r.get("name") == names.PLURAL), None)
    if verbs is None:
        return ResourceState("Absent")
    return ResourceState("Stands" if "create" in verbs else "Leaving")
