"""Next to Feldera: pods as Feldera creates them, their names and keys, and doctor on healthy and broken installations.

Feldera itself is the tests' own (support/fake_feldera.py), on the node's address.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chart import helm
from cluster import pipelines, release
from cluster import profiles as objects
from cluster.node import find_own_address
from cluster.pipelines import Pipeline
from cluster.release import Install, Service
from samply_operator.model import names
from support import circuit_recording, kubectl
from support.fake_feldera import READER, STRANGER
from support.fake_feldera import Pipeline as FakePipeline
from support.threaded_feldera import ThreadedFeldera, serving

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

SECRET = "feldera-keys"
HEAP = gzip.compress(b"a heap profile")
PROXY = {
    "name": "linkerd-proxy",
    "image": pipelines.IMAGE,
    "imagePullPolicy": "IfNotPresent",
    "command": ["sh", "-c", "while :; do sleep 1; done"],
}
RENAMED_SECS = 40.0
"""Names are asked for every 15 s."""


@pytest.fixture(autouse=True)
def _found_by_kubectl(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin is installed beside this Python."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def read_id(pipeline: Pipeline) -> str:
    """Feldera's."""
    return pipeline.stateful_set.removeprefix("pipeline-")


@pytest.fixture(scope="module")
def feldera() -> Iterator[ThreadedFeldera]:
    with serving(find_own_address()) as found:
        yield found


@pytest.fixture(scope="module")
def install(feldera: ThreadedFeldera) -> Iterator[Install]:
    """With the chart's own selectors."""
    config = {
        "recording": {"mode": "InPlace"},
        "feldera": {"url": feldera.url, "secretName": SECRET},
        "auth": {"feldera": {"enabled": True}},
    }
    with release.fresh_namespace("feldera") as namespace:
        data = {"acme": base64.b64encode(READER.encode()).decode()}
        about = {"name": SECRET, "namespace": namespace}
        kubectl.succeed(
            "apply", "-f", "-", body={"apiVersion": "v1", "kind": "Secret", "metadata": about, "data": data}
        )
        install = Install(namespace, values={"config": config})
        try:
            install.install()
            yield install
        finally:
            install.uninstall()


def apply(namespace: str, name: str, **changes: Any) -> Pipeline:
    """Labels exactly as Feldera's, and none that names it. `changes` as in pipelines.render; `proxy` puts an injected
    container first, `sidecar` another one behind the pipeline's, which is called main then."""
    proxy, sidecar = changes.pop("proxy", False), changes.pop("sidecar", "")
    pipeline, manifests = pipelines.render(namespace, name, replicas=1, **changes)
    for raw in manifests:
        meta = [raw["metadata"], *([raw["spec"]["template"]["metadata"]] if raw["kind"] == "StatefulSet" else [])]
        selectors = [raw["spec"]["selector"], raw["spec"]["selector"].get("matchLabels", {})]
        for labels in (*(each["labels"] for each in meta), *selectors):
            labels.pop(names.PIPELINE, None)
        if proxy and raw["kind"] == "StatefulSet":
            raw["spec"]["template"]["spec"]["containers"].insert(0, PROXY)
        if sidecar and raw["kind"] == "StatefulSet":
            raw["spec"]["template"]["spec"]["containers"][0]["name"] = "main"
            raw["spec"]["template"]["spec"]["containers"].append({**PROXY, "name": sidecar})
    kubectl.succeed("-n", namespace, "apply", "-f", "-", body={"apiVersion": "v1", "kind": "List", "items": manifests})
    return pipeline


@pytest.fixture(scope="module")
def pipeline(install: Install, feldera: ThreadedFeldera) -> Pipeline:
    # Feldera knows it first: the operator asks for its name at once, and for what it was not told only 15 s later.
    coming, _ = pipelines.render(install.namespace, "orders")
    feldera.fake.pipelines.append(FakePipeline(read_id(coming), "orders"))
    feldera.fake.add(2, "orders", tenant="other")
    started = apply(install.namespace, "orders")
    started.wait_ready()
    return started


@pytest.fixture(scope="module")
def service(install: Install, pipeline: Pipeline) -> Iterator[Service]:
    """With a key of Feldera's that sees the pipeline there."""
    install.make_caller()
    token = install.make_token()
    with install.open(READER) as opened:
        for each in (READER, token):
            kubectl.poll(
                lambda each=each: "orders" in list_names(opened, each),
                timeout=RENAMED_SECS,
                what="the pipeline is called orders",
            )
        yield opened


def list_names(service: Service, token: str = READER) -> list[str]:
    answer = service.call("GET", "/v0/pipelines", {"Authorization": f"Bearer {token}"})
    return [found["name"] for found in json.loads(answer.body)["pipelines"]] if answer.status == 200 else []


def ask(service: Service, pipeline: str, token: str, query: str = "") -> tuple[int, bytes]:
    answer = service.profile(pipeline, query, headers={"Authorization": f"Bearer {token}"})
    return answer.status, answer.body


@pytest.fixture(scope="module")
def recorded(install: Install, pipeline: Pipeline, service: Service) -> dict[str, Any]:
    """By an annotation, as the pages say."""
    pipeline.annotate_set("4s")
    kubectl.poll(lambda: len(objects.find(pipeline)) == 1, timeout=15, what="there is one SamplyProfile")
    return objects.wait_succeeded(pipeline, objects.name_of(objects.find(pipeline)[0]))


def test_a_pipeline_of_felderas_is_found_named_and_recorded(
    recorded: dict[str, Any], pipeline: Pipeline, service: Service
) -> None:
    """With the chart's defaults; by its name there, and by its id."""
    assert recorded["spec"]["pipeline"] == "orders"
    status, body = ask(service, "orders", READER)
    assert (status, body[:2]) == (200, b"\x1f\x8b")
    assert ask(service, read_id(pipeline), READER) == (status, body)


def test_a_key_of_another_tenant_sees_nothing_of_it(recorded: dict[str, Any], service: Service) -> None:
    """Although that tenant has a pipeline of the same name."""
    assert ask(service, "orders", STRANGER)[0] == 404
    assert list_names(service, STRANGER) == []


def test_what_feldera_says_meanwhile_is_kept_with_a_profile(
    recorded: dict[str, Any], feldera: ThreadedFeldera, pipeline: Pipeline, service: Service
) -> None:
    """Whoever may read the profile may read it, and nobody else."""
    feldera.fake.pipelines[0].heap_profile = HEAP
    made = objects.wait_succeeded(pipeline, objects.make(pipeline, attachments=["Metrics", "HeapProfile"]))
    path = f"/v0/pipelines/orders/samply_profiles/{objects.uid_of(made)}"
    facts = json.loads(service.call("GET", path).body)
    assert [(each["kind"], each["problem"]) for each in facts["attachments"]] == [("Metrics", ""), ("HeapProfile", "")]
    metrics, heap = (each["file"]["href"] for each in facts["attachments"])
    assert gzip.decompress(service.call("GET", metrics).body).startswith(b"process_cpu_seconds_total")
    assert service.call("GET", heap).body == HEAP
    assert service.call("GET", heap, {"Authorization": f"Bearer {STRANGER}"}).status == 404


def test_a_start_with_felderas_key_is_decided_by_the_operator(recorded: dict[str, Any], service: Service) -> None:
    """The operator asks Feldera itself: the key is revoked while the api still has it cached."""
    for token, status in ((READER, 202), (STRANGER, 404)):
        answer = service.profile("orders", "?duration_secs=1", "POST", {"Authorization": f"Bearer {token}"})
        assert answer.status == status, answer.body


@pytest.mark.slow
def test_a_rename_in_feldera_is_followed(
    recorded: dict[str, Any], install: Install, feldera: ThreadedFeldera, service: Service
) -> None:
    """Stored profiles move along."""
    install.make_caller()
    token = install.make_token()
    before = ask(service, "orders", token)[1]
    feldera.fake.pipelines[0].name = "Orders_v2"
    try:
        kubectl.poll(
            lambda: ask(service, "Orders_v2", token)[0] == 200, timeout=RENAMED_SECS, what="the new name is known"
        )
        assert ask(service, "Orders_v2", token)[1] == before
        assert ask(service, "orders", token)[0] == 404
    finally:
        feldera.fake.pipelines[0].name = "orders"
        kubectl.poll(lambda: ask(service, "orders", token)[0] == 200, timeout=RENAMED_SECS, what="orders again")


def test_an_absent_feldera_opens_nothing_and_hides_nothing(
    recorded: dict[str, Any], install: Install, feldera: ThreadedFeldera, service: Service
) -> None:
    """Its keys get 503 once the answer of before is forgotten; a token of the cluster reads on, by the name."""
    install.make_caller()
    token = install.make_token()
    feldera.stop()
    try:
        kubectl.poll(lambda: ask(service, "orders", READER)[0] == 503, timeout=15, what="503 without Feldera")
        assert ask(service, "orders", token)[0] == 200
    finally:
        feldera.start()
    assert ask(service, "orders", READER)[0] == 200


def test_a_revoked_key_is_refused(recorded: dict[str, Any], feldera: ThreadedFeldera, service: Service) -> None:
    """Within the promise: 5 s, and what the machine takes."""
    key = feldera.fake.keys.pop(READER)
    try:
        kubectl.poll(lambda: ask(service, "orders", READER)[0] == 401, timeout=10, what="401 for a revoked key")
    finally:
        feldera.fake.keys[READER] = key
    kubectl.poll(lambda: ask(service, "orders", READER)[0] == 200, timeout=10, what="200 for a good key")


def test_a_name_on_the_set_alone_names_its_pods_too(
    recorded: dict[str, Any], install: Install, pipeline: Pipeline, service: Service
) -> None:
    """One pipeline, not two: its pod is the ordinal that the set has, and what is stored moves along."""
    install.make_caller()
    token = install.make_token()

    def annotate(what: str) -> None:
        kubectl.succeed("-n", install.namespace, "annotate", "statefulset", pipeline.stateful_set, what)

    def is_one() -> bool:
        answer = service.call("GET", "/v0/pipelines", {"Authorization": f"Bearer {token}"})
        found = {each["name"]: each["ordinals"] for each in json.loads(answer.body)["pipelines"]}
        return set(found) == {"Mine_v1"} and [o["status"] for o in found["Mine_v1"]] == ["Running"]

    annotate(f"{names.PIPELINE}=Mine_v1")
    try:
        kubectl.poll(is_one, timeout=RENAMED_SECS, what="one pipeline called Mine_v1")
        assert ask(service, "Mine_v1", token)[0] == 200
        assert ask(service, "orders", READER)[0] == 200, "Feldera's name counts for whom Feldera knows"
    finally:
        annotate(f"{names.PIPELINE}-")
        kubectl.poll(lambda: ask(service, "orders", token)[0] == 200, timeout=RENAMED_SECS, what="orders again")


def test_an_injected_proxy_is_not_what_is_recorded(install: Install) -> None:
    """It is the pod's first container."""
    meshed = apply(install.namespace, "meshed", proxy=True)
    meshed.wait_ready()
    called = replace(meshed, name=read_id(meshed))
    ended = objects.wait(called, objects.make(called, preflightOnly=True))
    assert ended["status"]["target"]["container"] == "pipeline", ended["status"]
    meshed.delete()


def test_a_guessed_container_is_reported(install: Install) -> None:
    """None has the name that Feldera uses, and there are two candidates."""
    guessed = apply(install.namespace, "guessed", sidecar="audit")
    guessed.wait_ready()
    called = replace(guessed, name=read_id(guessed))
    ended = objects.wait_succeeded(called, objects.make(called, durationSeconds=1))
    assert ended["status"]["target"]["container"] == "main", ended["status"]
    assert "Container main was guessed" in ended["status"]["warnings"][0]
    guessed.delete()


def test_an_annotation_on_an_unwatched_object_is_reported(install: Install) -> None:
    """In an Event, with the selector that would match."""
    body = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": install.namespace, "annotations": {names.TRIGGER: "5s"}},
        "spec": {
            "serviceName": "db",
            "replicas": 0,
            "selector": {"matchLabels": {"app": "db"}},
            "template": {
                "metadata": {"labels": {"app": "db"}},
                "spec": {"containers": [{"name": "db", "image": pipelines.IMAGE}]},
            },
        },
    }
    kubectl.succeed("apply", "-f", "-", body=body)
    told = kubectl.poll(
        lambda: objects.find_events(install.namespace, "db", "NotWatched"), timeout=RENAMED_SECS, what="an Event on db"
    )
    assert '"app=db"' in told[0]
    found = examine(install)["Selector"]
    assert (found["status"], "db" in found["message"]) == ("Failed", True)
    kubectl.succeed("-n", install.namespace, "delete", "statefulset", "db")


# -------------------------------------------------------------------------------------------------------------- doctor


def examine(install: Install, *arguments: str, code: int | None = None) -> dict[str, dict[str, Any]]:
    """By area, the worst of each."""
    where = ("-n", install.namespace, "--service", f"{install.namespace}/{install.name}")
    done = kubectl.run("samply", "doctor", *where, "-o", "json", *arguments)
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    assert done.returncode == (1 if report["status"] == "Failed" else 0), done.stderr
    assert code is None or done.returncode == code, done.stdout
    order = ("Passed", "Warning", "Unknown", "Failed")
    ranked = sorted(report["checks"], key=lambda check: order.index(check["status"]))
    for check in report["checks"]:
        assert check["status"] == "Passed" or check["remedy"], check
    return {check["area"]: check for check in ranked}


def test_doctor_finds_nothing_wrong(install: Install, pipeline: Pipeline, service: Service) -> None:
    """Every area passes: the pod, the claim, the rights, the names, the node's kernel and its image, and Feldera."""
    found = examine(install, code=0)
    assert {area: check["status"] for area, check in found.items()} == dict.fromkeys(
        ("Operator", "Volume", "Rights", "Selector", "Names", "Kernel", "PodSecurity", "HelperImage", "Feldera"),
        "Passed",
    )
    left = kubectl.get("-n", install.namespace, "pod", "-l", "app.kubernetes.io/managed-by=kubectl-samply")["items"]
    assert all("deletionTimestamp" in raw["metadata"] for raw in left), "its probe is gone"


def test_doctor_over_http(install: Install, pipeline: Pipeline, service: Service) -> None:
    """Only for callers who may read everything that is watched."""
    install.make_caller()
    found = examine(install, "--no-probe", "--service-account", release.CALLER)
    assert found["Rights"]["status"] == "Passed"
    install.make_caller("stranger", install.namespace, verbs="list")
    refused = service.call("GET", "/v0/doctor", {"Authorization": f"Bearer {install.make_token('stranger')}"})
    assert refused.problem()[:2] == (403, "InsufficientPermissions")
    assert service.call("GET", "/v0/doctor").problem()[:2] == (403, "InsufficientPermissions"), "one pipeline isn't all"


def test_doctor_on_what_is_broken_around_it(
    install: Install, feldera: ThreadedFeldera, pipeline: Pipeline, service: Service
) -> None:
    """Revoked rights, a revoked key, and a namespace that does not admit PERFMON: each with its remedy, and the other
    checks as before."""
    binding = kubectl.get("-n", install.namespace, "rolebinding", f"{install.namespace}:{install.name}")
    key = feldera.fake.keys.pop(READER)
    level = "pod-security.kubernetes.io/enforce"
    kubectl.succeed("label", "namespace", install.namespace, f"{level}=baseline")
    kubectl.succeed("-n", install.namespace, "delete", "rolebinding", binding["metadata"]["name"])
    try:
        found = examine(install, "--no-probe", code=1)
        assert found["Rights"]["status"] == "Failed"
        assert "may not" in found["Rights"]["message"]
        assert (found["Feldera"]["status"], "acme" in found["Feldera"]["message"]) == ("Failed", True)
        assert READER not in json.dumps(found)
        assert found["Volume"]["status"] == "Passed"
        assert found["PodSecurity"]["status"] in {"Failed", "Unknown"}, "the right to read the namespace went too"
    finally:
        feldera.fake.keys[READER] = key
        binding["metadata"] = {k: binding["metadata"][k] for k in ("name", "namespace", "labels", "annotations")}
        kubectl.succeed("apply", "-f", "-", body=binding)
    found = examine(install, "--no-probe", code=1)
    assert (found["Rights"]["status"], found["PodSecurity"]["status"]) == ("Passed", "Failed")
    kubectl.succeed("label", "namespace", install.namespace, f"{level}-")


NOTHING_MATCHES = "no StatefulSet in these namespaces matches config.targets.podSelector"


def read_notes(install: Install) -> str:
    """What helm said after the installation."""
    done = helm.run(
        "get", "notes", install.release, "--namespace", install.namespace, kubeconfig=os.environ["KUBECONFIG"]
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("values", "area", "said"),
    [
        pytest.param(
            {"config": {"targets": {"podSelector": "app=none"}}}, "Selector", "may be pipelines", id="selector"
        ),
        pytest.param(
            {"config": {"ephemeral": {"image": "registry.invalid/none:1"}}}, "HelperImage", "cannot pull", id="image"
        ),
        pytest.param({"config": {"feldera": {"url": "http://127.0.0.1:9"}}}, "Feldera", "cannot be reached", id="url"),
    ],
)
@pytest.mark.slow
def test_doctor_on_values_that_are_wrong(
    install: Install, pipeline: Pipeline, values: dict[str, Any], area: str, said: str
) -> None:
    with release.installed(f"doctor-{area.lower()}", config={**values["config"], "targets": {
        "namespaces": [install.namespace], **values["config"].get("targets", {}),
    }}) as broken:  # fmt: skip
        found = examine(broken, code=1)[area]
        assert (found["status"], said in found["message"]) == ("Failed", True), found
        assert (NOTHING_MATCHES in read_notes(broken)) == (area == "Selector")


def test_doctor_on_a_release_whose_claim_waits() -> None:
    """The operator can't be asked: it is seen from outside."""
    with release.fresh_namespace("doctor") as namespace:
        broken = Install(namespace, values={"persistence": {"storageClass": "no-such-class"}})
        try:
            broken.install(is_awaited=False)
            kubectl.poll(
                lambda: bool(kubectl.get("-n", namespace, "pod", "-l", broken.selector)["items"]), timeout=30,
                what="there is a pod",
            )  # fmt: skip
            found = examine(broken, "--no-probe", code=1)
            assert (found["Volume"]["status"], "no-such-class" in found["Volume"]["message"]) == ("Failed", True)
        finally:
            broken.uninstall()


def test_mode_pipeline_stores_the_pipelines_own_profile(
    feldera: ThreadedFeldera, pipeline: Pipeline, service: Service
) -> None:
    """A file with the engine's markers, asked for by operator over HTTP, with the names that Feldera gave."""
    own = next(each for each in feldera.fake.pipelines if each.id == read_id(pipeline))
    own.profile, own.ends_by_itself = circuit_recording.make(), True
    own.graph, own.circuit_profile = circuit_recording.GRAPH, circuit_recording.CIRCUIT
    name = objects.make(pipeline, mode="Pipeline", durationSeconds=2)
    status = objects.wait_succeeded(pipeline, name)["status"]
    assert (status["target"]["mode"], feldera.fake.started) == ("Pipeline", [("orders", 0, 2)])
    path = f"/v0/pipelines/orders/samply_profiles/{status['profile']['id']}/summary?by=operator"
    answer = service.call("GET", path, {"Authorization": f"Bearer {READER}"})
    assert answer.status == 200, answer
    notes = {label["name"]: label["note"] for label in json.loads(answer.body)["labels"]}
    assert notes["Map nn2"] == "view totals"


def test_a_backlog_in_feldera_is_recorded_once(feldera: ThreadedFeldera, pipeline: Pipeline, service: Service) -> None:
    """A SamplyTrigger reads the pipeline's stats, until the backlog is over."""
    release.apply_definitions()
    own = next(each for each in feldera.fake.pipelines if each.id == read_id(pipeline))
    own.global_metrics["buffered_input_records"] = 5000
    metric = {"feldera": {"stat": "buffered_input_records"}, "above": 1000, "everySeconds": 5}
    spec = {"pipelines": {"names": ["orders"]}, "when": {"metric": metric}, "template": {"durationSeconds": 1}}
    body = {"apiVersion": names.API_VERSION, "kind": names.TRIGGER_KIND, "metadata": {"name": "backlog"}, "spec": spec}
    kubectl.succeed("-n", pipeline.namespace, "create", "--validate=strict", "-f", "-", body=body)

    def read_status() -> dict[str, Any]:
        found: dict[str, Any] = kubectl.get("-n", pipeline.namespace, "strigger/backlog").get("status", {})
        return found

    try:
        kubectl.poll(lambda: read_status().get("fired"), timeout=45, what=lambda: f"it has fired: {read_status()}")
        assert read_status()["value"] == "5000 (orders/0)"
        assert [each["fired"] for each in read_status()["exceeding"]] == [True]
        (item,) = (i for i in objects.find(pipeline) if i["metadata"].get("labels", {}).get(names.MADE_BY) == "backlog")
        ended = objects.wait_succeeded(pipeline, objects.name_of(item))
        assert ended["metadata"]["annotations"][names.CAUSE].startswith("buffered_input_records > 1000: 5000, since ")
        own.global_metrics["buffered_input_records"] = 0
        kubectl.poll(lambda: "exceeding" not in read_status(), timeout=30, what="the backlog is over")
        assert read_status()["fired"] == 1
    finally:
        own.global_metrics.clear()
        kubectl.run("-n", pipeline.namespace, "delete", "strigger", "backlog")
