"""Limits as preflight.sh reads them, from fixtures of both cgroup versions: a machine has one of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from samply_operator.model.container import ContainerFacts
from samply_operator.recorder.pod import script_calls
from samply_operator.rules.recording import preflight_estimates, preflight_output
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


def gather(folder: Path, shell: str, files: dict[str, str]) -> ContainerFacts:
    """What the script says in that shell, where the cgroups have these files."""
    for name, text in files.items():
        (folder / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup" / name).write_text(f"{text}\n")
    script = script_calls.read_script("preflight.sh").replace("/sys/fs/cgroup", f"{folder}/cgroup")
    path = shells.make_path(folder / "bin", shell)
    command = ("sh", "-c", script, "samply-operator", "self", "")
    done = subprocess.run(
        command, executable=f"{folder}/bin/sh", env={"PATH": path}, capture_output=True, text=True, check=True
    )
    return preflight_output.parse_facts(done.stdout)


@pytest.mark.parametrize("shell", shells.find_shells())
@pytest.mark.parametrize("files", [V2, V1], ids=["v2", "v1"])
def test_limits_are_read(shell: str, files: dict[str, str], tmp_path: Path) -> None:
    """CPUs, memory, and what the kernel can drop at once; whether out of memory ends the whole container."""
    found = gather(tmp_path, shell, files)
    assert found.quota_cpus == 1.5
    assert (found.memory_limit, found.has_group_oom) == (512 * MIB, files is V2)
    assert preflight_estimates.find_headroom(found) == 252 * MIB


@pytest.mark.parametrize("files", [FREE_V2, FREE_V1, {}], ids=["v2", "v1", "nothing to be read"])
def test_no_limit_is_none(files: dict[str, str], tmp_path: Path) -> None:
    """Whatever a version writes in its place."""
    found = gather(tmp_path, "dash", files)
    assert (found.quota_cpus, found.memory_limit, found.has_group_oom) == (None, None, False)
    assert preflight_estimates.cap_memory(found) is None


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
    for name in ("record.sh", "stop.sh"):
        assert call(tmp_path / name, shell, cut_function(name, "throttled", tmp_path), "throttled") == printed


def cut_function(script: str, name: str, folder: Path) -> str:
    """One function of a script, with the cgroups of the fixture."""
    text = script_calls.read_script(script)
    begin = text.index(f"{name}() {{")
    function = text[begin : text.index("\n}\n", begin) + 3]
    return function.replace('"/proc/$pid/root/sys/fs/cgroup" /sys/fs/cgroup', f'"{folder}/cgroup"')


def call(folder: Path, shell: str, functions: str, line: str) -> str:
    """What it prints in that shell, without a word of complaint."""
    path = shells.make_path(folder / "bin", shell)
    done = subprocess.run(
        ("sh", "-c", f"set -u\n{functions}\n{line}"),
        executable=f"{folder}/bin/sh",
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.strip()


ACTIVE_V2 = {**V2, "memory.stat": f"anon 1\ninactive_file {40 * MIB}\nactive_file {20 * MIB}\n"}
ACTIVE_V1 = {
    **V1,
    "memory/memory.stat": f"active_file 5\ntotal_inactive_file {40 * MIB}\ntotal_active_file {20 * MIB}\n",
}


@pytest.mark.parametrize("shell", shells.find_shells())
@pytest.mark.parametrize(
    ("files", "kib"),
    [(ACTIVE_V2, 272 * 1024), (ACTIVE_V1, 272 * 1024), (FREE_V2, None), ({}, None)],
    ids=["v2", "v1", "no limit", "nothing to be read"],
)
def test_what_the_container_may_still_take(shell: str, files: dict[str, str], kib: int | None, tmp_path: Path) -> None:
    """As record.sh sees it during a recording: memory that the kernel can reclaim counts as free."""
    for name, text in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(f"{text}\n")
    printed = call(tmp_path, shell, cut_function("record.sh", "room", tmp_path), "room")
    assert printed == ("" if kib is None else str(kib))


@pytest.mark.parametrize("shell", shells.find_shells())
@pytest.mark.parametrize(
    ("cap", "room", "beside", "is_ended"),
    [
        pytest.param(900_000, 500_000, "no", False, id="far from the limit"),
        pytest.param(900_000, 99_000, "no", True, id="the pipeline took the rest"),
        pytest.param(900_000, 101_000, "no", False, id="a tenth is left"),
        pytest.param(900_000, 100_020, "yes", True, id="what samply takes beside it counts too"),
        pytest.param(900_000, "", "yes", False, id="no limit in reach"),
        pytest.param(10, 500_000, "no", True, id="samply itself took too much"),
        pytest.param(0, 0, "no", False, id="nothing known at the start"),
    ],
)
def test_samply_is_ended_before_the_container_runs_out_of_memory(
    shell: str, cap: int, room: object, beside: str, is_ended: bool, tmp_path: Path
) -> None:
    """Whichever of the two grows. It is a process of some MiB here: the test's own shell."""
    functions = "".join(
        f"{line}\n"
        for line in (
            f"cap={cap} reserve={cap // 9} beside={beside} recorder=$$",
            f"room() {{ echo {room}; }}",
            'say() { echo "$*"; }',
            "mkdir() { :; }",
            "kill() { :; }",
            cut_function("record.sh", "check_memory", tmp_path),
        )
    )
    assert call(tmp_path, shell, functions, "check_memory") == ("deadline memory" if is_ended else "")
    beside_the_limit = f"{functions}\nreserve=0"
    is_own_fault = 0 < cap < 1000
    assert call(tmp_path / "free", shell, beside_the_limit, "check_memory") == (
        "deadline memory" if is_own_fault else ""
    )
