"""The product as a user installs it (Helm, its own namespace), and access to its Service."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.client
import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from chart import helm
from samply_operator.model import names
from samply_operator.rules.access import credentials
from support import kubectl, openapi

TAG = os.environ.get("SAMPLY_TEST_TAG", "dev")
"""Of the operator's image."""
KEYS = "samply-operator-api-keys"
"""The chart's default name of the Secret."""
CALLER = "caller"
"""The ServiceAccount whose token tests show."""


def apply_definitions() -> None:
    """Those of this tree, whichever release owns them. For a moment after a change the API server serves the old ones,
    and drops what is new."""
    path = str(helm.REPOSITORY / "manifests" / "crd.yaml")
    kubectl.succeed("apply", "--server-side", "--force-conflicts", "-f", path)
    short = {"baseline": {"percent": 50, "windowSeconds": 60}, "feldera": {"stat": "rss_bytes"}}
    spec = {"pipelines": {"all": True}, "when": {"metric": short}}
    body = {"apiVersion": names.API_VERSION, "kind": names.TRIGGER_KIND, "metadata": {"name": "probe"}, "spec": spec}
    create = ("-n", "default", "create", "--dry-run=server", "--validate=strict", "-f", "-")
    kubectl.poll(
        lambda: "at least 20 times everySeconds" in kubectl.run(*create, body=body).stderr,
        timeout=30,
        what="the new definition is served",
    )


@functools.cache
def choose_architecture() -> tuple[str, ...]:
    """Options of helm for images of the nodes' architecture, as hack/images builds them."""
    arch = kubectl.get("node")["items"][0]["metadata"]["labels"]["kubernetes.io/arch"]
    sets = (rf"nodeSelector.kubernetes\.io/arch={arch}", f"config.ephemeral.architectures={{{arch}}}")
    return tuple(f"--set={each}" for each in sets)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def problem(self) -> tuple[int, str, dict[str, Any]]:
        """Status, error code and details of an error; fails if the body hasn't the shape that all errors have."""
        body = json.loads(self.body)
        assert set(body) == {"message", "error_code", "details"}, body
        assert body["message"]
        assert body["details"].pop("request_id") == self.headers["x-request-id"]
        return self.status, body["error_code"], body["details"]


@dataclass
class Service:
    """The Service's door, through `kubectl port-forward`, which every cluster can do. Answers must be as documented."""

    port: int
    token: str = field(default="", repr=False)
    """Sent unless `call` is given other headers of that name."""
    host: str = "127.0.0.1"

    def call(self, method: str, path: str, headers: dict[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        with contextlib.closing(connection):
            own = {"Authorization": f"Bearer {self.token}"} if self.token else {}
            connection.request(method, path, headers=own | (headers or {}))
            response = connection.getresponse()
            answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        openapi.check(method, path, answer.status, answer.headers, answer.body)
        return answer

    def profile(
        self, pipeline: str, query: str = "", method: str = "GET", headers: dict[str, str] | None = None
    ) -> Answer:
        return self.call(method, f"/v0/pipelines/{quote(pipeline, safe='')}/samply_profile{query}", headers)

    def stored(self, pipeline: str, profile_id: str, what: str = "") -> Answer:
        """One profile by its id: its facts, or with `/profile` the file."""
        return self.call("GET", f"/v0/pipelines/{quote(pipeline, safe='')}/samply_profiles/{profile_id}{what}")

    def list_stored(self, pipeline: str) -> list[dict[str, Any]]:
        answer = self.call("GET", f"/v0/pipelines/{quote(pipeline, safe='')}/samply_profiles")
        assert answer.status == 200, answer
        found: list[dict[str, Any]] = json.loads(answer.body)["profiles"]
        return found

    def wait_operator(self, state: str, timeout: float = 30) -> None:
        """Until the API says that the operator is Connected or Away."""
        kubectl.poll(
            lambda: json.loads(self.call("GET", "/readyz").body)["operator"] == state,
            timeout=timeout,
            what=f"the operator is {state}",
        )


@dataclass
class Install:
    """One release in a namespace of its own."""

    namespace: str
    release: str = "samply-operator"
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of all its objects: the chart's rule."""
        return self.release if "samply-operator" in self.release else f"{self.release}-samply-operator"

    @property
    def deployment(self) -> str:
        return f"deployment/{self.name}"

    @property
    def selector(self) -> str:
        return f"app.kubernetes.io/instance={self.release},app.kubernetes.io/name=samply-operator"

    @property
    def claim(self) -> str:
        return f"{self.name}-profiles"

    def _run_helm(self, *arguments: str, values: Any = None) -> None:
        where = ("--namespace", self.namespace)
        done = helm.run(*arguments, *where, values=values, kubeconfig=os.environ["KUBECONFIG"])
        assert done.returncode == 0, done.stderr

    def install(self, *, is_awaited: bool = True) -> None:
        values = {
            "image": {"repository": "docker.io/library/samply-operator", "tag": TAG},
            "persistence": {"size": "500Mi"},
            **self.values,
        }
        self._run_helm("install", self.release, str(helm.CHART), *choose_architecture(), values=values)
        if is_awaited:
            self.wait()

    def wait(self) -> None:
        done = kubectl.run("-n", self.namespace, "rollout", "status", self.deployment, "--timeout=100s")
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{self.dump()}"

    def upgrade(self, **values: Any) -> None:
        """The same release with these values on top of its own."""
        self._run_helm("upgrade", self.release, str(helm.CHART), "--reuse-values", values=values)
        self.wait()

    def uninstall(self) -> None:
        """As a user does it, and whatever of it is there."""
        self._run_helm("uninstall", self.release, "--ignore-not-found")

    def scale(self, replicas: int) -> None:
        kubectl.succeed("-n", self.namespace, "scale", self.deployment, f"--replicas={replicas}")
        if replicas:
            self.wait()
        else:
            self.wait_gone()

    def wait_gone(self) -> None:
        kubectl.succeed("-n", self.namespace, "wait", "pod", "-l", self.selector, "--for=delete", "--timeout=60s")

    def pod(self) -> dict[str, Any]:
        """The one pod of the release."""
        items = kubectl.get("-n", self.namespace, "pod", "-l", self.selector)["items"]
        assert len(items) == 1, [item["metadata"]["name"] for item in items]
        found: dict[str, Any] = items[0]
        return found

    def container(self, name: str) -> dict[str, Any]:
        """The status of the operator's or the API's container."""
        statuses: list[dict[str, Any]] = self.pod()["status"]["containerStatuses"]
        return next(status for status in statuses if status["name"] == name)

    def make_caller(self, name: str = CALLER, *namespaces: str, verbs: str = "get,create,delete") -> None:
        """A ServiceAccount of the release's namespace that may do this with samplyprofiles: there and in the targets,
        unless `namespaces` say where."""
        targets = self.values.get("config", {}).get("targets", {}).get("namespaces") or [self.namespace]
        about = {"name": name, "namespace": self.namespace}
        wanted: list[dict[str, Any]] = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about}]
        for namespace in dict.fromkeys(namespaces or (self.namespace, *targets)):
            wanted += _build_role(name, verbs.split(","), namespace, self.namespace)
        kubectl.succeed("apply", "-f", "-", body={"kind": "List", "apiVersion": "v1", "items": wanted})

    def make_token(self, name: str = CALLER, *arguments: str, audience: str = "samply-operator") -> str:
        """As a user makes one."""
        return kubectl.succeed(
            "-n", self.namespace, "create", "token", name, "--audience", audience, *arguments
        ).strip()

    def put_key(self, name: str, key: str, verbs: str, *namespaces: str, secret: str = KEYS) -> None:
        """The command that `samply-operator key new` prints."""
        entry = credentials.build_entry(key, verbs.split(","), namespaces)
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": secret, "namespace": self.namespace},
            "data": {name: base64.b64encode(entry).decode()},
        }
        kubectl.succeed("apply", "--server-side", "--field-manager", f"samply-key-{name}", "-f", "-", body=body)

    @contextlib.contextmanager
    def open(self, token: str | None = None, *, pod: str = "") -> Iterator[Service]:
        """With a token of the caller that may do everything, unless another one is given; of one pod, or any."""
        if token is None:
            self.make_caller()
            token = self.make_token()
        target, number = (f"pod/{pod}", 8080) if pod else (f"service/{self.name}", 80)
        with self.forward(target, number) as port:
            yield Service(port, token)

    @contextlib.contextmanager
    def forward(self, target: str, port: int) -> Iterator[int]:
        """A port of this machine that leads there."""
        command = ["kubectl", "-n", self.namespace, "port-forward", target, f":{port}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            assert found, f"port-forward: {line}"
            yield int(found[1])
        finally:
            process.terminate()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def read_metrics(self) -> dict[str, float]:
        """Of both containers, by name and labels."""
        with (
            self.forward(self.deployment, 9090) as port,
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer,
        ):
            text = answer.read().decode()
        lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    @contextlib.contextmanager
    def open_with_key(self, *, pod: str = "") -> Iterator[Service]:
        """With an API key for everything. It counts also where a token of the cluster doesn't: while the operator is
        away, and of a namespace that is gone, with which all rights in it went."""
        key = credentials.build_key("everything", b"k" * credentials.RANDOM_BYTES)
        self.put_key("everything", key, "get,create,delete", "*")
        with self.open(key, pod=pod) as opened:
            kubectl.poll(lambda: opened.call("GET", "/v0/pipelines").status == 200, timeout=15, what="the key is known")
            yield opened

    def dump(self) -> str:
        """What a person would look at first."""
        pieces = [
            kubectl.run("-n", self.namespace, "get", "sprof,pod,pvc", "-o", "wide").stdout,
            kubectl.run("-n", self.namespace, "get", "events", "--sort-by=.lastTimestamp").stdout[-6000:],
        ]
        pieces += [
            kubectl.run("-n", self.namespace, "logs", self.deployment, "-c", container, "--tail=80").stdout
            for container in ("operator", "api")
        ]
        return "\n".join(pieces)


def _build_role(name: str, verbs: list[str], namespace: str, home: str) -> list[dict[str, Any]]:
    about = {"name": f"{home}-{name}", "namespace": namespace}
    api = "rbac.authorization.k8s.io"
    return [
        {
            "apiVersion": f"{api}/v1",
            "kind": "Role",
            "metadata": about,
            "rules": [{"apiGroups": ["samply.feldera.com"], "resources": ["samplyprofiles"], "verbs": verbs}],
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "RoleBinding",
            "metadata": about,
            "roleRef": {"apiGroup": api, "kind": "Role", "name": about["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": home}],
        },
    ]


@contextlib.contextmanager
def fresh_namespace(prefix: str) -> Iterator[str]:
    name = f"test-{prefix}-{base64.b32encode(os.urandom(5)).decode().lower()}"
    kubectl.succeed("create", "namespace", name)
    try:
        yield name
    finally:
        kubectl.run("delete", "namespace", name, "--wait=false")


@contextlib.contextmanager
def installed(prefix: str, **values: Any) -> Iterator[Install]:
    """A release in a fresh namespace."""
    with fresh_namespace(prefix) as namespace:
        install = Install(namespace, values=values)
        try:
            install.install()
            yield install
        finally:
            install.uninstall()
