"""The flame graph in a browser, served with its policy: search, zoom, and hostile names."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from samply_operator import profiles
from samply_operator.model.manifest import Quality
from support import profile_maker
from support.profile_maker import Sample
from support.service import Service, make_id

DATA = Path(__file__).parents[1] / "data" / "profiles"
HOSTILE = "</title><script>document.title='bitten'</script><img src=x onerror=alert(1)>\x1b\u202e"


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    page = await browser.new_page(viewport={"width": 1240, "height": 420})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    yield page
    assert faults == []


async def show(page: Page, service: Service, number: int) -> None:
    await service.settle()
    url = f"http://127.0.0.1:{service.port}/v0/pipelines/orders/samply_profiles/{make_id(number)}/profile?format=svg"
    answer = await page.goto(url)
    assert answer is not None
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts;")


@pytest_asyncio.fixture(loop_scope="session")
async def graph(page: Page, service: Service, tmp_path: Path) -> Page:
    """That of a real recording."""
    path = tmp_path / "baked.json.gz"
    label = profiles.Label("orders ordinal 0")
    profiles.bake(DATA / "demo-v55.json.gz", DATA / "demo-v55.syms.json", path, label=label)
    service.put(1, path.read_bytes(), quality=Quality(coverage=0.99, lost_events=3))
    await show(page, service, 1)
    return page


async def read(page: Page, selector: str) -> str:
    return (await page.locator(selector).text_content()) or ""


async def list_widths(page: Page) -> dict[str, float]:
    """Of the frames that are shown, the widest of each name."""
    found: list[tuple[str, float]] = await page.evaluate(
        "() => Array.from(document.querySelectorAll('#boxes > g')).filter(g => g.style.display !== 'none')"
        ".map(g => [g.querySelector('title').textContent.split(' [')[0],"
        " Number(g.querySelector('rect').getAttribute('width'))])"
    )
    widths: dict[str, float] = {}
    for name, width in found:
        widths[name] = max(width, widths.get(name, 0.0))
    return widths


async def test_the_graph_shows_its_pipeline_and_quality(graph: Page) -> None:
    assert await read(graph, "svg > title") == "orders ordinal 0, by CPU time"
    head = " ".join(await graph.locator("svg > text").all_text_contents())
    assert "928.5 ms of CPU · 3 threads · coverage 99% · 3 lost events · 2026-01-31 09:01 UTC" in head
    legend = await graph.locator("svg > text:not(.h)").all_text_contents()
    assert legend[:3] == ["without a name", "libc.so.6", "demo"]
    if folder := os.environ.get("SAMPLY_SCREENSHOTS"):
        await graph.screenshot(path=Path(folder) / "flamegraph.png")


async def test_search_marks_and_counts_frames(graph: Page) -> None:
    """Typed into the page: a dialog would not open in a sandbox. Frames inside of one that is counted are not added."""
    await graph.keyboard.press("Control+f")
    await graph.keyboard.type("SORT_")
    assert await graph.locator("#boxes > g.hit").count() == 2
    widths = await graph.locator("#boxes > g.hit rect").evaluate_all(
        "rects => rects.map(rect => Number(rect.getAttribute('width')))"
    )
    assert await read(graph, "#note") == f"2 frames, {sum(widths) / 12:.1f} % of all, contain “sort_”"
    await graph.fill("#query", "descend")
    (frames, share) = (await read(graph, "#note")).split(" frames, ")
    assert int(frames) > 10
    assert float(share.split(" %")[0]) < 30
    await graph.keyboard.press("Escape")
    assert await graph.locator("#boxes > g.hit").count() == 0
    assert await read(graph, "#note") == "all frames are drawn"


async def test_zoom_and_back(graph: Page) -> None:
    before = await list_widths(graph)
    await graph.locator("#boxes > g", has_text="sort_batch").first.click()
    zoomed = await list_widths(graph)
    assert zoomed["sort_batch"] == pytest.approx(1200, abs=0.5)
    threads = {name: width for name, width in zoomed.items() if name.startswith("worker-")}
    assert list(threads.values()) == [pytest.approx(1200, abs=0.5)]
    await graph.locator("#reset").click()
    assert await list_widths(graph) == pytest.approx(before)


async def test_the_frame_under_the_pointer_is_shown_in_full(graph: Page) -> None:
    await graph.locator("#boxes > g", has_text="sort_batch").first.hover()
    assert (await read(graph, "#details")).startswith("sort_batch [demo] ")


async def test_a_name_is_never_markup(page: Page, service: Service, tmp_path: Path) -> None:
    """Neither when drawn, nor after search, hover and zoom."""
    document = profile_maker.build([[Sample((HOSTILE, "inner"))]])
    service.put(1, profile_maker.save(document, tmp_path / "p.json.gz").read_bytes())
    await show(page, service, 1)
    await page.fill("#query", "<script>")
    assert await page.locator("#boxes > g.hit").count() == 1
    frame = page.locator("#boxes > g.hit")
    await frame.hover()
    await frame.click()
    assert "<script>" in await read(page, "#details")
    assert await page.locator("script").count() == 1
    assert await page.locator("img").count() == 0
    assert await page.title() != "bitten"
