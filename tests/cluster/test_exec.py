"""The exec contract against a real cluster (KUBECONFIG), in both protocols, and tests that need a real cluster."""

from __future__ import annotations

import asyncio
import os
import random
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from contract.exec_contract import Door, ExecContract, Place, read_sha256
from samply_operator.errors import KubeConflict, KubeForbidden, KubeInvalid, KubeNotFound
from samply_operator.kube import objects, transfer
from samply_operator.kube.channels import PROTOCOLS, V4, V5
from samply_operator.kube.client import KubeClient
from samply_operator.kube.connection import load_configuration
from support import kubectl
from support.cutting_proxy import CuttingProxy

pytestmark = pytest.mark.cluster
IMAGE = os.environ.get("SAMPLY_TEST_IMAGE", "docker.io/library/samply-test-bare:dev")


@pytest.fixture(scope="module")
def namespace(request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace with one pod that sleeps; its Events are shown when a test failed."""
    name = f"exec-{uuid.uuid4().hex[:8]}"
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"],
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "place", "namespace": name},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
    }
    kubectl.succeed("create", "namespace", name)
    try:
        kubectl.succeed("apply", "-f", "-", body=pod)
        kubectl.succeed("wait", "-n", name, "pod/place", "--for=condition=Ready", "--timeout=110s")
        yield name
        if request.session.testsfailed:
            print(kubectl.run("get", "events", "-n", name).stdout)
    finally:
        kubectl.run("delete", "namespace", name, "--wait=false")


class TestRealExec(ExecContract):
    @pytest.fixture(params=PROTOCOLS)
    async def door(self, request: pytest.FixtureRequest, namespace: str) -> AsyncIterator[Door]:
        async with KubeClient(protocols=(request.param,)) as client:
            yield Door(client, Place(namespace, "place", "main"), "/tmp")

    async def test_thirty_short_commands_all_end_well(self, door: Door) -> None:
        results = await asyncio.gather(*(door.run("true") for _ in range(30)))
        assert {result.exit_code for result in results} == {0}

    @pytest.mark.parametrize("door", [V4, pytest.param(V5, marks=pytest.mark.slow)], indirect=True)
    async def test_fifty_copies_over_a_failing_connection_are_correct(
        self, namespace: str, door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At any byte of the connection: of its handshake, its headers, the file, the status."""
        monkeypatch.setattr(transfer, "BACKOFF_SECS", (0.02,))
        rng, size = random.Random(7), 400_001
        remote, sha256 = await door.make_file("cut", size)
        server = URL((await load_configuration()).host)
        assert server.host
        assert server.port
        async with CuttingProxy(server.host, server.port) as proxy:

            async def load() -> Any:
                configuration = await load_configuration()
                configuration.host = f"https://127.0.0.1:{proxy.port}"
                return configuration

            for number in range(50):
                local = tmp_path / f"copy-{number}"
                proxy.cuts = [rng.randrange(size * 5 // 4) for _ in range(rng.randrange(1, 5))]
                async with KubeClient(load, protocols=door.client._protocols) as client:
                    await transfer.copy_out(
                        client, door.place, remote, size=size, sha256=sha256, local_path=local, deadline_secs=60
                    )
                assert read_sha256(local) == sha256
            assert proxy.cut_count > 50

    async def test_pings_are_answered(self, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
        """A silent command outlives the silence limit, because the other side answers pings."""
        monkeypatch.setattr("samply_operator.kube.exec.PING_SECS", 0.2)
        monkeypatch.setattr("samply_operator.kube.exec.SILENCE_SECS", 1.0)
        assert (await door.run("sleep", "3")).exit_code == 0


@pytest.mark.parametrize(("is_bulk", "protocol"), [(True, V4), (False, V5)])
async def test_read_only_sessions_use_v4(namespace: str, is_bulk: bool, protocol: str) -> None:
    async with (
        KubeClient() as client,
        client.exec(namespace, "place", "main", ["true"], deadline_secs=20, is_bulk=is_bulk) as session,
    ):
        assert session.protocol == protocol
        assert await session.wait() == 0


async def test_a_protocol_that_the_server_does_not_know_is_refused_without_a_status(namespace: str) -> None:
    """So a copy can distinguish it from a missing right, and falls back to v5."""
    async with KubeClient(protocols=("v0.channel.k8s.io",)) as client:
        with pytest.raises(KubeForbidden) as caught:
            await client.run(namespace, "place", "main", ["true"], deadline_secs=20)
    assert not caught.value.details["reason"]


async def test_a_container_that_ended_is_not_found(namespace: str) -> None:
    pod = {
        "metadata": {"name": "ended"},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": IMAGE, "command": ["true"]}]},
    }
    async with KubeClient() as client:
        await client.create(objects.pods(namespace), pod)
        async with asyncio.timeout(60):
            while objects.parse_pod(await client.get(objects.pods(namespace, "ended"))).phase != "Succeeded":
                await asyncio.sleep(0.2)
        with pytest.raises((KubeNotFound, KubeInvalid)):
            await client.run(namespace, "ended", "main", ["true"], deadline_secs=20)


async def test_plain_requests_and_their_errors(namespace: str) -> None:
    body = {"metadata": {"name": "thing"}, "spec": {"holderIdentity": "me", "leaseDurationSeconds": 10}}
    path = objects.leases(namespace, "thing")
    async with KubeClient() as client:
        made = await client.create(objects.leases(namespace), body)
        with pytest.raises(KubeConflict):
            await client.create(objects.leases(namespace), body)
        changed = await client.patch(path, {"spec": {"holderIdentity": "you"}})
        assert changed["spec"]["holderIdentity"] == "you"
        with pytest.raises(KubeConflict):
            await client.replace(path, made)
        test = {"op": "test", "path": "/spec/holderIdentity", "value": "me"}
        with pytest.raises(KubeInvalid):
            await client.patch(path, [test, {"op": "remove", "path": "/spec/holderIdentity"}], kind="json")
        with pytest.raises(KubeConflict):
            await client.delete(path, uid=str(uuid.uuid4()))
        await client.delete(path, uid=changed["metadata"]["uid"])
        with pytest.raises(KubeNotFound):
            await client.get(path)


async def test_a_list_has_all_its_pages(namespace: str) -> None:
    async with KubeClient() as client:
        for number in range(5):
            await client.create(objects.leases(namespace), {"metadata": {"name": f"page-{number}"}, "spec": {}})
        found = await client.list_items(objects.leases(namespace), page_size=2)
        assert [item["metadata"]["name"] for item in found.items] == [f"page-{number}" for number in range(5)]
        assert found.resource_version
