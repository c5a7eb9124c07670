"""Every way of signing in, and how each one ends."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, BrowserContext, Page, expect

from samply_operator.control.messages import Credentials
from samply_operator.settings import Api, ApiKeys, Auth, Console, Links, Oidc, OidcGrant, SignIn
from support import console, needs
from support.fake_operator import KEY
from support.service import Service, make_id, serving, wait_until

from .conftest import Open, Watch, check_accessibility, take_picture

PROVIDER = Path(__file__).parents[3] / "build" / "out" / "oidc" / "provider.mjs"


async def read_token(page: Page) -> str | None:
    token: str | None = await page.evaluate("sessionStorage.getItem('samply-console-token')")
    return token


async def test_a_pasted_token_is_kept_for_the_tab_alone(visit: Open, context: BrowserContext, watch: Watch) -> None:
    page = await visit(f"profiles/orders/{make_id(2)}?view=table", token=None)
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await expect(page.get_by_text("Loading…")).to_have_count(0)
    await check_accessibility(page)
    await take_picture(page, "sign-in")
    await page.get_by_label("Token").fill(f"Bearer {KEY}\n")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator(".grid-row").first).to_be_visible()
    assert "view=table" in page.url, "the address stays"
    assert await page.evaluate("Object.values(localStorage).join() + document.cookie") == ""
    other = await visit(token=None)
    await expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert await read_token(page) is None


async def test_a_token_that_is_not_taken_is_not_kept(visit: Open) -> None:
    page = await visit(token=None)
    await page.get_by_label("Token").fill("samply_wrong_" + "a" * 43)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text("The API key is unknown")
    assert await read_token(page) is None


async def test_a_token_that_expires_is_asked_for_anew(visit: Open, service: Service) -> None:
    """The page says why, and continues where it was."""
    page = await visit("pipelines/feldera/orders?state=Failed")
    await expect(page.locator(".history tbody tr")).to_have_count(1)
    known = service.operator.credentials
    service.operator.credentials = Credentials((), known.link_keys, known.read_at)
    service.operator.push()
    await expect(page.get_by_text("Your session has expired")).to_be_visible(timeout=15_000)
    service.operator.credentials = known
    service.operator.push()
    await wait_until(service.knows_credentials)
    await page.get_by_label("Token").fill(KEY)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.locator(".history tbody tr")).to_have_count(1)
    assert page.url.endswith("?state=Failed")


async def test_handed_over_by_the_command_line(visit: Open, watch: Watch) -> None:
    """After the `#`: it is removed from the address before anything else happens."""
    page = await visit(f"pipelines/feldera/orders#token={KEY}", token=None)
    await expect(page.get_by_role("heading", level=1)).to_have_text("orders")
    assert page.url == f"{watch.origin}/console/pipelines/feldera/orders"
    assert await read_token(page) == KEY


@pytest.fixture
def auth() -> Auth:
    return Auth(api_keys=ApiKeys(enabled=True), oidc=Oidc(token_header="X-Forwarded-Access-Token"))


@pytest.mark.parametrize("header", ["Authorization", "X-Forwarded-Access-Token"])
async def test_a_proxy_that_sends_a_token_signs_in(
    service: Service, watch: Watch, context: BrowserContext, header: str
) -> None:
    """As oauth2-proxy does: there is no prompt, and the browser never gets the token."""

    async def forward(request: web.Request) -> web.Response:
        shown = f"Bearer {KEY}" if header == "Authorization" else KEY
        headers = {header: shown, "Accept": request.headers.get("Accept", "*/*")}
        url = f"{watch.origin}{request.rel_url}"
        async with aiohttp.ClientSession() as session, session.request(request.method, url, headers=headers) as answer:
            kept = {k: v for k, v in answer.headers.items() if k.lower() in {"content-type", "content-security-policy"}}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", forward)
    async with TestServer(app) as proxy:
        page = await context.new_page()
        await page.goto(f"http://127.0.0.1:{proxy.port}/console/")
        await expect(page.locator(".pipelines li")).to_have_count(6)
        assert await read_token(page) is None
        await page.close()


async def test_too_many_requests_pass_by_themselves(folder: Path, browser: Browser) -> None:
    """429 with Retry-After: the page shows it, and continues afterwards."""
    # It asks every 5 s, when so few requests are free again that it's too early.
    async with serving(folder, Api(requests_per_sec=0.1, request_burst=12)) as service:
        console.fill(service)
        service.operator.push()
        page = await browser.new_page()
        await page.add_init_script(f"sessionStorage.setItem('samply-console-token', '{KEY}')")
        await page.goto(f"http://127.0.0.1:{service.port}/console/")
        await expect(page.locator(".pipelines li")).to_have_count(6)
        while (await service.get("/v0/pipelines")).status == 200:
            pass
        await expect(page.get_by_text("Too many requests", exact=True)).to_be_visible(timeout=15_000)
        await expect(page.get_by_text("Too many requests", exact=True)).to_have_count(0, timeout=30_000)
        await page.close()


class TestProvider:
    """A real OpenID provider: authorization code with PKCE."""

    @pytest.fixture
    def ports(self) -> tuple[int, int]:
        """Of the provider, and of the service: each must know the other's address beforehand."""
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            second.bind(("127.0.0.1", 0))
            return first.getsockname()[1], second.getsockname()[1]

    @pytest.fixture
    def auth(self, ports: tuple[int, int]) -> Auth:
        grant = OidcGrant(verbs=("get",), namespaces=("feldera",), subject="alice")
        oidc = Oidc(enabled=True, issuer=f"http://127.0.0.1:{ports[0]}", audience="console", grants=(grant,))
        return Auth(api_keys=ApiKeys(enabled=True), oidc=oidc)

    @pytest.fixture
    def api(self, ports: tuple[int, int]) -> Api:
        links = Links(secret_name="links", public_url=f"http://127.0.0.1:{ports[1]}")
        return Api(requests_per_sec=0, links=links, console=Console(sign_in=SignIn(client_id="console")))

    @pytest_asyncio.fixture(loop_scope="session")
    async def provider(self, ports: tuple[int, int]) -> AsyncIterator[str]:
        if shutil.which("node") is None or not (PROVIDER.parent / "node_modules").exists():
            needs.lack("an OpenID provider", "tests/browser/oidc/install (needs Node.js)")
        redirect = f"http://127.0.0.1:{ports[1]}/console/auth/callback"
        command = ("node", str(PROVIDER), str(ports[0]), redirect)
        pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=nothing)
        assert process.stdout is not None
        async with asyncio.timeout(60):
            while b"listening" not in await process.stdout.readline():
                pass
        yield f"http://127.0.0.1:{ports[0]}"
        process.terminate()
        await process.wait()

    @pytest_asyncio.fixture(loop_scope="session")
    async def page(
        self, browser: Browser, service: Service, provider: str, ports: tuple[int, int]
    ) -> AsyncIterator[Page]:
        """The service under the address that the provider knows."""

        async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            ours, theirs = await asyncio.open_connection("127.0.0.1", service.port)

            async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                try:
                    while data := await source.read(65536):
                        sink.write(data)
                        await sink.drain()
                except ConnectionError:
                    pass
                sink.close()

            await asyncio.gather(copy(reader, theirs), copy(ours, writer))

        async with await asyncio.start_server(pipe, "127.0.0.1", ports[1]):
            context = await browser.new_context()
            page = await context.new_page()
            await page.goto(f"http://127.0.0.1:{ports[1]}/console/pipelines/feldera/orders?state=Failed")
            yield page
            await context.close()

    async def sign_in(self, page: Page, name: str) -> None:
        await page.get_by_role("button", name=re.compile("Sign in at 127")).click()
        await page.get_by_placeholder("Enter any login").fill(name)
        await page.get_by_placeholder("and password").fill("x")
        await page.get_by_role("button", name="Sign-in").click()
        await page.get_by_role("button", name="Continue").click()

    async def test_one_sees_what_the_grant_allows(self, page: Page) -> None:
        """After signing in the user is back on the same page; no code stays in the address, no token in a cookie."""
        await self.sign_in(page, "alice")
        await expect(page.locator(".history tbody tr")).to_have_count(1)
        assert page.url.endswith("/console/pipelines/feldera/orders?state=Failed")
        await page.get_by_role("link", name="Pipelines").first.click()
        await expect(page.locator(".pipelines li")).to_have_count(4)
        cookies = [each["name"] for each in await page.context.cookies(page.url)]
        assert "samply-console-sign-in" not in cookies

    async def test_somebody_without_a_grant_sees_nothing(self, page: Page) -> None:
        await self.sign_in(page, "mallory")
        await page.get_by_role("link", name="Pipelines").first.click()
        await expect(page.get_by_text("No pipelines yet")).to_be_visible()

    async def test_a_code_issued_to_another_browser_is_rejected(self, page: Page, ports: tuple[int, int]) -> None:
        """A user who follows such a link is not signed in as somebody else."""
        await page.goto(f"http://127.0.0.1:{ports[1]}/console/auth/callback?code=stolen&state=stolen")
        await expect(page.get_by_text("This browser began no such sign-in")).to_be_visible()
        assert "code" not in page.url
        assert await read_token(page) is None

    async def test_a_refusal_by_the_provider_is_shown(self, page: Page, ports: tuple[int, int]) -> None:
        query = "error=access_denied&error_description=<b>No</b>"
        await page.goto(f"http://127.0.0.1:{ports[1]}/console/auth/callback?{query}")
        await expect(page.get_by_text("The identity provider says: <b>No</b>")).to_be_visible()
