"""Missing rights are reported with a remedy, and the checked rights are those that the chart grants."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from samply_operator.kube import own_rights
from samply_operator.kube.client import KubeClient
from support.fake_kube import FakeKube

MANIFESTS = Path(__file__).parents[3] / "manifests"


@pytest.mark.parametrize(
    ("namespaces", "wanted"),
    [
        (("a", "b"), [("create", "a"), ("create", "b")]),
        ((), [("create", "")]),
    ],
)
async def test_what_is_denied_is_missing(
    kube: FakeKube, client: KubeClient, namespaces: tuple[str, ...], wanted: list[tuple[str, str]]
) -> None:
    kube.is_allowed = lambda asked: not (asked["verb"] == "create" and asked.get("subresource") == "exec")
    missing = await own_rights.find_missing(client, namespaces)
    assert [(m.right.verb, m.namespace) for m in missing] == wanted
    assert all("create pods/exec" in str(m) and "chart" in str(m) for m in missing)


async def test_nothing_is_missing_where_all_is_allowed(client: KubeClient) -> None:
    assert await own_rights.find_missing(client, ("a",)) == ()


def test_the_chart_grants_exactly_what_is_asked_about() -> None:
    documents = [d for path in MANIFESTS.glob("*.yaml") for d in yaml.safe_load_all(path.read_text()) if d]
    roles = [d for d in documents if d["kind"] == "Role"]
    assert roles
    granted = {
        (verb, group, resource)
        for rule in roles[0]["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    asked = {(right.verb, right.group, right.resource) for right in (*own_rights.RIGHTS, *own_rights.EPHEMERAL)}
    # Events are one resource in two groups; the operator writes them in the core group.
    assert {right for right in granted if right[1] != "events.k8s.io"} == asked
