"""docs/matrix.md: the results of the matrix, collected row by row and written once all rows have run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cluster.matrix import KINDS, ROWS, USUAL_PARANOID, USUAL_SECS, Row

REPOSITORY = Path(__file__).parents[2]
TABLE = REPOSITORY / "docs" / "matrix.md"
NOTES = REPOSITORY / ".pytest_cache" / "matrix.json"
SECTION = "\n## "
PLACES = {"open": "", "baseline": "; Pod Security baseline", "closed": "; Ephemeral not allowed here"}
HEADER = """\
# What works on which pod

Written by `tests/cluster/test_modes.py` (`SAMPLY_WRITE_MATRIX=1`) from what it saw on a node of two CPUs, {node}:
kernel.perf_event_paranoid {paranoid}, mode BringOwn allowed, recordings of {secs} s, unless the row says otherwise.
Coverage is the share of the samples that were due. A reason in `code` means that nothing was recorded, or nothing worth
keeping; [troubleshooting.md](troubleshooting.md) has the cures.

| pod | mode asked for | what came | coverage |
| --- | --- | --- | --- |
"""


def render_header(node: str) -> str:
    """`node`: its kernel, as Node.describe has it."""
    return HEADER.format(node=node, paranoid=USUAL_PARANOID, secs=USUAL_SECS)


def begin_line(row: Row) -> str:
    """What a row's line begins with, whatever came."""
    asked = row.mode + (f", process {row.process}" if row.process else "")
    asked += "" if row.secs == USUAL_SECS else f", {row.secs} s"
    paranoid = "" if row.paranoid == USUAL_PARANOID else f"; perf_event_paranoid {row.paranoid}"
    return f"| {KINDS[row.kind].says}{PLACES[row.place]}{paranoid} | {asked} |"


def note(row: Row, status: dict[str, Any], node: str) -> None:
    """Remember what came of a row that was seen on this node; with the last one, write the table."""
    if row.is_good:
        found = f" {status['target']['mode']}: a profile | {status['profile']['coverage']:.2f} |"
    else:
        share = status.get("profile", {}).get("coverage")
        found = f" `{status['failure']['reason']}` |{'' if share is None else f' {share:.2f}'} |"
    notes = json.loads(NOTES.read_text()) if NOTES.exists() else {}
    notes[row.id] = begin_line(row) + found
    NOTES.parent.mkdir(exist_ok=True)
    NOTES.write_text(json.dumps(notes, indent=1))
    if all(row.id in notes for row in ROWS):
        _, mark, sections = TABLE.read_text().partition(SECTION)
        TABLE.write_text(render_header(node) + "\n".join(notes[row.id] for row in ROWS) + "\n" + mark + sections)


def write_section(heading: str, text: str) -> None:
    """Replace a section of the page, or append it: those below the table come from other tests."""
    first, *sections = TABLE.read_text().split(SECTION)
    named = dict(section.split("\n\n", 1) for section in sections) | {heading: text}
    TABLE.write_text("".join((first, *(f"{SECTION}{name}\n\n{body.rstrip()}\n" for name, body in named.items()))))
