"""How namespace and CRD stand, as the API server tells it."""

from __future__ import annotations

from typing import Any

import pytest

from samply_operator.errors import KubeError, KubeForbidden, KubeUnavailable
from samply_operator.model import names
from samply_operator.model.manifest import Origin
from samply_operator.recorder import grounds
from samply_operator.rules.deletion import Ground
from support.fake_cluster import FakeCluster
from support.operator_process import NAMESPACE

PLACE = grounds.namespace_path(NAMESPACE)


def discover(cluster: FakeCluster, *verbs: str, name: str = names.PLURAL) -> None:
    cluster.put(grounds.DISCOVERY, {"resources": [{"name": name, "verbs": verbs}]})


async def test_both_stand_with_their_uids(cluster: FakeCluster) -> None:
    """That is the origin of what lives there."""
    uids = [cluster.objects[path]["metadata"]["uid"] for path in (PLACE, grounds.DEFINITION)]
    client: Any = cluster
    assert await grounds.find_origin(client, NAMESPACE) == Origin(*uids)
    found = await grounds.find_evidence(client, NAMESPACE)
    assert (found.namespace, found.definition) == (Ground("Stands", uids[0]), Ground("Stands", uids[1]))


async def test_what_is_being_deleted_says_so(cluster: FakeCluster) -> None:
    """Before the first of its objects goes."""
    client: Any = cluster
    for path in (PLACE, grounds.DEFINITION):
        cluster.objects[path]["metadata"]["deletionTimestamp"] = "2027-01-15T08:00:00Z"
    found = await grounds.find_evidence(client, NAMESPACE)
    assert (found.namespace.presence, found.definition.presence) == ("Leaving", "Leaving")
    for path in (PLACE, grounds.DEFINITION):
        del cluster.objects[path]
    found = await grounds.find_evidence(client, NAMESPACE)
    assert (found.namespace.presence, found.definition.presence) == ("Absent", "Absent")


@pytest.mark.parametrize("error", [KubeUnavailable("away"), KubeError("odd")])
async def test_what_cannot_be_asked_is_unknown(cluster: FakeCluster, error: KubeError) -> None:
    """Never an error, and never absent."""
    client: Any = cluster
    cluster.fault = lambda verb, what: error
    found = await grounds.find_evidence(client, NAMESPACE)
    assert (found.namespace, found.definition) == (Ground("Unknown"), Ground("Unknown"))
    assert found.origin == Origin()


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
    assert await grounds.find_definition(client) == Ground(presence)  # type: ignore[arg-type]


async def test_a_kind_that_discovery_lacks_is_gone(cluster: FakeCluster) -> None:
    """With its group, or without."""
    client: Any = cluster
    forbid(cluster)
    assert await grounds.find_definition(client) == Ground("Absent")
    discover(cluster, "create", name="others")
    assert await grounds.find_definition(client) == Ground("Absent")
    cluster.fault = lambda verb, what: (KubeForbidden if what == grounds.DEFINITION else KubeUnavailable)("no")
    assert await grounds.find_definition(client) == Ground("Unknown")


async def test_a_namespace_that_may_not_be_read_is_unknown(cluster: FakeCluster) -> None:
    """Its Role may have gone with it."""
    client: Any = cluster
    cluster.fault = lambda verb, what: KubeForbidden("no") if what == PLACE else None
    assert (await grounds.find_evidence(client, NAMESPACE)).namespace == Ground("Unknown")


def forbid(cluster: FakeCluster) -> None:
    cluster.fault = lambda verb, what: KubeForbidden("no") if what == grounds.DEFINITION else None
