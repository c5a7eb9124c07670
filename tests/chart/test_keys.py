"""Advanced values: each one reaches the object that it belongs to, and the default leaves it out."""

from __future__ import annotations

import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from chart import everything, helm, pod_security
from chart.test_values import SCHEMA, VALUES

TEMPLATES = "\n".join(path.read_text() for path in (helm.CHART / "templates").rglob("*.yaml"))
POD = "Deployment spec.template.spec"
SPREAD = [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]
ALIASES = [{"ip": "10.0.0.1", "hostnames": ["a"]}]
NOTE = {"a": "b"}
ENV = {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}
VOLUME = {"name": "extra", "configMap": {"name": "c"}}
MOUNT = {"name": "extra", "mountPath": "/extra", "readOnly": True}
EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
BUCKET: dict[str, Any] = {"config": {"storage": {"kind": "Bucket", "bucket": {"url": "s3://profiles"}}}}
CASES: list[tuple[str, object, str, object]] = [
    # key, its value, where that is found, what is there by default
    ("service.type", "NodePort", "Service spec.type", "ClusterIP"),
    ("service.nodePort", 30080, "Service spec.ports.0.nodePort", None),
    ("service.ipFamilies", ["IPv6", "IPv4"], "Service spec.ipFamilies", None),
    ("service.ipFamilyPolicy", "PreferDualStack", "Service spec.ipFamilyPolicy", None),
    ("service.annotations", NOTE, "Service metadata.annotations", None),
    ("service.labels.a", "b", "Service metadata.labels.a", None),
    ("service.loadBalancerClass", "x/y", "Service spec.loadBalancerClass", None),
    ("service.loadBalancerSourceRanges", ["10.0.0.0/8"], "Service spec.loadBalancerSourceRanges", None),
    ("service.externalTrafficPolicy", "Local", "Service spec.externalTrafficPolicy", None),
    ("serviceAccount.annotations", NOTE, "ServiceAccount metadata.annotations", None),
    ("deploymentAnnotations", NOTE, "Deployment metadata.annotations", None),
    ("persistence.annotations.a", "b", "PersistentVolumeClaim metadata.annotations.a", None),
    ("persistence.accessModes", ["ReadWriteOncePod"], "PersistentVolumeClaim spec.accessModes", ["ReadWriteOnce"]),
    ("persistence.storageClass", "fast", "PersistentVolumeClaim spec.storageClassName", None),
    ("persistence.volumeName", "v", "PersistentVolumeClaim spec.volumeName", None),
    ("revisionHistoryLimit", 0, "Deployment spec.revisionHistoryLimit", 3),
    ("runtimeClassName", "gvisor", f"{POD}.runtimeClassName", None),
    ("topologySpreadConstraints", SPREAD, f"{POD}.topologySpreadConstraints", None),
    ("dnsPolicy", "Default", f"{POD}.dnsPolicy", None),
    ("dnsConfig", {"nameservers": ["10.0.0.1"]}, f"{POD}.dnsConfig", None),
    ("hostAliases", ALIASES, f"{POD}.hostAliases", None),
    ("podLabels.a", "b", "Deployment spec.template.metadata.labels.a", None),
    ("securityContext.runAsUser", 1000, f"{POD}.containers.1.securityContext.runAsUser", None),
]


def nest(key: str, value: object) -> helm.Object:
    for name in reversed(key.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


OF_OTHER_TYPES = ("nodePort", "loadBalancerClass", "externalTrafficPolicy")
"""Keys of a Service that ClusterIP has not."""


def read(objects: list[helm.Object], where: str) -> object:
    kind, path = where.split(" ")
    found: Any = helm.only(objects, kind)
    for key in path.split("."):
        found = found[int(key)] if isinstance(found, list) else found.get(key)
        if found is None:
            return None
    return found


@pytest.mark.parametrize(("key", "value", "where", "default"), CASES, ids=[case[0] for case in CASES])
def test_a_key_reaches_its_object(
    key: str, value: object, where: str, default: object, default_objects: list[helm.Object]
) -> None:
    values = nest(key, value)
    if key.startswith("service.") and key.rpartition(".")[2] in OF_OTHER_TYPES:
        values["service"]["type"] = "LoadBalancer"
    assert read(helm.render(values), where) == value
    assert read(default_objects, where) == default


def list_keys(values: helm.Object, schema: helm.Object, *path: str) -> Iterator[tuple[tuple[str, ...], object]]:
    """Each key with its default. A map whose schema requires keys is a group of them."""
    for key, value in values.items():
        below = schema["properties"][key]
        if "required" in below:
            yield from list_keys(value, below, *path, key)
        else:
            yield (*path, key), value


def test_each_key_is_among_those_that_an_api_server_is_asked_to_take() -> None:
    """tests/cluster/test_chart.py does."""

    def differs(values: Any, path: tuple[str, ...], default: object) -> bool:
        for key in path:
            if key not in values:
                return False
            values = values[key]
        return bool(values != default)

    keys = [(path, default) for path, default in list_keys(VALUES, SCHEMA) if path[0] != "config"]
    assert len(keys) > 100
    for path, default in keys:
        assert any(differs(values, path, default) for values in everything.RELEASES.values()), ".".join(path)
    kinds = {each["kind"] for values in everything.RELEASES.values() for each in helm.render_all(values)}
    assert kinds >= set(re.findall(r"^kind: (\w+)", TEMPLATES, re.MULTILINE))


def test_an_empty_storage_class_can_be_said() -> None:
    """It binds volumes that were made by hand, where no class means the cluster's default."""
    claim = helm.only(helm.render({"persistence": {"storageClass": "-"}}), "PersistentVolumeClaim")
    assert claim["spec"]["storageClassName"] == ""


@pytest.mark.parametrize("key", OF_OTHER_TYPES)
def test_a_cluster_ip_has_no_keys_of_other_services(key: str) -> None:
    """The API server would refuse it when other objects are there already."""
    value = 30080 if key == "nodePort" else "Local"
    assert f"service.{key}: a Service of type ClusterIP has none" in helm.render_error({"service": {key: value}})


def test_before_kubernetes_1_36_a_name_begins_with_a_letter() -> None:
    said = helm.render_error({"fullnameOverride": "1team"}, "--kube-version=1.35.9")
    assert "1team: before Kubernetes 1.36 the name of a Service begins with a letter" in said
    assert helm.render({"fullnameOverride": "1team"}, "--kube-version=1.36.0-gke.1")


@pytest.mark.parametrize(
    ("values", "value"),
    [
        ({}, "true"),
        ({"podAnnotations": {EVICT: None}}, None),
        ({"podAnnotations": {EVICT: "false"}}, "false"),
        # Profiles wait for the bucket in an emptyDir.
        (BUCKET, None),
        (BUCKET | {"podAnnotations": {EVICT: "true"}}, "true"),
        (BUCKET | {"storageAccess": {"spoolOnClaim": True}}, "true"),
    ],
)
def test_the_autoscaler_may_take_the_node(values: dict[str, Any], value: str | None) -> None:
    template = helm.only(helm.render(values), "Deployment")["spec"]["template"]["metadata"]
    assert template["annotations"].get(EVICT) == value


def test_variables_and_volumes_are_both_containers(default_objects: list[helm.Object]) -> None:
    objects = helm.render({"extraEnv": [ENV], "extraVolumes": [VOLUME], "extraVolumeMounts": [MOUNT]})
    assert VOLUME in helm.pod_spec(objects)["volumes"]
    for name, container in helm.containers(objects).items():
        assert ENV in container["env"]
        assert MOUNT in container["volumeMounts"]
        assert len(container["volumeMounts"]) == len(helm.containers(default_objects)[name]["volumeMounts"]) + 1


def test_names_are_those_of_the_release_also_with_another_name() -> None:
    objects = helm.render({"nameOverride": "profiler"}, release="team")
    assert helm.only(objects, "Deployment")["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] == "profiler"
    service, pod = helm.only(objects, "Service"), helm.only(objects, "Deployment")["spec"]["template"]
    assert service["metadata"]["name"] == "team-profiler"
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()


def test_a_newer_chart_alone_doesnt_replace_the_pod(default_objects: list[helm.Object]) -> None:
    """Its label is on every object but the pod."""
    template = helm.only(default_objects, "Deployment")["spec"]["template"]
    assert "helm.sh/chart" not in template["metadata"]["labels"]
    assert all(each["metadata"]["labels"]["helm.sh/chart"] == "samply-operator-0.1.0" for each in default_objects)


# ------------------------------------------------------------------------------------- keys that the chart sets as well

NAME, INSTANCE, VERSION = (f"app.kubernetes.io/{key}" for key in ("name", "instance", "version"))
SELECTOR = {NAME: "samply-operator", INSTANCE: "samply-operator"}
COMPONENT = "app.kubernetes.io/component"
POLICY = "helm.sh/resource-policy"
READ_BY = "rbac.authorization.k8s.io/aggregate-to-view"


def test_values_may_repeat_the_charts_keys() -> None:
    """`helm.parse` refuses a map that has one of them twice."""
    labels = {VERSION: "mine", COMPONENT: "mine", READ_BY: "false", **SELECTOR}
    monitor = {"enabled": True, "labels": {"release": "p", **labels}}
    values = {
        "extraLabels": labels,
        "podLabels": labels,
        "podAnnotations": {"kubectl.kubernetes.io/default-container": "api", "prometheus.io/scrape": "false"},
        "service": {"labels": {**labels, VERSION: "the Service's"}},
        "persistence": {"annotations": {POLICY: "delete"}},
        "metrics": {
            "annotations": True,
            "podMonitor": monitor,
            "serviceMonitor": monitor,
            "prometheusRule": monitor | {"alertLabels": labels},
        },
    }
    objects = [*helm.render(values), read_test(values)]
    found = {f"{each['kind']} {each['metadata']['name']}": each["metadata"] for each in objects}
    template = helm.only(objects, "Deployment")["spec"]["template"]["metadata"]
    assert all(each["labels"][VERSION] == "mine" for name, each in found.items() if name != "Service samply-operator")
    assert found["Service samply-operator"]["labels"][VERSION] == "the Service's"
    assert SELECTOR.items() <= template["labels"].items()
    assert (template["labels"][VERSION], template["annotations"]["prometheus.io/scrape"]) == ("mine", "false")
    assert template["annotations"]["kubectl.kubernetes.io/default-container"] == "api"
    # What other objects rely on stays the chart's.
    assert found["Service samply-operator-metrics"]["labels"][COMPONENT] == "metrics"
    assert found[f"ClusterRole {helm.NAMESPACE}:samply-operator:view"]["labels"][READ_BY] == "true"
    assert found["PersistentVolumeClaim samply-operator-profiles"]["annotations"] == {POLICY: "keep"}
    assert found["Pod samply-operator-test"]["labels"][NAME] == "samply-operator-test"


def test_an_empty_label_is_one_too() -> None:
    objects = helm.render({"podLabels": {"team": ""}, "extraLabels": {"team": "a", VERSION: ""}})
    deployment = helm.only(objects, "Deployment")
    assert (deployment["metadata"]["labels"]["team"], deployment["metadata"]["labels"][VERSION]) == ("a", "")
    assert deployment["spec"]["template"]["metadata"]["labels"]["team"] == ""


@pytest.mark.parametrize("labels", ["extraLabels", "podLabels", "service.labels"])
@pytest.mark.parametrize("key", [NAME, INSTANCE])
@pytest.mark.parametrize("value", ["mine", ""])
def test_labels_cannot_contradict_the_selector(labels: str, key: str, value: str) -> None:
    values: dict[str, object] = {key: value}
    for name in reversed(labels.split(".")):
        values = {name: values}
    said = helm.render_error(values)
    assert f"{labels}: the selector needs {key}: samply-operator. Leave this key out" in said


@pytest.mark.parametrize("values", everything.RELEASES.values(), ids=everything.RELEASES)
def test_names_may_be_numbers(values: dict[str, Any]) -> None:
    names = {"fullnameOverride": "1", "nameOverride": "3"}
    for each in helm.render_all(values | names, release="12", namespace="2024"):
        assert each["metadata"]["labels"][INSTANCE] == "12"
        assert list(find_numbers(each)) == []


def find_numbers(part: object, path: str = "") -> Iterator[str]:
    """Paths of names that are no text."""
    if isinstance(part, list):
        for each in part:
            yield from find_numbers(each, f"{path}[]")
    elif isinstance(part, dict):
        for key, value in part.items():
            where = f"{path}.{key}"
            if key in {"name", "namespace", "serviceAccountName", "claimName", "secretName"} and isinstance(value, int):
                yield where
            yield from find_numbers(value, where)


# --------------------------------------------------------------------------------------------------- security contexts


def test_the_platform_may_choose_the_user() -> None:
    """As on OpenShift: null takes the numbers out, what is left passes `restricted`."""
    free: dict[str, None] = {"runAsUser": None, "runAsGroup": None, "fsGroup": None}
    spec = helm.pod_spec(helm.render({"podSecurityContext": free}))
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod_security.find_violations(spec) == []


# --------------------------------------------------------------------------------------------------------- authorities


@pytest.mark.parametrize(
    ("values", "source"),
    [
        ({"configMapName": "trust"}, {"configMap": {"name": "trust", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}),
        (
            {"secretName": "trust", "key": "bundle.pem"},
            {"secret": {"secretName": "trust", "items": [{"key": "bundle.pem", "path": "ca.crt"}]}},
        ),
    ],
    ids=["ConfigMap", "Secret"],
)
def test_a_private_authority_is_trusted_by_both_containers(values: helm.Object, source: helm.Object) -> None:
    objects = helm.render({"extraCaBundle": values})
    assert {"name": "ca-bundle", **source} in helm.pod_spec(objects)["volumes"]
    for container in helm.containers(objects).values():
        env = {each["name"]: each.get("value") for each in container["env"]}
        (mount,) = [each for each in container["volumeMounts"] if each["name"] == "ca-bundle"]
        assert env["SSL_CERT_FILE"] == f"{mount['mountPath']}/ca.crt"


# ------------------------------------------------------------------------------------------------------------ helm test


def read_test(values: helm.Object | None = None) -> helm.Object:
    (found,) = helm.select(helm.render_all(values), "Pod")
    return found


def test_helm_test_requests_the_service(default_objects: list[helm.Object]) -> None:
    pod = read_test()
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert pod["spec"]["containers"][0]["command"][-1] == f"http://samply-operator.{helm.NAMESPACE}.svc:80/readyz"
    assert pod_security.find_violations(pod["spec"]) == []
    selector = helm.only(default_objects, "Service")["spec"]["selector"]
    assert not selector.items() <= pod["metadata"]["labels"].items()
    assert "https://" in read_test({"tls": {"secretName": "t"}})["spec"]["containers"][0]["command"][-1]


def test_the_test_is_scheduled_like_the_operator() -> None:
    values = {
        "nodeSelector": NOTE,
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "runtimeClassName": "gvisor",
    }
    found, pod = read_test(values)["spec"], helm.pod_spec(helm.render(values))
    assert {key: found.get(key) for key in values} == {key: pod[key] for key in values}


def test_the_test_has_the_limits_that_a_quota_counts() -> None:
    container = read_test({"tests": {"resources": {"limits": {"cpu": "100m"}}}})["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"cpu": "100m", "memory": "128Mi"}


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a server, and what its /readyz answers."""
    answer: dict[str, str] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/readyz" else 404)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *arguments: Any) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", answer
        server.shutdown()


@pytest.mark.parametrize(("operator", "fails"), [("Connected", False), ("Away", True)])
def test_helm_test_fails_where_the_operator_is_away(
    operator: str, fails: bool, served: tuple[str, dict[str, str]]
) -> None:
    address, answer = served
    answer.update(status="ok", operator=operator)
    _, option, script, _ = read_test()["spec"]["containers"][0]["command"]
    hurry = "import time; time.sleep = lambda secs: None\n"
    command = [sys.executable, option, hurry + script, f"{address}/readyz"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode != 0) == fails
    assert ('/readyz says: {"status": "ok", "operator": "Away"}' in done.stderr) == fails


def test_the_test_can_be_left_out() -> None:
    with pytest.raises(ValueError, match="not enough values"):
        read_test({"tests": {"enabled": False}})


# ------------------------------------------------------------------------------------------------------- as a subchart


@pytest.fixture
def parent(tmp_path: Any) -> Any:
    """A chart that has this one as its dependency, with a condition."""
    about = {
        "apiVersion": "v2",
        "name": "parent",
        "version": "1.0.0",
        "dependencies": [
            {
                "name": "samply-operator",
                "version": ">=0.1.0-0",
                "repository": f"file://{helm.CHART}",
                "condition": "samply-operator.enabled",
            }
        ],
    }
    (tmp_path / "Chart.yaml").write_text(helm.dump(about))
    done = helm.run("dependency", "build", str(tmp_path))
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_it_works_as_a_subchart(parent: Any) -> None:
    values = {
        "global": {"imageRegistry": "r.example", "storageClass": "of another chart"},
        "samply-operator": {"enabled": True, "service": {"port": 81}},
    }
    objects = helm.render(values, release="platform", chart=parent)
    assert helm.only(objects, "Service")["spec"]["ports"][0]["port"] == 81
    assert helm.only(objects, "Deployment")["metadata"]["name"] == "platform-samply-operator"
    assert helm.containers(objects)["api"]["image"] == "r.example/samply-operator:0.1.0"
    assert "not allowed" in helm.render_error({"samply-operator": {"enable": True}}, chart=parent)


def test_a_parents_globals_may_lack_this_charts(parent: Any) -> None:
    objects = helm.render({"global": {"imagePullPolicy": "Always"}}, chart=parent)
    assert helm.containers(objects)["api"]["image"] == "samply-operator:0.1.0"


def test_a_condition_leaves_it_out(parent: Any) -> None:
    assert helm.render({"samply-operator": {"enabled": False}}, chart=parent) == []
