"""NetworkPolicy, Ingress and HTTPRoute: off by default; they admit and publish only what is configured."""

from __future__ import annotations

import pytest

from chart import helm

KINDS = {"NetworkPolicy", "Ingress", "HTTPRoute"}
POLICY = {"networkPolicy": {"enabled": True}}
INGRESS: helm.Object = {"ingress": {"enabled": True, "hosts": ["profiles.example"]}}
ROUTE = {"httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway", "namespace": "edge"}]}}
BASE = {"config": {"api": {"basePath": "/profiles"}}}
PUBLISHED = ["/v0/config", "/openapi.json", "/docs", "/console", "/v0/pipelines"]


def test_nothing_is_there_by_default(default_objects: list[helm.Object]) -> None:
    assert not KINDS & {each["kind"] for each in default_objects}


# -------------------------------------------------------------------------------------------------- network policy


def read_policy(**values: object) -> helm.Object:
    found: helm.Object = helm.only(helm.render({"networkPolicy": {"enabled": True, **values}}), "NetworkPolicy")["spec"]
    return found


def test_the_policy_selects_the_pod_and_its_ports() -> None:
    objects = helm.render(POLICY)
    spec = helm.only(objects, "NetworkPolicy")["spec"]
    pod = helm.only(objects, "Deployment")["spec"]["template"]
    assert spec["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    names = {port["name"] for port in helm.containers(objects)["api"]["ports"]}
    assert {port["port"] for rule in spec["ingress"] for port in rule["ports"]} <= names


def test_without_peers_http_is_open_and_metrics_are_closed() -> None:
    spec = read_policy()
    assert spec["policyTypes"] == ["Ingress"]
    assert spec["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}]}]


def test_peers_are_let_in_to_their_port_only() -> None:
    clients = [{"namespaceSelector": {"matchLabels": {"team": "a"}}}]
    prometheus = [{"podSelector": {"matchLabels": {"app": "prometheus"}}}]
    policy = {"enabled": True, "from": clients, "metricsFrom": prometheus}
    values = {"tests": {"enabled": False}, "networkPolicy": policy}
    http, metrics = helm.only(helm.render(values), "NetworkPolicy")["spec"]["ingress"]
    assert (http["ports"][0]["port"], http["from"]) == ("http", clients)
    assert (metrics["ports"][0]["port"], metrics["from"]) == ("metrics", prometheus)


def test_the_pod_of_helm_test_is_let_in() -> None:
    values = {"networkPolicy": {"enabled": True, "from": [{"podSelector": {"matchLabels": {"app": "proxy"}}}]}}
    objects = helm.render(values, "--skip-tests=false")
    (into,) = helm.only(objects, "NetworkPolicy")["spec"]["ingress"]
    labels = helm.only(objects, "Pod")["metadata"]["labels"]
    assert any(peer["podSelector"]["matchLabels"].items() <= labels.items() for peer in into["from"])


def test_a_standby_reaches_the_leader() -> None:
    """Of several pods one is the leader, to which the others forward requests: whatever else is let in or out."""
    bucket = {"kind": "Bucket", "bucket": {"url": "s3://profiles"}}
    policy = {
        "enabled": True,
        "from": [{"podSelector": {"matchLabels": {"app": "proxy"}}}],
        "egress": {"enabled": True},
    }
    objects = helm.render({"replicas": 2, "config": {"storage": bucket}, "networkPolicy": policy})
    spec = helm.only(objects, "NetworkPolicy")["spec"]
    peer = {"podSelector": spec["podSelector"]}
    ((into,), (_, out)) = spec["ingress"], spec["egress"]
    assert peer in into["from"]
    assert (into["ports"][0]["port"], out["ports"][0]["port"], out["to"]) == ("http", "http", [peer])


def test_egress_is_limited_only_on_request() -> None:
    extra = [{"to": [{"namespaceSelector": {}}], "ports": [{"port": 53, "protocol": "UDP"}]}]
    spec = read_policy(egress={"enabled": True, "apiServerCidrs": ["10.0.0.1/32"], "extra": extra})
    server, dns = spec["egress"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert [port["port"] for port in server["ports"]] == [443, 6443]
    assert server["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
    assert dns == extra[0]


@pytest.mark.parametrize(
    "values",
    [{"from": [{"podSelectors": {}}]}, {"from": [{}]}, {"egress": {"apiServerCidrs": ["10.0.0.1"]}}, {"enable": True}],
    ids=["typo", "everybody by mistake", "an address without its mask", "typo at the top"],
)  # fmt: skip
def test_values_that_would_admit_too_much_are_refused(values: helm.Object) -> None:
    helm.render_error({"networkPolicy": values})


# ------------------------------------------------------------------------------------------------ ingress and route


def list_paths(objects: list[helm.Object]) -> list[str]:
    """Of the Ingress, or of the HTTPRoute."""
    if any(each["kind"] == "Ingress" for each in objects):
        return [path["path"] for path in helm.only(objects, "Ingress")["spec"]["rules"][0]["http"]["paths"]]
    return [match["path"]["value"] for match in helm.only(objects, "HTTPRoute")["spec"]["rules"][0]["matches"]]


@pytest.mark.parametrize("values", [INGRESS, ROUTE], ids=["Ingress", "HTTPRoute"])
def test_only_the_api_is_published(values: helm.Object) -> None:
    assert list_paths(helm.render(values)) == PUBLISHED
    assert list_paths(helm.render(values | BASE)) == ["/profiles" + path for path in PUBLISHED]
    plain = values | {"config": {"api": {"console": {"enabled": False}}}}
    assert list_paths(helm.render(plain)) == [path for path in PUBLISHED if path != "/console"]


def test_the_ingress_leads_to_the_service() -> None:
    values = {**INGRESS["ingress"], "className": "nginx", "tls": [{"secretName": "t"}], "annotations": {"a": "b"}}
    objects = helm.render({"ingress": values})
    ingress, service = helm.only(objects, "Ingress"), helm.only(objects, "Service")
    rule = ingress["spec"]["rules"][0]
    assert rule["host"] == "profiles.example"
    assert ingress["spec"]["ingressClassName"] == "nginx"
    assert ingress["spec"]["tls"] == [{"secretName": "t", "hosts": ["profiles.example"]}]
    assert ingress["metadata"]["annotations"] == {"a": "b"}
    ports = {port["name"] for port in service["spec"]["ports"]}
    for path in rule["http"]["paths"]:
        assert path["backend"]["service"]["name"] == service["metadata"]["name"]
        assert path["backend"]["service"]["port"]["name"] in ports


def test_an_ingress_has_several_hosts_with_their_certificates() -> None:
    hosts = ["profiles.example", "profiles.internal"]
    values = {
        "enabled": True,
        "hosts": hosts,
        "tls": [{"secretName": "a", "hosts": hosts[:1]}, {"secretName": "b"}, {}],
    }
    spec = helm.only(helm.render({"ingress": values}), "Ingress")["spec"]
    assert [rule["host"] for rule in spec["rules"]] == hosts
    assert spec["rules"][0]["http"] == spec["rules"][1]["http"]
    assert spec["tls"] == [
        {"secretName": "a", "hosts": hosts[:1]},
        {"secretName": "b", "hosts": hosts},
        {"hosts": hosts},
    ]
    anywhere = helm.only(helm.render({"ingress": {"enabled": True}}), "Ingress")["spec"]
    assert [list(rule) for rule in anywhere["rules"]] == [["http"]]


def test_the_route_leads_to_the_service_through_the_gateway() -> None:
    values = {"httpRoute": {**ROUTE["httpRoute"], "hostnames": ["h"]}, "service": {"port": 81}}
    objects = helm.render(values)
    spec = helm.only(objects, "HTTPRoute")["spec"]
    assert spec["parentRefs"] == [{"name": "gateway", "namespace": "edge"}]
    assert spec["hostnames"] == ["h"]
    [backend] = spec["rules"][0]["backendRefs"]
    assert backend == {"name": helm.only(objects, "Service")["metadata"]["name"], "port": 81}


def test_a_route_needs_a_gateway() -> None:
    assert "name the Gateway" in helm.render_error({"httpRoute": {"enabled": True}})


EXAMPLES = "/v0/pipelines/[^/]+/samply_profiles?(/.*)?"


def test_own_paths_replace_the_apis() -> None:
    """Regular expressions differ by controller, so they are given whole."""
    paths = [{"path": EXAMPLES, "pathType": "ImplementationSpecific"}]
    assert list_paths(helm.render({"ingress": {**INGRESS["ingress"], "paths": paths}})) == [EXAMPLES]
    matches = [{"path": {"type": "RegularExpression", "value": EXAMPLES}}]
    assert list_paths(helm.render({"httpRoute": {**ROUTE["httpRoute"], "matches": matches}})) == [EXAMPLES]


@pytest.mark.parametrize("base", ["profiles", "/profiles/", "/a b", "/a/../b?", "//"])
def test_what_is_no_base_path_is_refused(base: str) -> None:
    assert "basePath" in helm.render_error({"config": {"api": {"basePath": base}}})
