"""Debian's kernel with cgroup v2, in an emulated machine: what it allows, and that preflight predicts it."""

from __future__ import annotations

import pytest

from samply_operator.rules.recording import preflight
from vm.machine import HELPER, NUMBERS, REPOSITORY, Job, Left, boot

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1800)]

MIB = 1024 * 1024
CAPABILITIES = {"none": 0, "helper": HELPER, "admin": HELPER | 1 << NUMBERS["SYS_ADMIN"]}
UNLOCKED = HELPER & ~(1 << NUMBERS["IPC_LOCK"])
LEVELS = (2, 3, 4)
REFUSED, UNMAPPED = "open: Permission denied", "mmap: Operation not permitted"
EXPECTED = {
    (2, "none"): REFUSED, (2, "helper"): "ok", (2, "admin"): "ok",
    (3, "none"): REFUSED, (3, "helper"): REFUSED, (3, "admin"): "ok",
    (4, "none"): REFUSED, (4, "helper"): REFUSED, (4, "admin"): "ok",
}  # fmt: skip
SAID = {"ok": "a profile", REFUSED: "PerfNotPermitted"}
"""In the page for users."""
MANY = 24
"""Threads whose ring buffers are more than may be locked without IPC_LOCK."""


def name_of(level: int, caps: str) -> str:
    return f"level{level}-{caps}"


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Left:
    job = Job()
    job.add_group("limited", memory_max="256M", cpu_max="'50000 100000'", memory_oom_group="1")
    job.start("limited", 2)
    job.preflight("limited", "limited")
    job.end()
    job.add_group("grown", memory_max="64M", memory_oom_group="1")
    job.start("grown", 1)
    job.add("within grown all busy 0 100 >/dev/null", "cp /sys/fs/cgroup/grown/memory.events grown.oom")
    job.add("if kill -0 $pid 2>/dev/null; then echo alive; else echo dead; fi >grown.target")
    job.add_group("free")
    job.start("free", 1)
    for level in LEVELS:
        job.set_level(level)
        for caps, kept in CAPABILITIES.items():
            job.preflight(name_of(level, caps), "free", f"{kept:x}")
            job.probe(name_of(level, caps), "free", f"{kept:x}")
    job.end()
    job.add_group("many")
    job.start("many", MANY)
    for level in (1, -1):
        job.set_level(level)
        job.preflight(f"many{level}", "many", f"{UNLOCKED:x}")
        job.probe(f"many{level}", "many", f"{UNLOCKED:x}", events=2 * (MANY + 2))
    return boot(job, tmp_path_factory.mktemp("vm"))


def find_refusal(left: Left, name: str) -> str:
    """The reason for which preflight refuses the project's samply; empty: it doesn't."""
    refusal = preflight.decide(left.facts(name), left.plan(name)).refusal
    return refusal.reason if refusal else ""


def test_preflight_reads_cgroup_v2(left: Left) -> None:
    """And at which level Debian's kernel starts."""
    facts = left.facts("limited")
    assert (facts.paranoid, facts.mlock_kib) == (3, 516)
    assert "debian-kernel@" in facts.kernel
    assert (facts.quota_cpus, facts.online_cpus) == (0.5, 2)
    assert (facts.memory_limit, facts.has_group_oom) == (256 * MIB, True)
    assert facts.memory_used is not None
    assert MIB < facts.memory_used < 64 * MIB
    assert left.plan("limited").process.threads == 3
    assert left.text("limited.facts.err") == ""


def test_out_of_memory_ends_all_of_a_group(left: Left) -> None:
    """What memory.oom.group does, which the kubelet sets: the reason for the guard of memory."""
    assert "oom_group_kill 1" in left.text("grown.oom")
    assert left.text("grown.target") == "dead\n"


@pytest.mark.parametrize(("level", "caps"), EXPECTED)
def test_what_the_kernel_refuses_preflight_refuses_before(level: int, caps: str, left: Left) -> None:
    name = name_of(level, caps)
    assert left.text(f"{name}.answer").strip() == EXPECTED[level, caps]
    if EXPECTED[level, caps] == "ok":
        assert find_refusal(left, name) == ""
    else:
        assert find_refusal(left, name) == ("PerfRestricted" if level > 2 else "PerfNotPermitted")


@pytest.mark.parametrize(("level", "answer", "refusal"), [(1, UNMAPPED, "LockedMemory"), (-1, "ok", "")])
def test_locked_memory_counts_above_minus_one(level: int, answer: str, refusal: str, left: Left) -> None:
    assert left.text(f"many{level}.answer").strip() == answer
    assert find_refusal(left, f"many{level}") == refusal


def test_the_page_says_what_is_seen() -> None:
    page = (REPOSITORY / "docs" / "kernels.md").read_text()
    for level in LEVELS:
        row = next(line for line in page.splitlines() if line.startswith(f"| {level} "))
        assert [cell.strip().strip("`") for cell in row.split("|")[2:-1]] == [
            SAID[EXPECTED[level, caps]] for caps in CAPABILITIES
        ]
