"""Debian's arm64 kernel, in an emulated machine: the scripts run there, and it has the same rule for perf events."""

from __future__ import annotations

import pytest

from samply_operator.rules.recording import modes
from vm.machine import HELPER, Job, Left, boot

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    job = Job()
    job.add_group("limited", memory_max="256M", cpu_max="'150000 100000'", memory_oom_group="1")
    job.start("limited", 2)
    for level in (2, 3):
        job.set_level(level)
        job.preflight(f"level{level}", "limited", f"{HELPER:x}")
        job.probe(f"level{level}", "limited", f"{HELPER:x}")
    return boot(job, tmp_path_factory.mktemp("arm64"), arch="aarch64")


def test_preflight_reads_what_it_finds(left: Left) -> None:
    facts = left.facts("level3")
    assert facts.arch == "aarch64"
    assert (facts.quota_cpus, facts.online_cpus, facts.has_group_oom) == (1.5, 2, True)
    assert "debian-kernel@" in facts.kernel
    assert left.plan("level3").process.threads == 3
    assert left.plan("level3").process.sections is not None


@pytest.mark.parametrize(("level", "answer"), [(2, "ok"), (3, "open: Permission denied")])
def test_the_software_clock_is_there(level: int, answer: str, left: Left) -> None:
    assert left.text(f"level{level}.answer").strip() == answer


def test_the_projects_samply_is_for_another_architecture(left: Left) -> None:
    failure = modes.check_arch(left.facts("level2"))
    assert failure is not None
    assert failure.reason == "UnsupportedArchitecture"
