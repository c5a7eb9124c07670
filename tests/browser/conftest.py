"""A real browser: Chromium from the system, driven by Playwright's Python half, which brings none of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright

from samply_operator.settings import Auth
from support import needs
from support.service import Service, serving

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    """$CHROMIUM, else what is in PATH."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    program = find_chromium()
    if program is None:
        needs.lack("Chromium", "tests/browser/install, or name the program in $CHROMIUM")
    async with async_playwright() as playwright:
        # Its sandbox needs user namespaces, which containers of build servers rarely have; what is opened is our own.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--enable-unsafe-swiftshader"]
        browser = await playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        await browser.close()


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, as the path of a unix socket must be."""
    with tempfile.TemporaryDirectory(prefix="so-") as name:
        yield Path(name)


@pytest.fixture
async def service(folder: Path) -> AsyncIterator[Service]:
    # A browser that follows a link shows no token.
    async with serving(folder, auth=Auth(unsafe_let_anyone_in_without_authentication=True)) as service:
        yield service
