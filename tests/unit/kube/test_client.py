"""Ordinary requests: what is sent, which error each response becomes, and what happens when the token is rotated."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from kubernetes.aio.client.configuration import Configuration

from samply_operator import errors
from samply_operator.kube import connection, objects, reviews
from samply_operator.kube.client import KubeClient
from samply_operator.kube.connection import load_plain
from support.fake_kube import FakeKube

POD = objects.pods("space", "pod")


async def test_write_read_change_remove(client: KubeClient) -> None:
    made = await client.create(objects.pods("space"), {"metadata": {"name": "pod"}})
    assert await client.get(POD) == made
    changed = await client.patch(POD, {"metadata": {"annotations": {"a": "b"}}})
    assert changed["metadata"]["annotations"] == {"a": "b"}
    with pytest.raises(errors.KubeConflict):
        await client.replace(POD, made)
    with pytest.raises(errors.KubeConflict):
        await client.delete(POD, uid="another")
    await client.delete(POD, uid=made["metadata"]["uid"])
    with pytest.raises(errors.KubeNotFound, match='"pod" not found'):
        await client.get(POD)


async def test_unknown_fields_are_refused_on_request(kube: FakeKube, client: KubeClient) -> None:
    for is_strict in (False, True):
        await client.create(objects.pods("space"), {"metadata": {}}, is_strict=is_strict)
    assert kube.validations == ["", "Strict"]


async def test_a_json_patch_whose_test_fails_changes_nothing(kube: FakeKube, client: KubeClient) -> None:
    kube.put(POD, {"metadata": {"annotations": {"a/b": "1"}}})
    place = "/metadata/annotations/a~1b"
    with pytest.raises(errors.KubeInvalid):
        await client.patch(
            POD, [{"op": "test", "path": place, "value": "2"}, {"op": "remove", "path": place}], kind="json"
        )
    assert kube.objects[POD]["metadata"]["annotations"] == {"a/b": "1"}


async def test_a_list_is_all_pages(kube: FakeKube, client: KubeClient) -> None:
    for number in range(7):
        kube.put(objects.pods("space", f"p-{number}"), {"metadata": {"labels": {"odd": str(number % 2)}}})
    found = await client.list_items(objects.pods(), page_size=3)
    assert [raw["metadata"]["name"] for raw in found.items] == [f"p-{number}" for number in range(7)]
    assert sum(path == "/api/v1/pods" for _, path in kube.requests) == 3
    odd = await client.list_items(objects.pods("space"), label_selector="odd=1")
    assert len(odd.items) == 3


async def test_a_list_that_breaks_in_its_middle_is_an_error(kube: FakeKube, client: KubeClient) -> None:
    for number in range(4):
        kube.put(objects.pods("space", f"p-{number}"), {})
    kube.failures.extend([200, 410])
    with pytest.raises(errors.KubeUnavailable):
        await client.list_items(objects.pods("space"), page_size=2)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(403, errors.KubeForbidden), (429, errors.KubeUnavailable), (500, errors.KubeUnavailable)],
)
async def test_a_failure_names_request_and_cause(
    kube: FakeKube, client: KubeClient, status: int, kind: type[errors.KubeError]
) -> None:
    kube.failures.append(status)
    with pytest.raises(kind, match=f"DELETE {POD}: {status} failed by the test"):
        await client.delete(POD)


UNBOUND = 'pods "pod" is forbidden: User "u" cannot get resource "pods" in API group "" in the namespace "space"'
BEGINNING = (
    f"{UNBOUND}: "
    'RBAC: [clusterrole.rbac.authorization.k8s.io "basic" not found, role.rbac.authorization.k8s.io "r" not found]'
)
"""Both seen of an API server that had been killed and began to answer before it knew its roles and their bindings."""
VIOLATES = 'pods "pod" is forbidden: violates PodSecurity "restricted:latest": privileged'


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BEGINNING_PAUSE_SECS", 0.01)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("failure", [UNBOUND, BEGINNING])
async def test_an_api_server_that_does_not_know_its_roles_yet_is_asked_again(
    kube: FakeKube, client: KubeClient, failure: str
) -> None:
    """A recording must not end for that."""
    made = kube.put(POD, {})
    kube.failure = failure
    kube.readiness = lambda: 500 if kube.failures else 200
    kube.failures.extend([403, 403, 403])
    assert await client.get(POD) == made
    kube.failures.extend([403, 403, 403])
    assert (await client.run("space", "pod", "main", ["true"], deadline_secs=10)).exit_code == 0


@pytest.mark.usefixtures("hasty")
async def test_a_refusal_that_comes_in_pieces_is_read_whole(kube: FakeKube, client: KubeClient) -> None:
    """A long list of roles takes more than one packet."""
    made = kube.put(POD, {})
    kube.failure = BEGINNING
    kube.is_slow = True
    kube.readiness = lambda: 500 if kube.failures else 200
    kube.failures.extend([403, 403])
    assert await client.get(POD) == made


async def test_a_refusal_by_a_ready_api_server_is_final(kube: FakeKube, client: KubeClient) -> None:
    """It is retried once, in case the API server became ready in between."""
    kube.failure = UNBOUND
    kube.failures.extend([403] * 100)
    with pytest.raises(errors.KubeForbidden, match="cannot get"):
        await client.get(POD)
    assert len(kube.requests) == 2


@pytest.mark.usefixtures("hasty")
async def test_one_that_never_becomes_ready_counts_as_away(
    kube: FakeKube, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BEGINNING_SECS", 0.3)
    kube.failure = BEGINNING
    kube.readiness = lambda: 500
    kube.failures.extend([403] * 100)
    with pytest.raises(errors.KubeUnavailable, match="is not ready") as caught:
        await client.get(POD)
    assert caught.value.is_transient
    assert len(kube.requests) > 2


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_refusal_is_eventually_final_if_readiness_is_unknown(
    kube: FakeKube, client: KubeClient, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """If readiness is not accessible, a missing right is reported after some seconds."""
    monkeypatch.setattr(connection, "CLOSED_SECS", 0.3)
    kube.failure = UNBOUND
    kube.readiness = lambda: status
    kube.failures.extend([403] * 100)
    with pytest.raises(errors.KubeForbidden, match="cannot get"):
        await client.get(POD)
    assert len(kube.requests) > 2


@pytest.mark.usefixtures("hasty")
async def test_a_shorter_deadline_reports_the_refusal_instead_of_a_timeout(
    kube: FakeKube, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for reviews of a caller's rights: the remedy is a right, and a retry does not help."""
    monkeypatch.setattr(reviews, "REVIEW_SECS", 2)
    kube.failure = 'tokenreviews is forbidden: User "u" cannot create resource "tokenreviews" in API group ""'
    kube.readiness = lambda: 403
    kube.failures.extend([403] * 1000)
    with pytest.raises(errors.AccessUndecided) as caught:
        await reviews.review_token(client, "token", ("samply-operator",))
    assert "tokenreviews" in caught.value.remedy


@pytest.mark.usefixtures("hasty")
async def test_one_that_forbids_even_that_for_a_moment_is_asked_again(kube: FakeKube, client: KubeClient) -> None:
    """As by an API server that has read no roles yet, and then only some."""
    made = kube.put(POD, {})
    kube.failure = UNBOUND
    answers = iter([403, 403, 500])
    kube.readiness = lambda: next(answers, 200)
    kube.failures.extend([403] * 4)
    assert await client.get(POD) == made


async def test_what_admission_refuses_is_not_asked_again(kube: FakeKube, client: KubeClient) -> None:
    kube.failure = VIOLATES
    kube.failures.extend([403] * 100)
    with pytest.raises(errors.KubeForbidden, match="violates"):
        await client.get(POD)
    assert len(kube.requests) == 1


async def test_a_broken_connection_is_unavailable(kube: FakeKube, client: KubeClient) -> None:
    kube.failures.extend([0, 0, 0])
    with pytest.raises(errors.KubeUnavailable):
        await client.create(objects.pods("space"), {"metadata": {"name": "x"}})


async def test_no_server_is_unavailable() -> None:
    async with KubeClient(load_plain("http://127.0.0.1:1")) as client:
        with pytest.raises(errors.KubeUnavailable):
            await client.get(POD)


async def test_a_request_has_a_time_out(kube: FakeKube, client: KubeClient) -> None:
    kube.failures.append(-1)
    with pytest.raises(errors.KubeUnavailable, match=r"within 0\.5 s"):
        await client.get(POD, timeout_secs=0.5)


class Tokens:
    """A loader whose token becomes the next one with each load."""

    def __init__(self, host: str, *tokens: str) -> None:
        self.host, self.tokens, self.loads = host, list(tokens), 0

    async def __call__(self) -> Any:
        self.loads += 1
        token = self.tokens[min(self.loads, len(self.tokens)) - 1]
        return Configuration(host=self.host, api_key={"BearerToken": f"bearer {token}\n"})


async def test_a_rotated_token_is_loaded_once_for_all_who_wait(kube: FakeKube) -> None:
    kube.put(POD, {})
    kube.token = kube.exec.token = "new"
    load = Tokens(kube.url, "old", "new")
    async with KubeClient(load) as client:
        await asyncio.gather(*(client.get(POD) for _ in range(5)))
        assert load.loads == 2
        assert (await client.run("space", "pod", "main", ["true"], deadline_secs=10)).exit_code == 0
        assert load.loads == 2


async def test_an_exec_uses_a_rotated_token_too(kube: FakeKube) -> None:
    kube.token = kube.exec.token = "new"
    async with KubeClient(Tokens(kube.url, "old", "new")) as client:
        assert (await client.run("space", "pod", "main", ["true"], deadline_secs=10)).exit_code == 0


async def test_a_token_that_remains_invalid_is_unavailable(kube: FakeKube) -> None:
    kube.token = "right"
    load = Tokens(kube.url, "wrong")
    async with KubeClient(load) as client:
        with pytest.raises(errors.KubeUnavailable, match="401"):
            await client.get(POD)
    assert load.loads == 2
