"""SamplyTriggers on a real API server: what it refuses, a schedule that fires, and what kubectl shows."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster import profiles, release
from cluster.pipelines import Pipeline
from cluster.release import Install, Service
from samply_operator.model import names
from support import alerting, kubectl
from support.alerting import Alerting

pytestmark = pytest.mark.cluster

EVERY = {"schedule": {"every": "10s"}}
QUERY = {"prometheus": {"query": "up"}}


@pytest.fixture(scope="module", autouse=True)
def _definitions() -> None:
    release.apply_definitions()


def build(name: str = "", **spec: Any) -> dict[str, Any]:
    whole = {"pipelines": {"all": True}, "when": EVERY} | spec
    metadata = {"name": name or f"t-{uuid.uuid4().hex[:8]}", "labels": {"team": "payments"}}
    return {"apiVersion": names.API_VERSION, "kind": names.TRIGGER_KIND, "metadata": metadata, "spec": whole}


@pytest.fixture
def made(pipeline: Pipeline) -> Iterator[list[str]]:
    """Names of triggers to delete."""
    found: list[str] = []
    yield found
    for name in found:
        kubectl.run("-n", pipeline.namespace, "delete", "strigger", name)


def get_status(pipeline: Pipeline, name: str) -> dict[str, Any]:
    status: dict[str, Any] = kubectl.get("-n", pipeline.namespace, f"strigger/{name}").get("status", {})
    return status


def put(pipeline: Pipeline, made: list[str], **spec: Any) -> str:
    body = build(**spec)
    kubectl.succeed("-n", pipeline.namespace, "apply", "-f", "-", body=body)
    made.append(body["metadata"]["name"])
    return made[-1]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"pipelines": {}}, "exactly one of names"),
        ({"pipelines": {"all": True, "names": ["a"]}}, "exactly one of names"),
        ({"pipelines": {"all": False}}, "all"),
        ({"when": {}}, "exactly one of schedule"),
        ({"when": EVERY | {"restart": {}}}, "exactly one of schedule"),
        ({"when": {"schedule": {}}}, "exactly one of cron"),
        ({"when": {"schedule": {"every": "1s"}}}, "every must be from 10s"),
        ({"when": {"schedule": {"every": "soon"}}}, "such as 5m or 1h30m"),
        ({"when": {"schedule": {"every": "999999h999999h"}}}, "such as 5m or 1h30m"),
        ({"when": {"schedule": {"cron": "* * *"}}}, "cron must have five fields"),
        ({"when": {"schedule": {"cron": "@daily"}}}, "cron must have five fields"),
        ({"when": {"schedule": {"cron": "TZ=UTC 0 * * * *"}}}, "the time zone is timeZone"),
        ({"when": {"schedule": {"every": "5m", "timeZone": "Europe/Berlin"}}}, "timeZone has no meaning"),
        ({"when": {"metric": {"above": 1}}}, "exactly one of prometheus and feldera"),
        ({"when": {"metric": QUERY}}, "exactly one of above, below and baseline"),
        ({"when": {"metric": QUERY | {"above": 1, "below": 2}}}, "exactly one of above, below and baseline"),
        ({"when": {"metric": QUERY | {"above": 1, "recovery": 2}}}, "recovery must not be more"),
        ({"when": {"metric": QUERY | {"below": 1, "recovery": 0.5}}}, "recovery must not be less"),
        ({"when": {"metric": QUERY | {"baseline": {"percent": 50}, "recovery": 51}}}, "recovery must be from 0"),
        ({"when": {"metric": QUERY | {"baseline": {"percent": 50, "windowSeconds": 60}}}}, "at least 20 times"),
        ({"when": {"metric": QUERY | {"baseline": {"percent": 50}, "everySeconds": 181}}}, "at least 20 times"),
        ({"when": {"metric": {"feldera": {}, "above": 1}}}, "exactly one of stat and metric"),
        ({"when": {"metric": {"feldera": {"stat": "a", "matchLabels": {"a": "b"}}, "above": 1}}}, "no meaning"),
        ({"concurrencyPolicy": "Never"}, "concurrencyPolicy"),
        ({"template": {"durationSeconds": 0}}, "durationSeconds"),
        ({"name": "t" * 53}, "at most 52 characters"),
    ],
    ids=str,
)
def test_bad_input_is_refused(spec: dict[str, Any], said: str, install: Install) -> None:
    done = kubectl.run("-n", install.namespace, "create", "-f", "-", "--dry-run=server", body=build(**spec))
    assert done.returncode != 0
    assert said in done.stderr


@pytest.mark.parametrize(
    "metric",
    [
        QUERY | {"above": 1, "recovery": 0.5},
        QUERY | {"below": 0.25, "recovery": 1, "forSeconds": 30},
        {"feldera": {"stat": "cpu_msecs", "per": "second"}, "baseline": {"percent": 50}, "recovery": 0},
    ],
    ids=str,
)
def test_metrics_are_taken(metric: dict[str, Any], install: Install) -> None:
    body = build(when={"metric": metric})
    kubectl.succeed("-n", install.namespace, "create", "-f", "-", "--dry-run=server", body=body)


def test_a_schedule_fires_and_kubectl_shows_it(pipeline: Pipeline, made: list[str]) -> None:
    """The labels and the cause are on the profile, and in what the service keeps of it."""
    known = {profiles.uid_of(item) for item in profiles.find(pipeline)}
    selected = {"names": [pipeline.name], "ordinals": [1]}
    name = put(pipeline, made, pipelines=selected, template={"durationSeconds": 1, "rateHz": 99})
    broken = put(pipeline, made, when={"schedule": {"cron": "61 * * * *"}})
    kubectl.poll(lambda: get_status(pipeline, name).get("fired"), timeout=25, what=f"{name} has fired")
    item = next(item for item in profiles.find(pipeline) if profiles.uid_of(item) not in known)
    spec = {"pipeline": pipeline.name, "ordinal": 1, "durationSeconds": 1, "rateHz": 99}
    assert item["spec"] == spec | {"comparison": {"baseline": "Last"}}
    meta = item["metadata"]
    assert meta["labels"].items() >= {names.MADE_BY: name, "team": "payments"}.items()
    assert meta["annotations"][names.CAUSE].startswith("Schedule of ")
    assert profiles.wait_event(pipeline.namespace, name, "Fired").startswith("Schedule of ")
    status = profiles.wait(pipeline, profiles.name_of(item))
    path = f"sprof/{profiles.name_of(item)}"
    kubectl.succeed(
        "-n", pipeline.namespace, "wait", path, "--for=jsonpath={.status.comparison.reason}", "--timeout=60s"
    )
    found = kubectl.get("-n", pipeline.namespace, path)["status"]["comparison"]
    assert found["reason"] == "NoBaseline" or found["baseline"]["name"] != profiles.name_of(item), status
    suspended = '{"spec": {"suspend": true}}'
    kubectl.succeed("-n", pipeline.namespace, "patch", "strigger", name, "--type=merge", "-p", suspended)
    kubectl.poll(
        lambda: get_status(pipeline, name)["conditions"][0]["reason"] == "Suspended", timeout=5, what="it is suspended"
    )
    lines = kubectl.succeed("-n", pipeline.namespace, "get", "striggers").splitlines()
    assert lines[0].split("  ")[0] == "NAME"
    line = next(line.split() for line in lines if line.startswith(name))
    assert line[1:4] == ["every", "10s", "Suspended"]
    assert int(line[4]) >= 1
    assert "InvalidSchedule" in next(line for line in lines if line.startswith(broken))
    assert "Bad minute" in get_status(pipeline, broken)["conditions"][0]["message"]


def test_an_alert_of_a_real_alertmanager_becomes_a_profile(
    pipeline: Pipeline, made: list[str], service: Service, folder: Path
) -> None:
    """A real Prometheus sees a slow step; however often the alert is repeated, there is one profile, which links it."""
    name = put(
        pipeline,
        made,
        pipelines={"all": True, "ordinals": [0]},
        when={"alert": {"matchLabels": {"alertname": alerting.ALERT}}},
        template={"durationSeconds": 1},
    )
    kubectl.poll(lambda: get_status(pipeline, name).get("when"), timeout=15, what=f"{name} is known")
    assert get_status(pipeline, name)["when"] == f"alert {alerting.ALERT}"
    url = f"http://127.0.0.1:{service.port}/v0/alerts"
    with Alerting(folder, pipeline.name, url, service.token) as source:
        source.exporter.step_secs = 9.0
        kubectl.poll(lambda: get_status(pipeline, name).get("fired"), timeout=40, what=source.read_log)
        (item,) = (i for i in profiles.find(pipeline) if i["metadata"].get("labels", {}).get(names.MADE_BY) == name)
        stored = profiles.wait_succeeded(pipeline, profiles.name_of(item))
        assert [
            profiles.name_of(i)
            for i in profiles.find(pipeline)
            if i["metadata"].get("labels", {}).get(names.MADE_BY) == name
        ] == [profiles.name_of(item)]
    assert stored["metadata"]["annotations"][names.CAUSE].startswith(f"Alert {alerting.ALERT} since ")
    assert "step_seconds" in stored["metadata"]["annotations"][names.ALERT]
    facts = json.loads(service.stored(pipeline.name, profiles.uid_of(item)).body)
    assert facts["trigger"]["name"] == name
    assert facts["trigger"]["link"] == stored["metadata"]["annotations"][names.ALERT]
