"""The console in a browser, against the whole api. Every test also checks that the page sends no request to another
host, does not violate the policy, and raises no error."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from samply_operator.api.content import console_files
from samply_operator.settings import Api, ApiKeys, Auth, Links
from support import console, needs
from support.fake_operator import KEY
from support.service import Service, serving

AXE = Path(__file__).parents[3] / "console" / "node_modules" / "axe-core" / "axe.min.js"
WATCH = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI || event.sample}`));
"""

Open = Callable[..., Awaitable[Page]]

PATIENCE_MS = 60_000
"""A busy machine has its time; what is there is seen at once."""
expect.set_options(timeout=PATIENCE_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each test reads profiles in child processes and renders pages: on a busy machine that takes minutes."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(autouse=True)
def built() -> None:
    if not console_files.load() or not AXE.exists():
        needs.lack("the console's files", "make console (needs Node.js 20)")


@pytest.fixture
def auth() -> Auth:
    return Auth(api_keys=ApiKeys(enabled=True))


@pytest.fixture
def api() -> Api:
    return Api(requests_per_sec=0, links=Links(secret_name="links"))


@pytest_asyncio.fixture(loop_scope="session")
async def service(folder: Path, api: Api, auth: Auth) -> AsyncIterator[Service]:
    async with serving(folder, api, auth=auth) as service:
        console.fill(service)
        given = msgspec.structs.replace(service.operator.credentials, link_keys=(b"k" * 32,), read_at=time.time())
        service.operator.credentials = given
        await service.settle()
        yield service


class Watch:
    """Violations by a page."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.faults: list[str] = []
        self.allowed: tuple[str, ...] = ()
        """Parts of messages that a test expects."""

    def follow(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("console", lambda message: self._hear(message.type, message.text))
        page.on("request", lambda request: self._see(request.url))

    def _hear(self, kind: str, text: str) -> None:
        # A browser reports each answer of 4xx and 5xx as an error; tests look at what the page makes of it.
        if kind == "error" and "Failed to load resource" not in text:
            self.faults.append(text)

    def _see(self, url: str) -> None:
        if not url.startswith((f"{self.origin}/", "blob:", "data:")):
            self.faults.append(f"a request to {url}")

    def check(self) -> None:
        assert [each for each in self.faults if not any(part in each for part in self.allowed)] == []


@pytest_asyncio.fixture(loop_scope="session")
async def watch(service: Service) -> AsyncIterator[Watch]:
    watch = Watch(f"http://127.0.0.1:{service.port}")
    yield watch
    watch.check()


@pytest_asyncio.fixture(loop_scope="session")
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(
        viewport={"width": 1440, "height": 1000}, color_scheme="light", reduced_motion="reduce"
    )
    context.set_default_timeout(PATIENCE_MS)
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(context: BrowserContext, service: Service, watch: Watch) -> AsyncIterator[Open]:
    """Opens an address of the console with a token; afterwards no page may have violated its policy."""
    pages: list[Page] = []

    async def visit(path: str = "", *, token: str | None = KEY, base: str = "") -> Page:
        page = await context.new_page()
        pages.append(page)
        watch.follow(page)
        await page.add_init_script(WATCH)
        if token:
            # Once: what the page does to its token later must last.
            await page.add_init_script(
                f"if (!sessionStorage.getItem('tested')) {{ sessionStorage.setItem('tested', '1');"
                f" sessionStorage.setItem('samply-console-token', '{token}'); }}"
            )
        await page.goto(f"{watch.origin}{base}/console/{path}")
        return page

    yield visit
    for page in (each for each in pages if not each.is_closed()):
        assert await page.evaluate("window.violations ?? []") == []


async def check_accessibility(page: Page) -> None:
    """axe finds nothing."""
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    answer = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    found: list[dict[str, Any]] = answer["violations"]
    told = [f"{each['id']} ({each['impact']}): {[node['html'][:160] for node in each['nodes'][:3]]}" for each in found]
    assert told == []


async def measure_overhang(page: Page) -> int:
    return int(await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


async def wait_drawn(page: Page) -> None:
    """Wait until nothing is loading or being drawn."""
    await page.locator(".skeleton, .loading-line.on, .spinner").first.wait_for(state="detached")


async def take_picture(page: Page, name: str) -> None:
    """For the documentation, if $SCREENSHOTS is set."""
    if folder := os.environ.get("SCREENSHOTS"):
        await page.evaluate("document.activeElement?.blur()")
        await page.mouse.move(0, 0)
        await page.screenshot(path=f"{folder}/console-{name}.png")
