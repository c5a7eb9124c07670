"""TLS: off by default, enabled by the name of a Secret; the pod waits for downloads before it ends."""

from __future__ import annotations

import pytest

from chart import helm, pod_security

ON = {"tls": {"secretName": "profiles-tls"}}
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def test_plain_http_is_the_default(default_objects: list[helm.Object]) -> None:
    api = helm.containers(default_objects)["api"]
    assert api["args"] == ["api"]
    assert not any("scheme" in api[probe]["httpGet"] for probe in PROBES)
    assert helm.only(default_objects, "Service")["spec"]["ports"][0]["appProtocol"] == "http"


def test_a_secret_turns_it_on_for_the_api_alone() -> None:
    objects = helm.render(ON)
    api, operator = helm.containers(objects)["api"], helm.containers(objects)["operator"]
    [mount] = [each for each in api["volumeMounts"] if each["name"] == "tls"]
    assert api["args"] == ["api", "--tls", mount["mountPath"]]
    assert mount["readOnly"] is True
    assert "subPath" not in mount, "a subPath is never updated"
    assert helm.only(objects, "Service")["spec"]["ports"][0]["appProtocol"] == "https"
    assert not any("scheme" in api[probe]["httpGet"] for probe in PROBES), "they ask the metrics' port, which has none"
    assert "tls" not in {each["name"] for each in operator["volumeMounts"]}
    [volume] = [each for each in helm.pod_spec(objects)["volumes"] if each["name"] == "tls"]
    assert volume["secret"]["secretName"] == "profiles-tls"
    assert [item["key"] for item in volume["secret"]["items"]] == ["tls.crt", "tls.key"]
    assert pod_security.find_violations(helm.pod_spec(objects)) == []


@pytest.mark.parametrize("name", ["UPPER", "a b", "-a", "a/b"])
def test_what_is_no_name_is_refused(name: str) -> None:
    assert "secretName" in helm.render_error({"tls": {"secretName": name}})


def test_downloads_have_less_time_than_the_pod() -> None:
    """Otherwise the kubelet would kill downloads that are promised to complete."""
    assert "terminationGracePeriodSeconds" in helm.render_error({"terminationGracePeriodSeconds": 26})
    assert "terminationGracePeriodSeconds" in helm.render_error({"config": {"api": {"drainSecs": 600}}})
    helm.render({"config": {"api": {"drainSecs": 600}}, "terminationGracePeriodSeconds": 620})
