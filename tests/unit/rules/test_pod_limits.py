"""Facts from the pod's object, in addition to those from inside the pod."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.model.container import ContainerFacts
from samply_operator.rules.recording import pod_limits


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("50Mi", 50 << 20),
        ("1.5G", 1_500_000_000),
        ("2Gi", 2 << 30),
        ("1000", 1000),
        (7, 7),
        ("10k", 10_000),
        ("1e3", None),
        ("-1", None),
        ("", None),
        ("²Mi", None),
        (None, None),
    ],
)
def test_a_quantity_is_bytes(text: object, size: int | None) -> None:
    """What can't be read is unknown, and unknown is no refusal."""
    assert pod_limits.parse_quantity(text) == size


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    """Never an exception."""
    pod_limits.parse_quantity(text)


@pytest.mark.parametrize(
    ("spec", "storage", "runtime"),
    [
        ({}, None, ""),
        ({"containers": [{"name": "other", "resources": {"limits": {"ephemeral-storage": "1Gi"}}}]}, None, ""),
        ({"containers": [{"name": "pipeline", "resources": {"limits": {"ephemeral-storage": "1Gi"}}}]}, 1 << 30, ""),
        ({"containers": [{"name": "pipeline", "resources": {}}], "runtimeClassName": "gvisor"}, None, "gvisor"),
    ],
    ids=["nothing said", "another container's limit", "its own limit", "a sandbox"],
)
def test_limits_are_those_of_the_target(spec: dict[str, Any], storage: int | None, runtime: str) -> None:
    """Of the container that is recorded."""
    facts = pod_limits.add_pod(ContainerFacts(folder="/tmp"), {"spec": spec}, "pipeline")
    assert facts == ContainerFacts(folder="/tmp", storage_limit=storage, runtime_class=runtime)


ROOM = {
    "containers": [
        {
            "name": "pipeline",
            "volumeMounts": [
                {"name": "all", "mountPath": "/data"},
                {"name": "room", "mountPath": "/data/tmp/"},
                {"name": "disk", "mountPath": "/data2"},
            ],
        }
    ],
    "volumes": [
        {"name": "all", "persistentVolumeClaim": {"claimName": "x"}},
        {"name": "room", "emptyDir": {"sizeLimit": "10Mi"}},
        {"name": "disk", "emptyDir": {}},
    ],
}


@pytest.mark.parametrize(
    ("folder", "limit", "is_in_volume"),
    [
        ("/data/tmp", 10 << 20, True),
        ("/data/tmp/deeper", 10 << 20, True),
        ("/data/tmp2", None, True),
        ("/data2", None, True),
        ("/data3", None, False),
        ("/tmp", None, False),
        ("/dev/shm", None, True),
        ("", None, False),
    ],
)
def test_a_folder_is_in_the_volume_that_is_mounted_nearest_above_it(
    folder: str, limit: int | None, is_in_volume: bool
) -> None:
    """An emptyDir's sizeLimit isn't seen inside; an ephemeral container has a folder of its own."""
    pod = {"spec": ROOM}
    assert pod_limits.add_pod(ContainerFacts(folder=folder), pod, "pipeline").folder_limit == limit
    assert pod_limits.add_pod(ContainerFacts(folder=folder), pod, "pipeline", is_helper=True).folder_limit is None
    assert pod_limits.is_in_volume(pod, "pipeline", folder) is is_in_volume
    assert pod_limits.is_in_volume(pod, "another", folder) is (folder == "/dev/shm")


def test_a_limit_of_the_pods_own_holds_for_the_container() -> None:
    """It isn't seen inside; the smaller one counts."""
    pod = {"spec": {"resources": {"limits": {"memory": "1Gi"}}}}
    assert pod_limits.add_pod(ContainerFacts(), pod, "pipeline").memory_limit == 1 << 30
    assert pod_limits.add_pod(ContainerFacts(memory_limit=5), pod, "pipeline").memory_limit == 5
    beside = pod_limits.add_pod(ContainerFacts(target_memory_limit=1 << 40), pod, "pipeline", is_helper=True)
    assert (beside.memory_limit, beside.target_memory_limit) == (None, 1 << 30)


def test_the_runtime_is_read_from_the_containers_id() -> None:
    """As the kubelet writes it."""
    status = {"containerStatuses": [{"name": "pipeline", "containerID": "containerd://ab12"}]}
    assert pod_limits.add_pod(ContainerFacts(), {"status": status}, "pipeline").runtime == "containerd"
    assert pod_limits.add_pod(ContainerFacts(), {"status": status}, "other").runtime == ""


@pytest.mark.parametrize(
    ("spec", "is_limited"),
    [
        ({"containers": [{"name": "pipeline", "resources": {"limits": {"cpu": "1"}}}]}, True),
        ({"containers": [{"name": "proxy", "resources": {"limits": {"cpu": "1"}}}, {"name": "pipeline"}]}, False),
        ({"resources": {"limits": {"cpu": 2}}, "containers": [{"name": "pipeline"}]}, True),
        ({"containers": [{"name": "pipeline", "resources": {"limits": {"memory": "1Gi"}}}]}, False),
        ({}, False),
    ],
)
def test_a_limit_of_the_cpu_is_the_containers_or_the_pods(spec: dict[str, Any], is_limited: bool) -> None:
    assert pod_limits.is_cpu_limited({"spec": spec}, "pipeline") is is_limited
