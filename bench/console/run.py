"""How fast the console is, measured in Chromium: the page with 500 pipelines, a profile of a million samples, a graph
of 50,000 frames, and what comes over the wire. Run `make console` and tests/browser/install before.

    python bench/console/run.py [--samples 1000000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests"))

from playwright.async_api import Browser, Page, async_playwright  # noqa: E402

from samply_operator.settings import Api  # noqa: E402
from support import console  # noqa: E402
from support.fake_operator import KEY  # noqa: E402
from support.service import Service, make_id, serving  # noqa: E402

ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
PROFILE = f"/v0/pipelines/orders/samply_profiles/{make_id(1)}"
FRAMES = """async (act) => {
    const box = document.querySelector(".flame"), canvas = document.querySelector(".flame canvas");
    const rect = canvas.getBoundingClientRect(), took = [];
    const search = document.querySelector("input[aria-label='Search functions']");
    const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set;
    const middle = {clientX: rect.left + rect.width / 2, clientY: rect.top + 20, bubbles: true, cancelable: true};
    const turn = (by) => box.dispatchEvent(new WheelEvent("wheel", {...middle, ...by}));
    // The whole graph cannot be panned: there must be something beside what is shown.
    if (act === "pan") turn({ctrlKey: true, deltaY: -10});
    for (let step = 0; step < 40; step += 1) {
        const began = performance.now();
        if (act === "zoom") turn({ctrlKey: true, deltaY: step < 20 ? -40 : 40});
        if (act === "pan") turn({deltaX: step % 2 ? 60 : -60});
        if (act === "search") {
            set.call(search, "f" + (step % 40));
            search.dispatchEvent(new Event("input", {bubbles: true}));
        }
        // The second frame comes when what the first one asked for is drawn.
        await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
        took.push(performance.now() - began);
    }
    if (act === "pan") turn({ctrlKey: true, deltaY: 60});
    set.call(search, "");
    search.dispatchEvent(new Event("input", {bubbles: true}));
    return took;
}"""

ROWS = """addEventListener("DOMContentLoaded", () => {
    const watch = () => {
        const count = document.querySelectorAll(".pipelines li").length;
        if (count) window.firstRows ??= performance.now();
        if (count === 500) window.allRows ??= performance.now();
    };
    new MutationObserver(watch).observe(document.body, {subtree: true, childList: true});
});"""


async def open_page(browser: Browser) -> Page:
    page = await browser.new_page(viewport={"width": 1440, "height": 1000})
    await page.add_init_script(f"sessionStorage.setItem('samply-console-token', '{KEY}')")
    return page


async def measure_list(browser: Browser, service: Service, rounds: int) -> dict[str, float]:
    """Seconds until the browser paints at all, until there are rows, and until all are there. The cache is empty each
    time."""
    times = {
        "first paint": "performance.getEntriesByName('first-contentful-paint')[0].startTime",
        "first rows": "firstRows",
        "all 500 rows": "allRows",
    }
    found: dict[str, list[float]] = {name: [] for name in times}
    for _ in range(rounds):
        page = await open_page(browser)
        await page.add_init_script(ROWS)
        await page.goto(f"http://127.0.0.1:{service.port}/console/")
        await page.locator(".pipelines li").nth(499).wait_for(state="attached")
        for name, read in times.items():
            found[name].append(await page.evaluate(read) / 1000)
        await page.close()
    return {name: statistics.median(each) for name, each in found.items()}


async def measure_profile(browser: Browser, service: Service, rounds: int) -> dict[str, float]:
    """Seconds of the summary by itself, and from the address to the graph, in turns."""
    summaries, graphs = [], []
    for _ in range(rounds):
        began = time.monotonic()
        assert (await service.get(f"{PROFILE}/summary")).status == 200
        summaries.append(time.monotonic() - began)
        page = await open_page(browser)
        began = time.monotonic()
        await page.goto(f"http://127.0.0.1:{service.port}/console/profiles/orders/{make_id(1)}")
        await page.get_by_test_id("flame").wait_for()
        graphs.append(time.monotonic() - began)
        await page.close()
    ratios = [graph / summary for graph, summary in zip(graphs, summaries, strict=True)]
    return {
        "summary": statistics.median(summaries),
        "graph": statistics.median(graphs),
        "graph / summary": statistics.median(ratios),
    }


async def measure_frames(browser: Browser, service: Service) -> dict[str, float]:
    """Milliseconds for each of 40 inputs: the page's CPU time, and from the input to the second picture after it, of
    which two pauses of the display are part ("idle" is these alone)."""
    page = await open_page(browser)
    await page.route("**/tree*", lambda route: route.continue_(url=f"{route.request.url}?limit=50000"))
    await page.goto(f"http://127.0.0.1:{service.port}/console/profiles/orders/{make_id(2)}")
    await page.get_by_test_id("flame").wait_for()
    await page.locator(".lane").first.wait_for()
    told = await page.locator(".trail").inner_text()
    found: dict[str, float] = {}
    client = await page.context.new_cdp_session(page)
    await client.send("Performance.enable", {"timeDomain": "threadTicks"})

    async def read_cpu_ms() -> float:
        metrics = (await client.send("Performance.getMetrics"))["metrics"]
        return 1000 * next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")

    for act in ("idle", "zoom", "pan", "search"):
        before = await read_cpu_ms()
        took = sorted(await page.evaluate(FRAMES, act))
        found[f"{act}, CPU"] = (await read_cpu_ms() - before) / len(took)
        found[f"{act}, median"], found[f"{act}, 95%"] = statistics.median(took), took[int(0.95 * len(took))]
    await page.close()
    print(f"  the graph says: {told.splitlines()[-1]}")
    return found


async def measure_wire(service: Service) -> dict[str, float]:
    """KiB as they are sent, packed."""
    found = {}
    origin = f"http://127.0.0.1:{service.port}/console"
    async with service.bare.get(f"{origin}/", headers={"Accept-Encoding": "identity"}) as page:
        text = await page.text()
    for name in ("main", "report"):
        (file,) = re.findall(rf"assets/{name}-\w+\.js", text)
        packed = {"Accept-Encoding": "gzip"}
        async with service.bare.get(f"{origin}/{file}", headers=packed) as answer:
            found[f"{name}.js"] = len(await answer.read()) / 1024
    return found


def make_big(samples: int) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        generate = [sys.executable, str(REPOSITORY / "bench/profiles/generate.py"), folder, "--samples", str(samples)]
        subprocess.run(generate, check=True, stdout=subprocess.DEVNULL)
        return (Path(folder) / "profile.json.gz").read_bytes()


def show(title: str, found: dict[str, float], unit: str) -> None:
    print(title)
    for name, value in found.items():
        print(f"  {name:<18} {value:8.2f} {'' if '/' in name else unit}")
    sys.stdout.flush()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    big = make_big(options.samples)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=ARGUMENTS)
        with tempfile.TemporaryDirectory(prefix="so-") as folder:
            async with serving(Path(folder), Api(requests_per_sec=0)) as service:
                service.operator.pipelines = tuple(
                    console.make_pipeline(f"pipeline-{number:03}", running=1 + number % 4) for number in range(500)
                )
                console.put_good(service, 1, big)
                console.put_good(service, 2, console.make_wide(80_000))
                for number in range(10, 260):
                    console.put_good(service, number, b"x", pipeline=f"pipeline-{number:03}", secs_ago=number)
                await service.settle()
                show("script on the wire", await measure_wire(service), "KiB")
                show("500 pipelines", await measure_list(browser, service, options.rounds), "s")
                show("50,000 frames", await measure_frames(browser, service), "ms")
                show(f"{options.samples:,} samples", await measure_profile(browser, service, options.rounds), "s")
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
