"""The product as a user installs it (Helm, a namespace of its own) and pipelines to profile, on the real cluster."""

from __future__ import annotations

import base64
import contextlib
import http.client
import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from chart import helm
from samply_operator.model import names
from support import kubectl

REPOSITORY = Path(__file__).parents[2]
DEMO = REPOSITORY / "demo" / "pipeline" / "pipeline.yaml"
IMAGE = "docker.io/library/samply-demo-pipeline:dev"
BARE_IMAGE = "docker.io/library/samply-test-bare:dev"
LEFTOVERS = (
    "for d in /proc/[0-9]*; do IFS= read -r line 2>/dev/null <$d/stat || continue; "
    "name=${line#*\\(}; name=${name%)*}; set -- ${line##*) }; echo \"${d#/proc/} $1 $name\"; done; "
    "ls -da /tmp/.samply* /var/tmp/.samply* /dev/shm/.samply* 2>/dev/null; :"
)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Service:
    """The Service's door, through `kubectl port-forward`, which every cluster can do."""

    port: int

    def call(self, method: str, path: str, headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def profile(self, pipeline: str, query: str = "", method: str = "GET") -> Answer:
        return self.call(method, f"/v0/pipelines/{quote(pipeline, safe='')}/samply_profile{query}")


@dataclass
class Install:
    """One release in a namespace of its own."""

    namespace: str
    release: str = "samply-operator"
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def deployment(self) -> str:
        return f"deployment/{self.release}"

    def install(self) -> None:
        values = {
            "image": {"repository": "docker.io/library/samply-operator", "tag": "dev"},
            "persistence": {"size": "500Mi"},
            **self.values,
        }
        done = helm.run(
            *("install", self.release, str(helm.CHART), "--namespace", self.namespace),
            values=values,
            kubeconfig=os.environ["KUBECONFIG"],
        )
        assert done.returncode == 0, done.stderr
        self.wait()

    def wait(self) -> None:
        kubectl.succeed("-n", self.namespace, "rollout", "status", self.deployment, "--timeout=120s")

    def uninstall(self) -> None:
        helm.run("uninstall", self.release, "--namespace", self.namespace, kubeconfig=os.environ["KUBECONFIG"])

    def scale(self, replicas: int) -> None:
        kubectl.succeed("-n", self.namespace, "scale", self.deployment, f"--replicas={replicas}")
        if replicas:
            self.wait()
        else:
            selector = f"app.kubernetes.io/instance={self.release},app.kubernetes.io/name=samply-operator"
            kubectl.succeed("-n", self.namespace, "wait", "pod", "-l", selector, "--for=delete", "--timeout=60s")

    @contextlib.contextmanager
    def open(self) -> Iterator[Service]:
        forward = subprocess.Popen(
            ["kubectl", "-n", self.namespace, "port-forward", f"service/{self.release}", ":80"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert forward.stdout is not None
            line = forward.stdout.readline()
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            assert found, f"port-forward: {line}"
            yield Service(int(found[1]))
        finally:
            forward.terminate()
            forward.wait()

    def dump(self) -> str:
        pieces = [
            kubectl.run("-n", self.namespace, "get", "sprof,pod,pvc", "-o", "wide").stdout,
            kubectl.run("-n", self.namespace, "get", "events", "--sort-by=.lastTimestamp").stdout[-6000:],
        ]
        pieces += [
            kubectl.run("-n", self.namespace, "logs", self.deployment, "-c", container, "--tail=60").stdout
            for container in ("operator", "api")
        ]
        return "\n".join(pieces)


@dataclass(frozen=True)
class Pipeline:
    """A demo pipeline in a namespace."""

    namespace: str
    name: str
    stateful_set: str

    def pod(self, ordinal: int = 0) -> str:
        return f"{self.stateful_set}-{ordinal}"

    def exec(self, ordinal: int, script: str) -> str:
        return kubectl.succeed("-n", self.namespace, "exec", self.pod(ordinal), "--", "sh", "-c", script)

    def processes(self, ordinal: int = 0) -> list[str]:
        """`pid state name` of all processes but those of this look itself, and folders that a recording left."""
        lines = self.exec(ordinal, LEFTOVERS).splitlines()
        return [line for line in lines if not re.fullmatch(r"\d+ \S (sh|ls)", line)]

    def wait_ready(self) -> None:
        kubectl.succeed(
            *("-n", self.namespace, "rollout", "status", f"statefulset/{self.stateful_set}", "--timeout=90s"),
            timeout=100,
        )

    def annotate(self, kind: str, name: str, value: str) -> None:
        kubectl.succeed("-n", self.namespace, "annotate", kind, name, f"{names.TRIGGER}={value}", "--overwrite")


def render_pipeline(namespace: str, name: str, **changes: Any) -> tuple[Pipeline, list[dict[str, Any]]]:
    """The demo's manifests under another name. `changes`: image, replicas, capabilities."""
    stateful_set = f"pipeline-{uuid.uuid5(uuid.NAMESPACE_DNS, namespace + name)}"
    text = DEMO.read_text()
    old = yaml.safe_load(text.split("---")[0])["metadata"]["name"]
    objects = list(yaml.safe_load_all(text.replace(old, stateful_set).replace("pipeline: demo", f"pipeline: {name}")))
    spec = objects[1]["spec"]
    container = spec["template"]["spec"]["containers"][0]
    container["image"] = changes.get("image", IMAGE)
    spec["replicas"] = changes.get("replicas", 2)
    if "capabilities" in changes:
        container["securityContext"]["capabilities"] = {"add": changes["capabilities"]}
    if "resources" in changes:
        container["resources"] = changes["resources"]
    return Pipeline(namespace, name, stateful_set), objects


def start_pipeline(namespace: str, name: str, **changes: Any) -> Pipeline:
    pipeline, objects = render_pipeline(namespace, name, **changes)
    for body in objects:
        kubectl.succeed("-n", namespace, "apply", "-f", "-", body=body)
    return pipeline


@contextlib.contextmanager
def fresh_namespace(prefix: str) -> Iterator[str]:
    name = f"test-{prefix}-{base64.b32encode(os.urandom(5)).decode().lower()}"
    kubectl.succeed("create", "namespace", name)
    try:
        yield name
    finally:
        kubectl.run("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def install() -> Iterator[Install]:
    """One release for all tests that don't take it apart."""
    with fresh_namespace("main") as namespace:
        installed = Install(namespace)
        try:
            installed.install()
            yield installed
        finally:
            installed.uninstall()


@pytest.fixture(scope="session")
def pipeline(install: Install) -> Pipeline:
    started = start_pipeline(install.namespace, "demo")
    started.wait_ready()
    return started


@pytest.fixture(scope="session")
def service(install: Install) -> Iterator[Service]:
    with install.open() as opened:
        yield opened


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """What a person would look at first, under each failure."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    found = getattr(item, "funcargs", {}).get("install")
    if report.when == "call" and report.failed and isinstance(found, Install):
        report.sections.append(("cluster", found.dump()))


def list_profiles(namespace: str, selector: str = "") -> list[dict[str, Any]]:
    arguments = ["-n", namespace, "sprof", *(["-l", selector] if selector else [])]
    items: list[dict[str, Any]] = kubectl.get(*arguments)["items"]
    return items


def wait_finished(namespace: str, name: str, timeout: float = 90) -> dict[str, Any]:
    """As a user would: kubectl wait."""
    kubectl.succeed(
        *("-n", namespace, "wait", f"sprof/{name}", "--for=condition=Finished", f"--timeout={timeout:g}s"),
        timeout=timeout + 10,
    )
    return kubectl.get("-n", namespace, f"sprof/{name}")


def make_profile(namespace: str, pipeline: str, **spec: Any) -> str:
    """Apply a SamplyProfile; its name."""
    name = f"p-{uuid.uuid4().hex[:8]}"
    body = {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "metadata": {"name": name},
        "spec": {"pipeline": pipeline, **spec},
    }
    kubectl.succeed("-n", namespace, "apply", "-f", "-", body=body)
    return name
