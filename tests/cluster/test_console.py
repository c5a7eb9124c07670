"""The web console on a real installation: opened by the plugin, a recording from the page, the result in the graph."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from cluster.pipelines import Pipeline
from cluster.release import CALLER, Install
from support import needs

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

TOLERANCE = 10
"""Percent points around the half that `join` takes of each worker: demo/pipeline/pipeline.c."""


def test_from_the_button_to_the_flame_graph(
    install: Install, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`kubectl samply console` signs in; the profile opens by itself, and says what the program does."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        needs.lack("Chromium", "tests/browser/install")
    install.make_caller()
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    command = ["kubectl", "samply", "console", "--no-browser", "-n", pipeline.namespace,
               "--service", f"{install.namespace}/{install.name}", "--service-account", CALLER]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, sync_playwright() as playwright:
        try:
            address = process.stdout.readline().strip() if process.stdout else ""
            assert "/console/#token=" in address
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            page.goto(address)
            row = page.locator(".pipelines li", has_text=pipeline.name)
            row.get_by_role("button", name="Record").click()
            dialog = page.get_by_role("dialog")
            dialog.get_by_text("0", exact=True).click()
            dialog.get_by_text("Other").click()
            dialog.get_by_label("Seconds").fill("6")
            dialog.get_by_role("button", name="Record").click()
            expect(page.locator(".ring")).to_be_visible(timeout=60_000)
            expect(page.get_by_test_id("flame")).to_be_visible(timeout=120_000)
            for lane in page.locator(".lane label").all():
                if "worker" not in lane.inner_text():
                    lane.locator("input").uncheck()
            page.get_by_role("button", name="Functions").click()
            page.get_by_label("Search functions").fill("join")
            expect(page.locator(".loading-line.on")).to_have_count(0, timeout=60_000)
            text = page.locator(".grid-row", has_text="join").first.inner_text()
            # The row: samples in it itself, their share, those in it and below, their share.
            share = float(re.findall(r"(\d+(?:\.\d+)?)%", text)[0])
            assert share == pytest.approx(50, abs=TOLERANCE), text
            browser.close()
        finally:
            process.terminate()
