"""A base path: every route works below it, and every link includes it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from samply_operator.control.messages import StartReply, StartRequest
from samply_operator.settings import Api
from support.service import serving

from .conftest import Service, make_id

BASE = "/tools/profiles"
PATH = "/v0/pipelines/orders/samply_profile"


@pytest.fixture
async def based(folder: Path) -> AsyncIterator[Service]:
    async with serving(folder, Api(base_path=BASE, requests_per_sec=0)) as service:
        service.put(1)
        await service.settle()
        yield service


@pytest.mark.parametrize("path", [PATH, PATH + "s", "/v0/config", "/v0/pipelines", "/openapi.json", "/docs"])
async def test_everything_is_there_with_and_without_it(based: Service, path: str) -> None:
    """Clients that use the Service's own address are not affected."""
    plain, below = await based.get(path), await based.get(BASE + path)
    assert (plain.status, below.status) == (200, 200)
    assert plain.body == below.body


async def test_links_include_the_base_path_and_resolve(based: Service) -> None:
    [facts] = (await based.get(BASE + PATH + "s")).read_json()["profiles"]
    assert facts["href"].startswith(BASE + "/v0/")
    assert (await based.get(facts["file"]["href"])).body == b"profile"
    assert (await based.get("/openapi.json")).read_json()["servers"] == [{"url": BASE}]


async def test_the_location_of_a_start_includes_the_base_path(based: Service) -> None:
    def answer(request: StartRequest) -> StartReply:
        return StartReply(make_id(2), "feldera", "p", "Recording")

    based.operator.answer = answer
    started = await based.post(BASE + PATH)
    assert (started.status, started.headers["Location"]) == (202, f"{BASE}{PATH}s/{make_id(2)}")


async def test_two_services_of_one_process_keep_their_own(based: Service, service: Service) -> None:
    service.put(1)
    await service.settle()
    assert (await service.get(PATH + "s")).read_json()["profiles"][0]["href"].startswith("/v0/")
    (await service.get(BASE + PATH)).assert_error(404, "UnknownRoute")


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz"])
async def test_the_probes_are_at_the_root_only(based: Service, path: str) -> None:
    assert (await based.get(path)).status == 200
    (await based.get(BASE + path)).assert_error(404, "UnknownRoute")
