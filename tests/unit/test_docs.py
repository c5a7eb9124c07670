"""The documentation matches the source: reasons, links, commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cluster import matrix, table
from samply_operator.rules.recording import preflight
from samply_operator.rules.recording.failures import REMEDIES
from vm import rows

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "bench/**/*.md", "charts/**/*.md", "tests/**/*.md", "requirements/*.md")
    for path in REPOSITORY.glob(pattern)
)
TROUBLESHOOTING = REPOSITORY / "docs" / "troubleshooting.md"
ROW = re.compile(r"^\| `([A-Z]\w+)` \|(.*)\| ([^|]*) \|$", re.MULTILINE)
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def read_rows() -> dict[str, tuple[str, str]]:
    text = TROUBLESHOOTING.read_text().partition("## Reasons")[2].partition("\n## ")[0]
    return {reason: (meaning.strip(), cure) for reason, meaning, cure in ROW.findall(text)}


def name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def make_anchor(heading: str) -> str:
    """As GitHub makes it: lower case, punctuation out, spaces to hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_there_are_pages() -> None:
    """Guards the tests below against passing without any pages."""
    assert {"README.md", "docs/troubleshooting.md", "docs/install.md"} <= set(map(name, PAGES))


def test_every_reason_has_one_row() -> None:
    """Each reason can be found, and no row describes a reason that no longer exists."""
    assert list(read_rows()) == list(REMEDIES), "run hack/docs"


@pytest.mark.parametrize("reason", REMEDIES)
def test_the_row_says_what_it_means_and_the_same_cure(reason: str) -> None:
    """The page and the failure itself never give different advice."""
    meaning, cure = read_rows()[reason]
    assert cure == REMEDIES[reason].replace("|", "\\|"), "run hack/docs"
    assert meaning.endswith("."), f"docs/troubleshooting.md doesn't say what {reason} means"


def test_every_warning_of_the_preflight_has_one_row() -> None:
    """Those that the source gives, no more and no fewer."""
    calls = re.findall(r'_warn\(\s*"[\w ]+",\s*"(\w+)"', Path(preflight.__file__).read_text())
    section = TROUBLESHOOTING.read_text().partition("## Warnings of the preflight")[2].partition("\n## ")[0]
    assert len(calls) >= 6
    assert sorted(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == sorted(calls)


@pytest.mark.parametrize("row", matrix.ROWS, ids=lambda row: row.id)
def test_the_matrix_has_what_the_tests_expect(row: matrix.Row) -> None:
    """The page is written by a run of the tests: a row that was changed since has to be seen again."""
    begin = table.begin_line(row)
    (line,) = (line for line in table.TABLE.read_text().splitlines() if line.startswith(f"{begin} "))
    came = line.removeprefix(begin).split("|")[0].strip()
    assert came in ([f"{row.answers}: a profile"] if row.is_good else [f"`{reason}`" for reason in row.answers.split()])


def test_the_matrix_begins_as_the_tests_write_it() -> None:
    """With a node's kernel, whichever it was."""
    node = re.search(r"Linux \d+\.\d+ \(\w+, cgroup v[12]\)", table.TABLE.read_text())
    assert node is not None
    assert table.TABLE.read_text().startswith(table.render_header(node[0]))


@pytest.mark.parametrize("row", rows.ROWS, ids=rows.begin_line)
def test_the_matrix_has_what_the_emulated_machine_is_expected_to_give(row: rows.Row) -> None:
    """As above, for the rows of tests/vm."""
    begin = rows.begin_line(row)
    (line,) = (line for line in table.TABLE.read_text().splitlines() if line.startswith(f"{begin} "))
    came = line.removeprefix(begin).split("|")[0].strip()
    assert came == (f"{row.mode}: a profile" if row.is_good else f"`{row.answers}`")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a file of the repository, and to a heading in it, has its target."""
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)}: {link}"
        if anchor and target.suffix == ".md":
            headings = HEADING.findall(FENCE.sub("", target.read_text()))
            assert anchor in map(make_anchor, headings), f"{name(page)}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_make_targets_exist(page: Path) -> None:
    """Each `make` command on a page is in the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"`make ([a-z-]+)|^(?:\$ )?make ([a-z-]+)$", page.read_text(), re.MULTILINE):
        assert set(target) & targets, f"{name(page)}: make {''.join(target)}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_scripts_exist(page: Path) -> None:
    """Each script of hack/ that a page names exists."""
    for script in re.findall(r"(?<![\w/])hack/[\w./-]*\w", page.read_text()):
        assert (REPOSITORY / script).exists(), f"{name(page)}: {script}"
