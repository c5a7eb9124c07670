"""The profile's views: what they say is what the file says, one search and one selection drive them all, the address
holds the state, and a frame that was left out comes when one zooms in.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, Route, expect

from samply_operator.model.attachment import NAMES
from samply_operator.model.manifest import Attachment, StoredFile
from samply_operator.profiles.analysis import frame_tree
from samply_operator.rules.recording import attachments
from support import console
from support.fake_operator import KEY, make_recording
from support.service import Service, make_id

from .conftest import Open, Watch, check_accessibility, wait_drawn

PROFILE = f"profiles/orders/{make_id(2)}"


async def read_frame(page: Page) -> str:
    return await page.locator(".flame [aria-live]").first.inner_text()


async def press(page: Page, *keys: str) -> None:
    for key in keys:
        await page.locator(".flame").first.press(key)


async def test_the_graph_by_keyboard(visit: Open) -> None:
    """Each frame is read out with its numbers; Enter zooms, and updates the address."""
    page = await visit(PROFILE)
    await wait_drawn(page)
    await press(page, "ArrowDown")
    assert re.match(r"step_circuit, \d+\.\d%, [\d,]+ samples, of these in itself 0%", await read_frame(page))
    await press(page, "ArrowDown", "ArrowDown")
    assert (await read_frame(page)).startswith("hash_lookup, ")
    await press(page, "Enter")
    await expect(page.locator(".trail")).to_contain_text("hash_lookup")
    assert f".{console.find_key('hash_lookup')}" in page.url
    await expect(page.get_by_label("The chosen function")).to_contain_text("hash_lookup")
    await press(page, "Escape")
    await expect(page.locator(".trail button").last).to_have_text("join")


async def test_the_graph_by_mouse(visit: Open) -> None:
    """A click zooms, the frame under the pointer is described, and one click, or the browser's Back, returns."""
    page = await visit(PROFILE)
    await wait_drawn(page)
    canvas = page.get_by_test_id("flame")
    await canvas.hover(position={"x": 60, "y": 50})
    await expect(page.locator(".tip")).to_contain_text("join")
    await canvas.click(position={"x": 60, "y": 50})
    await expect(page.locator(".trail button").last).to_have_text("join")
    await page.go_back()
    await expect(page.locator(".trail button")).to_have_count(1)


async def test_facts_and_tree_are_asked_for_together(visit: Open) -> None:
    page = await visit()
    asked = asyncio.Event()

    async def hold(route: Route) -> None:
        await asked.wait()
        await route.continue_()

    await page.route(re.compile(f"/samply_profiles/{make_id(2)}$"), hold)
    page.on("request", lambda request: asked.set() if request.url.endswith("/tree") else None)
    await page.goto(page.url + PROFILE)
    await expect(page.get_by_test_id("flame")).to_be_visible()


async def test_escape_closes_what_is_open_and_no_more(visit: Open) -> None:
    """A menu, or a dialog: the graph stays zoomed, and the focus is back where it was."""
    page = await visit(f"{PROFILE}?zoom={console.find_key('pipeline::main')}.{console.find_key('step_circuit')}")
    await wait_drawn(page)
    address = page.url
    opener = page.get_by_role("button", name="Open or save")
    await opener.press("Enter")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Escape")
    await expect(page.locator(".menu > div")).to_have_count(0)
    await expect(opener).to_be_focused()
    await opener.press("Enter")
    await page.get_by_role("button", name="Firefox Profiler").click()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(opener).to_be_focused()
    assert page.url == address
    await page.locator("h1").click()
    await page.keyboard.press("Escape")
    await expect(page.locator(".trail button").last).to_have_text("pipeline::main")


async def test_an_address_of_nonsense_shows_the_graph(visit: Open) -> None:
    page = await visit(f"{PROFILE}?view=toString&by=constructor&t=5-1&zoom=none")
    await expect(page.get_by_test_id("flame")).to_be_visible()
    await page.goto(f"{page.url.split('?')[0]}?threads={','.join(map(str, range(0, 800, 2)))}")
    await expect(page.locator(".note.bad")).to_be_visible()
    # The choice of threads can be changed.
    await page.get_by_role("button", name="3 of 6 threads").click()
    await expect(page.get_by_test_id("flame")).to_be_visible()


async def test_one_search_drives_all_views(visit: Open) -> None:
    page = await visit(PROFILE)
    await page.get_by_label("Search functions").fill("merge")
    await expect(page.locator(".trail")).to_contain_text("1 of 24 functions match, 12.7% of all")
    await page.get_by_role("button", name="Functions").click()
    await expect(page.locator(".grid-row")).to_have_count(1)
    await page.get_by_role("button", name="Call tree").click()
    await expect(page.locator(".grid-row.hit")).to_have_count(3)
    assert "q=merge" in page.url


async def test_the_table_says_what_the_file_says(visit: Open, tmp_path: Path) -> None:
    """Computed from the samples independently, and sorted by any column."""
    page = await visit(f"{PROFILE}?view=table")
    rows = page.locator(".grid-row")
    await expect(rows.first).to_contain_text("memcmp_avx2")
    summary = await page.request.get(
        page.url.split("/console")[0] + f"/v0/pipelines/orders/samply_profiles/{make_id(2)}/summary",
        headers={"Authorization": f"Bearer {KEY}"},
    )
    top = (await summary.json())["all_threads"]["by_self"][0]
    text = await rows.first.inner_text()
    assert f"{int(top['self_weight']):,}" in text
    assert f"{int(top['total_weight']):,}" in text
    await page.get_by_role("columnheader").get_by_role("button", name="Function").click()
    await expect(rows.first).to_contain_text("0x7f31a2c0")


async def test_a_selection_in_time_and_of_threads_filters_everything(visit: Open) -> None:
    page = await visit(PROFILE)
    await wait_drawn(page)
    await expect(page.locator(".lane")).to_have_count(6)
    await page.get_by_label("From second").fill("0.5")
    await page.get_by_label("From second").press("Tab")
    await expect(page.locator(".trail")).to_contain_text(re.compile(r"3,\d{3} samples"))
    assert "t=0.5-" in page.url
    await page.get_by_label("dbsp-worker-0").uncheck()
    await expect(page.locator(".trail")).to_contain_text(re.compile(r"1,\d{3} samples"))
    await page.reload()
    await expect(page.locator(".trail")).to_contain_text(re.compile(r"1,\d{3} samples"))
    plots = await page.locator(".lanes-plots").bounding_box()
    assert plots is not None
    await page.mouse.move(plots["x"] + plots["width"] * 0.25, plots["y"] + 20)
    await page.mouse.down()
    await page.mouse.move(plots["x"] + plots["width"] * 0.5, plots["y"] + 20, steps=4)
    await page.mouse.up()
    await expect(page).to_have_url(re.compile(r"t=0\.6\d*-1\.2"))


async def test_threads_that_are_not_listed_count(visit: Open, service: Service) -> None:
    """Without one of the 200 lanes, all others of the profile are there."""
    console.put_good(service, 32, console.make_engine(3, threads=230, samples=460))
    await service.settle()
    page = await visit(f"profiles/orders/{make_id(32)}")
    await expect(page.locator(".lane")).to_have_count(200)
    await expect(page.locator(".lanes-head")).to_contain_text("230 in all, the busiest 200 below")
    timeline = (
        await service.get(f"/v0/pipelines/orders/samply_profiles/{make_id(32)}/timeline?limit=1000")
    ).read_json()
    await page.get_by_label("dbsp-worker-0").uncheck()
    await expect(page.get_by_role("button", name="229 of 230 threads")).to_be_visible()
    others = sum(lane["samples"] for lane in timeline["lanes"] if lane["name"] != "dbsp-worker-0")
    await expect(page.locator(".trail .num").first).to_have_text(f"{others:,} samples")


async def test_sandwich(visit: Open) -> None:
    """All calls of one function, wherever it is called from."""
    page = await visit(f"{PROFILE}?fn={console.find_key('merge_batches')}")
    await page.get_by_role("button", name="Callers and callees").click()
    await expect(page.get_by_test_id("flame")).to_have_count(2)
    callers = page.locator(".flame").first
    await callers.press("ArrowUp")
    assert (await callers.locator("[aria-live]").inner_text()).startswith("aggregate, ")


@pytest.mark.parametrize("by", ["thread", "library", "group"])
async def test_the_graph_is_split_by_thread_library_or_group(visit: Open, by: str) -> None:
    page = await visit(PROFILE)
    await page.locator("label.pick select").select_option(by)
    await expect(page).to_have_url(re.compile(f"by={by}"))
    await wait_drawn(page)
    await press(page, "Home")
    expected = {"thread": "dbsp-worker-0 (0)", "library": "app", "group": "(no rule matches)"}[by]
    assert (await read_frame(page)).startswith(expected)


async def test_a_profile_without_markers_says_so(visit: Open) -> None:
    page = await visit(f"{PROFILE}?by=operator")
    await expect(page.locator(".note.bad")).to_contain_text("markers")


async def test_omitted_frames_are_loaded_on_zoom(visit: Open, service: Service) -> None:
    """A tree with more frames than are sent: the rest of a frame is requested by its path."""
    console.put_good(service, 31, console.make_wide(60_000))
    await service.settle()
    page = await visit(f"profiles/orders/{make_id(31)}")
    await wait_drawn(page)
    await expect(page.locator(".trail")).to_contain_text(re.compile(r"20,000 of \d\d,\d{3} frames"))
    await press(page, "ArrowDown")
    async with page.expect_response(lambda answer: "path=" in answer.url) as answer:
        await press(page, "Enter")
    body = await (await answer.value).json()
    assert body["path_found"] == 2
    assert sum(body["nodes"]["cut"]) == 0
    await wait_drawn(page)
    await press(page, *["ArrowDown"] * 5)
    assert await read_frame(page)


async def test_compared(visit: Open) -> None:
    """The numbers of both, the difference, and swapped its opposite."""
    page = await visit(f"compare?before=orders/{make_id(1)}&after=orders/{make_id(2)}&view=table")
    row = page.locator(".grid-row", has_text="hash_lookup")
    await expect(row).to_contain_text(re.compile(r"\+\d+\.\d\d pp"))
    await page.get_by_role("button", name="Swap").click()
    await expect(row).to_contain_text(re.compile(r"−\d+\.\d\d pp"))
    assert f"before=orders%2F{make_id(2)}" in page.url


async def test_the_selection_in_one_profile_is_not_of_a_comparison(visit: Open) -> None:
    """It is shown that it does not count, and can be taken out of the address."""
    page = await visit(f"compare?before=orders/{make_id(1)}&after=orders/{make_id(2)}&t=0.5-1.25&threads=0-2,4")
    await expect(page.get_by_test_id("flame")).to_be_visible()
    await expect(page.locator("main")).to_contain_text("from 0.5 s to 1.25 s, threads 0-2,4")
    await page.get_by_role("button", name="Clear the selection").click()
    await expect(page.get_by_text("Whole recordings are compared")).to_have_count(0)
    assert "t=" not in page.url.split("after=")[1]


async def test_what_has_no_profile_is_not_compared(visit: Open, service: Service) -> None:
    """A failed recording, and one that runs."""
    service.operator.recordings = (make_recording(make_id(50), "orders", ordinal=2, ends_in_secs=60),)
    await service.settle()
    page = await visit(f"compare?before=orders/{make_id(50)}&after=orders/{make_id(4)}")
    await expect(page.get_by_label("Before", exact=True)).to_contain_text("This recording has not ended yet.")
    await expect(page.get_by_label("After", exact=True)).to_contain_text("This recording failed.")
    await expect(page.get_by_role("button", name="HTML report")).to_have_count(0)


async def test_two_profiles_are_chosen(visit: Open) -> None:
    page = await visit("compare")
    for side, number in (("Before", 6), ("After", 1)):
        await page.get_by_label(side, exact=True).get_by_role("button", name="Choose").click()
        dialog = page.get_by_role("dialog")
        if side == "After":
            await dialog.get_by_role("button", name="Another pipeline").click()
        await dialog.get_by_role("button", name={6: "pricing", 1: "orders"}[number]).click()
        await dialog.locator(".picker button").last.click()
    await wait_drawn(page)
    assert f"before=pricing%2F{make_id(6)}" in page.url
    await expect(page.get_by_test_id("flame")).to_be_visible()


async def test_the_report_is_one_file_that_needs_nothing(visit: Open, browser: Browser, tmp_path: Path) -> None:
    """Opened from disk without a network: the graph, the tree, the table, the lanes."""
    page = await visit(PROFILE)
    await wait_drawn(page)
    await page.get_by_role("button", name="Open or save").click()
    async with page.expect_download() as download:
        await page.get_by_role("button", name="HTML report").click()
    path = tmp_path / "report.html"
    await (await download.value).save_as(path)
    context = await browser.new_context(offline=True)
    report = await context.new_page()
    faults: list[str] = []
    report.on("pageerror", lambda error: faults.append(str(error)))
    report.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    report.on("request", lambda request: faults.append(request.url) if not request.url.startswith("file:") else None)
    await report.goto(path.as_uri())
    await expect(report.get_by_test_id("flame")).to_be_visible()
    await expect(report.locator(".lane")).to_have_count(6)
    await report.get_by_role("button", name="Functions").click()
    await report.get_by_label("Search functions").fill("hash")
    await expect(report.locator(".grid-row")).to_have_count(1)
    await check_accessibility(report)
    assert faults == []
    await context.close()


async def test_a_report_of_hostile_names_is_a_report(
    visit: Open, service: Service, browser: Browser, tmp_path: Path
) -> None:
    console.put_good(service, 30, console.make_hostile())
    await service.settle()
    page = await visit(f"profiles/orders/{make_id(30)}?view=table")
    await wait_drawn(page)
    await page.get_by_role("button", name="Open or save").click()
    async with page.expect_download() as download:
        await page.get_by_role("button", name="HTML report").click()
    path = tmp_path / "report.html"
    await (await download.value).save_as(path)
    report = await browser.new_page()
    await report.goto(path.as_uri())
    await expect(report.locator(".grid-row", has_text="<script>")).to_be_visible()
    assert await report.locator("img").count() == 0
    assert await report.title() == "orders 0"
    await report.close()


async def test_speedscope_in_place(visit: Open, watch: Watch) -> None:
    """It gets the profile from the page; the API is out of its reach."""
    page = await visit(PROFILE)
    await page.get_by_role("button", name="Open or save").click()
    await page.get_by_role("button", name="speedscope").click()
    frame = page.frame_locator("iframe")
    await expect(frame.locator("body")).to_contain_text("orders 0 (1/6)", timeout=20_000)
    inside = page.frames[-1]
    asked = await inside.evaluate("fetch('/v0/pipelines').then(() => 'reached', () => 'refused')")
    assert asked == "refused"
    watch.allowed = ("Content Security Policy", "Refused to connect", "violates the following")


async def test_firefox_profiler_gets_a_link_that_expires(visit: Open, service: Service) -> None:
    """To that one file; it holds as long as was chosen."""
    page = await visit(PROFILE)
    await page.get_by_role("button", name="Open or save").click()
    await page.get_by_role("button", name="Firefox Profiler").click()
    await page.get_by_role("button", name="15 min").click()
    await page.get_by_role("button", name="Make a link").click()
    opener = page.get_by_role("link", name="Open in Firefox Profiler")
    address = await opener.get_attribute("href")
    assert address is not None
    assert address.startswith("https://profiler.firefox.com/from-url/http%3A%2F%2F127.0.0.1")
    assert "signature" in address
    url = await page.locator(".command code").inner_text()
    assert (await page.request.get(url)).status == 200


async def test_the_file_itself_is_saved(visit: Open, tmp_path: Path) -> None:
    page = await visit(PROFILE)
    await page.get_by_role("button", name="Open or save").click()
    async with page.expect_download() as download:
        await page.get_by_role("button", name=re.compile("with function names")).click()
    saved = await download.value
    assert saved.suggested_filename.endswith("samply_profile.json.gz")
    await saved.save_as(tmp_path / "p")
    assert (tmp_path / "p").read_bytes() == console.make_engine(2, heavier="join")


async def test_warnings_stand_in_the_graph(visit: Open) -> None:
    """They state how much of what ran is in it."""
    page = await visit(f"profiles/fraud-detection/{make_id(5)}")
    await wait_drawn(page)
    evidence = page.get_by_role("img", name=re.compile("Of the CPU time"))
    await expect(evidence).to_contain_text("29.0% not sampled")
    await expect(evidence).to_contain_text("without names")
    await expect(page.get_by_text("Throttled for 2.4 s by the CPU limit")).to_be_visible()


def test_the_key_of_a_function_is_the_servers() -> None:
    """Links contain it, so it must not change."""
    assert frame_tree.find_key("join", "pipeline") == "9d77934d"


async def test_what_feldera_said_is_saved(visit: Open, service: Service, tmp_path: Path) -> None:
    """What is missing is not offered; the page says why."""
    data = gzip.compress(b"{}")
    name = NAMES["CircuitProfile"]
    stored = Attachment("CircuitProfile", name, StoredFile(len(data), hashlib.sha256(data).hexdigest()))
    missing = Attachment("HeapProfile", problem="Feldera answers 400.")
    warnings = attachments.describe_missing([missing])
    profile = console.make_engine(2)
    console.put_good(service, 40, profile, extras={name: data}, attachments=(stored, missing), warnings=warnings)
    await service.settle()
    page = await visit(f"profiles/orders/{make_id(40)}")
    await expect(page.locator(".notes")).to_contain_text("Without the attachments HeapProfile: Feldera answers 400.")
    await page.get_by_role("button", name="Open or save").click()
    await expect(page.get_by_role("button", name="Heap profile")).to_have_count(0)
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Circuit profile").click()
    saved = await download.value
    assert saved.suggested_filename.endswith(f"Z-{name}")
    await saved.save_as(tmp_path / "saved")
    assert (tmp_path / "saved").read_bytes() == data
