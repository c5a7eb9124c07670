"""The paths that CONTRIBUTING.md and the pages for developers name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "CONTRIBUTING.md",
    *(ROOT / "docs" / "development" / f"{page}.md" for page in ("glossary", "one-recording")),
)
PLACES = (ROOT, ROOT / "operator" / "samply_operator")
"""A path is named from the root of the repository, or from the package."""
PATH = re.compile(r"`(?!samply\.feldera\.com/)([\w.-]*/[\w./-]*|[\w-]+\.(?:py|md|toml|yaml))`")
"""What stands in backticks and looks like a path; annotations do, too."""


def list_paths() -> list[tuple[str, str]]:
    return [(page.name, path) for page in PAGES for path in dict.fromkeys(PATH.findall(page.read_text()))]


@pytest.mark.parametrize(("page", "path"), list_paths())
def test_a_path_exists(page: str, path: str) -> None:
    assert any((place / path).exists() for place in PLACES), f"{page} names {path}"


def test_paths_are_found() -> None:
    """The expression above still finds them."""
    assert len([path for page, path in list_paths() if page == "CONTRIBUTING.md"]) > 40
