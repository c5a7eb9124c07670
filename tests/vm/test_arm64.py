"""Debian's arm64 kernel, in an emulated machine: the scripts run there, it has the same rule for perf events, and the
project's samply, cross-compiled, records. With SAMPLY_WRITE_MATRIX=1 what came is written into docs/matrix.md."""

from __future__ import annotations

import os

import pytest

from cluster import table
from samply_operator.rules.recording import modes
from samply_operator.settings import Settings
from vm import recordings
from vm.machine import HELPER, Job, Left, boot, find_samply
from vm.rows import ARM64_ROWS, Row

pytestmark = [pytest.mark.vm, pytest.mark.timeout(5400)]
"""The first time samply is compiled."""

HEADING = "Debian's kernel on arm64"
INTRO = """\
Written by `tests/vm/test_arm64.py` in the same way, in an emulated arm64 machine with Debian 12's kernel: the samply of
`hack/images samply-arm64`.

"""


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    job = Job()
    job.add_group("limited", memory_max="256M", cpu_max="'150000 100000'", memory_oom_group="1")
    job.start("limited", 2)
    for level in (2, 3):
        job.set_level(level)
        job.preflight(f"level{level}", "limited", f"{HELPER:x}")
        job.probe(f"level{level}", "limited", f"{HELPER:x}")
    job.end()
    recordings.play(job, ARM64_ROWS)
    return boot(job, tmp_path_factory.mktemp("arm64"), arch="aarch64", samply=find_samply("arm64"))


def test_preflight_reads_what_it_finds(left: Left) -> None:
    facts = left.facts("level3")
    assert facts.arch == "aarch64"
    assert facts.version == "0.13.1"
    assert (facts.quota_cpus, facts.online_cpus, facts.has_group_oom) == (1.5, 2, True)
    assert "debian-kernel@" in facts.kernel
    assert left.plan("level3").process.threads == 3
    assert left.plan("level3").process.sections is not None


@pytest.mark.parametrize(("level", "answer"), [(2, "ok"), (3, "open: Permission denied")])
def test_the_software_clock_is_there(level: int, answer: str, left: Left) -> None:
    assert left.text(f"level{level}.answer").strip() == answer


def test_the_default_image_is_for_another_architecture(left: Left) -> None:
    failure = modes.check_machine(left.facts("level2"), modes.helper_machines(Settings()))
    assert failure is not None
    assert failure.reason == "UnsupportedArchitecture"
    assert modes.check_machine(left.facts("level2"), ["aarch64"]) is None


@pytest.mark.parametrize("row", ARM64_ROWS, ids=lambda row: row.id)
def test_a_recording(row: Row, left: Left) -> None:
    recordings.check(left, row)


@pytest.mark.skipif(not os.environ.get("SAMPLY_WRITE_MATRIX"), reason="SAMPLY_WRITE_MATRIX is not set")
def test_write_the_matrix(left: Left) -> None:
    lines = "".join(recordings.render(left, row) for row in ARM64_ROWS)
    table.write_section(HEADING, INTRO + recordings.COLUMNS + lines)
