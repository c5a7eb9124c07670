"""Two pods and a bucket instead of a volume: the leader killed, paused or ended in the middle of a recording, and the
profile served by the other one; a bucket that is away, and a spool that is full. The bucket is a process of this
machine that the pods reach by the node's address."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from cluster import pipelines, profiles, release
from cluster.node import Node, find_own_address
from cluster.pipelines import Pipeline
from cluster.release import Answer, Install
from samply_operator.rules import leadership, times
from samply_operator.store.bucket import names
from support import buckets, kubectl
from support.buckets import Server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]
"""Two pods start for the first one."""

SECRET = "bucket-keys"
CLUSTER = "prod-1"
SPOOL_BYTES = 256 * 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with buckets.run_moto(tmp_path_factory.mktemp("moto"), host="0.0.0.0") as server:
        yield server


@pytest.fixture(scope="module")
def pair(server: Server) -> Iterator[Install]:
    endpoint = f"http://{find_own_address()}:{server.endpoint.rpartition(':')[2]}"
    config = {
        "recording": {"mode": "InPlace"},
        "auth": {"apiKeys": {"enabled": True}},
        "storage": {
            "kind": "Bucket",
            "bucket": {"url": server.url, "cluster": CLUSTER, "endpoint": endpoint},
            "spoolBytes": SPOOL_BYTES,
        },
    }
    with release.fresh_namespace("bucket") as namespace:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": SECRET, "namespace": namespace},
            "stringData": buckets.KEYS,
        }
        kubectl.succeed("apply", "-f", "-", body=body)
        values: dict[str, Any] = {"config": config, "replicas": 2, "storageAccess": {"credentialsSecret": SECRET}}
        install = Install(namespace, values=values)
        install.install()
        try:
            yield install
        finally:
            install.uninstall()


@pytest.fixture(scope="module")
def target(pair: Install) -> Pipeline:
    started = pipelines.start(pair.namespace, "demo")
    started.wait_ready()
    return started


def find_leader(install: Install) -> str:
    """The pod's name; empty: none."""
    lease = kubectl.get("-n", install.namespace, "lease", leadership.build_name(install.release))
    return str(lease["spec"].get("holderIdentity") or "")


def wait_leader(install: Install, but: str, after: float) -> float:
    """Seconds from `after` (Unix time) until another pod took the Lease."""
    kubectl.poll(lambda: find_leader(install) not in {"", but}, timeout=60, what="another pod leads")
    secs = read_acquire_time(install) - after
    print(f"another pod leads after {secs:.2f} s")
    return secs


def read_acquire_time(install: Install) -> float:
    """Unix time at which the leader took the Lease."""
    lease = kubectl.get("-n", install.namespace, "lease", leadership.build_name(install.release))
    return times.parse_time(lease["spec"]["acquireTime"])


def find_term_start(install: Install, pod: str, after: float) -> float:
    """Unix time at which this pod became the bucket's writer, `after` another one."""

    def find() -> float:
        lines = kubectl.succeed("-n", install.namespace, "logs", pod, "-c", "operator").splitlines()
        starts = [times.parse_time(json.loads(line)["time"]) for line in lines if "in the bucket starts" in line]
        return next((start for start in starts if start > after), 0.0)

    kubectl.poll(find, timeout=30, what="its term starts")
    return find()


def find_step(install: Install, pod: str, name: str) -> str:
    """Where this pod continued a recording of an earlier leader; empty: it had none to continue."""
    lines = kubectl.succeed("-n", install.namespace, "logs", pod, "-c", "operator").splitlines()
    messages = [json.loads(line)["message"] for line in lines]
    return next((text for text in messages if f"/{name}: going on at step" in text), "")


def find_container(install: Install, pod: str, name: str) -> str:
    statuses = kubectl.get("-n", install.namespace, "pod", pod)["status"]["containerStatuses"]
    return str(next(status["containerID"] for status in statuses if status["name"] == name))


def find_containers(install: Install, pod: str) -> list[str]:
    """The operator's first."""
    return [find_container(install, pod, name) for name in ("operator", "api")]


def kill(install: Install, node: Node, pod: str, containers: Sequence[str] = ()) -> float:
    """Both containers at once, and the pod with them: what a node that dies leaves. Returns the time."""
    at, *_ = [node.signal(container, "KILL") for container in containers or find_containers(install, pod)]
    kubectl.succeed("-n", install.namespace, "delete", "pod", pod, "--grace-period=0", "--force", "--wait=false")
    return at


def end(install: Install, _: Node, pod: str) -> float:
    at = time.time()
    kubectl.succeed("-n", install.namespace, "delete", "pod", pod, "--wait=false")
    return at


def list_pods(install: Install) -> list[str]:
    items = kubectl.get("-n", install.namespace, "pod", "-l", install.selector)["items"]
    return [item["metadata"]["name"] for item in items if "deletionTimestamp" not in item["metadata"]]


def hash_body(answer: Answer) -> str:
    return hashlib.sha256(answer.body).hexdigest()


def check_once(install: Install, server: Server, target: Pipeline, name: str, *pods: str) -> None:
    """It is stored once and whole, and served by each of these pods, or by all."""
    status = profiles.wait_succeeded(target, name, timeout=90)["status"]
    objects = server.open(CLUSTER)
    uid = profiles.uid_of(profiles.get(target, name))
    files = [found.path for found in objects.list(names.build_folder(uid))]
    assert files == [names.build_file(uid, status["profile"]["sha256"])]
    for pod in pods or list_pods(install):
        with install.open_with_key(pod=pod) as service:
            # A standby that has not seen it yet looks for as long as a request may take: less than a slow server needs.
            kubectl.poll(
                lambda: hash_body(service.stored(target.name, uid, "/profile")) == status["profile"]["sha256"],
                timeout=30,
                what=lambda: f"{pod} serves it: {service.stored(target.name, uid, '/profile')}"[:500],  # noqa: B023
            )


@pytest.mark.parametrize(
    ("how", "limit_secs"),
    [pytest.param(end, 10, id="ended", marks=pytest.mark.slow), pytest.param(kill, 15, id="killed")],
)
def test_the_leader_ends_during_a_recording(
    how: Callable[[Install, Node, str], float], limit_secs: float, pair: Install, server: Server, target: Pipeline,
    node: Node,
) -> None:  # fmt: skip
    pair.wait()
    leader = find_leader(pair)
    name = profiles.make(target, durationSeconds=12)
    began = profiles.wait(target, name, "Recording", timeout=30)["status"]
    asked = how(pair, node, leader)
    assert wait_leader(pair, leader, asked) < limit_secs
    pair.wait()
    check_once(pair, server, target, name)
    status = profiles.get(target, name)["status"]
    assert (status["startedAt"], status["target"]) == (began["startedAt"], began["target"]), "it was taken once"
    target.wait_untouched()


@pytest.mark.slow
@pytest.mark.parametrize("after_secs", [0.0, 1.5, 3.0, 3.4, 3.8, 4.5])
def test_the_leader_is_killed_at_any_moment(
    after_secs: float, pair: Install, server: Server, target: Pipeline, node: Node
) -> None:
    """Of a recording of 3 s, from before its start until after its end."""
    pair.wait()
    leader = find_leader(pair)
    containers = find_containers(pair, leader)
    name = profiles.make(target, durationSeconds=3)
    time.sleep(after_secs)
    asked = kill(pair, node, leader, containers)
    phase = profiles.get(target, name).get("status", {}).get("phase")
    assert wait_leader(pair, leader, asked) < 15
    check_once(pair, server, target, name, find_leader(pair))
    print(f"killed after {after_secs} s, in phase {phase}: {find_step(pair, find_leader(pair), name)}")
    target.wait_untouched()


def test_at_sigterm_the_standby_takes_over_within_2_seconds(
    pair: Install, server: Server, target: Pipeline, node: Node
) -> None:
    pair.wait()
    leader = find_leader(pair)
    name = profiles.make(target, durationSeconds=8)
    profiles.wait(target, name, "Recording", timeout=30)
    asked = node.signal(find_container(pair, leader, "operator"), "TERM")
    lease_secs = wait_leader(pair, leader, asked)
    heir = find_leader(pair)
    term_secs = find_term_start(pair, heir, asked) - asked
    print(f"its term in the bucket starts after {term_secs:.2f} s")
    assert lease_secs < 2
    assert term_secs < 2
    check_once(pair, server, target, name, heir)
    pair.wait()


def test_a_start_reaches_the_leader_whichever_pod_is_asked(pair: Install, target: Pipeline) -> None:
    pair.wait()
    answers = set()
    for pod in list_pods(pair):
        with pair.open_with_key(pod=pod) as service:
            answers.add(service.profile(target.name, "?duration_secs=2", "POST").status)
    assert 202 in answers
    assert answers <= {202, 409}
    for made in profiles.find(target):
        profiles.wait_succeeded(target, profiles.name_of(made))


@pytest.mark.slow
def test_a_leader_that_was_paused_for_a_minute_ends_when_it_wakes_up(
    pair: Install, server: Server, target: Pipeline, node: Node
) -> None:
    pair.wait()
    leader = find_leader(pair)
    container = find_container(pair, leader, "operator")
    name = profiles.make(target, durationSeconds=20)
    profiles.wait(target, name, "Recording", timeout=30)
    asked = node.signal(container, "STOP")
    try:
        assert wait_leader(pair, leader, asked) < 15
        check_once(pair, server, target, name, find_leader(pair))
        time.sleep(30)
    finally:
        node.signal(container, "CONT")
    kubectl.poll(
        lambda: find_container(pair, leader, "operator") != container, timeout=60, what="it started as a standby"
    )
    assert find_leader(pair) != leader
    check_once(pair, server, target, name)


@pytest.mark.slow
@pytest.mark.parametrize("away_secs", [0, pytest.param(180, marks=pytest.mark.timeout(600))])
def test_recordings_go_on_while_the_bucket_is_away(
    away_secs: int, pair: Install, server: Server, target: Pipeline
) -> None:
    pair.wait()
    began, names_ = time.monotonic(), list[str]()
    server.pause()
    try:
        while not names_ or time.monotonic() - began < away_secs:
            names_.append(profiles.make(target, durationSeconds=3))
            profiles.wait_succeeded(target, names_[-1], timeout=90)
        uids = [profiles.uid_of(profiles.get(target, name)) for name in names_]
        with pair.open_with_key(pod=find_leader(pair)) as service:
            kubectl.poll(
                lambda: {service.stored(target.name, uid, "/profile").status for uid in uids} == {200},
                timeout=20,
                what="a list that hangs is given up, and the spool's profiles are served",
            )
    finally:
        server.resume()
    objects = server.open(CLUSTER)
    for uid in uids:
        kubectl.poll(
            lambda uid=uid: objects.find(names.build_manifest(uid)) is not None, timeout=60, what="it is uploaded"
        )
    check_once(pair, server, target, names_[-1])


def test_a_full_spool_refuses_recordings_and_serves_on(pair: Install, server: Server, target: Pipeline) -> None:
    pair.wait()
    stored = profiles.make(target, durationSeconds=1)
    profiles.wait_succeeded(target, stored)
    leader = find_leader(pair)
    inside = ("-n", pair.namespace, "exec", leader, "-c", "operator", "--")
    fill = f"import os; os.posix_fallocate(os.open('/data/filler', os.O_RDWR | os.O_CREAT), 0, {SPOOL_BYTES})"
    kubectl.succeed(*inside, "python3", "-c", fill)
    try:
        name = profiles.make(target, durationSeconds=1)
        failure = profiles.wait_failed(target, name, "StoreFull")
        assert failure["message"].startswith("The spool lacks")
        assert "spoolBytes" in failure["remedy"]
        check_once(pair, server, target, stored)
    finally:
        kubectl.succeed(*inside, "python3", "-c", "import os; os.unlink('/data/filler')")
    again = profiles.make(target, durationSeconds=1)
    check_once(pair, server, target, again)
