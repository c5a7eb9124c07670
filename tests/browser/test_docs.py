"""The page at /docs in a browser: styled, within its policy, and readable on a phone."""

from __future__ import annotations

import os

import pytest
from playwright.async_api import Browser

from support.openapi import read_document
from support.service import Service

SIZES = [pytest.param(1280, 900, id="desktop"), pytest.param(390, 844, id="phone")]


@pytest.mark.parametrize(("width", "height"), SIZES)
async def test_the_page_is_shown(browser: Browser, service: Service, width: int, height: int) -> None:
    """Nothing is blocked or missing, its style counts, and nothing runs out of the window sideways."""
    page = await browser.new_page(viewport={"width": width, "height": height})
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("request", lambda request: asked.append(request.url))
    origin = f"http://127.0.0.1:{service.port}"
    await page.goto(f"{origin}/docs")
    # Browsers ask for an icon by themselves.
    assert [line for line in said if "favicon" not in line and "404" not in line] == []
    assert {url for url in asked if not url.endswith("/favicon.ico")} == {f"{origin}/docs"}
    operations = [
        each for item in read_document()["paths"].values() for method, each in item.items() if method != "head"
    ]
    assert await page.locator("article header .method").count() == len(operations)
    background = await page.locator("nav").evaluate("nav => getComputedStyle(nav).backgroundColor")
    assert background == "rgb(246, 248, 250)"
    overhang = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overhang <= 0
    if folder := os.environ.get("SCREENSHOTS"):
        await page.screenshot(path=f"{folder}/docs-{width}.png")
        await page.locator("#getSamplyProfile").screenshot(path=f"{folder}/docs-operation-{width}.png")


async def test_a_link_of_the_list_leads_to_its_place(browser: Browser, service: Service) -> None:
    """And the document itself is one link away."""
    page = await browser.new_page()
    await page.goto(f"http://127.0.0.1:{service.port}/docs")
    await page.locator("nav a", has_text="Take a profile").click()
    assert page.url.endswith("#startSamplyProfile")
    assert await page.locator("#startSamplyProfile").is_visible()
    async with page.expect_response("**/openapi.json") as answer:
        await page.get_by_role("link", name="openapi.json", exact=True).click()
    assert (await (await answer.value).json())["openapi"] == "3.1.0"
