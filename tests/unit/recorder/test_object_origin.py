"""The state of the namespace and the CRD, as reported by the API server."""

from __future__ import annotations

from typing import Any

import pytest

from samply_operator.errors import KubeError, KubeForbidden, KubeUnavailable
from samply_operator.model import names
from samply_operator.model.manifest import ObjectOrigin
from samply_operator.recorder import object_origin
from samply_operator.rules.storage.deletion import ResourceState
from support.fake_cluster import FakeCluster
from support.operator_process import NAMESPACE

PLACE = object_origin.namespace_path(NAMESPACE)


def discover(cluster: FakeCluster, *verbs: str, name: str = names.PLURAL) -> None:
    cluster.put(object_origin.DISCOVERY, {"resources": [{"name": name, "verbs": verbs}]})


async def test_an_existing_namespace_and_crd_are_found_with_their_uids(cluster: FakeCluster) -> None:
    """They are the origin of the objects there."""
    uids = [cluster.objects[path]["metadata"]["uid"] for path in (PLACE, object_origin.DEFINITION)]
    client: Any = cluster
    assert await object_origin.find_origin(client, NAMESPACE) == ObjectOrigin(*uids)
    found = await object_origin.find_state(client, NAMESPACE)
    assert (found.namespace, found.definition) == (ResourceState("Stands", uids[0]), ResourceState("Stands", uids[1]))


async def test_what_is_being_deleted_says_so(cluster: FakeCluster) -> None:
    """Before the first of its objects is deleted."""
    client: Any = cluster
    for path in (PLACE, object_origin.DEFINITION):
        cluster.objects[path]["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    found = await object_origin.find_state(client, NAMESPACE)
    assert (found.namespace.presence, found.definition.presence) == ("Leaving", "Leaving")
    for path in (PLACE, object_origin.DEFINITION):
        del cluster.objects[path]
    found = await object_origin.find_state(client, NAMESPACE)
    assert (found.namespace.presence, found.definition.presence) == ("Absent", "Absent")


@pytest.mark.parametrize("error", [KubeUnavailable("away"), KubeError("odd")])
async def test_what_cannot_be_asked_is_unknown(cluster: FakeCluster, error: KubeError) -> None:
    """Never an error, and never absent."""
    client: Any = cluster
    cluster.fault = lambda verb, what: error
    found = await object_origin.find_state(client, NAMESPACE)
    assert (found.namespace, found.definition) == (ResourceState("Unknown"), ResourceState("Unknown"))
    assert found.origin == ObjectOrigin()


@pytest.mark.parametrize(
    ("verbs", "presence"),
    [
        pytest.param(("create", "delete", "get"), "Stands", id="it stands"),
        pytest.param(("delete", "get", "list"), "Leaving", id="it is being deleted"),
    ],
)
async def test_a_crd_that_may_not_be_read_is_found_by_discovery(
    cluster: FakeCluster, verbs: tuple[str, ...], presence: str
) -> None:
    """Which everybody may ask; a CRD on its way out offers no create."""
    client: Any = cluster
    forbid(cluster)
    discover(cluster, *verbs)
    assert await object_origin.find_definition(client) == ResourceState(presence)  # type: ignore[arg-type]


async def test_a_kind_that_discovery_lacks_is_gone(cluster: FakeCluster) -> None:
    """With its group, or without."""
    client: Any = cluster
    forbid(cluster)
    assert await object_origin.find_definition(client) == ResourceState("Absent")
    discover(cluster, "create", name="others")
    assert await object_origin.find_definition(client) == ResourceState("Absent")
    cluster.fault = lambda verb, what: (KubeForbidden if what == object_origin.DEFINITION else KubeUnavailable)("no")
    assert await object_origin.find_definition(client) == ResourceState("Unknown")


async def test_a_namespace_that_may_not_be_read_is_unknown(cluster: FakeCluster) -> None:
    """Its Role may have gone with it."""
    client: Any = cluster
    cluster.fault = lambda verb, what: KubeForbidden("no") if what == PLACE else None
    assert (await object_origin.find_state(client, NAMESPACE)).namespace == ResourceState("Unknown")


def forbid(cluster: FakeCluster) -> None:
    cluster.fault = lambda verb, what: KubeForbidden("no") if what == object_origin.DEFINITION else None
