"""The operator authorizes callers known to Feldera itself: it asks Feldera with their own login."""

from __future__ import annotations

import copy
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from samply_operator.control.auth.authorizer import Authorizer
from samply_operator.control.auth.credentials import CredentialSource
from samply_operator.control.auth.jwks import KeySet
from samply_operator.control.auth.local_auth import LocalAuthenticator
from samply_operator.control.client import OperatorClient
from samply_operator.control.messages import Credentials, StartAllRequest, StartRequest, SupportBundleRequest
from samply_operator.control.server import ControlServer
from samply_operator.errors import AccessUndecided, Forbidden, Unauthenticated, UnknownPipeline, UnknownProfile
from samply_operator.feldera.client import FelderaClient, Login
from samply_operator.kube import objects
from samply_operator.model import names
from samply_operator.model.check import Check
from samply_operator.settings import Auth, FelderaWay
from samply_operator.triggers.alerts import Alerts
from support.fake_cluster import FakeCluster
from support.fake_feldera import READER, STRANGER, FakeFeldera, make_pipeline_id, serve_two_tenants
from support.operator_process import NAMESPACE, OperatorProcess, add_pipeline

ID = make_pipeline_id(1)
HOLDER, OTHER = Login(READER), Login(STRANGER)


class NoReviews:
    """Kubernetes is not asked about Feldera's keys."""

    async def create(self, path: str, body: Any, **_: Any) -> dict[str, Any]:
        raise AssertionError(path)


@pytest.fixture
async def feldera() -> AsyncIterator[FakeFeldera]:
    async with serve_two_tenants() as feldera:
        yield feldera


@pytest.fixture
async def client(
    operator: OperatorProcess, feldera: FakeFeldera, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[OperatorClient]:
    async with serving(operator, feldera, tmp_path_factory, FelderaWay(enabled=True)) as client:
        yield client


class serving:  # noqa: N801 - used as a function
    def __init__(self, operator: OperatorProcess, feldera: FakeFeldera, folders: Any, way: FelderaWay) -> None:
        self._operator, self._feldera = operator, FelderaClient(feldera.url)
        self._auth, self._path = Auth(feldera=way), str(folders.mktemp("s") / "c.sock")

    async def __aenter__(self) -> OperatorClient:
        await self._feldera.__aenter__()
        callers = LocalAuthenticator(self._auth, KeySet(self._auth.oidc), Credentials)
        reviewer: Any = NoReviews()
        authorizer = Authorizer(self._auth, reviewer, callers, "home", self._feldera)
        source = CredentialSource(self._operator.cluster, NAMESPACE, now=time.time)

        async def examine() -> tuple[Check, ...]:
            return (Check("Rights", "Passed", "All."),)

        self._server = ControlServer(
            self._operator.engine, self._operator.requests, self._path, source, authorizer,
            namespaces=(NAMESPACE,), examiner=examine, alerts=Alerts(self._operator.engine, self._operator.triggers),
        )  # fmt: skip
        await self._server.start()
        self._client = OperatorClient(self._path)
        return await self._client.__aenter__()

    async def __aexit__(self, *error: Any) -> None:
        await self._client.__aexit__(*error)
        await self._server.close()
        await self._feldera.__aexit__(*error)


def add(cluster: FakeCluster, pipeline_id: str = ID) -> None:
    """The demo pipeline `a`, with the labels that Feldera sets."""
    add_pipeline(cluster)
    for path in (objects.stateful_sets(NAMESPACE, "pipeline-a"), objects.pods(NAMESPACE, "pipeline-a-0")):
        raw = copy.deepcopy(cluster.objects[path])  # its labels are those of all tests
        metas = [raw["metadata"], *([raw["spec"]["template"]["metadata"]] if "template" in raw["spec"] else [])]
        for meta in metas:
            meta.setdefault("labels", {})[names.FELDERA_ID] = f"pipeline-{pipeline_id}"
        cluster.put(path, raw)


async def test_a_start_by_felderas_name_records_the_pipeline_of_its_id(
    cluster: FakeCluster, operator: OperatorProcess, client: OperatorClient
) -> None:
    """Whatever it is called here; and by its id."""
    add(cluster)
    started = await client.start(HOLDER, StartRequest("orders", duration_secs=600, wait_secs=20))
    assert operator.engine.runs.get(started.id).entry.pipeline_id == ID
    assert operator.find_status(started.name)["requestedBy"] == "Feldera/acme"
    assert (await client.stop(HOLDER, started.id)).state == "Stopping"
    reply = await client.start_all(Login(READER, "acme"), StartAllRequest(ID, 600, None, wait_secs=0.1))
    assert [type(each).__name__ for each in (*reply.started, *reply.refused)] in (["StartReply"], ["Refusal"])


@pytest.mark.parametrize("login", [OTHER, Login(READER, "other")], ids=["another tenant's key", "another tenant"])
async def test_a_caller_who_cannot_see_the_pipeline_in_feldera_cannot_act(
    cluster: FakeCluster, operator: OperatorProcess, client: OperatorClient, login: Login
) -> None:
    add(cluster)
    started = await client.start(HOLDER, StartRequest("orders", duration_secs=600, wait_secs=20))
    for call in (
        client.start(login, StartRequest("orders", wait_secs=1)),
        client.start(login, StartRequest(ID, wait_secs=1)),
        client.start(login, StartRequest("a", wait_secs=1)),
        client.start_all(login, StartAllRequest("orders", wait_secs=1)),
        client.preflight(login, StartRequest("orders", wait_secs=1)),
        client.gather_evidence(login, SupportBundleRequest("orders", NAMESPACE)),
        client.gather_evidence(login, SupportBundleRequest("a", NAMESPACE)),
    ):
        with pytest.raises(UnknownPipeline):
            await call
    for act in (client.stop(login, started.id), client.delete(login, started.id)):
        with pytest.raises(UnknownProfile):
            await act
    assert started.id in operator.engine.runs


async def test_felderas_key_deletes_nothing(
    cluster: FakeCluster, operator: OperatorProcess, client: OperatorClient
) -> None:
    """Its role read reads and starts."""
    add(cluster)
    started = await client.start(HOLDER, StartRequest("orders", duration_secs=600, wait_secs=20))
    with pytest.raises(Forbidden):
        await client.delete(HOLDER, started.id)


async def test_starting_is_a_setting(
    cluster: FakeCluster,
    operator: OperatorProcess,
    feldera: FakeFeldera,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    add(cluster)
    async with serving(operator, feldera, tmp_path_factory, FelderaWay(enabled=True, may_start=False)) as client:
        with pytest.raises(Forbidden):
            await client.start(HOLDER, StartRequest("orders", wait_secs=1))
    assert operator.list_profiles() == []


async def test_nothing_is_remembered(
    cluster: FakeCluster, operator: OperatorProcess, feldera: FakeFeldera, client: OperatorClient
) -> None:
    """A key that was just revoked starts nothing."""
    add(cluster)
    del feldera.keys[READER]
    with pytest.raises(Unauthenticated):
        await client.start(HOLDER, StartRequest("orders", wait_secs=1))
    await feldera.stop()
    with pytest.raises(AccessUndecided):
        await client.start(OTHER, StartRequest("orders", wait_secs=1))
    assert operator.list_profiles() == []


async def test_the_evidence_of_ones_own_pipeline(
    cluster: FakeCluster, operator: OperatorProcess, client: OperatorClient
) -> None:
    add(cluster)
    found = await client.gather_evidence(HOLDER, SupportBundleRequest("orders", NAMESPACE))
    assert len(found.pods) == 1


async def test_the_checks_are_for_those_who_may_read_everything(client: OperatorClient) -> None:
    """A key of Feldera's sees pipelines, not namespaces."""
    with pytest.raises(Forbidden):
        await client.examine(HOLDER)
