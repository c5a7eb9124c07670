"""Limits as preflight.sh reads them, from fixtures of both cgroup versions: a machine has one of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from samply_operator.model.facts import Facts
from samply_operator.recorder import remote
from samply_operator.rules import facts, preflight
from support import shells

MIB = 1 << 20
V2 = {
    "cpu.max": "150000 100000",
    "memory.max": f"{512 * MIB}",
    "memory.current": f"{300 * MIB}",
    "memory.stat": f"anon 1\ninactive_file {40 * MIB}\n",
    "memory.oom.group": "1",
}
V1 = {
    "cpu/cpu.cfs_quota_us": "150000",
    "cpu/cpu.cfs_period_us": "100000",
    "memory/memory.limit_in_bytes": f"{512 * MIB}",
    "memory/memory.usage_in_bytes": f"{300 * MIB}",
    "memory/memory.stat": f"inactive_file 5\ntotal_inactive_file {40 * MIB}\n",
}
FREE_V2 = {"cpu.max": "max 100000", "memory.max": "max", "memory.current": "77", "memory.oom.group": "0"}
FREE_V1 = {
    "cpu/cpu.cfs_quota_us": "-1",
    "cpu/cpu.cfs_period_us": "100000",
    "memory/memory.limit_in_bytes": "9223372036854771712",
    "memory/memory.usage_in_bytes": "77",
}


def gather(folder: Path, shell: str, files: dict[str, str]) -> Facts:
    """What the script says in that shell, where the cgroups have these files."""
    for name, text in files.items():
        (folder / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup" / name).write_text(f"{text}\n")
    script = remote.read_script("preflight.sh").replace("/sys/fs/cgroup", f"{folder}/cgroup")
    path = shells.make_path(folder / "bin", shell)
    command = ("sh", "-c", script, "samply-operator", "self", "")
    done = subprocess.run(
        command, executable=f"{folder}/bin/sh", env={"PATH": path}, capture_output=True, text=True, check=True
    )
    return facts.parse_facts(done.stdout)


@pytest.mark.parametrize("shell", shells.find_shells())
@pytest.mark.parametrize("files", [V2, V1], ids=["v2", "v1"])
def test_limits_are_read(shell: str, files: dict[str, str], tmp_path: Path) -> None:
    """CPUs, memory, and what the kernel can drop at once; whether out of memory ends the whole container."""
    found = gather(tmp_path, shell, files)
    assert found.quota_cpus == 1.5
    assert (found.memory_limit, found.has_group_oom) == (512 * MIB, files is V2)
    assert preflight.find_headroom(found) == 252 * MIB


@pytest.mark.parametrize("files", [FREE_V2, FREE_V1, {}], ids=["v2", "v1", "nothing to be read"])
def test_no_limit_is_none(files: dict[str, str], tmp_path: Path) -> None:
    """Whatever a version writes in its place."""
    found = gather(tmp_path, "dash", files)
    assert (found.quota_cpus, found.memory_limit, found.has_group_oom) == (None, None, False)
    assert preflight.cap_memory(found) is None


@pytest.mark.parametrize("shell", shells.find_shells())
@pytest.mark.parametrize(
    ("files", "printed"),
    [
        ({"cpu.stat": "usage_usec 5\nnr_throttled 3\nthrottled_usec 1234\nnr_bursts 0"}, "1234"),
        ({"cpu/cpu.stat": "nr_periods 5\nnr_throttled 3\nthrottled_time 1234567"}, "1234"),
        ({}, ""),
    ],
    ids=["v2", "v1", "nothing to be read"],
)
def test_throttling_is_read(shell: str, files: dict[str, str], printed: str, tmp_path: Path) -> None:
    """By the very function of record.sh, in microseconds."""
    for name, text in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(f"{text}\n")
    script = remote.read_script("record.sh")
    begin = script.index("throttled() {")
    function = script[begin : script.index("\n}\n", begin) + 3]
    places = function.replace('"/proc/$pid/root/sys/fs/cgroup" /sys/fs/cgroup', f'"{tmp_path}/cgroup"')
    assert places != function
    path = shells.make_path(tmp_path / "bin", shell)
    done = subprocess.run(
        ("sh", "-c", f"set -u\n{places}\nthrottled"),
        executable=f"{tmp_path}/bin/sh",
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.strip(), done.stderr) == (printed, "")
