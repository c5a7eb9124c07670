"""What a browser lets a page of another origin do: links always work, everything else only if the settings allow it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page

from samply_operator.settings import Api, Cors, Links
from support.fake_operator import KEY, make_recording
from support.service import Service, make_id, serving, wait_until

URL = "/v0/pipelines/orders/samply_profile"
ASK = """async ([url, headers, method]) => {
    try {
        const answer = await fetch(url, {headers, method});
        const read = name => answer.headers.get(name);
        return {status: answer.status, text: await answer.text(), disposition: read("Content-Disposition"),
                retryAfter: read("Retry-After"), tag: read("ETag")};
    } catch (error) {
        return {refused: String(error)};
    }
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def elsewhere() -> AsyncIterator[str]:
    """Another origin, like that of a web console or a viewer."""
    app = web.Application()

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text="<title>elsewhere</title>", content_type="text/html")

    app.router.add_get("/", answer)
    async with TestServer(app) as server:
        yield f"http://127.0.0.1:{server.port}"


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, elsewhere: str) -> Page:
    page = await browser.new_page()
    await page.goto(elsewhere)
    return page


@pytest.fixture
def origins() -> tuple[str, ...]:
    """Of the settings."""
    return ()


@pytest_asyncio.fixture(loop_scope="session")
async def service(origins: tuple[str, ...]) -> AsyncIterator[Service]:
    with tempfile.TemporaryDirectory(prefix="so-") as folder:
        api = Api(links=Links(secret_name="links"), cors=Cors(origins))
        async with serving(Path(folder), api) as service:
            service.put(1, b"the profile")
            await service.settle()
            given = msgspec.structs.replace(service.operator.credentials, link_keys=(b"k" * 32,), read_at=time.time())
            service.operator.credentials = given
            service.operator.push()

            async def is_known() -> bool:
                return bool(service.client.credentials.link_keys)

            await wait_until(is_known)
            yield service


async def ask(page: Page, service: Service, path: str, method: str = "GET", **headers: str) -> dict[str, str]:
    found: dict[str, str] = await page.evaluate(ASK, [f"http://127.0.0.1:{service.port}{path}", headers, method])
    return found


async def test_a_viewer_reads_what_it_has_a_link_to_and_nothing_else(page: Page, service: Service) -> None:
    """Without any setting."""
    made = (await service.post(f"/v0/pipelines/orders/samply_profiles/{make_id(1)}/links")).read_json()
    got = await ask(page, service, made["href"])
    assert (got["status"], got["text"]) == (200, "the profile")
    assert (await ask(page, service, made["href"] + "A"))["status"] == 403
    assert "refused" in await ask(page, service, URL)
    assert "refused" in await ask(page, service, URL, Authorization="Bearer x")
    assert "refused" in await ask(page, service, f"{URL}?signature=x")


class TestAllowed:
    @pytest.fixture
    def origins(self, elsewhere: str) -> tuple[str, ...]:
        return (elsewhere,)

    async def test_the_web_console_reads_all_that_it_needs(self, page: Page, service: Service) -> None:
        """With its token, which makes the browser ask first."""
        token = f"Bearer {KEY}"
        got = await ask(page, service, URL, Authorization=token)
        assert (got["status"], got["text"]) == (200, "the profile")
        assert "samply_profile.json.gz" in got["disposition"]
        assert got["tag"]
        service.operator.recordings = (make_recording(make_id(2), "orders"),)
        await service.settle()
        waiting = await ask(page, service, f"{URL}?latest=true", Authorization=token)
        assert waiting["status"] == 204
        assert int(waiting["retryAfter"]) >= 1
        unknown = await ask(page, service, "/v0/pipelines/none/samply_profile", "POST", Authorization=token)
        assert unknown["status"] == 404
        assert "UnknownPipelineName" in unknown["text"]
        stranger = await ask(page, service, URL, Authorization="Bearer x")
        assert stranger["status"] == 401, "the page is told why"
