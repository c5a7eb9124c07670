"""Every page, in light and dark mode, on a desktop and on a phone, for the eye and for a screen reader."""

from __future__ import annotations

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from samply_operator.control.messages import ActReply
from samply_operator.model.manifest import Quality, RecordedTarget, TriggeredBy
from samply_operator.model.profile import Failure
from support import console
from support.fake_operator import KEY, make_recording
from support.service import Service, make_id

from .conftest import Open, Watch, check_accessibility, measure_overhang, take_picture, wait_drawn

PROFILE = f"profiles/orders/{make_id(2)}"
PAGES = {
    "pipelines": "",
    "pipeline": "pipelines/feldera/orders",
    "recording": f"profiles/clickstream-sessions/{make_id(50)}",
    "profile": f"{PROFILE}?fn={console.find_key('hash_lookup')}",
    "inverted": f"{PROFILE}?view=inverted",
    "sandwich": f"{PROFILE}?view=sandwich&fn={console.find_key('merge_batches')}",
    "tree": f"{PROFILE}?view=tree",
    "table": f"{PROFILE}?view=table",
    "warnings": f"profiles/fraud-detection/{make_id(5)}",
    "failed": f"profiles/orders/{make_id(4)}",
    "compare": f"compare?before=orders/{make_id(1)}&after=orders/{make_id(2)}",
    "empty-compare": "compare",
    "nowhere": "no/such/page",
}


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def running(service: Service) -> None:
    service.operator.recordings = (make_recording(make_id(50), "clickstream-sessions", ordinal=2, ends_in_secs=20),)
    await service.settle()


@pytest.mark.parametrize("name", PAGES)
async def test_by_day_by_night_and_on_a_phone(visit: Open, context: BrowserContext, name: str) -> None:
    page = await visit(PAGES[name])
    await wait_drawn(page)
    await expect(page.locator("h1, .empty h2").first).to_be_visible()
    await check_accessibility(page)
    await take_picture(page, name)
    await page.emulate_media(color_scheme="dark")
    await check_accessibility(page)
    await take_picture(page, f"{name}-dark")
    await page.emulate_media(color_scheme="light")
    await page.set_viewport_size({"width": 320, "height": 760})
    assert await measure_overhang(page) <= 0
    await take_picture(page, f"{name}-narrow")


async def test_the_list_by_keyboard(visit: Open) -> None:
    """`/` searches, arrows walk, Enter opens, R records."""
    page = await visit()
    await expect(page.locator(".pipelines li")).to_have_count(6)
    await page.keyboard.press("/")
    await page.keyboard.type("sta")
    await expect(page.locator(".pipelines li")).to_have_count(2)
    assert "q=sta" in page.url
    await page.keyboard.press("Escape")
    await page.keyboard.press("ArrowDown")
    await expect(page.locator(":focus")).to_contain_text("recommendations")
    await page.keyboard.press("r")
    await expect(page.get_by_role("dialog")).to_contain_text("Record recommendations")
    await page.keyboard.press("Escape")
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("pricing")


async def test_the_list_shows_running_recordings_and_profile_quality(visit: Open) -> None:
    page = await visit()
    row = page.locator(".pipelines li", has_text="clickstream-sessions")
    await expect(row.locator(".ordinal.live")).to_contain_text("recording now")
    await expect(page.locator(".pipelines li", has_text="inventory")).to_contain_text("Idle")
    await expect(page.locator(".pipelines li", has_text="fraud-detection")).to_contain_text("Incomplete 71%")
    await page.get_by_role("button", name="Recording", exact=True).click()
    await expect(page.locator(".pipelines li")).to_have_count(1)


async def test_a_long_list_is_complete(visit: Open, service: Service) -> None:
    """Its first rows come before the others; the search finds them all."""
    service.operator.pipelines = tuple(console.make_pipeline(f"pipeline-{number:03}") for number in range(200))
    await service.settle()
    page = await visit()
    await expect(page.locator(".pipelines li", has_text="pipeline-")).to_have_count(200)
    await page.get_by_label("Search pipelines").fill("pipeline-19")
    await expect(page.locator(".pipelines li")).to_have_count(10)


async def test_what_opens_fits_a_phone(visit: Open, service: Service) -> None:
    """The menu, the dialog of a pipeline with many ordinals, and the names in the table."""
    service.operator.pipelines = (console.make_pipeline("orders", running=64),)
    await service.settle()
    page = await visit(f"{PROFILE}?view=table")
    await wait_drawn(page)
    await page.set_viewport_size({"width": 320, "height": 760})
    await page.get_by_role("button", name="Open or save").click()
    for part in (".grid-row .fn", ".menu > div"):
        box = await page.locator(part).first.bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 320
    await page.goto(page.url.split("/profiles/")[0] + "/pipelines/feldera/orders")
    await page.locator(".head").get_by_role("button", name="Record").click()
    await expect(page.get_by_role("dialog").get_by_text("63", exact=True)).to_be_visible()
    assert await page.get_by_role("dialog").evaluate("each => each.scrollWidth - each.clientWidth") <= 0
    assert await measure_overhang(page) <= 0


async def test_history_is_filtered_and_pages(visit: Open, service: Service) -> None:
    for number in range(100, 160):
        console.put_good(service, number, b"x", secs_ago=100_000 - number, ordinal=2)
    await service.settle()
    page = await visit("pipelines/feldera/orders")
    rows = page.locator(".history tbody tr")
    await expect(rows).to_have_count(50)
    await page.get_by_role("button", name="Older").click()
    await expect(rows).to_have_count(14)
    await page.get_by_role("button", name="Failed").click()
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("PerfDenied")
    await page.get_by_role("button", name="All", exact=True).click()
    await page.get_by_label("Ordinal", exact=True).select_option("1")
    await expect(rows).to_have_count(1)
    await page.get_by_role("button", name="Clear").click()
    await expect(rows).to_have_count(50)
    await page.get_by_label("Search the history").fill("ANA perfden")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("PerfDenied")
    await page.get_by_label("Search the history").fill("")
    await page.get_by_label("to", exact=True).fill("2020-01-31")
    await expect(page.get_by_text("No attempt matches the filters above.")).to_be_visible()
    assert "to=2020-01-31" in page.url
    await page.get_by_label("to", exact=True).fill("")
    await page.get_by_label("From", exact=True).fill("2020-01-31")
    await expect(rows).to_have_count(50)
    # A page of the history is a place to come back to.
    await page.get_by_role("button", name="Older").click()
    await expect(rows).to_have_count(14)
    await page.reload()
    await expect(rows).to_have_count(14)
    await page.go_back()
    await expect(rows).to_have_count(50)


async def test_a_link_that_expires_is_made_in_the_history(visit: Open) -> None:
    """For one file, without a token."""
    page = await visit("pipelines/feldera/orders")
    await page.locator(".history tbody tr").first.get_by_role("button", name="Expiring link").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="1 day").click()
    await expect(dialog.get_by_role("button", name="7 days")).to_have_count(0)
    await dialog.get_by_role("button", name="Make a link").click()
    await expect(dialog).to_contain_text("Expires on")
    await check_accessibility(page)
    await take_picture(page, "link")
    assert (await page.request.get(await dialog.locator("code").inner_text())).status == 200


async def test_addresses_of_nonsense_show_lists(visit: Open) -> None:
    """What cannot be meant is not said: a button is pressed, and there are rows."""
    page = await visit("?show=nonsense")
    await expect(page.locator(".pipelines li")).to_have_count(6)
    await expect(page.get_by_role("button", name="All", exact=True)).to_have_attribute("aria-pressed", "true")
    rest = "state=toString&ordinal=-1&from=2020-13-99&to=x&after=../..,x&q=%20&compare=,,"
    await page.goto(f"{page.url.split('?')[0]}pipelines/feldera/orders?{rest}")
    await expect(page.locator(".history tbody tr")).to_have_count(4)
    await expect(page.get_by_role("button", name="All", exact=True)).to_have_attribute("aria-pressed", "true")


async def test_a_profile_is_deleted_after_a_question(visit: Open, service: Service) -> None:
    service.operator.act = lambda verb, profile_id: ActReply(profile_id, "Removed")
    page = await visit("pipelines/feldera/orders")
    await page.locator(".history tbody tr").first.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Cancel").click()
    assert service.operator.acts == []
    await page.locator(".history tbody tr").first.get_by_role("button", name="Delete").click()
    await page.get_by_role("button", name="Delete", exact=True).click()
    await expect(page.get_by_text("Deleted.")).to_be_visible()
    assert service.operator.acts == [("delete", make_id(2))]


async def test_a_pin_is_set_and_taken_away(visit: Open, service: Service) -> None:
    """In the history, and on the profile's own page."""

    def act(verb: str, profile_id: str) -> ActReply:
        service.operator.pinned = (profile_id,) if verb == "pin" else ()
        service.operator.push()
        return ActReply(profile_id, "Pinned" if verb == "pin" else "Unpinned")

    service.operator.act = act
    page = await visit("pipelines/feldera/orders")
    pin = page.locator(".history tbody tr").first.get_by_role("button", name="Pin")
    await pin.click()
    await expect(pin).to_have_attribute("aria-pressed", "true")
    other = await visit(PROFILE)
    pin = other.get_by_role("button", name="Pin the profile")
    await expect(pin).to_have_attribute("aria-pressed", "true")
    await pin.click()
    await expect(pin).to_have_attribute("aria-pressed", "false")
    assert service.operator.acts == [("pin", make_id(2)), ("unpin", make_id(2))]


async def test_names_are_never_markup(visit: Open, service: Service) -> None:
    """On each view; a name of 10,000 characters does not overflow the window."""
    console.put_good(service, 30, console.make_hostile(), requested_by=console.HOSTILE)
    await service.settle()
    for view in ("flame", "inverted", "tree", "table", "sandwich"):
        page = await visit(f"profiles/orders/{make_id(30)}?view={view}&fn={console.find_key(console.HOSTILE)}")
        await wait_drawn(page)
        await expect(page.get_by_label("The chosen function")).to_contain_text("<script>")
        await expect_unbitten(page)
        await page.get_by_label("Search functions").fill("<script>")
        await expect(page.locator(".trail")).to_contain_text("1 of 5 functions match")
        await expect_unbitten(page)
        await page.close()


async def test_words_of_strangers_stay_in_their_places(visit: Open, service: Service) -> None:
    """Who asked, why it failed, where it ran: what turns the direction of text does not turn the page's own."""
    hostile = console.HOSTILE
    target = RecordedTarget(pod=hostile, node=hostile * 9, mode="InPlace")
    trigger = TriggeredBy(hostile, hostile * 9, "javascript:alert(1)")
    console.put_good(service, 30, console.make_hostile(), target=target, trigger=trigger, warnings=("x" * 5000,))
    failure = Failure("R" * 200, hostile, "y" * 8000, hostile * 99)
    console.put_good(service, 33, None, failure=failure, quality=Quality(), requested_by="a" * 3000)
    await service.settle()
    page = await visit("pipelines/feldera/orders")
    await page.set_viewport_size({"width": 320, "height": 760})
    rows = page.locator(".history tbody tr")
    await expect(rows).to_have_count(6)
    assert "\u202e" not in await page.locator("body").inner_text()
    for number in (30, 33):
        await page.goto(f"{page.url.split('/console/')[0]}/console/profiles/orders/{make_id(number)}")
        await expect(page.locator(".head p")).to_contain_text("requested by")
        assert "\u202e" not in await page.locator(".head").inner_text()
        assert await measure_overhang(page) <= 0
        assert await page.locator("img").count() == 0


async def expect_unbitten(page: Page) -> None:
    assert await page.locator("img").count() == 0
    assert await page.locator("script").count() == 1
    assert await page.title() == "orders 0 · samply-operator"
    assert await measure_overhang(page) <= 0


async def test_times_are_of_the_readers_zone(browser: Browser, service: Service, watch: Watch) -> None:
    shown = []
    for zone in ("Asia/Tokyo", "America/Lima"):
        context = await browser.new_context(timezone_id=zone, locale="en-GB")
        page = await context.new_page()
        await page.add_init_script(f"sessionStorage.setItem('samply-console-token', '{KEY}')")
        await page.goto(f"{watch.origin}/console/{PROFILE}")
        shown.append(await page.locator(".head p").inner_text())
        await context.close()
    assert shown[0] != shown[1]
