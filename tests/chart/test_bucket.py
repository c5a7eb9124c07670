"""What the chart renders for a bucket, and for several pods."""

from __future__ import annotations

from typing import Any

import pytest

from . import helm

BUCKET: dict[str, Any] = {"config": {"storage": {"kind": "Bucket", "bucket": {"url": "s3://profiles/team"}}}}


def render(**more: Any) -> list[helm.Object]:
    return helm.render(BUCKET | more)


def get_spec(objects: list[helm.Object]) -> Any:
    return helm.only(objects, "Deployment")["spec"]


def list_mounts(objects: list[helm.Object]) -> dict[str, dict[str, str]]:
    containers = get_spec(objects)["template"]["spec"]["containers"]
    return {c["name"]: {m["mountPath"]: m["name"] for m in c["volumeMounts"]} for c in containers}


def find_volume(objects: list[helm.Object], name: str) -> Any:
    return next(v for v in get_spec(objects)["template"]["spec"]["volumes"] if v["name"] == name)


def test_without_a_bucket_nothing_changes(default_objects: list[helm.Object]) -> None:
    spec = get_spec(default_objects)
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert "persistentVolumeClaim" in find_volume(default_objects, "profiles")
    kinds = [each["kind"] for each in default_objects]
    assert "PodDisruptionBudget" not in kinds
    assert not [each for each in default_objects if each["metadata"]["name"].endswith(":leader")]


def test_a_bucket_needs_no_claim_and_its_spool_has_a_limit() -> None:
    objects = render()
    assert "PersistentVolumeClaim" not in [each["kind"] for each in objects]
    assert int(find_volume(objects, "profiles")["emptyDir"]["sizeLimit"]) == 4 * 2**30 + 2**28
    assert get_spec(objects)["strategy"]["type"] == "RollingUpdate"


def test_the_spool_may_be_on_a_claim() -> None:
    objects = render(storageAccess={"spoolOnClaim": True})
    assert "persistentVolumeClaim" in find_volume(objects, "profiles")
    assert get_spec(objects)["strategy"] == {"type": "Recreate"}


def test_both_containers_have_the_credentials_and_a_token_for_the_provider_alone() -> None:
    objects = render(storageAccess={"credentialsSecret": "keys", "tokenAudience": "sts.amazonaws.com"})
    for mounts in list_mounts(objects).values():
        assert mounts["/etc/samply-operator-storage/credentials"] == "storage-credentials"
        assert mounts["/etc/samply-operator-storage/token"] == "storage-token"
    (source,) = find_volume(objects, "storage-token")["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == "sts.amazonaws.com"
    assert "/var/run/secrets/kubernetes.io/serviceaccount" not in list_mounts(objects)["api"]


def test_two_pods_are_spread_and_not_evicted_together() -> None:
    objects = render(replicas=2)
    pod = get_spec(objects)["template"]["spec"]
    assert get_spec(objects)["replicas"] == 2
    assert [each["topologyKey"] for each in pod["topologySpreadConstraints"]] == [
        "kubernetes.io/hostname", "topology.kubernetes.io/zone",
    ]  # fmt: skip
    budget = helm.only(objects, "PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert budget["selector"] == get_spec(objects)["selector"]


def test_the_additional_right_covers_only_the_leaders_lease() -> None:
    objects = render(replicas=2)
    (role,) = [o for o in objects if o["kind"] == "Role" and o["metadata"]["name"].endswith(":leader")]
    create, rest = role["rules"]
    assert create["verbs"] == ["create"]
    assert (rest["resourceNames"], rest["verbs"]) == (["samply-operator-leader"], ["get", "update"])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replicas": 2}, "several pods need"),
        (BUCKET | {"replicas": 2, "storageAccess": {"spoolOnClaim": True}}, "several pods need"),
        ({"config": {"storage": {"kind": "Bucket"}}}, "bucket.url"),
        ({"config": {"storage": {"kind": "Bucket", "bucket": {"url": "http://x"}}}}, "url"),
        (
            {"config": {"storage": {"kind": "Bucket", "bucket": {"url": "s3://x1x", "roleArn": "arn:x"}}}},
            "tokenAudience",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_do(values: dict[str, Any], said: str) -> None:
    assert said in helm.render_error(values)
