"""The operator authorizes actions by the bearer alone: tokens of the cluster, and how their reviews are used."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from samply_operator.control.auth import authorizer as authorizer_
from samply_operator.control.auth.authorizer import Authorizer
from samply_operator.control.auth.credentials import CredentialSource
from samply_operator.control.auth.jwks import KeySet
from samply_operator.control.auth.local_auth import LocalAuthenticator
from samply_operator.control.client import OperatorClient
from samply_operator.control.messages import Credentials, ReviewReply, ReviewRequest, StartAllRequest, StartRequest
from samply_operator.control.server import ControlServer
from samply_operator.errors import (
    AccessUndecided,
    AmbiguousPipeline,
    Forbidden,
    KubeUnavailable,
    Unauthenticated,
    UnknownPipeline,
    UnknownProfile,
)
from samply_operator.feldera.client import Login
from samply_operator.kube import objects, reviews
from samply_operator.logs import AUDIT, FIELDS
from samply_operator.rules.access import permissions
from samply_operator.settings import Auth
from samply_operator.triggers.alerts import Alerts
from support.fake_cluster import FakeCluster
from support.operator_process import NAMESPACE, OperatorProcess, add_pipeline

ALICE = "system:serviceaccount:prod:alice"


@dataclass
class Kubernetes:
    """Reviews: the user of each token, and the rights of each user."""

    tokens: dict[str, str] = field(default_factory=lambda: {"token": ALICE})
    rights: set[tuple[str, str, str]] = field(default_factory=set)
    """(user, verb, namespace)"""
    error: Exception | None = None
    delay_secs: float = 0.0
    asked: list[tuple[str, ...]] = field(default_factory=list)

    async def create(self, path: str, body: Mapping[str, Any], *, timeout_secs: float = 0) -> dict[str, Any]:
        await asyncio.sleep(self.delay_secs)
        if self.error is not None:
            raise self.error
        spec = body["spec"]
        if path == reviews.TOKEN_REVIEWS:
            self.asked.append(("token",))
            user = self.tokens.get(spec["token"])
            if user is None:
                return {"status": {"error": "invalid bearer token"}}
            return {"status": {"authenticated": True, "audiences": spec["audiences"], "user": {"username": user}}}
        where = spec["resourceAttributes"]
        self.asked.append((where["verb"], where["namespace"]))
        return {"status": {"allowed": (spec["user"], where["verb"], where["namespace"]) in self.rights}}

    def allow(self, *verbs: str, namespace: str = NAMESPACE) -> None:
        self.rights |= {(ALICE, verb, namespace) for verb in verbs}


@pytest.fixture
def kubernetes() -> Kubernetes:
    return Kubernetes()


def build_authorizer(kubernetes: Kubernetes, auth: Auth | None = None) -> Authorizer:
    auth = auth or Auth()
    return Authorizer(auth, kubernetes, LocalAuthenticator(auth, KeySet(auth.oidc), Credentials), "home")


async def test_decisions_match_the_reviews(kubernetes: Kubernetes) -> None:
    kubernetes.allow("get", namespace="a")
    kubernetes.allow("get", "create", namespace="b")
    who = await build_authorizer(kubernetes).identify(Login("token"), ("get", "create"), ("a", "b", "c"))
    assert (who.subject, who.way, who.readable) == (ALICE, "Kubernetes", {"a", "b"})
    assert [who.may("create", n) for n in "abc"] == [False, True, False]
    assert sorted(kubernetes.asked) == sorted([("token",), *((v, n) for v in ("get", "create") for n in "abc")])


async def test_nothing_is_remembered(kubernetes: Kubernetes) -> None:
    kubernetes.allow("get", namespace="a")
    authorizer = build_authorizer(kubernetes)
    assert (await authorizer.identify(Login("token"), ("get",), ("a",))).may("get", "a")
    kubernetes.rights.clear()
    assert not (await authorizer.identify(Login("token"), ("get",), ("a",))).may("get", "a")
    kubernetes.tokens.clear()
    with pytest.raises(Unauthenticated):
        await authorizer.identify(Login("token"), ("get",), ("a",))


async def test_an_unknown_name_costs_as_many_reviews_as_a_hidden_one(kubernetes: Kubernetes) -> None:
    """So that timing does not distinguish it from a hidden one; and it grants nothing."""
    kubernetes.allow("get", "create", namespace="home")
    who = await build_authorizer(kubernetes).identify(Login("token"), ("get", "create"), ())
    assert kubernetes.asked == [("token",), ("get", "home"), ("create", "home")]
    assert who.readable == frozenset()


@pytest.mark.parametrize("bearer", ["", "unknown", "a b", "apikey:x", "samply_ci_00"])
async def test_an_unknown_bearer_is_unauthenticated(kubernetes: Kubernetes, bearer: str) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await build_authorizer(kubernetes).identify(Login(bearer), ("get",), ("a",))
    assert "kubectl create token" in caught.value.remedy
    assert bearer == "" or bearer not in str(caught.value)


async def test_a_review_timeout_is_not_a_grant(kubernetes: Kubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorizer_, "WAIT_SECS", 0.05)
    kubernetes.delay_secs = 60
    with pytest.raises(AccessUndecided):
        await build_authorizer(kubernetes).identify(Login("token"), ("get",), ("a",))


async def test_no_reviews_when_authentication_is_off(kubernetes: Kubernetes) -> None:
    auth = Auth(unsafe_let_anyone_in_without_authentication=True)
    assert await build_authorizer(kubernetes, auth).identify(Login(""), ("get",), ("a",)) is permissions.ANYBODY
    assert kubernetes.asked == []


# ----------------------------------------------------------------------------------------------- calls that act


@pytest.fixture
async def client(
    operator: OperatorProcess, kubernetes: Kubernetes, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[OperatorClient]:
    path = str(tmp_path_factory.mktemp("s") / "c.sock")
    source = CredentialSource(operator.cluster, NAMESPACE, now=time.time)
    alerts = Alerts(operator.engine, operator.triggers)
    server = ControlServer(
        operator.engine, operator.requests, path, source, build_authorizer(kubernetes), alerts=alerts
    )
    await server.start()
    async with OperatorClient(path) as client:
        yield client
    await server.close()


def find_decisions(caplog: pytest.LogCaptureFixture) -> list[dict[str, str]]:
    return [getattr(record, FIELDS) for record in caplog.records if record.name == AUDIT]


async def test_the_requester_is_in_the_status_and_the_audit_log(
    cluster: FakeCluster,
    operator: OperatorProcess,
    kubernetes: Kubernetes,
    client: OperatorClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    kubernetes.allow("get", "create")
    add_pipeline(cluster)
    reply = await client.start(Login("token"), StartRequest("a", duration_secs=600, wait_secs=20))
    assert reply.state == "Recording"
    await operator.reach(lambda: operator.find_status(reply.name).get("requestedBy"))
    assert operator.find_status(reply.name)["requestedBy"] == f"Kubernetes/{ALICE}"
    (line,) = find_decisions(caplog)
    assert line == {
        "event": "audit",
        "decision": "Allow",
        "verb": "create",
        "who": ALICE,
        "way": "Kubernetes",
        "pipeline": "a",
        "namespace": NAMESPACE,
    }


async def test_failures_are_recorded_with_the_requester_too(
    cluster: FakeCluster, operator: OperatorProcess, kubernetes: Kubernetes, client: OperatorClient
) -> None:
    kubernetes.allow("get", "create")
    (container,) = add_pipeline(cluster)
    container.facts["max_rate"] = "1"
    reply = await client.start(Login("token"), StartRequest("a", wait_secs=20))
    assert reply.state == "Failed"
    await operator.reach_phase(reply.name, "Failed")
    assert operator.find_status(reply.name)["requestedBy"] == f"Kubernetes/{ALICE}"


@pytest.mark.parametrize(
    ("bearer", "verbs", "error", "decision"),
    [
        pytest.param("", ("get", "create", "delete"), Unauthenticated, "Unauthenticated", id="no token"),
        pytest.param("old", ("get", "create", "delete"), Unauthenticated, "Unauthenticated", id="a revoked token"),
        pytest.param("token", ("get",), Forbidden, "Forbid", id="may only read"),
        pytest.param("token", ("create", "delete"), UnknownPipeline, "Hide", id="may not read"),
        pytest.param("token", (), UnknownPipeline, "Hide", id="may nothing"),
    ],
)
async def test_an_unauthorized_caller_starts_nothing(
    cluster: FakeCluster,
    operator: OperatorProcess,
    kubernetes: Kubernetes,
    client: OperatorClient,
    caplog: pytest.LogCaptureFixture,
    bearer: str,
    verbs: tuple[str, ...],
    error: type[Exception],
    decision: str,
) -> None:
    caplog.set_level(logging.INFO)
    kubernetes.allow(*verbs)
    add_pipeline(cluster)
    for call in (
        client.start(Login(bearer), StartRequest("a", wait_secs=5)),
        client.start_all(Login(bearer), StartAllRequest("a", wait_secs=5)),
        client.preflight(Login(bearer), StartRequest("a", wait_secs=5)),
    ):
        with pytest.raises(error):
            await call
    assert operator.list_profiles() == []
    assert [line["decision"] for line in find_decisions(caplog)] == [decision] * 3


async def test_an_unauthorized_caller_stops_and_deletes_nothing(
    cluster: FakeCluster, operator: OperatorProcess, kubernetes: Kubernetes, client: OperatorClient
) -> None:
    """Stopping needs `create`, deleting `delete`; without read access the profile appears not to exist."""
    kubernetes.allow("get", "create")
    add_pipeline(cluster)
    started = await client.start(Login("token"), StartRequest("a", duration_secs=600, wait_secs=20))
    with pytest.raises(Forbidden):
        await client.delete(Login("token"), started.id)
    kubernetes.rights = {(ALICE, "get", NAMESPACE), (ALICE, "delete", NAMESPACE)}
    with pytest.raises(Forbidden):
        await client.stop(Login("token"), started.id)
    kubernetes.rights = {(ALICE, "delete", NAMESPACE), (ALICE, "create", NAMESPACE)}
    for call in (client.stop(Login("token"), started.id), client.delete(Login("token"), started.id)):
        with pytest.raises(UnknownProfile) as hidden:
            await call
    with pytest.raises(UnknownProfile) as absent:
        await client.delete(Login("token"), started.id[:-4] + "0000")
    assert hidden.value.message.replace(started.id, "") == absent.value.message.replace(started.id[:-4] + "0000", "")
    assert started.id in operator.engine.runs
    assert objects.samply_profiles(NAMESPACE, started.name) in cluster.objects
    kubernetes.allow("get")
    assert (await client.delete(Login("token"), started.id)).state == "Cancelling"


async def test_a_name_in_two_namespaces_means_the_readable_one(
    cluster: FakeCluster, operator: OperatorProcess, kubernetes: Kubernetes, client: OperatorClient
) -> None:
    add_pipeline(cluster)
    raw = cluster.objects[objects.stateful_sets(NAMESPACE, "pipeline-a")]
    cluster.put(
        objects.stateful_sets("other", "pipeline-a"),
        {**raw, "metadata": {"namespace": "other", "name": "pipeline-a"}},
    )
    kubernetes.allow("get", "create")
    kubernetes.allow("get", "create", namespace="other")
    with pytest.raises(AmbiguousPipeline) as caught:
        await client.start(Login("token"), StartRequest("a", wait_secs=5))
    assert caught.value.details["namespaces"] == ["other", NAMESPACE]
    kubernetes.rights -= {(ALICE, "get", "other")}
    reply = await client.start(Login("token"), StartRequest("a", duration_secs=600, wait_secs=20))
    assert reply.namespace == NAMESPACE


async def test_a_review_that_fails_starts_nothing(
    cluster: FakeCluster, operator: OperatorProcess, kubernetes: Kubernetes, client: OperatorClient
) -> None:
    add_pipeline(cluster)
    kubernetes.error = KubeUnavailable("no answer")
    with pytest.raises(AccessUndecided):
        await client.start(Login("token"), StartRequest("a", wait_secs=5))
    assert operator.list_profiles() == []


async def test_a_review_over_the_socket(kubernetes: Kubernetes, client: OperatorClient) -> None:
    kubernetes.allow("get", "create", namespace="a")
    kubernetes.allow("create", namespace="b")
    reply = await client.review(Login("token"), ReviewRequest(("get", "create"), ("a", "b")))
    assert reply == ReviewReply(ALICE, {"get": ("a",), "create": ("a",)})
    with pytest.raises(Unauthenticated):
        await client.review(Login("old"), ReviewRequest(("get",), ("a",)))
