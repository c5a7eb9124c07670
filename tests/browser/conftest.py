"""A real browser: the system's Chromium, driven by the Python part of Playwright, without a browser of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright
from pytest_asyncio import is_async_test

from samply_operator.settings import Auth
from support import needs
from support.service import Service, serving

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    """$CHROMIUM, else what is in PATH."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One loop for all, as they share the browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents and is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def chromium() -> AsyncIterator[Browser]:
    program = find_chromium()
    if program is None:
        needs.lack("Chromium", "tests/browser/install, or name the program in $CHROMIUM")
    async with async_playwright() as playwright:
        # Its sandbox needs user namespaces, which containers of build servers rarely have; what is opened is our own.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--enable-unsafe-swiftshader"]
        browser = await playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def browser(chromium: Browser) -> AsyncIterator[Browser]:
    """Whatever a test opens in it is closed after the test."""
    yield chromium
    for context in chromium.contexts:
        await context.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, as the path of a unix socket must be."""
    with tempfile.TemporaryDirectory(prefix="so-") as name:
        yield Path(name)


@pytest_asyncio.fixture(loop_scope="session")
async def service(folder: Path) -> AsyncIterator[Service]:
    # A browser that follows a link shows no token.
    async with serving(folder, auth=Auth(unsafe_let_anyone_in_without_authentication=True)) as service:
        yield service
