"""Authentication with the cluster's own tokens and reviews, a Secret that changes, and an identity provider."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from cluster import pipelines, release
from cluster.node import find_own_address
from cluster.release import Install, Service
from samply_operator.rules.access import credentials
from support import identity, kubectl
from support.identity import AUDIENCE, build_claims, sign

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(180)]

SECRET = "keys"
NAME = "guarded"
KNOWN = (503, "PipelineInteractionNotDeployed")
"""What a reader is told of a pipeline that is scaled to nothing: they were let in."""
HIDDEN = (404, "UnknownPipelineName")
TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """Serves public keys where pods reach this machine."""
    address = find_own_address()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = f"http://{address}:{self.server.server_port}"  # type: ignore[attr-defined]
            keys = {"keys": [identity.public_jwk(identity.rsa_key(), "one", alg="RS256")]}
            answer = keys if self.path == "/keys" else {"issuer": url, "jwks_uri": f"{url}/keys"}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer((address, 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{address}:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def guarded(issuer: str) -> Iterator[Install]:
    """A release that serves its own namespace and another one, with all three ways on; a pipeline of a name in each."""
    with release.fresh_namespace("other") as other:
        oidc = {
            "enabled": True,
            "issuer": issuer,
            "audience": AUDIENCE,
            "grants": [{"group": "sre", "verbs": ["get"], "namespaces": [other]}],
        }
        auth = {"oidc": oidc, "apiKeys": {"enabled": True, "secretName": SECRET}}
        with release.fresh_namespace("auth") as namespace:
            config = {"targets": {"namespaces": [namespace, other]}, "auth": auth}
            install = Install(namespace, values={"config": config})
            try:
                install.install()
                pipelines.start(namespace, NAME, replicas=0)
                pipelines.start(other, f"{NAME}-other", replicas=0)
                yield install
            finally:
                install.uninstall()


@pytest.fixture
def door(guarded: Install) -> Iterator[Service]:
    """Without a token; each call shows its own."""
    with guarded.open(token="") as service:
        yield service


def find_other(install: Install) -> str:
    return str(install.values["config"]["targets"]["namespaces"][1])


def show(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def ask(door: Service, token: str, name: str = NAME, method: str = "GET") -> tuple[int, str]:
    return door.profile(name, "", method, show(token)).problem()[:2]


def reach(door: Service, token: str, expected: tuple[int, str], timeout: float, name: str = NAME) -> float:
    """Seconds until the answer is so; rights and Secrets take a moment."""
    began, seen = time.monotonic(), [(0, "")]

    def is_so() -> bool:
        seen[0] = ask(door, token, name)
        return seen[0] == expected

    kubectl.poll(is_so, timeout=timeout, what=lambda: f"{expected}, last {seen[0]}", pause=0.1)
    return time.monotonic() - began


def test_requests_without_a_valid_token_are_rejected(guarded: Install, door: Service) -> None:
    """No token, an invented one, and a token of the cluster for another audience."""
    guarded.make_caller("reader", verbs="get")
    for headers in ({}, show("x.y.z"), show("apikey:0123"), show(credentials.build_key("no", bytes(32)))):
        answer = door.profile(NAME, headers=headers)
        assert answer.problem()[:2] == (401, "Unauthenticated")
        assert answer.headers["www-authenticate"] == "Bearer"
    wrong = guarded.make_token("reader", audience="https://kubernetes.default.svc.cluster.local")
    answer = door.profile(NAME, headers=show(wrong))
    assert answer.problem()[:2] == (401, "Unauthenticated")
    assert "not samply-operator" in json.loads(answer.body)["message"]
    assert door.call("GET", "/v0/config").status == 200


def test_rbac_decides_verb_by_verb(guarded: Install, door: Service) -> None:
    """`get` reads, but starts nothing; `create` starts; without `get` there is nothing to see."""
    for name, verbs in (("only-reads", "get"), ("starter", "get,create"), ("blind", "create,delete")):
        guarded.make_caller(name, guarded.namespace, verbs=verbs)
    reader, starter, blind = (guarded.make_token(name) for name in ("only-reads", "starter", "blind"))
    reach(door, reader, KNOWN, 20)
    reach(door, starter, KNOWN, 20)
    assert ask(door, reader, method="POST") == (403, "InsufficientPermissions")
    assert ask(door, starter, method="POST") == KNOWN, "the operator found no pod: it was allowed"
    assert ask(door, blind) == HIDDEN
    assert ask(door, blind, method="POST") == HIDDEN


def test_another_namespace_doesnt_exist(guarded: Install, door: Service) -> None:
    """Neither by name, nor in the list, nor for a POST."""
    guarded.make_caller("local", guarded.namespace, verbs="get")
    token, hidden = guarded.make_token("local"), f"{NAME}-other"
    reach(door, token, KNOWN, 20)
    assert ask(door, token, hidden) == ask(door, token, "absent") == HIDDEN
    assert ask(door, token, hidden, "POST") == ask(door, token, "absent", "POST") == HIDDEN
    listed = json.loads(door.call("GET", "/v0/pipelines", show(token)).body)
    assert {p["name"] for p in listed["pipelines"]} == {NAME}
    guarded.make_caller("both", guarded.namespace, find_other(guarded), verbs="get")
    reach(door, guarded.make_token("both"), KNOWN, 20, hidden)


def test_a_revoked_token_is_refused_within_15_s(guarded: Install, door: Service) -> None:
    """Its ServiceAccount is deleted while it is in use. For what acts, the 5 s of this service don't count."""
    guarded.make_caller("leaver", guarded.namespace, verbs="get,create")
    token = guarded.make_token("leaver")
    reach(door, token, KNOWN, 20)
    assert ask(door, token, method="POST") == KNOWN
    kubectl.succeed("-n", guarded.namespace, "delete", "serviceaccount", "leaver")
    took = reach(door, token, (401, "Unauthenticated"), 15)
    assert ask(door, token, method="POST") == (401, "Unauthenticated")
    print(f"a revoked token was refused after {took:.1f} s")


def test_a_right_that_was_taken_away_is_gone_within_15_s(guarded: Install, door: Service) -> None:
    guarded.make_caller("mover", guarded.namespace, verbs="get")
    token = guarded.make_token("mover")
    reach(door, token, KNOWN, 20)
    kubectl.succeed("-n", guarded.namespace, "delete", "rolebinding", f"{guarded.namespace}-mover")
    reach(door, token, HIDDEN, 15)


def test_a_removed_key_is_refused_within_5_s(guarded: Install, door: Service) -> None:
    """A new one is accepted just as soon, without a restart; the others stay valid."""
    key, other = credentials.build_key("ci", b"c" * 32), credentials.build_key("stays", b"s" * 32)
    guarded.put_key("stays", other, "get", "*", secret=SECRET)
    guarded.put_key("ci", key, "get", guarded.namespace, secret=SECRET)
    reach(door, key, KNOWN, 10)
    assert ask(door, key, f"{NAME}-other") == HIDDEN
    assert ask(door, key, method="POST") == (403, "InsufficientPermissions")
    assert ask(door, other, f"{NAME}-other") == KNOWN
    remove = json.dumps([{"op": "remove", "path": "/data/ci"}])
    kubectl.succeed("-n", guarded.namespace, "patch", "secret", SECRET, "--type", "json", "-p", remove)
    took = reach(door, key, (401, "Unauthenticated"), 5)
    assert ask(door, other) == KNOWN
    print(f"a removed key was refused after {took:.1f} s")


def test_a_jwt_of_an_identity_provider(guarded: Install, door: Service, issuer: str) -> None:
    """Both containers fetch its keys: `api` for what is read, the operator for what acts."""
    token = sign(build_claims(issuer, sub="alice", groups=["sre"]))
    name = f"{NAME}-other"
    reach(door, token, KNOWN, 20, name)
    assert ask(door, token) == HIDDEN, "its group is granted the other namespace"
    assert ask(door, token, name, "POST") == (403, "InsufficientPermissions")
    forged = sign(build_claims(issuer, sub="alice", groups=["sre"]), key=identity.rsa_key(number=1))
    assert ask(door, forged, name) == (401, "Unauthenticated")
    expired = sign(build_claims(issuer, groups=["sre"], exp=int(time.time()) - 15))
    assert ask(door, expired, name) == (401, "Unauthenticated")


def test_the_api_has_no_token(guarded: Install) -> None:
    """The container with the port cannot even see where the other container's token is mounted."""
    pod = guarded.pod()["metadata"]["name"]
    look = "import os; print(os.path.exists('" + TOKEN_FOLDER + "'), 'KUBECONFIG' in os.environ)"
    for container, expected in (("api", "False False"), ("operator", "True False")):
        said = kubectl.succeed("-n", guarded.namespace, "exec", pod, "-c", container, "--", "python3", "-c", look)
        assert said.strip() == expected, container


def test_the_audit_log_names_callers_and_holds_no_token(guarded: Install, door: Service) -> None:
    guarded.make_caller("audited", guarded.namespace, verbs="get")
    token = guarded.make_token("audited")
    reach(door, token, KNOWN, 20)
    assert ask(door, token, method="POST") == (403, "InsufficientPermissions")
    logs = kubectl.succeed("-n", guarded.namespace, "logs", guarded.deployment, "--all-containers", "--tail=-1")
    lines = [json.loads(line) for line in logs.splitlines() if '"audit"' in line]
    who = f"system:serviceaccount:{guarded.namespace}:audited"
    found = [line for line in lines if line.get("who") == who]
    assert [(line["decision"], line["verb"], line["way"]) for line in found] == [("Forbid", "create", "Kubernetes")]
    assert found[0]["request_id"]
    assert token not in logs
    assert token.split(".")[2] not in logs
