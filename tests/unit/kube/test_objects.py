"""A name cannot change the path of a request, and incomplete raw objects can be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.errors import KubeInvalid
from samply_operator.kube import objects


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        (objects.pods(), "/api/v1/pods"),
        (objects.pods("space"), "/api/v1/namespaces/space/pods"),
        (objects.pods("space", "pod", "exec"), "/api/v1/namespaces/space/pods/pod/exec"),
        (objects.stateful_sets("s", "n"), "/apis/apps/v1/namespaces/s/statefulsets/n"),
        (objects.leases("s", "n"), "/apis/coordination.k8s.io/v1/namespaces/s/leases/n"),
        (
            objects.samply_profiles("s", "n", "status"),
            "/apis/samply.feldera.com/v1alpha1/namespaces/s/samplyprofiles/n/status",
        ),
    ],
)
def test_path_table(path: str, wanted: str) -> None:
    assert path == wanted


@given(st.text(min_size=1).filter(lambda name: name not in {".", ".."}))
def test_names_cannot_change_the_path(name: str) -> None:
    path = objects.pods("space", name)
    assert path.count("/") == 6
    assert "?" not in path
    assert "#" not in path


@pytest.mark.parametrize("name", [".", ".."])
def test_dots_are_no_name(name: str) -> None:
    with pytest.raises(KubeInvalid):
        objects.pods("space", name)


def test_a_running_pod() -> None:
    pod = objects.parse_pod(
        {
            "metadata": {
                "namespace": "space",
                "name": "p-0",
                "uid": "u",
                "labels": {"a": "b"},
                "ownerReferences": [
                    {"kind": "Other", "name": "x", "controller": True},
                    {"kind": "StatefulSet", "name": "p", "controller": True},
                ],
            },
            "spec": {"nodeName": "node", "containers": [{"name": "main"}, {"name": "side"}]},
            "status": {
                "phase": "Running",
                "containerStatuses": [
                    {"name": "side", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 4},
                    {"name": "main", "state": {"running": {}}, "containerID": "containerd://1", "restartCount": 0},
                ],
            },
        }
    )
    assert (pod.owner, pod.node, pod.is_running) == ("p", "node", True)
    assert [(c.name, c.id, c.is_running, c.restarts, c.state_reason) for c in pod.containers] == [
        ("main", "containerd://1", True, 0, ""),
        ("side", "", False, 4, "CrashLoopBackOff"),
    ]


def test_a_bare_pod() -> None:
    pod = objects.parse_pod({"metadata": {"namespace": "s", "name": "n", "deletionTimestamp": "t"}, "status": None})
    assert (pod.phase, pod.containers, pod.owner, pod.is_deleted) == ("Unknown", (), "", True)


@pytest.mark.parametrize(
    ("spec", "ordinals"),
    [({}, (0,)), ({"replicas": 0}, ()), ({"replicas": 2, "ordinals": {"start": 3}}, (3, 4)), (None, (0,))],
)
def test_ordinals_of_a_stateful_set(spec: dict[str, object] | None, ordinals: tuple[int, ...]) -> None:
    raw = {"metadata": {"namespace": "s", "name": "n", "uid": "u"}, "spec": spec}
    assert objects.parse_stateful_set(raw).ordinals == ordinals
