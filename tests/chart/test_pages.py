"""Numbers and words that are repeated in the documentation match their source."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chart import helm
from samply_operator.rules.recording import preflight

DOCS = helm.REPOSITORY / "docs"
COSTS = (DOCS / "usage.md").read_text().partition("\n## Overhead\n")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| (.*) \| (.*) \(\[\w+\]\((\S+)\)\) \|$", COSTS, re.MULTILINE)


def test_every_check_that_a_page_shows_is_one_of_the_preflight() -> None:
    names = set(re.findall(r'_(?:warn|forbid)\(\s*"([\w ]+)"', Path(preflight.__file__).read_text()))
    shown = re.findall(r'"check": "([\w ]+)"', (DOCS / "http.md").read_text())
    assert shown
    assert set(shown) <= names


def test_the_page_removes_all_that_helm_uninstall_keeps() -> None:
    kept = {
        thing["metadata"]["name"]
        for thing in helm.render({"config": {"api": {"links": {"secretName": "links"}}}})
        if thing["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    }
    assert "links" in kept
    commands = (DOCS / "install.md").read_text().partition("To remove everything")[2].split("```")[1]
    assert kept - {"links"} | {"NAME"} <= set(commands.split())


def test_the_overhead_rows_are_found() -> None:
    """Guards the test below against passing without any rows."""
    assert {Path(bench).parent.name for _, _, bench in ROWS} == {"slowdown", "blindness", "recovery"}


@pytest.mark.parametrize(("what", "seen", "bench"), ROWS, ids=lambda value: value.replace("`", "")[:60])
def test_the_overhead_matches_the_benchmarks(what: str, seen: str, bench: str) -> None:
    """After a new run of a benchmark the page has to be updated."""
    text = (DOCS / bench).read_text()
    figures = re.findall(r"\d+(?:\.\d+)?(?=%| s\b)", seen)
    assert figures, what
    for figure in figures:
        assert re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d.])", text), f"{what}: {figure} isn't in {bench}"
