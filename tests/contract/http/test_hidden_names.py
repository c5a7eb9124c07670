"""The number of requests to Kubernetes: the same for a hidden name and for an unknown one, and within the caller's rate
limit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from samply_operator.api.auth import auth_cache, authentication
from samply_operator.control.messages import ReviewReply, ReviewRequest
from samply_operator.errors import Unauthenticated
from samply_operator.settings import Api
from support.fake_operator import make_pipeline
from support.service import serving

from .conftest import Service, make_id

TOKEN = "Bearer a.b.c"
PATHS = (
    ("GET", "/v0/pipelines/{}/samply_profile"),
    ("GET", "/v0/pipelines/{}/samply_profile?ordinal=all"),
    ("HEAD", "/v0/pipelines/{}/samply_profile"),
    ("GET", "/v0/pipelines/{}/samply_profiles"),
    ("GET", f"/v0/pipelines/{{}}/samply_profiles/{make_id(1)}"),
    ("GET", f"/v0/pipelines/{{}}/samply_profiles/{make_id(1)}/profile"),
    ("GET", f"/v0/pipelines/{{}}/samply_profiles/{make_id(1)}/summary"),
    ("GET", f"/v0/pipelines/{{}}/samply_profiles/{make_id(1)}/attachments/attachment-stats.json.gz"),
    ("POST", f"/v0/pipelines/{{}}/samply_profiles/{make_id(1)}/links"),
    ("POST", f"/v0/pipelines/{{}}/samply_profiles/{make_id(1)}/stop"),
    ("PUT", f"/v0/pipelines/{{}}/samply_profiles/{make_id(1)}/pin"),
    ("DELETE", f"/v0/pipelines/{{}}/samply_profiles/{make_id(1)}/pin"),
    ("DELETE", f"/v0/pipelines/{{}}/samply_profiles/{make_id(1)}"),
    ("POST", "/v0/pipelines/{}/samply_profile"),
    ("GET", "/v0/pipelines/{}/export"),
    ("GET", "/v0/pipelines/{}/summary"),
)


def allow(*namespaces: str):
    def review(token: str, request: ReviewRequest) -> ReviewReply:
        return ReviewReply(
            token, {verb: tuple(n for n in request.namespaces if n in namespaces) for verb in request.verbs}
        )

    return review


async def fill(service: Service) -> None:
    """`hidden` is in one namespace that the caller doesn't see, `twice` in two; `own` is theirs."""
    service.operator.pipelines = (
        make_pipeline("own", namespace="team-a"),
        make_pipeline("hidden", namespace="team-b"),
        make_pipeline("other", namespace="team-b"),
        make_pipeline("twice", namespace="team-b"),
        make_pipeline("twice", namespace="team-c"),
    )
    service.put(1, pipeline="hidden", namespace="team-b")
    service.operator.review = allow("team-a")
    await service.settle()


async def count(service: Service, method: str, path: str) -> tuple[int, int]:
    """Questions to the operator, and to Kubernetes by it: one per namespace that is named."""
    before = len(service.operator.reviewed)
    await service.ask(method, path, Authorization=TOKEN)
    asked = [request for _, request in service.operator.reviewed[before:]]
    return len(asked), sum(len(request.namespaces) for request in asked)


@pytest.mark.parametrize(("method", "path"), PATHS)
async def test_a_hidden_name_costs_as_many_reviews_as_an_unknown_one(service: Service, method: str, path: str) -> None:
    """For the first request and for repeated ones, and however many namespaces have the name."""
    await fill(service)
    names = ("hidden", "nobody", "other", "nothing", "twice")
    first = {name: await count(service, method, path.format(name)) for name in names}
    assert set(first.values()) == {(1, 2)}, first
    again = {name: await count(service, method, path.format(name)) for name in names}
    assert set(again.values()) == {(0, 0)}, again


async def test_a_pipeline_that_was_just_made_is_soon_seen(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authentication, "HIDDEN_SECS", 0.0)
    await fill(service)
    path = "/v0/pipelines/new/samply_profiles"
    assert (await service.get(path, Authorization=TOKEN)).status == 404
    service.operator.pipelines += (make_pipeline("new", namespace="team-a"),)
    await service.settle()
    assert (await service.get(path, Authorization=TOKEN)).status == 200


async def test_a_revoked_token_is_reviewed_once_more_and_not_for_each_request(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(service)
    monkeypatch.setattr(auth_cache, "KEEP_SECS", 0.05)
    path = "/v0/pipelines/own/samply_profiles"
    assert (await service.get(path, Authorization=TOKEN)).status == 200

    def refuse(token: str, request: ReviewRequest) -> ReviewReply:
        raise Unauthenticated("The token is not valid.")

    service.operator.review = refuse
    while (await service.get(path, Authorization=TOKEN)).status == 200:
        pass
    monkeypatch.setattr(auth_cache, "KEEP_SECS", 60.0)
    counts = [await count(service, "GET", path) for _ in range(10)]
    assert sum(questions for questions, _ in counts) <= 1


@pytest.fixture
async def strict(folder: Path) -> AsyncIterator[Service]:
    async with serving(folder, Api(requests_per_sec=1, request_burst=100)) as service:
        service.operator.pipelines = tuple(make_pipeline(f"p{n}", namespace=f"team-{n:02}") for n in range(40))
        await service.settle()
        yield service


async def test_a_caller_who_may_read_everything_is_reviewed_once(strict: Service) -> None:
    """In all namespaces at once."""
    strict.operator.review = allow("*")
    assert await count(strict, "GET", "/v0/pipelines") == (1, 1)
    answer = await strict.get("/v0/pipelines", Authorization=TOKEN)
    assert len(answer.read_json()["pipelines"]) == 40


@pytest.mark.parametrize("allowed", [(), ("team-03", "team-39")], ids=["nothing", "some"])
async def test_a_list_of_many_namespaces_is_rate_limited(strict: Service, allowed: tuple[str, ...]) -> None:
    """It counts against the caller, before the review; and is split, so that others are served in between."""
    strict.operator.review = allow(*allowed)
    statuses, questions = [], 0
    for number in range(8):
        answer = await strict.get("/v0/pipelines", Authorization=f"{TOKEN}{number}")
        statuses.append(answer.status)
        if answer.status == 200:
            assert {each["namespace"] for each in answer.read_json()["pipelines"]} == set(allowed)
    questions = sum(len(request.namespaces) for _, request in strict.operator.reviewed)
    assert statuses[0] == 200
    assert statuses[-1] == 429
    assert questions <= 100 + 8
    assert max(len(request.namespaces) for _, request in strict.operator.reviewed) <= authentication.PART
