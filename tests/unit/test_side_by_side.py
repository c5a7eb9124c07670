"""hack/side-by-side: all commands or none; nothing that they started stays."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "hack" / "side-by-side"
NAPPER = "sh -c 'echo $$ >{pid}; sleep 300; true'; true"
"""A child of a child that would go on for long."""


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def read_pid(file: Path) -> int:
    deadline = time.monotonic() + 30
    while not (file.exists() and file.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(file.read_text())


def test_waits_for_all(tmp_path: Path) -> None:
    done = subprocess.run(
        [SCRIPT, f"sleep 0.3; echo late >{tmp_path}/late", "echo early"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "early\n")
    assert (tmp_path / "late").exists()


def test_two_that_end_at_once(tmp_path: Path) -> None:
    """Both are over before the first is asked for."""
    pids = [tmp_path / "first", tmp_path / "second"]
    commands = [f"echo $$ >{pid}; until [ -e {tmp_path}/go ]; do sleep 0.02; done" for pid in pids]
    with subprocess.Popen([SCRIPT, *commands], stderr=subprocess.PIPE, text=True) as running:
        found = [read_pid(pid) for pid in pids]
        running.send_signal(signal.SIGSTOP)
        (tmp_path / "go").touch()
        deadline = time.monotonic() + 30
        while any(is_running(pid) for pid in found):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        running.send_signal(signal.SIGCONT)
        _, said = running.communicate(timeout=60)
    assert (running.returncode, said) == (0, "")


def test_one_that_fails_ends_the_others(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    until_there = f"until [ -s {pid} ]; do sleep 0.05; done; exit 7"
    done = subprocess.run(
        [SCRIPT, NAPPER.format(pid=pid), until_there], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert f"failed with status 7: {until_there}" in done.stderr
    assert not is_running(read_pid(pid))


def heed_interrupts() -> None:
    """Tests in the background of a shell inherit that SIGINT is ignored, which bash cannot change."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all(number: signal.Signals, tmp_path: Path) -> None:
    """By that signal, which also ends a script that waits for it."""
    files = [tmp_path / "first", tmp_path / "second"]
    command = [SCRIPT, *(NAPPER.format(pid=file) for file in files)]
    with subprocess.Popen(command, preexec_fn=heed_interrupts) as running:  # noqa: PLW1509
        pids = [read_pid(file) for file in files]
        running.send_signal(number)
        assert running.wait(timeout=60) == -number
    assert not any(is_running(pid) for pid in pids)
