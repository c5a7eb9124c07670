"""Recording from the console: from the button to the flame graph, and every way in which it can fail."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest
from playwright.async_api import BrowserContext, Page, expect

from samply_operator.control.messages import ActReply, PreflightReply, StartReply, StartRequest
from samply_operator.errors import Forbidden, PipelineNotDeployed, ProfilingInProgress
from samply_operator.model.profile import Failure
from samply_operator.rules.recording.preflight import Finding
from support import console
from support.fake_operator import make_recording
from support.service import Service, make_id

from .conftest import Open, Watch, check_accessibility, take_picture, wait_drawn

NEW = make_id(60)


@dataclass(slots=True)
class Script:
    """What the operator does with one recording, step by step."""

    service: Service
    number: int = 60

    async def show(self, phase: str, *, ends_in_secs: float | None = None, ordinal: int = 0) -> None:
        recording = make_recording(make_id(self.number), "orders", ends_in_secs=ends_in_secs, ordinal=ordinal)
        self.service.operator.recordings = (msgspec.structs.replace(recording, phase=phase),)
        await self.service.settle()

    async def store(self) -> None:
        console.put_good(self.service, self.number, console.make_engine(9), secs_ago=1)
        self.service.operator.recordings = ()
        await self.service.settle()

    async def fail(self) -> None:
        console.put_failed(self.service, self.number, secs_ago=1)
        self.service.operator.recordings = ()
        await self.service.settle()


@pytest.fixture
def script(service: Service) -> Script:
    service.operator.answer = lambda asked: StartReply(NEW, "feldera", "p-60", "Recording", ordinal=asked.ordinal)
    service.operator.act = lambda verb, profile_id: ActReply(profile_id, "Stopping" if verb == "stop" else "Cancelling")
    return Script(service)


async def press_record(visit: Open) -> Page:
    page = await visit("pipelines/feldera/orders")
    await page.locator(".head").get_by_role("button", name="Record").click()
    return page


async def test_the_profile_opens_by_itself(visit: Open, service: Service, script: Script) -> None:
    """Queue, ring, collecting, flame graph; reloaded in the middle."""
    page = await press_record(visit)
    await page.get_by_role("dialog").get_by_text("0", exact=True).click()
    await page.get_by_text("2 min").click()
    await page.get_by_label("Samples per second").fill("499")
    await page.get_by_label("Mode").select_option("BringOwn")
    async with page.expect_response(lambda answer: answer.url.endswith(NEW) and answer.status == 404):
        await page.get_by_role("dialog").get_by_role("button", name="Record").click()
    # The queue tells of it a moment later.
    await script.show("Pending")
    await expect(page.get_by_text("position 1 in the queue")).to_be_visible()
    [asked] = service.operator.started
    assert (asked.pipeline, asked.ordinal, asked.duration_secs, asked.namespace) == ("orders", 0, 120, "feldera")
    assert (asked.rate_hz, asked.mode) == (499, "BringOwn")
    await script.show("Recording", ends_in_secs=18)
    await expect(page.locator(".ring")).to_contain_text("seconds left")
    await page.reload()
    await expect(page.locator(".ring")).to_contain_text("seconds left")
    assert 10 <= int(await page.locator(".ring strong").inner_text()) <= 18
    await script.show("Collecting", ends_in_secs=0)
    await expect(page.locator(".ring")).to_contain_text("Collecting")
    await script.store()
    await expect(page.get_by_test_id("flame")).to_be_visible()
    await expect(page.get_by_label("Facts")).to_contain_text("99%")


async def test_two_tabs_follow_the_same_recording(visit: Open, script: Script) -> None:
    await script.show("Recording", ends_in_secs=20)
    first, second = await visit(f"profiles/orders/{NEW}"), await visit(f"profiles/orders/{NEW}")
    await first.get_by_role("button", name="Stop and keep").click()
    await script.store()
    for page in (first, second):
        await expect(page.get_by_test_id("flame")).to_be_visible()
    assert script.service.operator.acts == [("stop", NEW)]


async def test_cancelled(visit: Open, service: Service, script: Script) -> None:
    """After confirmation; then it is gone."""
    await script.show("Recording", ends_in_secs=20)
    page = await visit(f"profiles/orders/{NEW}")
    await page.get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Cancel the recording").click()
    await expect(page.get_by_text("Cancelled. Nothing was kept.")).to_be_visible()
    assert service.operator.acts == [("delete", NEW)]
    await expect(page).to_have_url(f"http://127.0.0.1:{service.port}/console/pipelines/feldera/orders")


async def test_a_failure_shows_its_cause_remedy_and_log(visit: Open, script: Script) -> None:
    await script.show("Recording", ends_in_secs=20)
    page = await visit(f"profiles/orders/{NEW}")
    await expect(page.locator(".ring")).to_be_visible()
    await script.fail()
    await expect(page.get_by_text("Recording failed: PerfDenied")).to_be_visible()
    await expect(page.get_by_text("Add the capability PERFMON")).to_be_visible()
    await expect(page.locator("pre")).to_contain_text("perf_event_open failed: EPERM (Operation not permitted)")


async def test_all_ordinals_at_once(visit: Open, service: Service, script: Script) -> None:
    """Refusals are shown; the others continue."""

    def answer(asked: StartRequest) -> StartReply:
        if asked.ordinal == 1:
            raise PipelineNotDeployed("Ordinal 1 of pipeline 'orders' isn't running.")
        return StartReply(make_id(60 + asked.ordinal), "feldera", "p", "Pending", ordinal=asked.ordinal)

    service.operator.answer = answer
    page = await press_record(visit)
    await page.get_by_role("dialog").get_by_role("button", name="Record").click()
    await expect(page.get_by_text("Ordinal 1: Ordinal 1 of pipeline 'orders' isn't running.")).to_be_visible()
    assert [each.ordinal for each in service.operator.started] == [0, 1, 2]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ProfilingInProgress("One runs already.", details={"retry_after_secs": 9}), "A recording is already running"),
        (Forbidden("You are not allowed to start or stop recordings in namespace feldera."), "Permission denied"),
    ],
    ids=["409", "403"],
)
async def test_a_refusal_stays_in_the_dialog(visit: Open, service: Service, error: Exception, told: str) -> None:
    def refuse(asked: StartRequest) -> StartReply:
        raise error

    service.operator.answer = refuse
    page = await press_record(visit)
    await page.get_by_role("dialog").get_by_text("0", exact=True).click()
    await page.get_by_role("dialog").get_by_role("button", name="Record").click()
    await expect(page.get_by_role("dialog")).to_contain_text(told)
    await expect(page.get_by_role("dialog")).to_contain_text(str(error).split(".")[0])


async def test_nonsense_is_not_sent(visit: Open, script: Script) -> None:
    page = await press_record(visit)
    await page.get_by_text("Other").click()
    for text in ("0", "3601", "1.5", ""):
        await page.get_by_label("Seconds").fill(text)
        await expect(page.get_by_role("dialog").get_by_role("button", name="Record")).to_be_disabled()
    await page.get_by_label("Seconds").fill("45")
    for text in ("0", "10001", ""):
        await page.get_by_label("Samples per second").fill(text)
        await expect(page.get_by_role("dialog").get_by_role("button", name="Record")).to_be_disabled()
    await page.get_by_label("Samples per second").fill("1000")
    await page.get_by_role("dialog").get_by_role("button", name="Record").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    assert {(each.duration_secs, each.rate_hz, each.mode) for each in script.service.operator.started} == {
        (45, None, None)
    }


async def test_the_check_before(visit: Open, service: Service) -> None:
    failure = Failure("PodSecurity", "The namespace enforces baseline.", "Exempt the operator's ServiceAccount.", "")
    finding = Finding(
        "memory", "warn", "LittleMemory", "The container has little memory left.", "Record for less time."
    )  # type: ignore[arg-type]
    reply = PreflightReply(
        NEW, "feldera", "p", 0, "Refuse", "orders-0", "pipeline", "Ephemeral", (finding,), failure, {"cpus": "2 of 2"}
    )
    service.operator.judge = lambda asked: reply
    page = await press_record(visit)
    await check_accessibility(page)
    await take_picture(page, "record")
    await page.get_by_role("button", name="Check first").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("A recording would be refused")
    await expect(dialog).to_contain_text("Exempt the operator's ServiceAccount.")
    await expect(dialog).to_contain_text("The container has little memory left.")
    assert service.operator.started == []
    # Of one ordinal, and of what was chosen then.
    await expect(dialog).to_contain_text("The other ordinals were not checked.")
    await page.get_by_label("Mode").select_option("InPlace")
    await expect(dialog).not_to_contain_text("A recording would be refused")


async def test_without_the_operator_stored_profiles_are_there(visit: Open, service: Service, watch: Watch) -> None:
    """What is unknown is marked as such; the page notices when the operator is back."""
    await service.send_away()
    page = await visit()
    await expect(page.get_by_text("The operator is not available", exact=True)).to_be_visible()
    await page.goto(f"{watch.origin}/console/profiles/orders/{make_id(2)}")
    await wait_drawn(page)
    await expect(page.get_by_test_id("flame")).to_be_visible()
    await page.goto(f"{watch.origin}/console/profiles/orders/{NEW}")
    await expect(page.get_by_text("The operator is not available", exact=True)).to_be_visible()
    await service.operator.come_back()
    await service.settle()
    await expect(page.get_by_text("No such profile")).to_be_visible(timeout=15_000)


async def test_a_proxy_answers_for_the_service(visit: Open) -> None:
    """While that restarts the page asks again by itself; a page to sign in is not taken for an answer."""
    page = await visit()
    await expect(page.locator(".pipelines li")).to_have_count(6)
    html = {"content_type": "text/html", "body": "<html>"}
    await page.route("**/v0/**", lambda route: route.fulfill(status=502, headers={"Retry-After": "1"}, **html))
    await expect(page.get_by_text("The service answered 502.")).to_be_visible()
    await expect(page.locator(".pipelines li")).to_have_count(6)
    await page.unroute("**/v0/**")
    await expect(page.get_by_text("The service answered 502.")).to_have_count(0)
    await page.route("**/v0/**", lambda route: route.fulfill(status=200, **html))
    await page.reload()
    await expect(page.get_by_text("A proxy in front of it may want you to sign in")).to_be_visible()


async def test_the_service_goes_away_and_comes_back(visit: Open, context: BrowserContext) -> None:
    page = await visit()
    await expect(page.locator(".pipelines li")).to_have_count(6)
    await context.set_offline(True)
    await expect(page.get_by_text("The service does not answer", exact=True)).to_be_visible(timeout=15_000)
    await expect(page.locator(".pipelines li")).to_have_count(6)
    await context.set_offline(False)
    await page.get_by_role("button", name="Try again").click()
    await expect(page.get_by_text("The service does not answer", exact=True)).to_have_count(0)
