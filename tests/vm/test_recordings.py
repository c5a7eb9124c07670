"""The project's samply on Debian's kernel with cgroup v2. With SAMPLY_WRITE_MATRIX=1 what came is written into
docs/matrix.md."""

from __future__ import annotations

import os

import pytest

from cluster import table
from vm import recordings
from vm.machine import CAP_KIB, GUARDED_MIB, RESERVE_KIB, Job, Left, boot, find_samply
from vm.rows import RATE_HZ, ROWS, SECS, Row

pytestmark = [pytest.mark.vm, pytest.mark.timeout(2400)]

MIB = 1024 * 1024
HEADING = "Debian's kernel with cgroup v2"
INTRO = f"""\
Written by `tests/vm/test_recordings.py` (`SAMPLY_WRITE_MATRIX=1`) from what it saw in an emulated machine of two CPUs
with Debian 12's kernel (6.1, x86_64): the project's samply, started by the operator's scripts in cgroups and with
capabilities as a container runtime sets them, without a kubelet. Recordings of {SECS} s at {RATE_HZ} Hz. After the
semicolon: the capabilities of the pod's container besides the runtime's usual ones; in mode Ephemeral, samply runs in a
container of its own, with [those that it adds](security.md#the-ephemeral-container). An
emulated CPU that waits for a real one loses samples: the coverage says nothing about a real node. Throttled: how long
the CPU limit held back the pod's CPUs, added up.

"""


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    job = Job()
    recordings.play(job, ROWS)
    return boot(job, tmp_path_factory.mktemp("recordings"), samply=find_samply())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_a_recording(row: Row, left: Left) -> None:
    recordings.check(left, row)


def test_a_cpu_limit_is_seen(left: Left) -> None:
    """Half a CPU for two busy threads: the quota, and how long it held them back, are read from cgroup v2."""
    came = recordings.judge(left, next(row for row in ROWS if row.pod == "half"))
    assert came.facts.target_quota_cpus == 0.5
    assert came.progress.cpu_secs is not None
    assert came.progress.cpu_secs < 0.75 * came.window_secs
    assert came.throttled_secs is not None
    assert came.throttled_secs > 0.25 * came.window_secs


def test_a_pod_that_grows_is_let_alone(left: Left) -> None:
    """The guard of memory ended samply in time: the kernel, which would have ended the whole container, did nothing."""
    row = next(row for row in ROWS if row.pod == "grown")
    came = recordings.judge(left, row)
    assert came.facts.has_group_oom
    assert came.facts.memory_limit == GUARDED_MIB * MIB
    assert came.verdict.memory_cap == pytest.approx(CAP_KIB * 1024, rel=0.05)
    assert came.verdict.memory_reserve == pytest.approx(RESERVE_KIB * 1024, rel=0.05)
    assert "oom_kill 0" in left.text(f"{row.id}.oom")
    assert left.text(f"{row.id}.target").split()[1] == "R"


@pytest.mark.skipif(not os.environ.get("SAMPLY_WRITE_MATRIX"), reason="SAMPLY_WRITE_MATRIX is not set")
def test_write_the_matrix(left: Left) -> None:
    lines = "".join(recordings.render(left, row) for row in ROWS)
    table.write_section(HEADING, INTRO + recordings.COLUMNS + lines)
