"""Killed, deleted, uninstalled: no recording is lost or taken twice, no profile is lost, nothing is left behind."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cluster import pipelines, profiles, release
from cluster.node import Node
from cluster.pipelines import Pipeline
from cluster.release import Install, Service
from samply_operator.profiles import facts, read
from support import kubectl

pytestmark = pytest.mark.cluster

JOURNAL = "import os; print(*os.listdir('/data/journal'))"
CONFIG = {
    "recording": {"mode": "InPlace"},
    "retention": {"absenceGraceSecs": 10},
    "auth": {"apiKeys": {"enabled": True}},
}


@pytest.fixture(scope="module")
def life() -> Iterator[Install]:
    """A release for tests that take it apart, and leave it whole."""
    with release.installed("life", config=CONFIG) as found:
        yield found


@pytest.fixture(scope="module")
def target(life: Install) -> Pipeline:
    started = pipelines.start(life.namespace, "demo")
    started.wait_ready()
    return started


@pytest.fixture
def service(life: Install) -> Iterator[Service]:
    with life.open_with_key() as opened:
        yield opened


def read_journal(install: Install) -> list[str]:
    """Ids of what the operator still has to finish or clean."""
    arguments = ("-n", install.namespace, "exec", install.deployment, "-c", "operator", "--", "python3", "-c", JOURNAL)
    return kubectl.succeed(*arguments).split()


def wait_journal_empty(install: Install) -> None:
    kubectl.poll(lambda: not read_journal(install), timeout=20, what=lambda: f"journal empty: {read_journal(install)}")


def wait_restarted(install: Install, container: str, before: int) -> None:
    def is_back() -> bool:
        status = install.container(container)
        return bool(status["restartCount"] > before and status["ready"])

    kubectl.poll(is_back, timeout=60, what=f"{container} is back")


def kill_operator(install: Install, node: Node) -> None:
    status = install.container("operator")
    node.signal(status["containerID"], "KILL")
    wait_restarted(install, "operator", status["restartCount"])


def delete_pod(install: Install, _: Node) -> None:
    """With SIGTERM and time to end, as a node that is drained does it."""
    kubectl.succeed("-n", install.namespace, "delete", "pod", "-l", install.selector)
    install.wait()


def force_delete_pod(install: Install, node: Node) -> None:
    """Both containers killed at once, and the pod with them: what a node that dies leaves."""
    for name in ("operator", "api"):
        node.signal(install.container(name)["containerID"], "KILL")
    kubectl.succeed("-n", install.namespace, "delete", "pod", "-l", install.selector, "--grace-period=0", "--force")
    install.wait()


# --------------------------------------------------------------------------------------------------- the operator


@pytest.mark.parametrize(
    "how",
    [kill_operator, *(pytest.param(how, marks=pytest.mark.slow) for how in (delete_pod, force_delete_pod))],
    ids=lambda how: how.__name__,
)
def test_the_operator_is_replaced_during_a_recording(
    how: Callable[[Install, Node], None], life: Install, target: Pipeline, node: Node, tmp_path: Path
) -> None:
    """However it ended: the next one adopts the recording, which gives one good profile."""
    name = profiles.make(target, durationSeconds=10)
    began = profiles.wait(target, name, "Recording", timeout=20)["status"]
    target.wait_samply()
    how(life, node)
    status = profiles.wait_succeeded(target, name)["status"]
    assert (status["startedAt"], status["target"]) == (began["startedAt"], began["target"]), "it was taken once"
    assert status["profile"]["coverage"] > 0.75, profiles.show(status)
    target.wait_untouched()
    wait_journal_empty(life)
    with life.open() as service:
        (stored,) = [item for item in service.list_stored(target.name) if item["name"] == name]
        served = service.stored(target.name, stored["id"], "/profile")
    assert served.headers["etag"] == f'"{status["profile"]["sha256"]}"'
    (tmp_path / "profile").write_bytes(served.body)
    assert 8_500 < facts(read(tmp_path / "profile")).duration_ms < 12_000, "all of it, and no more"


def test_stored_profiles_survive_the_pod(life: Install, target: Pipeline) -> None:
    """A restart of the whole pod changes nothing in what is served."""
    profiles.wait_succeeded(target, profiles.make(target, ordinal=1))
    with life.open() as service:
        before, listed = service.profile(target.name, "?ordinal=1"), service.list_stored(target.name)
        assert before.status == 200
    kubectl.succeed("-n", life.namespace, "rollout", "restart", life.deployment)
    life.wait()
    with life.open() as service:
        after = service.profile(target.name, "?ordinal=1")
        assert (after.status, after.body, after.headers["etag"]) == (200, before.body, before.headers["etag"])
        assert service.list_stored(target.name) == listed


def test_the_api_killed_while_one_records(life: Install, target: Pipeline, node: Node) -> None:
    """The api's container is back in seconds; the operator and its recording are not affected."""
    operator, api = life.container("operator"), life.container("api")
    name = profiles.make(target, durationSeconds=8)
    profiles.wait(target, name, "Recording", timeout=20)
    node.signal(api["containerID"], "KILL")
    wait_restarted(life, "api", api["restartCount"])
    profile = profiles.wait_succeeded(target, name)
    with life.open() as service:
        service.wait_operator("Connected")
        assert service.profile(target.name).headers["etag"] == f'"{profile["status"]["profile"]["sha256"]}"'
    assert life.container("operator")["containerID"] == operator["containerID"]


@pytest.mark.usefixtures("target")
def test_operator_away(life: Install, target: Pipeline, service: Service, node: Node) -> None:
    """While it doesn't respond: stored profiles are served, unknown facts are 503, never 404; then it recovers."""
    profiles.wait_succeeded(target, profiles.make(target))
    stored = service.profile(target.name)
    container = life.container("operator")["containerID"]
    node.signal(container, "STOP")
    try:
        service.wait_operator("Away")
        again = service.profile(target.name)
        assert (again.status, again.body) == (200, stored.body)
        for answer in (
            service.profile("no-such"),
            service.profile(target.name, "?latest=true"),
            service.profile(target.name, "?duration_secs=600", method="POST"),
        ):
            assert answer.problem()[0] == 503, answer
            assert answer.headers["retry-after"] == "5"
    finally:
        node.signal(container, "CONT")
    service.wait_operator("Connected")
    assert service.profile("no-such").status == 404
    # The POST, which was answered with 503, starts nothing now.
    assert service.profile(target.name, "?latest=true").body == stored.body
    assert not target.has_samply()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_deleted_while_the_operator_was_away(life: Install, target: Pipeline) -> None:
    """An object deleted while the operator was down: once it was missing in complete lists for the grace period, its
    recording is cancelled, and nothing is left in the pod or the journal."""
    name = profiles.make(target, durationSeconds=600)
    profiles.wait(target, name, "Recording", timeout=20)
    target.wait_samply()
    life.scale(0)
    assert target.has_samply(), "the recording doesn't need the operator"
    profiles.delete(target, name)
    life.scale(1)
    # Two complete lists, a minute apart.
    target.wait_untouched(timeout=150)
    wait_journal_empty(life)


# --------------------------------------------------------------------------------------------------- the pipeline


def test_its_pod_deleted(life: Install, target: Pipeline, service: Service) -> None:
    """The pod is deleted during its recording: Failed, PodDeleted, a remedy; the journal is empty."""
    name = profiles.make(target, ordinal=1, durationSeconds=60)
    profiles.wait(target, name, "Recording", timeout=20)
    kubectl.succeed("-n", target.namespace, "delete", "pod", target.pod(1), "--wait=false")
    failure = profiles.wait_failed(target, name, "PodDeleted", timeout=30)
    assert "wait until the pipeline runs again" in failure["remedy"]
    assert service.profile(target.name, "?ordinal=1&latest=true").problem()[2]["reason"] == "PodDeleted"
    wait_journal_empty(life)
    target.wait_ready()
    profiles.wait_succeeded(target, profiles.make(target, ordinal=1))


def test_its_container_restarted(life: Install, target: Pipeline) -> None:
    """The container restarts while it is recorded: Failed, ContainerRestarted, what to do; then it works again."""
    name = profiles.make(target, ordinal=1, durationSeconds=60)
    profiles.wait(target, name, "Recording", timeout=20)
    target.exec(1, "kill -TERM 1")
    failure = profiles.wait_failed(target, name, "ContainerRestarted", timeout=30)
    assert "kubectl describe pod" in failure["remedy"]
    wait_journal_empty(life)
    target.wait_ready()
    profiles.wait_succeeded(target, profiles.make(target, ordinal=1))


# ------------------------------------------------------------------------------------------------------ uninstall


@pytest.mark.parametrize(
    ("secs", "later"),
    [
        pytest.param(15, 25, id="15 s"),
        pytest.param(60, 70, id="60 s", marks=[pytest.mark.slow, pytest.mark.timeout(300)]),
    ],
)
def test_uninstalled_while_it_records(secs: int, later: int) -> None:
    """The release is uninstalled 5 s into a recording: at its end samply ends too, the pipeline continues; only the
    CRD, its objects and the volume are kept. Installed again, under this or another name, it serves what it had, and
    collects the recording."""
    with release.fresh_namespace("gone") as namespace:
        first = Install(namespace, f"first-{namespace[-8:]}", {"config": CONFIG})
        second = Install(
            namespace,
            f"other-{namespace[-8:]}",
            {"config": CONFIG, "persistence": {"existingClaim": first.claim}},
        )
        try:
            first.install()
            pipeline = pipelines.start(namespace, "demo")
            pipeline.wait_ready()
            _check_uninstall(first, pipeline, secs, later)
            first.uninstall()
            first.wait_gone()
            _check_other_name(second, pipeline)
        finally:
            first.uninstall()
            second.uninstall()


@pytest.mark.slow
def test_leftovers_of_a_removed_operator_are_cleaned_up() -> None:
    """No process, no zombie, no file, once the time to live is over."""
    config = {**CONFIG, "recording": {"remoteTtlSecs": 5, "copyDeadlineSecs": 5, "unreachableSecs": 10}}
    with release.fresh_namespace("gone") as namespace:
        install = Install(namespace, f"never-{namespace[-8:]}", {"config": config})
        try:
            install.install()
            pipeline = pipelines.start(namespace, "demo", replicas=1)
            pipeline.wait_ready()
            profiles.wait(pipeline, profiles.make(pipeline, durationSeconds=12), "Recording", timeout=20)
        finally:
            install.uninstall()
        install.wait_gone()
        kubectl.poll(lambda: not pipeline.has_samply(), timeout=30, what="samply has ended")
        assert any("/.samply-operator-" in line for line in pipeline.look())
        pipeline.wait_untouched(timeout=40)


def _check_uninstall(install: Install, pipeline: Pipeline, secs: int, later: int) -> None:
    kept = profiles.wait_succeeded(pipeline, profiles.make(pipeline, ordinal=1))
    name = profiles.make(pipeline, durationSeconds=secs)
    started = profiles.wait(pipeline, name, "Recording", timeout=20)["status"]["startedAt"]
    began = datetime.fromisoformat(started).timestamp()
    kubectl.poll(lambda: time.time() > began + 5, timeout=10, what="5 s of it")
    assert pipeline.has_samply()
    install.uninstall()
    gone = time.time()
    install.wait_gone()
    print(f"uninstalled {gone - began:.1f} s into it, its pod was gone at {time.time() - began:.1f} s")
    kubectl.poll(lambda: not pipeline.has_samply(), timeout=gone + later - time.time(), what="samply has ended")
    print(f"no samply any more at {time.time() - began:.1f} s, {time.time() - gone:.1f} s after the uninstall")
    # Its file waits in the pod to be fetched, and with it, asleep, the shell that removes it if nobody comes.
    kubectl.poll(
        lambda: (
            {line.partition(" ")[2] for line in pipeline.look() if line.startswith(tuple("123456789"))}
            <= {"S pipeline", "R pipeline", "S sh", "S sleep"}
        ),
        timeout=max(5, gone + later - time.time()),
        what=lambda: f"the pipeline runs, and nothing else but shells that wait: {pipeline.look()}",
    )
    kubectl.poll(lambda: not find_remains(install), timeout=20, what=lambda: f"nothing else: {find_remains(install)}")
    assert profiles.phase_of(profiles.get(pipeline, name)) in {"Recording", "Collecting"}
    claims = kubectl.succeed("-n", install.namespace, "get", "pvc", "-o", "name")
    assert claims.split() == [f"persistentvolumeclaim/{install.claim}"]

    install.install()
    profile = profiles.wait_succeeded(pipeline, name)
    assert profile["status"]["startedAt"] == started
    pipeline.wait_untouched()
    with install.open() as service:
        assert service.profile(pipeline.name, "?ordinal=1").headers["etag"] == tag_of(kept)
        assert service.profile(pipeline.name, "?ordinal=0").headers["etag"] == tag_of(profile)


def _check_other_name(install: Install, pipeline: Pipeline) -> None:
    stored = {item["spec"]["ordinal"]: tag_of(item) for item in profiles.find(pipeline)}
    install.install()
    with install.open() as service:
        for ordinal, tag in stored.items():
            assert service.profile(pipeline.name, f"?ordinal={ordinal}").headers["etag"] == tag


def tag_of(profile: profiles.Object) -> str:
    return f'"{profile["status"]["profile"]["sha256"]}"'


def find_remains(install: Install) -> list[str]:
    """All objects of the cluster that are the release's by label, by Helm's annotation or by name; not those that
    are meant to stay."""
    kinds = kubectl.succeed("api-resources", "--verbs=list", "-o", "name").split()
    wanted = [kind for kind in kinds if not kind.startswith(("events", "samplyprofiles.", "persistentvolume"))]
    listed = kubectl.succeed("get", ",".join(wanted), "-A", "-o", "json", "--ignore-not-found")
    items = json.loads(listed)["items"] if listed else []
    return [
        f"{item['kind']}/{item['metadata']['name']}"
        for item in items
        if item["kind"] != "CustomResourceDefinition" and _is_of(install, item["metadata"])
    ]


def _is_of(install: Install, metadata: dict[str, object]) -> bool:
    text = json.dumps({key: metadata.get(key) for key in ("name", "labels", "annotations")})
    return install.release in text


# ----------------------------------------------------------------------------------------------- at every instant


def wait_listed(service: Service, pipeline: str, name: str, state: str) -> None:
    """Exactly once, in this state."""
    seen: list[str] = []

    def is_listed() -> bool:
        seen[:] = [item["state"] for item in service.list_stored(pipeline) if item["name"] == name]
        return seen == [state]

    kubectl.poll(is_listed, timeout=15, what=lambda: f"{name} is listed as {state}; it is {seen}", pause=0.2)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_at_every_instant(life: Install, target: Pipeline, node: Node) -> None:
    """Operator and API are killed at 12 instants from the object's creation to past its end: each time exactly one good
    profile, or a reported failure; nothing is left behind, and no process stays stopped."""
    outcomes = []
    for step in range(12):
        name = profiles.make(target)
        made = time.monotonic()
        instant = step * 0.6
        kubectl.poll(lambda: time.monotonic() >= made + instant, timeout=10, what="the instant", pause=0.01)  # noqa: B023
        force_delete_pod(life, node)
        profile = profiles.wait(target, name, timeout=90)
        outcomes.append((instant, profile["status"].get("failure", {}).get("reason") or profiles.phase_of(profile)))
        target.wait_untouched(timeout=60)
        wait_journal_empty(life)
        with life.open() as service:
            # The operator of the deleted pod may have stored it a moment after the new api had read the volume.
            wait_listed(service, target.name, name, profiles.phase_of(profile))
    print(datetime.now(UTC), outcomes)
    assert {outcome for _, outcome in outcomes} == {"Succeeded"}, outcomes
