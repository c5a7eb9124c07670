"""The Secrets with API keys and link keys: the last values read are used until others were read."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import pytest

from samply_operator.control.auth import credentials as credentials_
from samply_operator.control.auth.credentials import CredentialSource
from samply_operator.errors import KubeForbidden, KubeUnavailable
from samply_operator.kube import objects
from samply_operator.rules.access import credentials
from support.fake_cluster import FakeCluster

NAMESPACE = "prod"
KEY = credentials.build_key("ci", bytes(32))


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def cluster(tmp_path: Path) -> FakeCluster:
    return FakeCluster(tmp_path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def source(cluster: FakeCluster, clock: Clock) -> CredentialSource:
    return CredentialSource(cluster, NAMESPACE, key_secret="keys", link_secret="links", now=clock)


def put(cluster: FakeCluster, name: str, **entries: bytes) -> None:
    data = {key: base64.b64encode(value).decode() for key, value in entries.items()}
    cluster.put(objects.secrets(NAMESPACE, name), {"kind": "Secret", "metadata": {"name": name}, "data": data})


async def test_both_secrets_are_read_and_a_change_notifies(
    cluster: FakeCluster, source: CredentialSource, clock: Clock
) -> None:
    put(cluster, "keys", ci=credentials.build_entry(KEY, ["get"], ["demo"]))
    put(cluster, "links", current=b"a" * 32)
    await source.read()
    assert [key.name for key in source.current.api_keys] == ["ci"]
    assert (source.current.link_keys, source.current.read_at, source.changes.count) == ((b"a" * 32,), 1000.0, 1)
    clock.now += 2
    await source.read()
    assert (source.current.read_at, source.changes.count) == (1002.0, 1), "the same again rings no bell"
    put(cluster, "keys")
    await source.read()
    assert (source.current.api_keys, source.changes.count) == ((), 2)


async def test_a_removed_secret_grants_no_access(cluster: FakeCluster, source: CredentialSource) -> None:
    put(cluster, "keys", ci=credentials.build_entry(KEY, ["get"], ["demo"]))
    await source.read()
    cluster.remove(objects.secrets(NAMESPACE, "keys"))
    await source.read()
    assert source.current.api_keys == ()


@pytest.mark.parametrize("error", [KubeUnavailable("no answer"), KubeForbidden("no right")])
async def test_an_unreadable_secret_is_kept_and_ages(
    cluster: FakeCluster, source: CredentialSource, clock: Clock, error: Exception
) -> None:
    """If one Secret cannot be read, both keep their values."""
    put(cluster, "keys", ci=credentials.build_entry(KEY, ["get"], ["demo"]))
    await source.read()
    before = source.current
    clock.now += 100
    put(cluster, "links", current=b"a" * 32)
    cluster.fault = lambda verb, path: error if path.endswith("/keys") else None
    await source.read()
    assert source.current is before
    assert before.read_at == 1000.0


async def test_none_is_read_where_none_is_named(cluster: FakeCluster, clock: Clock) -> None:
    source = CredentialSource(cluster, NAMESPACE, now=clock)
    await source.read()
    assert (source.current.read_at, cluster.calls) == (1000.0, [])


async def test_they_are_read_again_and_again(
    cluster: FakeCluster, source: CredentialSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A removed key is refused within 5 s: the pause and the longest wait for an answer fit into that."""
    assert credentials_.POLL_SECS + credentials_.READ_SECS < 5
    monkeypatch.setattr(credentials_, "POLL_SECS", 0.01)
    task = asyncio.create_task(source.run())
    try:
        async with asyncio.timeout(10):
            await asyncio.sleep(0.05)
            put(cluster, "keys", ci=credentials.build_entry(KEY, ["get"], ["demo"]))
            while not source.current.api_keys:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()


async def test_nothing_secret_is_in_its_text(cluster: FakeCluster, source: CredentialSource) -> None:
    put(cluster, "links", current=b"a" * 32)
    await source.read()
    assert "aaaa" not in repr(source.current)
