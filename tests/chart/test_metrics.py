"""Metrics: a port of the pod that the Service doesn't have; annotations and a PodMonitor for those who want them."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from chart import helm
from samply_operator import measures
from samply_operator.api.server import measures as _of_api  # noqa: F401 - each module declares its own
from samply_operator.control import metrics as _of_operator  # noqa: F401
from support.needs import need


def test_the_port_is_the_pods_and_not_the_services(default_objects: list[helm.Object]) -> None:
    """Clients that reach the Service from outside must not get the metrics, which have no authentication."""
    ports = {port["name"]: port["containerPort"] for port in helm.containers(default_objects)["api"]["ports"]}
    assert ports == {"http": 8080, "metrics": 9090}
    assert [port["name"] for port in helm.only(default_objects, "Service")["spec"]["ports"]] == ["http"]


def test_nothing_of_prometheus_is_there_by_default(default_objects: list[helm.Object]) -> None:
    assert "PodMonitor" not in {each["kind"] for each in default_objects}
    assert not any("prometheus" in name for name in read_annotations(default_objects))


def test_annotations_name_the_port_that_is_set() -> None:
    values = {"metrics": {"annotations": True}, "config": {"api": {"metricsPort": 9191}}}
    notes = read_annotations(helm.render(values))
    found = {name: value for name, value in notes.items() if name.startswith("prometheus.io/")}
    assert found == {"prometheus.io/scrape": "true", "prometheus.io/port": "9191", "prometheus.io/path": "/metrics"}


def test_a_pod_monitor_selects_the_pod() -> None:
    objects = helm.render({"metrics": {"podMonitor": {"enabled": True, "labels": {"release": "p"}, "interval": "10s"}}})
    monitor, pod = helm.only(objects, "PodMonitor"), helm.only(objects, "Deployment")["spec"]["template"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert monitor["metadata"]["labels"]["release"] == "p"
    assert monitor["spec"]["podMetricsEndpoints"] == [
        {"port": "metrics", "path": "/metrics", "interval": "10s", "scrapeTimeout": "10s"}
    ]


def test_a_service_monitor_has_its_own_service() -> None:
    """Headless, with the metrics port alone; the Service of the API stays without it."""
    values = {"metrics": {"serviceMonitor": {"enabled": True, "annotations": {"a": "b"}, "scrapeTimeout": "5s"}}}
    objects = helm.render(values)
    monitor = helm.only(objects, "ServiceMonitor")
    services = {each["metadata"]["name"]: each for each in helm.select(objects, "Service")}
    chosen = {
        name
        for name, each in services.items()
        if monitor["spec"]["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
    }
    assert chosen == {"samply-operator-metrics"}
    spec = services["samply-operator-metrics"]["spec"]
    assert (spec["clusterIP"], [port["name"] for port in spec["ports"]]) == ("None", ["metrics"])
    assert spec["selector"] == services["samply-operator"]["spec"]["selector"]
    assert monitor["metadata"]["annotations"] == {"a": "b"}
    [endpoint] = monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["scrapeTimeout"]) == ("metrics", "5s")


@pytest.mark.parametrize(
    ("kind", "key", "where"),
    [("PodMonitor", "podMonitor", "podMetricsEndpoints"), ("ServiceMonitor", "serviceMonitor", "endpoints")],
)
def test_how_it_is_scraped(kind: str, key: str, where: str) -> None:
    scrape = {
        "honorLabels": True,
        "relabelings": [{"sourceLabels": ["x"], "targetLabel": "y"}],
        "metricRelabelings": [{"action": "labeldrop", "regex": "way"}],
    }
    objects = helm.render({"metrics": {key: {"enabled": True, **scrape}}})
    assert scrape.items() <= helm.only(objects, kind)["spec"][where][0].items()


ALERTS = yaml.safe_load((helm.CHART / "alerts.yaml").read_text())


def test_the_alerts_are_those_of_the_docs() -> None:
    page = (helm.REPOSITORY / "docs" / "metrics.md").read_text()
    assert yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0]) == ALERTS


def test_alerts_are_installed_with_the_labels_that_are_asked_for() -> None:
    values = {"enabled": True, "labels": {"release": "p"}, "annotations": {"a": "b"}}
    rule = helm.only(helm.render({"metrics": {"prometheusRule": values}}), "PrometheusRule")
    assert rule["spec"] == ALERTS
    assert (rule["metadata"]["labels"]["release"], rule["metadata"]["annotations"]) == ("p", {"a": "b"})
    values["alertLabels"] = {"severity": "warning"}
    [group] = helm.only(helm.render({"metrics": {"prometheusRule": values}}), "PrometheusRule")["spec"]["groups"]
    assert all(alert["labels"] == {"severity": "warning"} for alert in group["rules"])


def test_prometheus_takes_the_alerts(tmp_path: Path) -> None:
    values = {"metrics": {"prometheusRule": {"enabled": True, "alertLabels": {"severity": "warning"}}}}
    spec = helm.only(helm.render(values), "PrometheusRule")["spec"]
    for alert in spec["groups"][0]["rules"]:
        assert [name for name, text in alert["annotations"].items() if isinstance(text, str) and text] == ["summary"]
    need("promtool")
    (tmp_path / "rules.json").write_text(json.dumps(spec))
    done = subprocess.run(
        ["promtool", "check", "rules", "rules.json"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_ask_for_metrics_that_are_declared() -> None:
    declared = {metric.name for metric in measures.DECLARED}
    for alert in ALERTS["groups"][0]["rules"]:
        asked = set(re.findall(r"samply_operator_\w+", alert["expr"]))
        assert asked, alert
        assert asked <= declared, asked - declared


def read_annotations(objects: list[helm.Object]) -> dict[str, str]:
    found: dict[str, str] = helm.only(objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    return found
