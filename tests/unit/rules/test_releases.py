"""The operator's own pod, its claim, and the pods that try a node, as kubectl shows them."""

from __future__ import annotations

from typing import Any

import pytest

from chart.pod_security import find_violations
from samply_operator.model.check import Status
from samply_operator.rules.installation import releases


def make_pod(waiting: dict[str, str] | None = None, **conditions: str) -> dict[str, Any]:
    states = [{"name": "operator", "state": {"waiting": waiting} if waiting else {"running": {}}}]
    return {
        "metadata": {"namespace": "tools", "name": "so-1", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"volumes": [{"persistentVolumeClaim": {"claimName": "profiles"}}, {"emptyDir": {}}]},
        "status": {
            "containerStatuses": states,
            "conditions": [
                {"type": kind, "status": status, "message": "0/1 nodes"} for kind, status in conditions.items()
            ],
        },
    }


@pytest.mark.parametrize(
    ("pods", "status", "said"),
    [
        pytest.param([make_pod(Ready="True")], "Passed", "is ready", id="ready"),
        pytest.param([], "Failed", "no pod", id="no pod"),
        pytest.param([make_pod(Ready="False")], "Warning", "not ready", id="starts"),
        pytest.param([make_pod({"reason": "ImagePullBackOff", "message": "no x"})], "Failed", "no x", id="image"),
        pytest.param([make_pod({"reason": "CreateContainerConfigError", "message": "y"})], "Failed", "y", id="secret"),
        pytest.param([make_pod({"reason": "CrashLoopBackOff"})], "Failed", "restarts repeatedly", id="crashes"),
        pytest.param([make_pod(PodScheduled="False")], "Failed", "0/1 nodes", id="no node"),
        pytest.param([make_pod({"reason": "ContainerCreating"}, Ready="False")], "Warning", "not ready", id="creating"),
    ],
)
def test_the_pod_of_a_release(pods: list[dict[str, Any]], status: Status, said: str) -> None:
    check = releases.judge_pods(pods)
    assert (check.status, said in check.message) == (status, True), check
    assert status == "Passed" or check.remedy


def test_what_refused_the_pod_is_quoted() -> None:
    failure = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: must specify limits.cpu"}
    check = releases.judge_pods([], [{"status": {"conditions": [failure]}}])
    assert (check.status, "must specify limits.cpu" in check.message) == ("Failed", True)


def test_claims() -> None:
    assert releases.list_claims([make_pod(), make_pod()]) == ("profiles",)
    claim = {"metadata": {"name": "profiles"}, "spec": {"storageClassName": "none"}, "status": {"phase": "Pending"}}
    pending = releases.judge_claim(claim)
    assert (pending.status, "class is none" in pending.message) == ("Failed", True)
    assert "kubectl get storageclass" in pending.remedy
    assert releases.judge_claim({**claim, "status": {"phase": "Bound"}}).status == "Passed"


PIPELINE = {"spec": {"nodeName": "node-1", "imagePullSecrets": [{"name": "registry"}]}}


def test_a_probe_is_pulled_as_the_helper_would_be() -> None:
    """On that node, with those Secrets; and every Pod Security level admits it."""
    body = releases.build_probe("samply-doctor-1", PIPELINE, "r/samply:1")
    spec = body["spec"]
    assert (spec["nodeName"], spec["imagePullSecrets"]) == ("node-1", [{"name": "registry"}])
    assert [container["image"] for container in spec["containers"]] == ["r/samply:1"]
    assert find_violations(spec) == []


@pytest.mark.parametrize(
    ("status", "verdict", "is_decided"),
    [
        ({"phase": "Succeeded"}, "Passed", True),
        ({"phase": "Failed", "message": "evicted"}, "Unknown", True),
        ({"phase": "Pending"}, "Unknown", False),
        (
            {
                "phase": "Pending",
                "containerStatuses": [
                    {"name": "probe", "state": {"waiting": {"reason": "ErrImagePull", "message": "x"}}}
                ],
            },
            "Failed",
            True,
        ),
    ],
)
def test_what_a_probe_says(status: dict[str, Any], verdict: Status, is_decided: bool) -> None:
    assert releases.is_decided({"status": status}) == is_decided
    check = releases.judge_pull({"status": status}, "r/samply:1", "node-1")
    assert check.status == verdict
    assert verdict == "Passed" or check.remedy
