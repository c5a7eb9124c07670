"""The pod: the container with a port has no rights, the one with rights has no port; and `restricted` admits it."""

from __future__ import annotations

import copy
from pathlib import PurePosixPath

import pytest

from chart import helm, pod_security
from samply_operator import settings

TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"
EVERYTHING = {
    "config": {"targets": {"clusterWide": True}, "api": {"port": 8181}},
    "image": {"digest": "sha256:" + "0" * 64},
    "imagePullSecrets": [{"name": "s"}],
    "persistence": {"existingClaim": "old", "storageClass": "fast"},
    "extraLabels": {"team": "a"},
    "podAnnotations": {"note": "b"},
    "priorityClassName": "high",
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "k", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
}


def mounts(container: helm.Object) -> dict[str, helm.Object]:
    return {m["mountPath"]: m for m in container["volumeMounts"]}


def volumes(objects: list[helm.Object]) -> dict[str, helm.Object]:
    return {v["name"]: v for v in helm.pod_spec(objects)["volumes"]}


@pytest.mark.parametrize("values", [None, EVERYTHING], ids=["defaults", "everything set"])
def test_the_restricted_profile_admits_the_pod(values: helm.Object | None) -> None:
    assert pod_security.find_violations(helm.pod_spec(helm.render(values))) == []


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        pytest.param(lambda p, c: p.update(hostPID=True), "hostPID", id="host's processes"),
        pytest.param(lambda p, c: p["volumes"].append({"name": "h", "hostPath": {}}), "volume h", id="host's files"),
        pytest.param(lambda p, c: c.pop("securityContext"), "operator: capabilities.drop", id="no context"),
        pytest.param(lambda p, c: p["securityContext"].pop("runAsNonRoot"), "api: runAsNonRoot", id="may be root"),
        pytest.param(lambda p, c: p["securityContext"].pop("seccompProfile"), "api: seccompProfile", id="no seccomp"),
        pytest.param(
            lambda p, c: c["securityContext"]["capabilities"].update(add=["PERFMON"]),
            "operator: capabilities.add",
            id="a capability",
        ),
    ],
)
def test_the_check_for_restricted_can_fail(change, violation: str, default_objects: list[helm.Object]) -> None:
    pod = copy.deepcopy(helm.pod_spec(default_objects))
    change(pod, pod["containers"][0])
    assert violation in pod_security.find_violations(pod)


def test_there_are_two_containers_of_one_image(default_objects: list[helm.Object]) -> None:
    operator, api = helm.containers(default_objects).values()
    assert (operator["name"], operator["args"]) == ("operator", ["operator"])
    assert (api["name"], api["args"]) == ("api", ["api"])
    assert operator["image"] == api["image"] == "samply-operator:0.1.0"


def test_a_digest_wins_over_the_tag() -> None:
    digest = "sha256:" + "a" * 64
    values = {"image": {"repository": "example/operator", "tag": "1", "digest": digest}}
    assert helm.containers(helm.render(values))["api"]["image"] == f"example/operator@{digest}"


def test_only_the_operator_has_a_token(default_objects: list[helm.Object]) -> None:
    spec = helm.pod_spec(default_objects)
    assert spec["automountServiceAccountToken"] is False
    assert helm.only(default_objects, "ServiceAccount")["automountServiceAccountToken"] is False
    with_token = [
        volume["name"]
        for volume in spec["volumes"]
        if any("serviceAccountToken" in source for source in volume.get("projected", {}).get("sources", []))
    ]
    containers = helm.containers(default_objects)
    assert [mounts(containers["operator"])[TOKEN]["name"]] == with_token
    assert not {m["name"] for m in containers["api"]["volumeMounts"]} & set(with_token)
    assert not any("secret" in volume for volume in spec["volumes"])


def test_the_token_comes_with_what_a_client_needs(default_objects: list[helm.Object]) -> None:
    sources = volumes(default_objects)["kube-api-access"]["projected"]["sources"]
    paths = [s.get("serviceAccountToken") or next(iter(s.values()))["items"][0] for s in sources]
    assert [p["path"] for p in paths] == ["token", "ca.crt", "namespace"]
    assert sources[0]["serviceAccountToken"]["expirationSeconds"] <= 3607


def test_only_the_api_has_a_port(default_objects: list[helm.Object]) -> None:
    containers = helm.containers(default_objects)
    assert "ports" not in containers["operator"]
    assert [p["name"] for p in containers["api"]["ports"]] == ["http", "metrics"]


def test_the_api_can_write_nothing_but_its_own_tmp(default_objects: list[helm.Object]) -> None:
    containers = helm.containers(default_objects)
    writable = [path for path, m in mounts(containers["api"]).items() if not m.get("readOnly")]
    assert writable == ["/tmp"]
    own = {m["name"] for m in containers["api"]["volumeMounts"]}
    assert mounts(containers["api"])["/tmp"]["name"] in own - {
        m["name"] for m in containers["operator"]["volumeMounts"]
    }


def test_both_containers_have_a_read_only_root(default_objects: list[helm.Object]) -> None:
    for container in helm.containers(default_objects).values():
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_mounts_are_where_the_settings_say(default_objects: list[helm.Object]) -> None:
    paths = settings.Settings().paths
    for container in helm.containers(default_objects).values():
        names = {path: m["name"] for path, m in mounts(container).items()}
        assert names[paths.data] == "profiles"
        assert names[str(PurePosixPath(paths.socket).parent)] == "control"
        assert str(PurePosixPath(paths.heartbeat).parent) in names
        env = {e["name"]: e.get("value") for e in container["env"]}
        assert str(PurePosixPath(env["SAMPLY_OPERATOR_SETTINGS"]).parent) in names
    operator = mounts(helm.containers(default_objects)["operator"])
    assert not operator[paths.data].get("readOnly")
    assert not operator["/run/samply-operator"].get("readOnly")


def test_every_scratch_volume_is_bounded(default_objects: list[helm.Object]) -> None:
    scratch = [v for v in volumes(default_objects).values() if "emptyDir" in v]
    assert len(scratch) == 3
    assert all("sizeLimit" in v["emptyDir"] for v in scratch)


def test_one_pod_at_a_time_writes_the_volume(default_objects: list[helm.Object]) -> None:
    spec = helm.only(default_objects, "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert helm.pod_spec(default_objects)["securityContext"]["fsGroup"] == 65532


def test_the_volume_outlives_the_release(default_objects: list[helm.Object]) -> None:
    claim = helm.only(default_objects, "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert volumes(default_objects)["profiles"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    given = helm.only(helm.render({"persistence": {"keep": False}}), "PersistentVolumeClaim")
    assert "annotations" not in given["metadata"]


def test_an_existing_claim_is_used_instead() -> None:
    objects = helm.render({"persistence": {"existingClaim": "old"}})
    assert helm.select(objects, "PersistentVolumeClaim") == []
    assert volumes(objects)["profiles"]["persistentVolumeClaim"]["claimName"] == "old"


def test_the_service_reaches_the_api_even_while_the_operator_is_down(default_objects: list[helm.Object]) -> None:
    service = helm.only(default_objects, "Service")["spec"]
    labels = helm.only(default_objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert service["selector"].items() <= labels.items()
    assert (service["type"], service["ports"][0]["port"], service["ports"][0]["targetPort"]) == (
        "ClusterIP",
        80,
        "http",
    )
    assert service["publishNotReadyAddresses"] is True


def test_of_two_pods_the_ready_one_answers() -> None:
    bucket = {"kind": "Bucket", "bucket": {"url": "s3://profiles"}}
    service = helm.only(helm.render({"replicas": 2, "config": {"storage": bucket}}), "Service")["spec"]
    assert "publishNotReadyAddresses" not in service


def test_the_port_follows_the_settings() -> None:
    api = helm.containers(helm.render({"config": {"api": {"port": 8181}}}))["api"]
    assert api["ports"][0]["containerPort"] == 8181
    assert all(
        api[probe]["httpGet"]["port"] == "metrics" for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    )


def test_a_changed_setting_restarts_the_pod(default_objects: list[helm.Object]) -> None:
    def checksum(objects: list[helm.Object]) -> str:
        return helm.only(objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]["checksum/settings"]

    assert checksum(helm.render({"service": {"port": 81}})) == checksum(default_objects)
    assert checksum(helm.render({"config": {"logLevel": "DEBUG"}})) != checksum(default_objects)


def test_what_users_set_is_on_the_pod() -> None:
    objects = helm.render(EVERYTHING)
    spec = helm.pod_spec(objects)
    for key in ("imagePullSecrets", "priorityClassName", "tolerations", "affinity"):
        assert spec[key] == EVERYTHING[key], key
    assert spec["nodeSelector"] == {"disk": "ssd", "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    template = helm.only(objects, "Deployment")["spec"]["template"]["metadata"]
    assert template["annotations"]["note"] == "b"
    assert all(o["metadata"]["labels"]["team"] == "a" for o in objects)


def test_every_object_is_in_the_namespace_of_the_release_or_in_none(default_objects: list[helm.Object]) -> None:
    cluster_scoped = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
    cluster_scoped |= {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    for found in default_objects:
        expected = None if found["kind"] in cluster_scoped else helm.NAMESPACE
        assert found["metadata"].get("namespace") == expected, found["kind"]


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("samply-operator", "samply-operator"),
        ("my-samply-operator", "my-samply-operator"),
        ("x", "x-samply-operator"),
        ("a" * 53, "a" * 36 + "-samply-operator"),
    ],
)
def test_names_come_from_the_release(release: str, name: str) -> None:
    assert helm.only(helm.render(release=release), "Deployment")["metadata"]["name"] == name
