"""Metrics: a port of the pod that the Service doesn't have; annotations and a PodMonitor for those who want them."""

from __future__ import annotations

from chart import helm


def test_the_port_is_the_pods_and_not_the_services(default_objects: list[helm.Object]) -> None:
    """Who reaches the Service from outside must not get the metrics, which have no authentication."""
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
    assert monitor["spec"]["podMetricsEndpoints"] == [{"port": "metrics", "path": "/metrics", "interval": "10s"}]


def read_annotations(objects: list[helm.Object]) -> dict[str, str]:
    found: dict[str, str] = helm.only(objects, "Deployment")["spec"]["template"]["metadata"]["annotations"]
    return found
