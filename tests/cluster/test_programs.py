"""The cluster's own programs are killed during a recording: it continues in its pod, and is collected afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from cluster import pipelines, profiles, programs
from cluster.node import Node
from cluster.pipelines import Pipeline
from cluster.release import Install, Service
from support import kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.serial, pytest.mark.timeout(240)]


HTTP_PORT = 8080
"""Of the api's container."""


@pytest.fixture
def target(install: Install, node: Node) -> Iterator[Pipeline]:
    if not node.is_native():
        pytest.skip("the cluster's programs aren't processes of this machine")
    started = pipelines.start(install.namespace, "shaken", replicas=1)
    started.wait_ready()
    yield started
    started.delete()
    kubectl.succeed("-n", started.namespace, "wait", f"pod/{started.pod()}", "--for=delete", "--timeout=60s")


def wait_quiet(target: Pipeline) -> None:
    """Nothing runs but the pipeline, and no file is left. With the kubelet the runtime kills the exec's process: what
    that one had started then becomes the child of PID 1, which here asks for no child's end: zombies are left."""
    seen: list[str] = []

    def is_quiet() -> bool:
        seen[:] = [line for line in target.look() if line.split()[1] != "Z"]
        return seen in pipelines.UNTOUCHED

    kubectl.poll(is_quiet, timeout=20, what=lambda: f"only the pipeline: {seen}")


@pytest.mark.slow
def test_a_start_without_the_node_s_kubelet(target: Pipeline, install: Install) -> None:
    """The pod is unreachable: 503, which is retryable, and a retry succeeds. The request goes to the pod's address, as
    a port-forward needs the kubelet too."""
    install.make_caller()
    service = Service(HTTP_PORT, install.make_token(), host=install.pod()["status"]["podIP"])
    assert service.profile(target.name).status == 400
    programs.kill("kubelet")
    try:
        answer = service.profile(target.name, "?duration_secs=1", "POST")
    finally:
        programs.start_again()
    status, code, details = answer.problem()
    assert (status, code, details["pipeline_name"]) == (503, "PipelineInteractionUnreachable", target.name)
    assert details["request"]
    assert details["error"]
    assert answer.headers["retry-after"] == "5"
    kubectl.poll(
        lambda: service.profile(target.name, "?duration_secs=1", "POST").status == 202, timeout=60, what="it can again"
    )
    kubectl.poll(
        lambda: service.profile(target.name, "?latest=true").status == 200, timeout=60, what="the profile is there"
    )


@pytest.mark.parametrize(
    "program",
    [
        "kube-apiserver",
        pytest.param("kubelet", marks=pytest.mark.slow),
        pytest.param("containerd", marks=pytest.mark.slow),
    ],
)
def test_killed_while_it_records(program: str, target: Pipeline, install: Install) -> None:
    """The exec session breaks with it; the profile is whole all the same, taken once, and the next one works."""
    before = install.container("operator")
    name = profiles.make(target, durationSeconds=10)
    began = profiles.wait(target, name, "Recording", timeout=20)["status"]
    programs.kill(program)
    try:
        time.sleep(3)  # away for so long: not a condition that is waited for
    finally:
        programs.start_again()
    kubectl.poll(programs.answers, timeout=30, what="the API server is ready")
    status = profiles.wait_succeeded(target, name, timeout=90)["status"]
    assert (status["startedAt"], status["target"]) == (began["startedAt"], began["target"]), "it was taken once"
    assert status["profile"]["coverage"] >= 0.9, profiles.show(status)
    if program == "kubelet":
        wait_quiet(target)
    else:
        target.wait_untouched()
    profiles.wait_succeeded(target, profiles.make(target))
    after = install.container("operator")
    assert after["containerID"] == before["containerID"], "the operator lived on"
