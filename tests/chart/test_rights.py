"""Rights: a Role for each namespace with pipelines, no wildcards, no Secrets."""

from __future__ import annotations

import re

import pytest

from chart import helm
from samply_operator import settings
from samply_operator.kube import own_rights

KEYS_ALONE = {"config": {"auth": {"kubernetes": {"enabled": False}, "apiKeys": {"enabled": True}}}}
CLUSTER_WIDE = {"config": {"targets": {"clusterWide": True}}}


def operator_rules(objects: list[helm.Object]) -> list[helm.Object]:
    """The rules that the operator's ServiceAccount gets, wherever they are."""
    bound = {b["roleRef"]["name"] for b in objects if b["kind"] in {"RoleBinding", "ClusterRoleBinding"}}
    roles = [o for o in objects if o["kind"] in {"Role", "ClusterRole"} and o["metadata"]["name"] in bound]
    return [rule for role in roles for rule in role["rules"]]


def test_the_default_is_a_role_in_the_release_namespace_alone(default_objects: list[helm.Object]) -> None:
    assert helm.only(default_objects, "Role")["metadata"]["namespace"] == helm.NAMESPACE
    bound = [b["roleRef"]["name"].rpartition(":")[2] for b in helm.select(default_objects, "ClusterRoleBinding")]
    assert sorted(bound) == ["crd", "reviews"]


def test_the_only_cluster_right_reads_one_crd_and_is_optional(default_objects: list[helm.Object]) -> None:
    (role,) = (o for o in helm.select(default_objects, "ClusterRole") if o["metadata"]["name"].endswith(":crd"))
    assert role["rules"] == [
        {
            "apiGroups": ["apiextensions.k8s.io"],
            "resources": ["customresourcedefinitions"],
            "resourceNames": ["samplyprofiles.samply.feldera.com"],
            "verbs": ["get"],
        }
    ]
    objects = helm.render({"rbac": {"readCrd": False}, **KEYS_ALONE})
    assert helm.select(objects, "ClusterRoleBinding") == []


@pytest.mark.parametrize(
    ("auth", "is_there"),
    [
        pytest.param({}, True, id="by default"),
        pytest.param(KEYS_ALONE["config"]["auth"], False, id="another way"),
        pytest.param({"unsafeLetAnyoneInWithoutAuthentication": True}, False, id="nobody is asked anything"),
    ],
)
def test_reviews_are_allowed_only_with_kubernetes_authentication(auth: helm.Object, is_there: bool) -> None:
    objects = helm.render({"config": {"auth": auth}})
    roles = [o for o in helm.select(objects, "ClusterRole") if o["metadata"]["name"].endswith(":reviews")]
    bindings = [o for o in helm.select(objects, "ClusterRoleBinding") if o["metadata"]["name"].endswith(":reviews")]
    assert (len(roles), len(bindings)) == ((1, 1) if is_there else (0, 0))
    for role in roles:
        assert role["rules"] == [
            {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]},
            {"apiGroups": ["authorization.k8s.io"], "resources": ["subjectaccessreviews"], "verbs": ["create"]},
        ]


def test_each_target_namespace_has_its_role_and_binding() -> None:
    objects = helm.render({"config": {"targets": {"namespaces": ["one", "two"]}}})
    for kind in ("Role", "RoleBinding"):
        assert [o["metadata"]["namespace"] for o in helm.select(objects, kind)] == ["one", "two"]
    for binding in helm.select(objects, "RoleBinding"):
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": "samply-operator", "namespace": helm.NAMESPACE}
        ]
        assert binding["roleRef"]["name"] in {r["metadata"]["name"] for r in helm.select(objects, "Role")}


def test_cluster_wide_is_one_cluster_role_with_the_same_rules(default_objects: list[helm.Object]) -> None:
    objects = helm.render(CLUSTER_WIDE)
    assert helm.select(objects, "Role") + helm.select(objects, "RoleBinding") == []
    assert sorted(map(str, operator_rules(objects))) == sorted(map(str, operator_rules(default_objects))) != []
    assert [b["subjects"][0]["namespace"] for b in helm.select(objects, "ClusterRoleBinding")] == [helm.NAMESPACE] * 3


def test_roles_of_two_releases_with_one_name_never_meet() -> None:
    names = {b["metadata"]["name"] for b in helm.select(helm.render(CLUSTER_WIDE), "ClusterRoleBinding")}
    assert names == {
        f"{helm.NAMESPACE}:samply-operator",
        f"{helm.NAMESPACE}:samply-operator:crd",
        f"{helm.NAMESPACE}:samply-operator:reviews",
    }


@pytest.mark.parametrize("values", [None, CLUSTER_WIDE], ids=["per namespace", "cluster-wide"])
def test_no_wildcards_and_no_secrets(values: helm.Object | None) -> None:
    objects = helm.render(values)
    rules = [r for o in objects if o["kind"] in {"Role", "ClusterRole"} for r in o["rules"]]
    assert len(rules) >= 9
    for rule in rules:
        assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]
        assert not {"secrets", "configmaps", "roles", "clusterroles"} & set(rule["resources"])
        assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])


def test_only_the_secrets_that_the_settings_name_can_be_read_by_name() -> None:
    auth = {"apiKeys": {"enabled": True, "secretName": "keys"}}
    links = {"links": {"secretName": "signing"}}
    objects = helm.render({"config": {"auth": auth, "api": links, "targets": {"namespaces": ["one"]}}})
    (role,) = (o for o in helm.select(objects, "Role") if o["metadata"]["name"].endswith(":secrets"))
    assert role["metadata"]["namespace"] == helm.NAMESPACE
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["keys", "signing"], "verbs": ["get"]}
    ]
    assert role["rules"][0] in operator_rules(objects)


def test_the_operator_may_do_exactly_this(default_objects: list[helm.Object]) -> None:
    granted = {
        f"{resource}": rule["verbs"] for rule in operator_rules(default_objects) for resource in rule["resources"]
    }
    assert granted == {
        "samplyprofiles": ["get", "list", "watch", "create", "patch", "delete"],
        "samplyprofiles/status": ["patch"],
        "samplytriggers": ["list", "watch"],
        "samplytriggers/status": ["patch"],
        "pods": ["get", "list", "watch", "patch"],
        "pods/exec": ["get", "create"],
        "pods/ephemeralcontainers": ["patch"],
        "namespaces": ["get"],
        "customresourcedefinitions": ["get"],
        "tokenreviews": ["create"],
        "subjectaccessreviews": ["create"],
        "statefulsets": ["get", "list", "watch", "patch"],
        "leases": ["get", "create", "update", "delete"],
        "events": ["create", "patch", "list"],
    }


@pytest.mark.parametrize(
    ("targets", "ephemeral", "expected"),
    [
        pytest.param({}, {}, {helm.NAMESPACE}, id="by default"),
        pytest.param({"namespaces": ["a", "b"]}, {}, {"a", "b"}, id="in all that are watched"),
        pytest.param({"namespaces": ["a", "b"]}, {"namespaces": ["b", "c"]}, {"b"}, id="in some of them"),
        pytest.param({"namespaces": ["a"]}, {"namespaces": ["b"]}, set(), id="in none of them"),
        pytest.param({"namespaces": ["a"]}, {"enabled": False}, set(), id="switched off"),
        pytest.param({"clusterWide": True}, {}, {""}, id="everywhere"),
        pytest.param({"clusterWide": True}, {"namespaces": ["a", "b"]}, {"a", "b"}, id="all are watched, some allowed"),
        pytest.param({"clusterWide": True}, {"enabled": False}, set(), id="all are watched, switched off"),
        pytest.param(
            {"clusterWide": True}, {"enabled": False, "namespaces": ["a"]}, set(), id="switched off in spite of a list"
        ),
    ],
)
def test_ephemeral_containers_may_be_added_where_the_mode_is_allowed(
    targets: helm.Object, ephemeral: helm.Object, expected: set[str]
) -> None:
    """And the operator misses the right nowhere else."""
    objects = helm.render({"config": {"targets": targets, "ephemeral": ephemeral}})
    roles = {(r["metadata"].get("namespace", ""), r["metadata"]["name"]): r for r in objects if "rules" in r}
    granted = {
        binding["metadata"].get("namespace", "")
        for kind in ("RoleBinding", "ClusterRoleBinding")
        for binding in helm.select(objects, kind)
        for rule in roles[binding["metadata"].get("namespace", ""), binding["roleRef"]["name"]]["rules"]
        if "pods/ephemeralcontainers" in rule["resources"]
    }
    assert granted == expected
    read = settings.parse(helm.only(objects, "ConfigMap")["data"]["settings.json"].encode())
    watched = () if read.targets.cluster_wide else read.targets.namespaces or (helm.NAMESPACE,)
    assert set(own_rights.list_ephemeral(read, watched)) == expected


def test_each_verb_has_its_reason() -> None:
    text = (helm.CHART / "templates" / "_rules.tpl").read_text()
    verbs = [line for line in text.splitlines() if re.match(r"    - ", line)]
    assert len(verbs) == 29
    assert all(re.search(r"\w  *# \w", line) for line in verbs)


def test_users_of_a_namespace_get_its_profiles(default_objects: list[helm.Object]) -> None:
    roles = {r["metadata"]["name"].rpartition(":")[2]: r for r in helm.select(default_objects, "ClusterRole")}
    aggregate = "rbac.authorization.k8s.io/aggregate-to-"
    del roles["crd"], roles["reviews"]
    assert set(roles) == {"view", "edit"}
    assert roles["view"]["metadata"]["labels"][f"{aggregate}view"] == "true"
    assert f"{aggregate}view" not in roles["edit"]["metadata"]["labels"]
    assert roles["view"]["rules"][0]["verbs"] == ["get", "list", "watch"]
    for role in roles.values():
        assert {plural for rule in role["rules"] for plural in rule["resources"]} == {
            "samplyprofiles",
            "samplytriggers",
        }


def test_rights_can_be_left_to_others() -> None:
    values = {"rbac": {"create": False, "userRoles": False}, "serviceAccount": {"create": False, "name": "own"}}
    objects = helm.render(values)
    kinds = {o["kind"] for o in objects}
    assert not kinds & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "ServiceAccount"}
    assert helm.pod_spec(objects)["serviceAccountName"] == "own"
